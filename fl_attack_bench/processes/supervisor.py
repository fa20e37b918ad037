"""The parties' processes: started, asked, watched and stopped together; who fails or falls silent is named."""

import queue
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fl_attack_bench.api import PartySilent
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.processes.child import Child, Event
from fl_attack_bench.processes.pipe import Note

START_SECONDS = 120.0
_STARTING = ("enter", "meet")
_ANSWER_SECONDS = 1.0  # for the others to say what they do, once one has failed


class PartyFailed(Exception):  # noqa: N818 - says what happened
    """A party's process failed; the text names it and says why."""


class Supervisor:
    """The parties' processes, asked together and stopped together.

    Args:
        folder: for what they print.
        seconds: how long one may be silent while the protocol is played.
    """

    def __init__(self, folder: str, seconds: float) -> None:
        self._folder, self._seconds = Path(folder), seconds
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.children: dict[str, Child] = {}
        self.stages: list[str] = []

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self.children.values():
            child.stop()

    def start(self, names: Sequence[str], threads: int) -> None:
        """Start a process for each party."""
        for number, name in enumerate(names):
            self.children[name] = Child(name, self._folder / f"{number}.log", self._events, threads)

    def asked(self, what: str, orders: Mapping[str, Note], stage: int | None = None) -> dict[str, Note]:
        """Give each party an order, and wait for all answers.

        Args:
            what: the order.
            orders: what comes with it, by party.
            stage: the last stage that is played by it; the others are told who has come so far.
        """
        for name, note in orders.items():
            self.children[name].order(Note({"do": what, **note.head}, note.tensors))
        answers: dict[str, Note] = {}
        patience = START_SECONDS if what in _STARTING else self._seconds
        watch = _Watch(self, patience, ask=what not in _STARTING)
        while len(answers) < len(orders):
            watch.look([name for name in orders if name not in answers])
            event = self._next(watch.pause)
            if event is None:
                continue
            name, answer = event
            if answer is None:
                self.children[name].process.wait()
                raise PartySilent(self.lost(name))
            if answer.head["answer"] == "failed":
                raise self._explained(name, answer.head)
            if answer.head["answer"] == "status":
                watch.heard(name, answer.head)
                continue
            answers[name] = answer
            watch.heard(name, None)
            for other in orders if stage is not None else ():
                if other != name:
                    self.children[other].order(Note({"do": "ended", "party": name, "stage": stage}))
        return answers

    def _next(self, seconds: float) -> Event | None:
        try:
            return self._events.get(timeout=max(0.01, seconds))
        except queue.Empty:
            return None

    def statuses(self) -> dict[str, dict[str, Any]]:
        """What each party says that it does, of those that answer at once."""
        for child in self.children.values():
            child.order(Note({"do": "status"}))
        found: dict[str, dict[str, Any]] = {}
        deadline = time.monotonic() + _ANSWER_SECONDS
        while len(found) < len(self.children) and time.monotonic() < deadline:
            event = self._next(min(0.1, deadline - time.monotonic()))
            if event is not None and event[1] is not None and event[1].head["answer"] == "status":
                found[event[0]] = dict(event[1].head)
            if all(name in found or child.state() for name, child in self.children.items()):
                break
        return found

    def lost(self, name: str) -> str:
        """A party's process has ended, or does not answer any more: how it is, and who waits for it."""
        child, said = self.children[name], self.statuses()
        state = child.state() or "does not answer"
        waiting = [other for other, status in said.items() if status.get("waiting_for") == name]
        if not waiting:
            return f"{name} {state}"
        where = self.stages[said[waiting[0]]["stage"]]
        return f"{' and '.join(waiting)} wait{'' if waiting[1:] else 's'} for {name} in {where}, which {state}"

    def _explained(self, name: str, failure: Mapping[str, Any]) -> Exception:
        """The error that a party reported, with what the one does whom it waited for."""
        kind, text, peer = failure["kind"], failure["text"], failure["peer"]
        if kind == "user":
            return UserError(f"party {name}: {text}")
        if kind == "skipped":
            return SkipCell(text)
        if kind == "error":
            return PartyFailed(f"party {name} failed: {text}")
        said, links, seen = self.statuses(), [text], {name}
        while peer is not None and peer not in seen:
            seen.add(peer)
            link, peer = self.described(peer, said)
            links.append(link)
        return PartySilent("; ".join(links))

    def described(self, name: str, said: Mapping[str, Mapping[str, Any]]) -> tuple[str, str | None]:
        """What a party does, in words, and whom it waits for."""
        ended = self.children[name].state()
        if ended:
            return f"{name} {ended}", None
        if name not in said:
            return f"{name} does not answer", None
        status = said[name]
        if not status["playing"]:
            return f"{name} has ended its part", None
        where = self.stages[status["stage"]]
        peer = status["waiting_for"]
        return (f"{name} waits for {peer} in {where}", peer) if peer else (f"{name} is computing in {where}", None)


class _Watch:
    """Sees to it that a round of answers ends: every party must answer and somebody must get on."""

    def __init__(self, parties: Supervisor, seconds: float, *, ask: bool) -> None:
        self._parties, self._seconds, self._ask = parties, seconds, ask
        self.pause = min(1.0, seconds / 4)
        self._begun = self._asked = self._moved = time.monotonic()
        self._heard: dict[str, float] = {}
        self._progress: dict[str, int] = {}

    def heard(self, name: str, status: Mapping[str, Any] | None) -> None:
        """A party answered; it got on where its progress changed or it is done."""
        now = time.monotonic()
        self._heard[name] = now
        if status is None or status.get("progress") != self._progress.get(name):
            self._moved = now
            self._progress[name] = -1 if status is None else status.get("progress", -1)

    def look(self, missing: Sequence[str]) -> None:
        """Ask those that have not ended, and give up on who does not answer.

        Raises:
            PartySilent: nobody gets on, or somebody does not answer.
        """
        now = time.monotonic()
        if self._ask and now - self._asked >= self.pause:
            self._asked = now
            for name in missing:
                self._parties.children[name].order(Note({"do": "status"}))
        late = [name for name in missing if now - self._heard.get(name, self._begun) > self._seconds + self.pause]
        if late:
            raise PartySilent(self._parties.lost(late[0]))
        if now - self._moved > 2 * self._seconds + self.pause:
            link, _ = self._parties.described(missing[0], self._parties.statuses())
            raise PartySilent(f"nobody got on in {2 * self._seconds:g} s: {link}")
