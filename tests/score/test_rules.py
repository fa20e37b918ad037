"""The examples of leaderboard/RULES.md, with their numbers, computed by the board's own code."""

from pathlib import Path

import outsourced_boards
import pytest
import vertical_boards
from boards import by_defense, hand, record

from fl_attack_bench import score
from fl_attack_bench.score import pareto
from fl_attack_bench.score.estimates import RESAMPLES, bootstrap
from fl_attack_bench.score.gate import judge
from fl_attack_bench.score.group import Group
from fl_attack_bench.score.identity import key
from fl_attack_bench.score.vertical.pareto import SHARE_TOLERANCE
from fl_attack_bench.submission import verify
from fl_attack_bench.suite import Gate, MethodSpec

RULES = " ".join(
    (Path(__file__).resolve().parents[2] / "leaderboard" / "RULES.md")
    .read_text(encoding="utf-8")
    .replace("> ", "")
    .split()
)


def example(number, *figures):
    """Asserts that an example is there and states these figures."""
    text = RULES.split(f"**Example {number}.**")[1].split("**Example")[0].split("##")[0]
    for figure in figures:
        assert figure in text, f"example {number} does not say {figure!r}"


def test_1_the_gate():
    example(1, "`dlg` breaks 4 of 4", "3 of 4 after training", "`idlg` 2 of 4", "`weak` 1 of 4")
    gated = judge(Group(hand()))
    shares = {
        (name, moment): gated.shares[key(MethodSpec(name=name)), moment]
        for name in ("dlg", "idlg", "weak")
        for moment in ("initial", "trained")
    }
    assert list(shares.values()) == [4 / 4, 3 / 4, 2 / 4, 0, 1 / 4, 0]
    passed = {place for place in shares if gated.passes(key(MethodSpec(name=place[0])), place[1])}
    assert passed == {("dlg", "initial"), ("dlg", "trained"), ("idlg", "initial")}


def test_the_gates_defaults_are_the_stated_ones():
    gate = Gate()
    assert (gate.mse, gate.share, gate.advantage, gate.main_loss) == (0.01, 0.5, 0.5, 0.05)
    for text in ("below 0.01", "at least half of the undefended images", "at least half of what", "at most 5 points"):
        assert text in RULES


def test_2_the_worst_case():
    example(2, "0.02, 0.20, 0.40, 0.04: mean 0.165, median 0.12", "After training the mean is 0.25", "figure is 0.165")
    row = by_defense(hand())["noise"]
    assert row.privacy.mean.value == pytest.approx((0.02 + 0.20 + 0.40 + 0.04) / 4) == pytest.approx(0.165)
    assert row.privacy.median.value == pytest.approx((0.04 + 0.20) / 2) == pytest.approx(0.12)
    assert [one.mean.value for one in row.moments] == pytest.approx([0.165, 0.25])
    assert not any(one.passed for one in row.attacks if one.attack == "weak")


def test_3_a_vertical_task():
    example(3, "1.0 and 0.8", "0.4 and 0.5", "floor of 0.02", "0.3 and 0.5", "0.9 and 0.9", "success is 0.4")
    backdoor = vertical_boards.rows(vertical_boards.hand())["noise"].backdoor
    assert (backdoor.attack, backdoor.figures.success.mean) == ("strong", pytest.approx((0.3 + 0.5) / 2))
    advantage = ((0.4 - 0.02) / (1 - 0.02) + (0.5 - 0.02) / (1 - 0.02)) / 2
    mild = {one.attack: one for one in vertical_boards.rows(vertical_boards.hand())["noise"].backdoors}["mild"]
    assert mild.advantage == pytest.approx(advantage)
    assert advantage < 0.5
    assert not mild.passed
    assert mild.figures.success.mean == pytest.approx(0.9)


def test_4_an_outsourced_task():
    example(4, "0.06 and 0.08", "0.04, 0.02, 0.01, 0.05: mean 0.03")
    row = outsourced_boards.rows(outsourced_boards.hand())["hiding"]
    assert row.privacy.mean.value == pytest.approx((0.04 + 0.02 + 0.01 + 0.05) / 4) == pytest.approx(0.03)
    assert row.privacy.blind == pytest.approx((0.06 + 0.08) / 2)


def test_5_intervals():
    example(5, "contains 0.165, lies within 0.02 and 0.40")
    assert f"{RESAMPLES:,} bootstrap means" in RULES
    mean = by_defense(hand())["noise"].privacy.mean
    assert 0.02 <= mean.low < 0.165 < mean.high <= 0.40
    assert mean == by_defense(hand())["noise"].privacy.mean
    alike, _ = bootstrap([[0.2, 0.2], [0.2, 0.2]])
    assert (alike.low, alike.value, alike.high) == pytest.approx((0.2, 0.2, 0.2))


def test_6_failures():
    example(6, "With one `dlg` cell timed out, or left out, it is incomplete and unmarked")
    assert by_defense(hand())["noise"].pareto

    def without(attack):
        return [
            one
            for one in hand()
            if (one.cell.defense.name, one.cell.attack.name, one.cell.seed) != ("noise", attack, 0)
        ]

    timed_out = record("noise", "dlg", 0, status="timeout", reason="took 20 minutes")
    for records in (without("dlg"), [*without("dlg"), timed_out]):
        row = by_defense(records)["noise"]
        assert (row.complete, row.pareto, len(row.failures)) == (False, False, 1)
    row = by_defense(without("weak"))["noise"]
    assert (row.complete, row.pareto, row.privacy) == (True, True, by_defense(hand())["noise"].privacy)


@pytest.mark.parametrize(
    ("better", "said", "wins"),
    [
        ({"initial": [0.2019, 0.2019], "trained": [0.3, 0.3]}, "MSE 0.2019 is a tie", False),
        ({"initial": [0.2021, 0.2021], "trained": [0.3, 0.3]}, "0.2021 wins", True),
        ({"accuracy": 0.801}, "Accuracy 0.801 is a tie", False),
        ({"accuracy": 0.8011}, "0.8011 wins", True),
        ({"up": 99.0}, "99 bytes up win", True),
        (
            {"initial": [0.1985, 0.1985], "accuracy": 0.7992, "up": 50.0},
            "MSE 0.1985, accuracy 0.7992 and 50 bytes",
            True,
        ),
        ({"initial": [0.197, 0.197], "accuracy": 0.7992, "up": 50.0}, "With MSE 0.197 it does not", False),
    ],
)
def test_7_ties(better, said, wins):
    example(7, said)
    alike = {"initial": [0.2, 0.2], "trained": [0.2, 0.2], "accuracy": 0.8, "up": 100.0}
    # an undefended row that nobody competes with: it is broken and as costly
    undefended = record("none", "dlg", 0, [0, 0], [0, 0], 0.5, up=200.0)
    table = by_defense([undefended, record("b", **alike), record("a", **alike | better)])
    assert score.dominates(table["a"], table["b"]) is wins
    assert not score.dominates(table["b"], table["a"])
    assert (table["a"].pareto, table["b"].pareto) == (True, not wins)


def test_8_a_stronger_attack():
    example(8, "0.02, 0.05, 0.05, 0.04", "falls from 0.165 to 0.04", "0.165 would stand")

    def sharp(undefended):
        found = [record("none", "sharp", seed, undefended, [0.3, 0.3], 0.9 - 0.1 * seed) for seed in (0, 1)]
        return found + [
            record("noise", "sharp", seed, [0.05, 0.05], [0.3, 0.3], accuracy, up=50.0, seconds=1.05)
            for seed, accuracy in ((0, 0.85), (1, 0.81))
        ]

    row = by_defense([*hand(), *sharp([0.001, 0.001])])["noise"]
    assert row.privacy.mean.value == pytest.approx((0.02 + 0.05 + 0.05 + 0.04) / 4) == pytest.approx(0.04)
    assert by_defense([*hand(), *sharp([0.3, 0.3])])["noise"].privacy.mean.value == pytest.approx(0.165)
    spared = [
        record("spared", attack, seed, [0.5, 0.5], [0.5, 0.5], 0.8)
        for attack in ("dlg", "idlg", "weak")
        for seed in (0, 1)
    ]
    assert by_defense([*hand(), *spared])["spared"].complete
    assert not by_defense([*hand(), *spared, *sharp([0.001, 0.001])])["spared"].complete


def test_the_stated_tolerances_are_those_of_the_code():
    for row in (
        f"| MSE | {pareto.MSE_TOLERANCE:.0%} |",
        f"| accuracy | {pareto.ACCURACY_TOLERANCE * 100:g} points |",
        f"| backdoor success, labels inferred | {SHARE_TOLERANCE * 100:g} point |",
        f"| seconds, on each link that both rows have | {pareto.SECONDS_TOLERANCE:.0%} (",
        f"within {verify.TOLERANCE:.0%} of the larger one or {verify.FLOOR:.4f}, whichever is more",
    ):
        assert row in RULES
