"""Every party of a sharing protocol running one program over its own session."""

import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from fl_attack_bench.api import HELPER, Holding
from fl_attack_bench.scenarios.outsourced import Gathering
from fl_attack_bench.seeds import Streams
from fl_attack_bench.sharing.arithmetic import Arithmetic
from fl_attack_bench.sharing.parties import WITH_THIRD_PARTY
from fl_attack_bench.sharing.session import Session
from fl_attack_bench.wire import Wire

Program = Callable[[Session], Awaitable[Any]]


class Running:
    def __init__(self, session, program):
        self.session, self.program = session, program
        self.ahead = session.name == HELPER

    async def setup(self):
        await self.session.agree()
        return await self.program(self.session)


def play(
    arithmetic: Arithmetic, program: Program, *, seed: int | None = 5, watched: Collection[str] = ()
) -> tuple[dict[str, Any], Wire, Gathering]:
    """What the program returned to each party, the wire, and the gathering."""
    sharing = [name for name in WITH_THIRD_PARTY if not name.startswith("compute")]
    wire = Wire(watched)

    def enter(cls):
        return lambda endpoint, holding: Running(cls(endpoint, arithmetic, sharing), program)

    entering = {name: enter(cls) for name, cls in WITH_THIRD_PARTY.items()}
    streams = None if seed is None else Streams(seed)
    gathering = Gathering(entering, {"owner": Holding()}, wire, time.perf_counter, streams)
    found = gathering.run("setup", 0, {name: party.setup() for name, party in gathering.parties.items()})
    return found, wire, gathering
