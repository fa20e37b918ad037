"""A page for each paper: its methods on this board, and what it published beside what is measured here."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fl_attack_bench import score
from fl_attack_bench.record import Record
from fl_attack_bench.score.board_row import BoardRow
from fl_attack_bench.score.outsourced import published as outsourced_published
from fl_attack_bench.score.vertical import published as vertical_published
from fl_attack_bench.site import attack_pages, contents, formats, references
from fl_attack_bench.site.cards import latest_method
from fl_attack_bench.site.contents import Contents, Scene
from fl_attack_bench.suite import MethodSpec
from fl_attack_bench.tasks.base import Published

Place = tuple[str, int]  # a task's identity and the place of a figure among its published ones
# What each quantity is called, and which way is better for a defense.
QUANTITIES = {
    "mse": ("MSE", "↑"),
    "accuracy": ("Test accuracy", "↑"),
    "label_accuracy": ("Labels inferred", "↓"),
    "backdoor": ("Backdoor success", "↓"),
    "correlation": ("Correlation of representations", "↓"),
    "seconds": ("Seconds", "↓"),
    "bytes": ("Bytes", "↓"),
}
MULTIPLIED = frozenset({"mse", "seconds", "bytes"})  # compared by their ratio, the others by their difference


@dataclass(frozen=True)
class MethodOf:
    """A method of a paper.

    Args:
        kind: of method.
        path: its page.
        name: as suites name it.
        title: what a person calls it.
        link: its paper's address; empty where its card holds none that a page may carry.
        suites: in which it was played, with their versions.
    """

    kind: Literal["attack", "defense"]
    path: str
    name: str
    title: str
    link: str
    suites: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """A published figure beside ours on one machine.

    Args:
        published: as the task names it.
        scene: the task's rows.
        place: the same of one figure on several machines, or at several moments.
        row: of ours; None where nobody here plays the defense.
        attack: the page of the attack that it names; empty where it names none that is played.
        ours: mean over seeds in the figure's unit; None where the records hold none.
        moment: of the training; None for one of the whole training.
        ahead: of bytes, those that are sent ahead of the data.
    """

    published: Published
    scene: Scene[Any]
    place: Place
    row: BoardRow | None
    attack: str
    ours: float | None
    moment: str | None = None
    ahead: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours to the published one; None where there is none, or where the two are compared by their difference."""
        if self.published.quantity not in MULTIPLIED or self.ours is None or not self.published.value:
            return None
        return self.ours / self.published.value

    @property
    def difference(self) -> float | None:
        """Ours less the published one; None likewise."""
        if self.published.quantity in MULTIPLIED or self.ours is None:
            return None
        return self.ours - self.published.value

    @property
    def told(self) -> str:
        """The ratio or the difference, with its unit."""
        if self.published.quantity in MULTIPLIED:
            return formats.NOTHING if self.ratio is None else f"{formats.plain(self.ratio)}×"
        if self.published.quantity == "correlation" and self.difference is not None:
            text = f"{self.difference:+.3f}".replace("-", formats.MINUS)
            return text[1:] if text[1:] == "0.000" else text
        return formats.points(self.difference) + ("" if self.difference is None else " points")


@dataclass(frozen=True)
class PaperPage:
    """A paper with its methods and figures.

    Args:
        path: file name.
        title: what the sources call it, else a short form of its address.
        link: its address; empty where no record tells one.
        citations: what sources call it.
        methods: those that were played here, attacks first.
        pairs: its figures beside ours, by task, machine and the task's order.
    """

    path: str
    title: str
    link: str
    citations: tuple[str, ...]
    methods: tuple[MethodOf, ...]
    pairs: tuple[Pair, ...]

    @property
    def name(self) -> str:
        """What tells it from other papers: its address, else what it is called."""
        return self.link or self.title

    @property
    def suites(self) -> tuple[str, ...]:
        """Suites in which its methods were played, or whose tasks hold its figures."""
        told = {f"{pair.scene.suite} v{pair.scene.version}" for pair in self.pairs}
        return tuple(sorted(told.union(*(method.suites for method in self.methods))))

    @property
    def published(self) -> int:
        """How many figures of it tasks hold."""
        return len({pair.place for pair in self.pairs})

    @property
    def measured(self) -> int:
        """Beside how many of them stands a figure of ours."""
        return len({pair.place for pair in self.pairs if pair.ours is not None})


def pages(board: Contents) -> tuple[PaperPage, ...]:
    """One page a paper: those with published figures first, then by title."""
    methods = [*_attacks(board), *_defenses(board)]
    cited: dict[str, list[Pair]] = {}
    links: dict[str, str] = {}  # by citation, an address that one of its sources holds
    names: dict[str, str] = {}
    for pair in _pairs(board):
        name = references.citation(pair.published.source)
        cited.setdefault(name.casefold(), []).append(pair)
        names.setdefault(name.casefold(), name)
        if link := references.addressed(pair.published.source):
            links[name.casefold()] = link
    found: dict[str, list[str]] = {method.link: [] for method in methods if method.link}
    own = _Methods(methods, board)
    for citation, pairs in sorted(cited.items()):
        link = links.get(citation) or references.paper_of(names[citation], own.named(pairs), own.called)
        found.setdefault(link or citation, []).append(citation)
    made = [
        _page(identity, [names[one] for one in citations], [p for one in citations for p in cited[one]], methods)
        for identity, citations in found.items()
    ]
    return tuple(sorted(made, key=lambda page: (not page.pairs, page.title.casefold(), page.name)))


def path(link: str) -> str:
    """File name of the page of a paper by its address."""
    link = references.address(link)
    return formats.page_name("paper", references.name(link), link)


def amount(quantity: str, value: float) -> str:
    """A figure with its unit."""
    if quantity in ("seconds", "bytes"):
        return formats.seconds(value) if quantity == "seconds" else formats.size(value)
    if quantity == "mse":
        return formats.mse(value)
    return formats.number(value, 3) if quantity == "correlation" else formats.percent(value)


def _page(identity: str, citations: list[str], pairs: list[Pair], methods: list[MethodOf]) -> PaperPage:
    link = references.address(identity)
    own = tuple(method for method in methods if link and method.link == link)
    title = " / ".join(citations[:3]) or references.name(link)
    return PaperPage(
        path(link) if link else formats.page_name("paper", title, f"cited: {identity}"),
        title,
        link,
        tuple(citations),
        own,
        tuple(sorted(pairs, key=lambda pair: (pair.scene.label, pair.scene.hardware, pair.place))),
    )


class _Methods:
    """Which addresses the methods that a figure names have."""

    def __init__(self, methods: list[MethodOf], board: Contents) -> None:
        linked = [method for method in methods if method.link]
        self.called = {_family(method.name).casefold(): method.link for method in reversed(linked)}
        self.links = {(method.kind, method.name): method.link for method in linked}
        self.attacks = {
            record.cell.attack.label: record.cell.attack.name for record in board.records.values() if record.cell.attack
        }

    def named(self, pairs: list[Pair]) -> list[set[str]]:
        """Of each figure, those of its attack and its defense; the undefended federation tells nothing."""
        found = []
        for pair in pairs:
            links = {self.links.get(("attack", self.attacks.get(pair.published.attack or "", "")))}
            if pair.row is not None and not pair.row.baseline:
                links.add(self.links.get(("defense", pair.row.spec.name)))
            found.append({link for link in links if link})
        return found


def _family(name: str) -> str:
    return MethodSpec(name=name).family


def _attacks(board: Contents) -> list[MethodOf]:
    played: dict[str, list[Record]] = {}
    for record in board.records.values():
        if record.cell.attack is not None and record.attack is not None:
            played.setdefault(record.cell.attack.name, []).append(record)
    found = []
    for name, records in sorted(played.items()):
        latest = latest_method(records)
        suites = tuple(sorted({f"{record.cell.suite} v{record.cell.suite_version}" for record in records}))
        spec = MethodSpec(name=name)
        title = latest.title if latest and latest.title else spec.family
        link = references.address(latest.paper) if latest else ""
        found.append(MethodOf("attack", attack_pages.path(spec), name, title, link, suites))
    return found


def _defenses(board: Contents) -> list[MethodOf]:
    """Single ones: the card of a chain speaks for none of its links."""
    return [
        MethodOf(
            "defense",
            page.path,
            page.name,
            page.title,
            references.address(page.method.paper) if page.method else "",
            tuple(sorted({f"{row.suite} v{row.suite_version}" for row in page.everything})),
        )
        for page in board.defenses
        if not page.everything[0].spec.links
    ]


def _pairs(board: Contents) -> Iterator[Pair]:
    """Every published figure on every machine, beside ours."""
    attacks = attack_pages.paths(board)
    for scene in board.scenes:
        for place, told in enumerate(score.published(scene.rows)):
            for ours in told.ours or (None,):
                value, moment = (ours.value, ours.moment) if ours else (None, None)
                yield _pair(scene, place, told.published, attacks, value, moment=moment)
    for vertical in board.vertical_scenes:
        for place, told in enumerate(vertical_published(vertical.rows)):
            yield _pair(vertical, place, told.published, attacks, told.ours[0].value if told.ours else None)
    for outsourced in board.outsourced_scenes:
        for place, one in enumerate(outsourced_published(outsourced.rows)):
            yield _pair(outsourced, place, one.published, attacks, one.ours, row=one.row, ahead=one.ahead)


def _pair(
    scene: Scene[Any],
    place: int,
    published: Published,
    attacks: Mapping[str, str],
    ours: float | None,
    *,
    row: BoardRow | None = None,
    **more: Any,
) -> Pair:
    found = row or next((one for one in scene.rows if one.defense == published.defense), None)
    finite = ours if ours is not None and math.isfinite(ours) else None
    where = (contents.task_identity(scene.rows[0]), place)
    return Pair(published, scene, where, found, attacks.get(published.attack or "", ""), finite, **more)
