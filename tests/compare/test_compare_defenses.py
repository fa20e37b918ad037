"""Defenses side by side on all three tracks, against boards worked out by hand."""

import csv
import io

import boards
import numpy as np
import outsourced_records
import pytest
import vertical_boards
from outsourced_records import inputs, learned

from fl_attack_bench import notation, score
from fl_attack_bench.cli.compare import _csv, _json, _table
from fl_attack_bench.compare import compare
from fl_attack_bench.compare.defenses import narrow
from fl_attack_bench.compare.written import rows
from fl_attack_bench.errors import UserError

WHERE = outsourced_records.task()


def asked(*names):
    return [notation.parse(name) for name in names]


def lines(comparison):
    return {measure.name: line for measure, line in comparison.lines.items()}


def outsourced():
    found = []
    for seed in (0, 1):
        for defense, shift in (("none", 0.0), ("ring", 0.03)):
            for attack, extra in (("a", 0.0), ("b", 0.01)):
                mses = (shift + extra + 0.01 * seed, shift + 0.02 - extra)
                told = {"inputs": inputs(*mses), "learned": learned(0.9 - shift)}
                found.append(outsourced_records.record(WHERE, defense, attack, seed, **told))
    return found


def test_the_worst_case_of_each_image_is_paired():
    (found,) = compare(boards.hand(), asked("none", "noise"))
    first, noise = lines(found)["reconstruction MSE"]
    assert noise.figure.value == pytest.approx(0.165)
    assert noise.figure.samples == {(0, 7, 0): 0.02, (0, 3, 0): 0.20, (1, 7, 0): 0.40, (1, 3, 0): 0.04}
    undefended = {(0, 7, 0): 0.001, (0, 3, 0): 0.002, (1, 7, 0): 0.001, (1, 3, 0): 0.002}
    assert first.figure.samples == undefended
    apart = [0.11 - 0.0015, 0.22 - 0.0015]
    assert noise.difference.value == pytest.approx(np.mean(apart))
    assert noise.difference.pairs == 4
    assert noise.word == "within seed noise"
    assert lines(found)["test accuracy"][1].difference.value == pytest.approx(-0.02)
    assert lines(found)["bytes a round"][1].times == 0.75
    assert lines(found)["bytes a round"][1].word == "better"
    assert lines(found)["seconds a round, lan"][1].word == "within timing noise"


@pytest.mark.parametrize(
    ("records", "scored"),
    [
        (boards.hand, lambda found: {row.defense: row.privacy.mean.value for row in score.rows(found)}),
        (
            vertical_boards.hand,
            lambda found: {row.defense: row.features.figures.mse.mean for row in score.vertical_rows(found)},
        ),
        (outsourced, lambda found: {row.defense: row.privacy.mean.value for row in score.outsourced_rows(found)}),
    ],
    ids=["horizontal", "vertical", "outsourced"],
)  # fmt: skip
def test_the_samples_are_those_that_the_board_takes_the_mean_of(records, scored):
    found = records()
    others = [name for name in scored(found) if name != "none"]
    (comparison,) = compare(found, asked("none", *others))
    measure = next(measure for measure in comparison.lines if measure.unit == "mse")
    for side in comparison.sides:
        figure = side.figures[measure]
        assert figure.value == pytest.approx(scored(found)[side.row.defense])
        assert np.mean(list(figure.samples.values())) == pytest.approx(figure.value)
        assert len(figure.samples) == 4


def test_a_vertical_board():
    (found,) = compare(vertical_boards.hand(), asked("none", "noise"))
    backdoor = lines(found)["backdoor success"]
    assert [one.figure.samples for one in backdoor] == [{(0,): 1.0, (1,): 0.8}, {(0,): 0.3, (1,): 0.5}]
    assert backdoor[1].difference.value == pytest.approx(-0.5)
    assert lines(found)["test accuracy"][1].difference.value == pytest.approx(-0.05)
    assert lines(found)["test accuracy"][1].word == "worse"  # by as much on each seed


def test_victims_of_different_moments_are_never_paired():
    seen = {"inputs": inputs(0.01, 0.02, moment="training")}
    records = [*outsourced(), *(outsourced_records.record(WHERE, "late", "a", seed, **seen) for seed in (0, 1))]
    (found,) = compare(records, asked("none", "late"))
    assert lines(found)["input MSE, inference"][1].word == lines(found)["input MSE, training"][1].word == "no pairs"


def planted(loss, noise, seeds=5):
    rng = np.random.default_rng(3)
    found = []
    for seed in range(seeds):
        level, other = 0.9 + 0.02 * rng.normal(), 0.2 + 0.1 * rng.random()
        for name, less in (("none", 0.0), ("d", loss)):
            mses = [0.001, 0.001] if name == "none" else [other, other]
            accuracy = min(1.0, level - less + noise * rng.normal())
            found.append(boards.record(name, "dlg", seed, mses, mses, accuracy))
    return found


def test_pairing_by_seed_finds_a_loss_that_the_spread_over_seeds_hides():
    (found,) = compare(planted(0.02, 0.002), asked("none", "d"))
    accuracy = lines(found)["test accuracy"]
    assert accuracy[1].word == "worse"
    assert accuracy[0].figure.low < accuracy[1].figure.value  # unpaired, the intervals overlap
    assert lines(found)["reconstruction MSE"][1].word == "better"
    (found,) = compare(planted(0.0, 0.002), asked("none", "d"))
    assert lines(found)["test accuracy"][1].word == "within seed noise"


def test_one_seed_is_said_to_tell_nothing():
    (found,) = compare([one for one in boards.hand() if one.cell.seed == 0], asked("none", "noise"))
    assert lines(found)["reconstruction MSE"][1].word == "one seed, cannot tell"


def test_a_name_stands_for_all_of_its_entries_in_the_order_they_were_named():
    records = [
        *boards.hand(),
        *(boards.record("clip", "dlg", seed, [0.1, 0.1], [0.1, 0.1], parameters={"norm": norm}) for seed in (0, 1)
          for norm in (1.0, 2.0)),
    ]  # fmt: skip
    (found,) = compare(records, asked("noise", "clip", "none"))
    assert [side.row.defense for side in found.sides] == ["noise", "clip[norm=1.0]", "clip[norm=2.0]", "none"]
    (found,) = compare(records, asked("clip[norm=2.0]", "noise"))
    assert [side.row.defense for side in found.sides] == ["clip[norm=2.0]", "noise"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["none", "nois"], "the records: unknown defense 'nois'; did you mean 'noise'?"),
        (["none", "noise[scale=1]"], "unknown defense 'noise\\[scale=1\\]'"),
        (["none", "none"], "none: one defense; name at least two"),
    ],
)
def test_names_that_do_not_do(names, message):
    with pytest.raises(UserError, match=message):
        compare(boards.hand(), asked(*names))


def test_without_a_task_in_common():
    apart = [boards.record("noise", "dlg", 0, [0.1, 0.1], task=boards.UNTRAINED)]
    own = [boards.record("none", "dlg", 0, [0.1, 0.1], [0.1, 0.1])]
    with pytest.raises(UserError, match="no task on which none and another of the defenses have records"):
        compare([*own, *apart], asked("none", "noise"))


def test_narrowing():
    left = narrow(boards.hand(), attack="dlg")
    assert {record.cell.attack.name for record in left} == {"dlg"}
    (found,) = compare(left, asked("none", "noise"))
    assert lines(found)["reconstruction MSE"][1].figure.samples[0, 3, 0] == 0.3  # idlg came closer
    for option in ("task", "attack", "hardware"):
        with pytest.raises(UserError, match=r"the records: unknown .* 'nothing'"):
            narrow(boards.hand(), **{option: "nothing"})


def test_rows_for_programs_and_the_table_for_people():
    found = compare(boards.hand(), asked("none", "noise"))
    told = list(csv.DictReader(io.StringIO(_csv(found))))
    plain = list(rows(found))
    assert len(told) == len(plain) == 10
    assert [row["verdict"] for row in told if row["measure"] == "bytes a round"] == ["first", "better"]
    mse = next(row for row in told if row["measure"] == "reconstruction MSE" and row["defense"] == "noise")
    assert float(mse["value"]) == pytest.approx(0.165)
    assert (mse["unit"], mse["better"], mse["pairs"], mse["seeds"]) == ("mse", "higher", "4", "2")
    assert '"verdict": "within seed noise"' in _json(found)
    table = _table(found)
    assert "digits, suite hand version 1, on cpu" in table
    assert "reconstruction MSE ↑" in table
    assert "−2.0 points" in table
    assert "0.75×, better" in table
