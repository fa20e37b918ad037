"""The board's three tracks, each with a page of its own: what their figures measure differs, so nothing is compared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.outsourced.row import OutsourcedRow
from fl_attack_bench.score.row import Row
from fl_attack_bench.score.vertical.row import VerticalRow
from fl_attack_bench.site import formats
from fl_attack_bench.site.contents import Contents, Scene, TaskPage

Scenario = Literal["horizontal", "vertical", "outsourced"]
Heads = tuple[tuple[str, str], ...]  # what a figure is, and which way is better
MAX_FRONT = 8


@dataclass(frozen=True)
class Track:
    """A scenario with a page of its own.

    Args:
        scenario: its name.
        name: in the navigation.
        kicker: who holds what.
        title: what is attacked.
        told: the question that the track answers.
        heads: the three figures of the overview, and which way each is better.
        pages: its tasks.
    """

    scenario: Scenario
    name: str
    kicker: str
    title: str
    told: str
    heads: Heads
    pages: tuple[TaskPage[Any], ...]

    @property
    def path(self) -> str:
        """File name of its page."""
        return f"{self.scenario}.html"

    @property
    def scenes(self) -> tuple[Scene[Any], ...]:
        """Every task on every hardware profile."""
        return tuple(scene for page in self.pages for scene in page.scenes)

    @property
    def rows(self) -> tuple[BoardRow, ...]:
        """Those of all scenes."""
        return tuple(row for scene in self.scenes for row in scene.rows)


@dataclass(frozen=True)
class Highlight:
    """What the overview shows of a track: the Pareto front where most defenses compete.

    Args:
        track: the track.
        scene: the task and machine that is shown; None where no row has figures to compete with.
        counts: how much there is, each with a word.
    """

    track: Track
    scene: Scene[Any] | None
    counts: tuple[tuple[int, str], ...]

    @property
    def heads(self) -> Heads:
        """As the track's."""
        return self.track.heads

    @property
    def front(self) -> tuple[BoardRow, ...]:
        """The rows that nothing dominates."""
        return tuple(row for row in self.scene.rows if row.pareto) if self.scene else ()

    @property
    def shown(self) -> tuple[BoardRow, ...]:
        """The undefended for comparison, then the front, as far as it fits."""
        base = (self.scene.baseline,) if self.scene and self.scene.baseline else ()
        return (*base, *[row for row in self.front if not row.baseline][:MAX_FRONT])

    @property
    def behind(self) -> int:
        """How many rows are not on the front."""
        return len(self.scene.rows) - len(self.front) if self.scene else 0

    @property
    def left_out(self) -> int:
        """How many rows of the front have no room here."""
        return max(0, sum(not row.baseline for row in self.front) - MAX_FRONT)

    @property
    def embattled(self) -> bool:
        """Whether all its tasks are those of malicious clients."""
        return all(getattr(row.task, "adversary", "") == "clients" for row in self.track.rows)

    def figures(self, row: BoardRow) -> tuple[str, ...]:
        """The three figures of a row, in the order of ``heads``."""
        return FIGURES[self.track.scenario](row)


def tracks(board: Contents) -> tuple[Track, ...]:
    """Those that hold a task."""
    found = (
        Track(
            "horizontal",
            "Horizontal",
            "Horizontal: parties hold different samples",
            "Gradient leakage",
            "Clients send gradients in place of data. What does a curious server, or a malicious client, make of them?",
            (("MSE", "↑"), ("Accuracy", "↑"), ("Bytes", "↓")),
            board.tasks,
        ),
        Track(
            "vertical",
            "Vertical",
            "Vertical: parties hold different features of the same samples",
            "Backdoors and inferred labels",
            "Parties send embeddings and get gradients back. Can one of them plant a backdoor, or learn the labels?",
            (("Backdoor", "↓"), ("Accuracy", "↑"), ("Bytes", "↓")),
            board.vertical_tasks,
        ),
        Track(
            "outsourced",
            "Outsourced",
            "Outsourced: owners share their data out to parties that compute for them",
            "Shares, openings and outputs",
            "Nobody is sent the data as such. What does each party's view of the computation still give away?",
            (("MSE", "↑"), ("Accuracy", "↑"), ("Bytes", "↓")),
            board.outsourced_tasks,
        ),
    )
    return tuple(track for track in found if track.pages)


def highlight(track: Track, board: Contents) -> Highlight:
    """Choose what the overview shows: where most defenses compete, of those most variants, the first of equals."""
    competing = [[row.spec.name for row in scene.rows if _competes(row)] for scene in track.scenes]
    most = max(range(len(competing)), key=lambda place: (len(set(competing[place])), len(competing[place]), -place))
    attacks = {
        record.cell.attack.name
        for row in track.rows
        for record in (board.records[cell_id] for cell_id in row.records)
        if record.cell.attack
    }
    defenses = {row.spec.name for row in track.rows if not row.baseline}
    records = sum(len(row.records) for row in track.rows)
    counts = (len(defenses), "defense"), (len(attacks), "attack"), (len(track.pages), "task"), (records, "record")
    counted = tuple((number, what if number == 1 else f"{what}s") for number, what in counts)
    return Highlight(track, track.scenes[most] if competing[most] else None, counted)


def _competes(row: BoardRow) -> bool:
    return isinstance(row, Row | VerticalRow | OutsourcedRow) and row.competes


def _horizontal(row: BoardRow) -> tuple[str, ...]:
    assert isinstance(row, Row)
    return (
        formats.mse(row.privacy.mean.value if row.privacy else None),
        formats.percent(row.utility.accuracy if row.utility else None),
        formats.times(row.cost.round_times if row.cost else None),
    )


def _vertical(row: BoardRow) -> tuple[str, ...]:
    assert isinstance(row, VerticalRow)
    return (
        formats.percent(row.backdoor.figures.success.mean if row.backdoor else None),
        formats.percent(row.utility.accuracy if row.utility else None),
        formats.times(row.cost.epoch_times if row.cost else None),
    )


def _outsourced(row: BoardRow) -> tuple[str, ...]:
    assert isinstance(row, OutsourcedRow)
    return (
        formats.mse(row.privacy.mean.value if row.privacy else None),
        formats.percent(row.utility.accuracy if row.utility else None),
        formats.times(row.cost.inference.bytes_times if row.cost else None),
    )


FIGURES: dict[Scenario, Callable[[BoardRow], tuple[str, ...]]] = {
    "horizontal": _horizontal,
    "vertical": _vertical,
    "outsourced": _outsourced,
}
