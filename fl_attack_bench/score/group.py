"""The records of one task, sorted out by defense, attack and moment."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from fl_attack_bench.record import Reconstructed, Record, VictimScore
from fl_attack_bench.score.identity import attack_label, key, started
from fl_attack_bench.score.soundness import fault
from fl_attack_bench.score.triple import Moment
from fl_attack_bench.suite import Task

Image = tuple[int, int, int]  # seed, the sample's id, and how often the id stood before: a partition may deal it twice


class Group:
    """All records of one suite version, hardware profile and task, one record a cell.

    Attributes:
        task: theirs, with the published figures of the latest record.
        seeds: rising.
        attacks: label by key; none without an attack on a task where something is attacked.
        specs: the attacks by key, as the suite wrote them.
        faults: by cell id, why a record cannot be true.
        defenses: each one's records by seed and attack; the undefended federation first, then by label.
        undefended: the undefended federation's records; empty where there are none.
        imaging: keys of the attacks that reconstruct images, as far as the records show.
        inferring: of those that returned something else only.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.task = _task(records)
        self.seeds = tuple(sorted({record.cell.seed for record in records}))
        self.attacks = {key(spec): attack_label(spec) for spec in (record.cell.attack for record in records)}
        self.specs = {key(spec): spec for spec in (record.cell.attack for record in records) if spec is not None}
        if self.task.attacked:
            self.attacks.pop(key(None), None)
        self.defenses = _by_defense(records)
        first = self.defenses[0]
        self.undefended = first if first[0].cell.defense.is_baseline else []
        self.faults = {record.cell_id: reason for record in records if (reason := fault(record))}
        self.faults |= _strangers(self.undefended, self.sound(records))
        done = [record for record in self.sound(records) if record.status == "ok" and record.reconstructed]
        self.imaging = frozenset(key(record.cell.attack) for record in done if _images(record))
        self.inferring = frozenset(key(record.cell.attack) for record in done) - self.imaging

    def attacks_by_label(self) -> list[str]:
        """The attacks' keys, sorted by label."""
        return sorted(self.attacks, key=lambda attack: (self.attacks[attack], attack))

    def sound(self, played: Iterable[Record]) -> list[Record]:
        """Those of the records that can be true, whatever their status."""
        return [record for record in played if record.cell_id not in self.faults]

    def reconstructed(self, played: Iterable[Record], attack: str, moment: Moment) -> dict[int, Reconstructed]:
        """By seed, rising, what one attack, given by its key, made of the victims at one moment."""
        found = {
            record.cell.seed: done
            for record in self.sound(played)
            if record.status == "ok" and key(record.cell.attack) == attack
            for done in record.reconstructed
            if done.moment == moment
        }
        return {seed: found[seed] for seed in sorted(found)}

    def victim_scores(self, played: Iterable[Record], attack: str, moment: Moment) -> dict[Image, VictimScore]:
        """Scores by image of one attack, given by its key, at one moment."""
        return {
            (seed, *place): score
            for seed, done in self.reconstructed(played, attack, moment).items()
            for place, score in _placed(done.victims)
        }


def _placed(scores: Iterable[VictimScore]) -> Iterator[tuple[tuple[int, int], VictimScore]]:
    seen: Counter[int] = Counter()
    for score in scores:
        yield (score.victim, seen[score.victim]), score
        seen[score.victim] += 1


def _task(records: Iterable[Record]) -> Task:
    """The undefended federation's latest record's, if there is one: whoever adds a defense adds no paper's figures."""
    found = list(records)
    found = [record for record in found if record.cell.defense.is_baseline] or found
    return max(found, key=lambda record: (started(record), record.cell_id)).cell.task


def _images(record: Record) -> list[list[int]]:
    """The images' ids at each moment at which there are any, sorted."""
    if record.status != "ok":
        return []
    return [sorted(score.victim for score in done.victims) for done in record.reconstructed if done.victims]


def _strangers(undefended: Iterable[Record], records: Iterable[Record]) -> dict[str, str]:
    """Records that hold other images than the undefended federation's of the same seed.

    A task that names its victims is checked against those names; where the partition deals them, by the seed, only
    other records tell which they are.
    """
    expected: dict[int, list[int]] = {}
    for record in undefended:
        for held in _images(record)[:1]:
            expected.setdefault(record.cell.seed, held)
    return {
        record.cell_id: "its images are not those of the undefended federation's record of the same seed"
        for record in records
        if any(held != expected.get(record.cell.seed, held) for held in _images(record))
    }


def _by_defense(records: Iterable[Record]) -> list[list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (record.cell.seed, key(record.cell.attack))):
        found[key(record.cell.defense)].append(record)
    specs = {name: same[0].cell.defense for name, same in found.items()}
    order = sorted(specs, key=lambda name: (not specs[name].is_baseline, specs[name].label, name))
    return [found[name] for name in order]
