"""The records of one horizontal task, sorted out by defense, attack and moment."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from fl_attack_bench.record import Reconstructed, Record, VictimScore
from fl_attack_bench.score.identity import key
from fl_attack_bench.score.soundness import fault
from fl_attack_bench.score.task_records import TaskRecords
from fl_attack_bench.score.triple import Moment
from fl_attack_bench.tasks import HorizontalTask

Image = tuple[int, int, int]  # seed, the sample's id, and how often the id stood before: a partition may deal it twice


class Group(TaskRecords[HorizontalTask]):
    """All records of one suite version, hardware profile and horizontal task, one record a cell.

    Attributes:
        imaging: keys of the attacks that reconstruct images, as far as the records show.
        inferring: of those that returned something else only.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__(records, HorizontalTask, fault)
        self.faults |= _strangers(self.undefended, self.sound(records))
        done = [record for record in self.sound(records) if record.status == "ok" and record.reconstructed]
        self.imaging = frozenset(key(record.cell.attack) for record in done if _images(record))
        self.inferring = frozenset(key(record.cell.attack) for record in done) - self.imaging

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
