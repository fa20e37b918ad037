"""Which methods of installed packages can be used; each is imported in a worker process, as it is a stranger's code."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from fl_attack_bench import registry
from fl_attack_bench.pool import Pool
from fl_attack_bench.suite import Limits, MethodSpec

_PLAY = "fl_attack_bench.provenance:describe"  # any module that imports little; only methods are described
_LIMITS = Limits(minutes=1, memory_gib=8)
_WAIT_SECONDS = 1.0


def faults(kind: registry.Kind, names: Iterable[str]) -> dict[str, str]:
    """Why methods that packages bring cannot be used, by name; those that can be are not in it.

    Args:
        kind: ``attack`` or ``defense``.
        names: any method's; built-in ones are not looked at.
    """
    foreign = [name for name in names if registry.origin(kind, name) == "entry-point"]
    if not foreign:
        return {}
    found = {}
    with tempfile.TemporaryDirectory(prefix="flab-plugins-") as logs, Pool(1, Path(logs), play=_PLAY) as pool:
        for name in foreign:
            spec = MethodSpec(name=name).model_dump(mode="json")
            pool.submit(name, {"do": "describe", "kind": kind, "spec": spec}, _LIMITS)
            while not (answers := pool.wait(_WAIT_SECONDS)):
                pass
            if answers[0].outcome.status != "ok":
                found[name] = answers[0].outcome.reason
    return found
