"""A page for each attack: what it assumes, which defenses it breaks, and where it is the strongest."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fl_attack_bench.record import MethodUsed, Record
from fl_attack_bench.score.identity import key
from fl_attack_bench.site import contents, formats
from fl_attack_bench.site.cards import latest_method, shared
from fl_attack_bench.site.contents import Contents, Scene
from fl_attack_bench.site.contests import Contest, Track, Variant, contests, kinds, variants_of
from fl_attack_bench.suite import MethodSpec

# On horizontal tasks the task says who attacks, and a card need not.
_ADVERSARIES = {"images": "curious server", "clients": "malicious clients"}


@dataclass(frozen=True)
class AttackPage:
    """An attack with all its variants on all tasks.

    Args:
        path: file name.
        name: as suites name it.
        title: what a person calls it.
        method: as it was played last; None where no record says.
        parameters: those that all variants share, defaults included.
        variants: all of them, in numeric order.
        contests: by task and machine.
    """

    path: str
    name: str
    title: str
    method: MethodUsed | None
    parameters: Mapping[str, Any]
    variants: tuple[Variant, ...]
    contests: tuple[Contest, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it goes for, in a few words each."""
        return kinds(self.contests)

    @property
    def adversary(self) -> str:
        """Who plays it: as its card says, else who can on its tasks."""
        said = self.method.threat if self.method else ""
        return said or " or ".join(
            sorted({_ADVERSARIES[one.track] for one in self.contests if one.track in _ADVERSARIES})
        )

    @property
    def adaptive(self) -> tuple[bool, ...]:
        """Whether its variants are adaptive: both where there are both; empty where it knows no such choice."""
        return tuple(sorted({one.adaptive for one in self.variants if one.adaptive is not None}, reverse=True))

    @property
    def rules(self) -> tuple[str, ...]:
        """When a row counts as broken, on all tasks."""
        return tuple(dict.fromkeys(contest.rule for contest in self.contests))

    @property
    def judged(self) -> int:
        """Of how many defended rows can be said whether they are broken."""
        return sum(len(contest.judged) for contest in self.contests)

    @property
    def broken(self) -> int:
        """How many of them it breaks."""
        return sum(contest.broken for contest in self.contests)

    @property
    def met(self) -> int:
        """Against how many defended rows there is a result, whether or not it can be judged."""
        return sum(len(contest.defended) - contest.unplayed for contest in self.contests)

    @property
    def strongest(self) -> int:
        """On how many defended rows it is the strongest."""
        return sum(contest.strongest for contest in self.contests)


def pages(board: Contents) -> tuple[AttackPage, ...]:
    """One page for each attack of which the board has a record, whatever became of it, by title."""
    found: dict[str, list[Contest]] = {}
    for track, scene in _scenes(board):
        for contest in contests(track, scene, board.records):
            found.setdefault(contest.variants[0].spec.name, []).append(contest)
    made = [_page(name, met, board.records) for name, met in found.items()]
    return tuple(sorted(made, key=lambda page: (page.title.casefold(), page.name)))


def path(spec: MethodSpec) -> str:
    """File name of an attack's page. One given by path shares no page with a built-in one of its name."""
    return formats.page_name("attack", spec.family, spec.name)


def paths(board: Contents) -> dict[str, str]:
    """By an attack's label, as tables hold it, the file name of its page; labels of two attacks are left out."""
    found: dict[str, set[str]] = {}
    for record in board.records.values():
        if record.cell.attack is not None:
            found.setdefault(record.cell.attack.label, set()).add(path(record.cell.attack))
    return {label: next(iter(own)) for label, own in sorted(found.items()) if len(own) == 1}


def _scenes(board: Contents) -> Iterator[tuple[Track, Scene[Any]]]:
    for scene in board.scenes:
        yield ("clients" if scene.rows[0].task.adversary == "clients" else "images"), scene
    for vertical in board.vertical_scenes:
        yield "vertical", vertical
    for outsourced in board.outsourced_scenes:
        yield "outsourced", outsourced


def _page(name: str, met: Sequence[Contest], records: Mapping[str, Record]) -> AttackPage:
    played = [
        record
        for record in records.values()
        if record.attack and record.cell.attack and record.cell.attack.name == name
    ]
    specs = {key(one.spec): one.spec for contest in met for one in contest.variants}
    ordered = sorted(specs.values(), key=lambda spec: contents.in_order(spec.label))
    variants = variants_of(ordered, played)
    method = latest_method(played)
    title = method.title if method and method.title else ordered[0].family
    parameters = shared([one.method.parameters for one in variants if one.method])
    return AttackPage(path(ordered[0]), name, title, method, parameters, variants, tuple(met))
