"""What makes two tasks or two methods the same one, and what an attack is called."""

import json

from fl_attack_bench.suite import MethodSpec, Task


def key(part: Task | MethodSpec | None) -> str:
    """The whole content as text: equal for equal content only; empty for no method."""
    return json.dumps(part.model_dump(mode="json"), sort_keys=True) if part else ""


def attack_label(spec: MethodSpec | None) -> str:
    """The attack's label, or ``utility`` for a cell without an attack."""
    return spec.label if spec else "utility"
