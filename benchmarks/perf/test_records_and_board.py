"""Writing, reading, scoring and showing records: synthetic ones with eight victims each, as the site's tests make them.

``build`` makes a record of plain data, as a run does; ``write`` stores one with its pictures. ``read`` is of 1,000
records. ``score`` takes 1,000 rows, a record each: of a hundred tasks with ten defenses, and of a single task, in which
every row is held against every other. ``board`` renders two tasks with two attacks, nine defenses and six seeds, about
200 records, with all pages, figures and pictures.
"""

import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from measured import repeated
from pytest_benchmark.fixture import BenchmarkFixture

from fl_attack_bench import score, site
from fl_attack_bench.record import Record
from fl_attack_bench.store import Store

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "site"))
import synthetic

ROWS, BASELINE = 1000, synthetic.DEFENSES[0]


def made(tasks: int) -> list[Record]:
    """A thousand records of one row each: the same number of defenses on each task, no defense among them."""
    noise = [("gaussian_noise", {"scale": 1 + number / ROWS}, *synthetic.DEFENSES[1][2:]) for number in range(ROWS)]
    defenses = [BASELINE, *noise][: ROWS // tasks]
    places = [synthetic.task(f"digits-{number}") for number in range(tasks)]
    return [synthetic.record(place, defense) for place in places for defense in defenses]


@dataclass(frozen=True)
class Stored:
    """Records, and the folder that holds them."""

    records: list[Record]
    store: Store


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    found = Stored(made(100), Store(tmp_path_factory.mktemp("store")))
    for one in found.records:
        found.store.put(one)
    return found


def test_build(benchmark: BenchmarkFixture) -> None:
    plain = synthetic.record(synthetic.task()).model_dump(mode="json")
    repeated(benchmark, lambda: Record.model_validate(plain))


def test_write(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    one, store = synthetic.record(synthetic.task(), folder=tmp_path / "pictures"), Store(tmp_path / "store")
    repeated(benchmark, lambda: store.put(one, tmp_path / "pictures" / "reconstructions.npz"))


def test_read(benchmark: BenchmarkFixture, stored: Stored) -> None:
    repeated(benchmark, stored.store.load)
    found, warnings = stored.store.load()
    assert (len(found), warnings) == (ROWS, [])


@pytest.mark.parametrize("tasks", [100, 1])
def test_score(benchmark: BenchmarkFixture, stored: Stored, tasks: int) -> None:
    records = stored.records if tasks == 100 else made(tasks)
    repeated(benchmark, lambda: score.rows(records))
    assert len(score.rows(records)) == ROWS


def test_board(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    tasks, numbers = (synthetic.task(), synthetic.task("digits-lenet", model="lenet5")), count()
    records, pictures = synthetic.board(tmp_path / "pictures", 6, tasks, attacks=("dlg", "idlg"))
    benchmark.extra_info["records"] = len(records)
    repeated(benchmark, lambda: site.build(records, pictures, tmp_path / f"site-{next(numbers)}"))
