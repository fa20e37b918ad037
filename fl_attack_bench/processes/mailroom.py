"""What has come for a party and was not taken yet, bounded so that no sender runs ahead without end.

A message is let in where its stage is at most ``AHEAD`` stages beyond the one that the receiver plays; otherwise its
sender waits. No two parties can block each other so: a party that is behind all others sends messages of a stage that
everybody has reached, which are always let in, and everything that it waits for within that stage is let in as well.
"""

import threading
import time
from collections import deque
from collections.abc import Collection

from fl_attack_bench.api.outsourced import PartySilent
from fl_attack_bench.processes.frame import Frame

AHEAD = 1
_GLANCE = 0.25  # seconds after which a waiting sender is asked whether it is still there


class Silent(PartySilent):
    """What is waited for does not come.

    Args:
        text: who waits for whom, and where.
        peer: the one who is waited for.
    """

    def __init__(self, text: str, peer: str) -> None:
        super().__init__(text)
        self.peer = peer


class Refused(Exception):  # noqa: N818 - says what happened
    """A message that the receiver does not let in; the text says why."""


class Mailroom:
    """The messages of one party.

    Args:
        owner: the party that takes them.
        senders: who may send to it.
        stages: the schedule in words, for errors.
        seconds: how long it waits for a message.
    """

    def __init__(self, owner: str, senders: Collection[str], stages: list[str], seconds: float) -> None:
        self._owner, self._stages, self._seconds = owner, stages, seconds
        self._boxes: dict[str, deque[Frame]] = {sender: deque() for sender in senders}
        self._next = dict.fromkeys(senders, 0)
        self._ended = dict.fromkeys(senders, -1)
        self._changed = threading.Condition()
        self._stage = -1  # none has begun
        self._broken: Exception | None = None
        self.waiting_for: str | None = None
        self.taken = 0

    def let_in(self, frame: Frame, *, present: "threading.Event | None" = None) -> None:
        """Keep a message until it is taken; waits while it is of a stage too far ahead.

        Args:
            frame: the message.
            present: set once its sender has given up waiting.

        Raises:
            Refused: it is not the next one of its sender, or of a stage that is over or does not exist.
        """
        with self._changed:
            if frame.sender not in self._boxes:
                raise Refused(f"{frame.sender!r} is nobody whom {self._owner} knows")
            if frame.number != self._next[frame.sender]:
                raise Refused(f"message {frame.number} of {frame.sender}, and {self._next[frame.sender]} is the next")
            if not self._stage <= frame.stage < len(self._stages):
                what = self._stages[frame.stage] if frame.stage < len(self._stages) else f"stage {frame.stage}"
                raise Refused(f"{self._owner} has no use for a message of {what}")
            self._next[frame.sender] += 1
            while frame.stage > self._stage + AHEAD:
                if present is not None and present.is_set():
                    raise Refused(f"{frame.sender} no longer waits")
                self._changed.wait(_GLANCE)
            self._boxes[frame.sender].append(frame)
            self._changed.notify_all()

    def take(self, sender: str) -> Frame:
        """The next message of a party, waiting for it.

        Raises:
            Silent: it did not come in time, or the party has ended its part of the stage.
        """
        if sender not in self._boxes:
            raise ValueError(f"{self._owner} waits for {sender!r}; there are {', '.join(self._boxes)}")
        box, deadline = self._boxes[sender], time.monotonic() + self._seconds
        with self._changed:
            self.waiting_for = sender
            while not box or box[0].stage != self._stage:
                self._check(sender)
                if not self._changed.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    where = self._stages[self._stage]
                    raise Silent(
                        f"{self._owner} waits for {sender} in {where}: nothing came in {self._seconds:g} s", sender
                    )
            self.waiting_for = None
            self.taken += 1
            return box.popleft()

    def _check(self, sender: str) -> None:
        """Raise where what is waited for cannot come."""
        if self._broken is not None:
            raise self._broken
        where = self._stages[self._stage]
        if self._ended[sender] >= self._stage or (self._boxes[sender] and self._boxes[sender][0].stage > self._stage):
            raise Silent(f"{self._owner} waits for {sender} in {where}, which has ended its part of it", sender)

    def enter(self, stage: int) -> None:
        """Begin a stage: senders that ran ahead may go on.

        Raises:
            RuntimeError: messages of the stage before were not taken.
        """
        with self._changed:
            self._finish()
            self._stage = stage
            self._changed.notify_all()

    def finish(self) -> None:
        """End the last stage.

        Raises:
            RuntimeError: messages were not taken.
        """
        with self._changed:
            self._finish()

    def _finish(self) -> None:
        left = [sender for sender, box in self._boxes.items() if box and box[0].stage <= self._stage]
        if left:
            raise RuntimeError(f"{self._owner} did not read what came from {', '.join(left)}")

    def ended(self, sender: str, stage: int) -> None:
        """Take note that a party has played a stage to its end, and that all it sent in it has been let in."""
        with self._changed:
            self._ended[sender] = max(self._ended[sender], stage)
            self._changed.notify_all()

    def break_off(self, error: Exception) -> None:
        """Let whoever waits fail with this error."""
        with self._changed:
            self._broken = self._broken or error
            self._changed.notify_all()

    def raise_if_broken(self) -> None:
        """Raise what :meth:`break_off` was given."""
        if self._broken is not None:
            raise self._broken
