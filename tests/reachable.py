"""Every tensor that Python code could get at from an object."""

import gc
from typing import Any

from torch import Tensor

_LEFT_ALONE = {"module", "type", "builtin_function_or_method"}


def tensors(root: Any) -> list[Tensor]:
    """By following references through our own objects, torch's modules and containers, closures of functions too."""
    waiting, seen, found = [root], set(), []
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type) or type(one).__name__ in _LEFT_ALONE:
            continue
        seen.add(id(one))
        if isinstance(one, Tensor):
            found.append(one)
        elif type(one).__name__ in ("function", "method"):
            waiting += [cell.cell_contents for cell in one.__closure__ or () if cell.cell_contents is not None]
            waiting += [one.__self__] if type(one).__name__ == "method" else []
        else:
            waiting += gc.get_referents(one)
    return found
