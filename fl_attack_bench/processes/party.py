"""What one party's process does: ``python -m fl_attack_bench.processes``, started by ``play``.

Notes come on standard input and leave on a private copy of standard output; what a protocol prints goes to standard
error. When the input ends, so does the process.

============  ======================================  ==================================================
``do``        with                                    the answer
============  ======================================  ==================================================
``enter``     a brief and what the party holds        ``port``: of its server
``meet``      everybody's ``ports``                   nothing: it stands ready
``play``      ``first`` and ``last`` stage            ``began``, ``ended``; ``computing`` by stage; results
``count``                                             bytes and messages, metered and by the kernel
``ended``     ``party``, ``stage``                    none: another party has played so far
``status``                                            what it is doing, at once
============  ======================================  ==================================================
"""

import os
import queue
import threading
import time
import traceback
from typing import Any, BinaryIO, NoReturn

import torch
from torch import Tensor

from fl_attack_bench import registry
from fl_attack_bench.api import Holding, OutsourcedDefense, PartySilent, ProtocolParty
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.method import build
from fl_attack_bench.processes import pipe, sockets, transport
from fl_attack_bench.processes.endpoint import RemoteEndpoint, finish
from fl_attack_bench.processes.mailroom import Mailroom
from fl_attack_bench.processes.pipe import Note
from fl_attack_bench.processes.schedule import SETUP, TRAINING, WEIGHTS, Brief, held
from fl_attack_bench.scenarios.outsourced import secrets_of
from fl_attack_bench.schema import parse
from fl_attack_bench.seeds import Streams

MAX_REASON = 1_000


class Member:
    """A party of a run, with its server and its ways to the others.

    Args:
        note: what it is told, and what it holds.
    """

    def __init__(self, note: Note) -> None:
        self.brief = parse(Brief, note.head["brief"], "brief")
        self._holding, self.schedule, self._features = held(note, self.brief)
        stages = self.schedule.named
        self.mailroom = Mailroom(self.brief.party, self.brief.hears, stages, self.brief.seconds)
        reception = transport.Reception(self.mailroom, self.brief.hears)
        # Of each other party at most one call is open at a time.
        self._server, self.port = transport.server(reception, max(1, len(self.brief.hears)))
        self._outgoing: dict[str, transport.Outgoing] = {}
        self.endpoint: RemoteEndpoint | None = None
        self._party: ProtocolParty | None = None
        self.stage = 0
        self.playing = False

    def meet(self, ports: dict[str, int]) -> None:
        """Learn where the others are, and take one's place in the protocol."""
        brief = self.brief
        self._outgoing = {
            name: transport.Outgoing(brief.party, name, ports[name], token, brief.seconds, self.mailroom.break_off)
            for name, token in brief.speaks.items()
        }
        streams = None if brief.root is None else Streams(brief.root)
        secrets = secrets_of(brief.party, streams)
        stages = len(self.schedule.stages)
        self.endpoint = RemoteEndpoint(brief.party, secrets, self.mailroom, self._outgoing, stages)
        found = registry.find("defense", brief.defense.name)
        defense = build(found.cls, brief.defense.parameters, brief.defense.name)
        if not isinstance(defense, OutsourcedDefense):
            raise UserError(f"{found.name} is not for outsourced tasks")
        self._party = defense.parties(brief.plan)[brief.party](self.endpoint, self._holding)
        self._holding = Holding()

    def play(self, first: int, last: int) -> Note:
        """Play the stages from ``first`` to before ``last``."""
        if self.endpoint is None:
            raise RuntimeError("a party plays before it has met the others")
        results: dict[str, Tensor] = {}
        predictions: list[Tensor] = []
        self.playing = True
        began = ended = transport.monotonic()
        computing: list[float] = []
        for self.stage in range(first, last):
            spent = time.thread_time()
            self.endpoint.enter(self.stage)
            self._one(results, predictions)
            self.endpoint.flush()
            computing.append(time.thread_time() - spent)
            ended = transport.monotonic()
        self.playing = False
        if predictions:
            results["predictions"] = torch.cat(predictions)
        return Note({"began": began, "ended": ended, "computing": computing}, results)

    def _one(self, results: dict[str, Tensor], predictions: list[Tensor]) -> None:
        topic, round = self.schedule.stages[self.stage]
        party = self._party
        if party is None:
            raise RuntimeError("a party plays before it has entered")
        if topic == SETUP:
            finish(party.setup())
        elif topic == TRAINING:
            finish(party.step(self.schedule.batches[round]))
        elif topic == WEIGHTS:
            weights = finish(party.weights()) or ()
            results |= {f"weights/{place}": values for place, values in enumerate(weights)}
        else:
            features = self._features[round] if self._features else None
            predicted = finish(party.predict(self.schedule.predicted[round], features))
            predictions += [] if predicted is None else [predicted]

    def count(self) -> Note:
        """Everything counted so far; what was sent and not read is an error."""
        self.mailroom.finish()
        if self.endpoint is None:
            raise RuntimeError("nothing to count before the parties have met")
        counted = sockets.total(sockets.connections())
        return Note(
            {
                "socket_sent": counted.sent,
                "socket_received": counted.received,
                "sent": self.endpoint.sent,
                "received": self.endpoint.received,
            }
        )

    def status(self) -> dict[str, Any]:
        """What it is doing; read from another thread."""
        delivering = [name for name, way in self._outgoing.items() if way.on_the_way]
        waiting = self.mailroom.waiting_for
        progress = self.mailroom.taken + (self.endpoint.messages if self.endpoint else 0) + self.stage
        return {
            "stage": self.stage,
            "playing": self.playing,
            "waiting_for": waiting or (delivering[0] if delivering else None),
            "progress": progress,
        }


class _Desk:
    """Reads notes in a thread of its own, so that a question is answered while the protocol runs."""

    def __init__(self, notes: BinaryIO, answers: BinaryIO) -> None:
        self._notes, self._answers = notes, answers
        self._writing = threading.Lock()
        self.orders: queue.SimpleQueue[Note] = queue.SimpleQueue()
        self.member: Member | None = None
        threading.Thread(target=self._read, daemon=True).start()

    def answer(self, kind: str, note: Note) -> None:
        """Send an answer."""
        with self._writing:
            pipe.write(self._answers, Note({"answer": kind, **note.head}, note.tensors))

    def _read(self) -> None:
        try:
            while (note := pipe.read(self._notes)) is not None:
                what, member = note.head["do"], self.member
                if what == "status":
                    self.answer("status", Note(member.status() if member else {"stage": 0, "playing": False}))
                elif what == "ended":
                    if member is not None:
                        member.mailroom.ended(note.head["party"], note.head["stage"])
                else:
                    self.orders.put(note)
        finally:
            os._exit(1)


def _carried_out(desk: _Desk, note: Note) -> Note:
    what = note.head["do"]
    if what == "enter":
        desk.member = Member(note)
        torch.set_num_threads(desk.member.brief.threads)
        return Note({"port": desk.member.port})
    if desk.member is None:
        raise RuntimeError(f"{what!r} before 'enter'")
    if what == "meet":
        desk.member.meet(note.head["ports"])
        return Note({})
    if what == "play":
        return desk.member.play(note.head["first"], note.head["last"])
    if what == "count":
        return desk.member.count()
    raise RuntimeError(f"unknown order {what!r}")


def _failed(error: BaseException) -> Note:
    kinds: tuple[tuple[type[BaseException], str], ...] = (
        (PartySilent, "silent"), (SkipCell, "skipped"), (UserError, "user")
    )  # fmt: skip
    kind = next((name for cls, name in kinds if isinstance(error, cls)), "error")
    text = str(error) if kind != "error" else f"{type(error).__name__}: {error}"
    return Note({"kind": kind, "text": text[:MAX_REASON], "peer": getattr(error, "peer", None)})


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    """Notes and answers on descriptors that a protocol's code does not print into."""
    notes, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return notes, answers


def main() -> NoReturn:
    """Carry out orders until the one who gives them has gone."""
    desk = _Desk(*_private_streams())
    while True:
        note = desk.orders.get()
        try:
            answer = _carried_out(desk, note)
        except BaseException as error:  # a protocol's code may call sys.exit()
            traceback.print_exc()
            desk.answer("failed", _failed(error))
        else:
            desk.answer(note.head["do"], answer)
