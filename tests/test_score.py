"""Scoring against a board small enough to be worked out by hand, and against properties that must always hold."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench import score
from fl_attack_bench.record import (
    Cost,
    MethodUsed,
    Privacy,
    Provenance,
    Reconstructed,
    Record,
    Utility,
    VictimScore,
)
from fl_attack_bench.suite import Cell, Gate, MethodSpec, Task

TASK = Task.model_validate(
    {
        "name": "digits",
        "dataset": "digits",
        "model": "mlp",
        "victims": {"ids": [7, 3]},
        "training": {
            "partition": {"kind": "iid", "devices": 4},
            "rounds": 5,
            "sampled": 2,
            "learning_rate": 0.1,
        },
    }
)
UNTRAINED = Task.model_validate({"name": "victims-only", "dataset": "digits", "model": "mlp", "victims": {"first": 2}})
UNATTACKED = TASK.model_copy(update={"name": "utility-only", "victims": None})
START = datetime(2026, 1, 1, tzinfo=UTC)


def method(name):
    return MethodUsed(name=name, title=name, paper="", parameters={}, source_sha256="0" * 64, origin="built-in")


def scores(task, mses):
    return [
        VictimScore(
            victim=victim,
            mse=mse,
            mse_raw=mse,
            psnr=None if mse == 0 else 20.0,
            ssim=1 - mse,
            label=1,
            label_recovered=1,
            objective=0.1,
            iterations=3,
            diverged=False,
        )
        for victim, mse in zip(task.victims.samples, mses, strict=True)
    ]


def cost(up=100.0, seconds=1.0, network=1.0):
    return Cost(
        rounds=5,
        exchanges=2,
        bytes_up=up,
        bytes_down=100,
        bytes_peers=0,
        bytes_total=int(5 * (up + 100)),
        network={"lan": network / 10, "wan": network},
        client_seconds=seconds,
        defense_seconds=0.0,
        server_seconds=0.5,
    )


def record(
    defense="none",
    attack="dlg",
    seed=0,
    initial=None,
    trained=None,
    accuracy=0.9,
    task=TASK,
    status="ok",
    reason="",
    parameters=None,
    day=0,
    privacy=None,
    hardware="cpu",
    **costs,
):
    cell = Cell(
        suite="hand",
        suite_version=1,
        task=task,
        attack=MethodSpec(name=attack) if attack else None,
        defense=MethodSpec(name=defense, parameters=parameters or {}),
        seed=seed,
        hardware=hardware,
    )
    ok, trains = status == "ok", task.training is not None
    moments = {"initial": initial, "trained": trained}
    return Record(
        cell_id=cell.id,
        cell=cell,
        gate=Gate(mse=0.01, share=0.5),
        status=status,
        reason=reason,
        attack=method(attack) if attack else None,
        defense=method(defense),
        reconstructed=[
            Reconstructed(moment=name, victims=scores(task, mses)) for name, mses in moments.items() if mses is not None
        ],
        utility=Utility(accuracy=accuracy, centralised_accuracy=0.95, curve=[(5, accuracy)]) if ok and trains else None,
        cost=cost(**costs) if ok and trains else None,
        privacy=privacy,
        provenance=Provenance(
            command=f"flab run hand --defense {defense} --attack {attack} --seed {seed}",
            started=START + timedelta(days=day),
            seconds=1,
            revision=None,
            dirty=None,
            dataset_fingerprint="f",
            packages={},
            machine={},
            hardware_matched=True,
        ),
    )


def hand():
    """Three attacks, two seeds, victims 7 and 3. `weak` passes the gate nowhere, `dlg` at both moments,
    `idlg` at round 0.

    noise, initial: dlg  [0.02, 0.30] and [0.40, 0.10], idlg [0.10, 0.20] and [0.50, 0.04]
           worst:        [0.02, 0.20]     [0.40, 0.04]  -> mean 0.165, median 0.12
           trained: dlg only              [0.2, 0.2] and [0.2, 0.4] -> mean 0.25
    """
    broken, whole = [0.001, 0.002], [0.3, 0.4]
    return [
        record("none", "dlg", 0, broken, broken, 0.90),
        record("none", "dlg", 1, broken, [0.005, 0.3], 0.80),
        record("none", "idlg", 0, broken, whole, 0.90),
        record("none", "idlg", 1, whole, whole, 0.80),
        record("none", "weak", 0, [0.009, 0.5], whole, 0.90),
        record("none", "weak", 1, whole, whole, 0.80),
        record("noise", "dlg", 0, [0.02, 0.30], [0.2, 0.2], 0.85, up=50.0, seconds=1.05),
        record("noise", "dlg", 1, [0.40, 0.10], [0.2, 0.4], 0.81, up=50.0, seconds=1.05),
        record("noise", "idlg", 0, [0.10, 0.20], [0.0, 0.0], 0.85, up=50.0, seconds=1.05),
        record("noise", "idlg", 1, [0.50, 0.04], [0.0, 0.0], 0.81, up=50.0, seconds=1.05),
        record("noise", "weak", 0, [0.0, 0.0], [0.0, 0.0], 0.85, up=50.0, seconds=1.05),
        record("noise", "weak", 1, [0.0, 0.0], [0.0, 0.0], 0.81, up=50.0, seconds=1.05),
    ]


def by_defense(records):
    return {row.defense: row for row in score.rows(records)}


class TestHandComputed:
    def test_worst_case_is_the_lowest_counting_mse_of_each_image(self):
        row = by_defense(hand())["noise"]
        assert row.privacy.moment == "initial"
        assert row.privacy.mean.value == pytest.approx(0.165)
        assert row.privacy.median.value == pytest.approx(0.12)
        assert row.privacy.ssim == pytest.approx(1 - 0.165)
        assert row.privacy.strongest == (("dlg", 2), ("idlg", 2))
        assert [worst.mean.value for worst in row.moments] == pytest.approx([0.165, 0.25])

    def test_interval_surrounds_the_mean_and_repeats(self):
        first, second = by_defense(hand())["noise"], by_defense(hand())["noise"]
        mean = first.privacy.mean
        assert 0.02 <= mean.low <= mean.value <= mean.high <= 0.40
        assert mean.low < mean.high
        assert first == second

    def test_gate_counts_an_attack_only_where_it_breaks_the_undefended(self):
        row = by_defense(hand())["noise"]
        passed = {(s.attack, s.moment): s.passed for s in row.attacks}
        shares = {(s.attack, s.moment): s.baseline_share for s in row.attacks}
        assert passed == {
            ("dlg", "initial"): True,
            ("dlg", "trained"): True,
            ("idlg", "initial"): True,
            ("idlg", "trained"): False,
            ("weak", "initial"): False,
            ("weak", "trained"): False,
        }
        assert shares["dlg", "trained"] == 0.75
        assert shares["idlg", "initial"] == 0.5
        assert shares["weak", "initial"] == 0.25

    def test_utility(self):
        utility = by_defense(hand())["noise"].utility
        assert utility.accuracy == pytest.approx(0.83)
        assert utility.sd == pytest.approx(0.02 * 2**0.5)
        assert utility.difference == pytest.approx((-0.05 + 0.01) / 2)
        assert utility.difference_sd == pytest.approx(0.03 * 2**0.5)
        assert utility.centralised == pytest.approx(0.95)
        assert utility.seeds == 2

    def test_cost_as_multiples_of_undefended(self):
        cost = by_defense(hand())["noise"].cost
        assert cost.bytes_total == 750
        assert (cost.up_times, cost.down_times, cost.total_times) == (0.5, 1.0, 0.75)
        assert cost.seconds == pytest.approx({"lan": 1.65, "wan": 2.55})
        assert cost.seconds_times == pytest.approx({"lan": 1.65 / 1.6, "wan": 2.55 / 2.5})

    def test_pareto(self):
        table = by_defense(hand())
        assert table["none"].pareto  # more accurate
        assert table["noise"].pareto  # better in MSE and bytes
        dominated = [
            record("worse", attack, seed, [0.01, 0.02], [0.1, 0.1], 0.8, up=60.0, seconds=1.0)
            for attack in ("dlg", "idlg", "weak")
            for seed in (0, 1)
        ]
        table = by_defense([*hand(), *dominated])
        assert not table["worse"].pareto  # 3% faster than noise: within the tolerance, so no reason to keep it
        assert table["noise"].pareto

    def test_a_clearly_faster_row_is_not_dominated(self):
        faster = [
            record("fast", attack, seed, [0.01, 0.02], [0.1, 0.1], 0.8, up=60.0, seconds=0.1)
            for attack in ("dlg", "idlg", "weak")
            for seed in (0, 1)
        ]
        assert by_defense([*hand(), *faster])["fast"].pareto

    def test_every_row_names_its_commands(self):
        row = by_defense(hand())["noise"]
        assert len(row.commands) == len(row.records) == row.cells == 6
        assert "flab run hand --defense noise --attack dlg --seed 0" in row.commands


class TestGate:
    def test_no_attack_breaks_the_undefended(self):
        weak = [0.3, 0.3]
        table = by_defense([record("none", initial=weak, trained=weak), record("noise", initial=weak, trained=weak)])
        row = table["noise"]
        assert (row.verdict, row.privacy, row.moments, row.pareto) == ("attack too weak", None, (), False)
        assert row.attacks[0].mean == pytest.approx(0.3)
        assert row.complete

    def test_no_undefended_record(self):
        assert by_defense([record("noise", initial=[0, 0], trained=[0, 0])])["noise"].verdict == "no baseline"

    def test_a_path_called_none_is_not_the_baseline(self):
        row = score.rows([record("./none.py", initial=[0, 0], trained=[0, 0])])[0]
        assert (row.defense, row.verdict) == ("none", "no baseline")

    def test_a_looser_gate_in_a_strangers_record_changes_nothing(self):
        stranger = record("noise", initial=[0.3, 0.3], trained=[0.3, 0.3]).model_copy(
            update={"gate": Gate(mse=0.9, share=0.1)}
        )
        baseline = record("none", initial=[0.3, 0.3], trained=[0.3, 0.3])
        assert by_defense([baseline, stranger])["noise"].verdict == "attack too weak"


class TestFailures:
    def test_a_failed_counting_cell_makes_the_row_incomplete(self):
        records = [r for r in hand() if not (r.cell.defense.name == "noise" and r.cell.seed == 1)]
        records += [
            record("noise", "dlg", 1, status="timeout", reason="20 minutes passed"),
            record("noise", "idlg", 1, [0.5, 0.04], [0, 0], 0.81),
            record("noise", "weak", 1, [0, 0], [0, 0], 0.81),
        ]
        row = by_defense(records)["noise"]
        assert row.summary == "1 of 6 cells failed: timeout"
        assert (row.complete, row.pareto) == (False, False)
        assert [(f.attack, f.seed, f.reason, f.counts) for f in row.failures] == [("dlg", 1, "20 minutes passed", True)]
        assert row.privacy is not None  # shown, not credited

    def test_a_missing_seed_is_a_failure(self):
        row = by_defense([r for r in hand() if not (r.cell.defense.name == "noise" and r.cell.seed == 1)])["noise"]
        assert row.summary == "3 of 6 cells missing"
        assert not row.complete

    def test_a_failure_of_an_attack_that_does_not_count_is_shown_only(self):
        records = [r for r in hand() if not (r.cell.defense.name == "noise" and r.cell.attack.name == "weak")]
        records += [record("noise", "weak", seed, status="error", reason="x") for seed in (0, 1)]
        row = by_defense(records)["noise"]
        assert row.summary == "2 of 6 cells failed: error"
        assert (row.complete, row.pareto) == (True, True)

    def test_skipped_is_not_a_failure(self):
        records = [r for r in hand() if not (r.cell.defense.name == "noise" and r.cell.attack.name == "idlg")]
        records += [record("noise", "idlg", seed, status="skipped", reason="no labels") for seed in (0, 1)]
        row = by_defense(records)["noise"]
        assert (row.complete, row.failures, len(row.skipped)) == (True, (), 2)
        assert row.skipped[0].reason == "no labels"

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda r: {"reconstructed": [r.reconstructed[0]]}, "no trained"),
            (lambda r: {"utility": None}, "no utility"),
            (
                lambda r: {"reconstructed": [m.model_copy(update={"victims": m.victims[:1]}) for m in r.reconstructed]},
                "exactly the task's victims",
            ),
            (lambda r: {"cost": r.cost.model_copy(update={"bytes_total": 10**400})}, "impossible"),
            (
                lambda r: {
                    "reconstructed": [
                        m.model_copy(update={"victims": [v.model_copy(update={"mse": 1e308}) for v in m.victims]})
                        for m in r.reconstructed
                    ]
                },
                "MSE above 1",
            ),
        ],
    )
    def test_an_ok_record_that_holds_less_or_more_than_it_can(self, change, reason):
        records = hand()
        records[6] = records[6].model_copy(update=change(records[6]))
        row = by_defense(records)["noise"]
        assert not row.complete
        assert any(reason in failure.reason for failure in row.failures)


class TestTasks:
    def test_privacy_only(self):
        table = by_defense(
            [
                record("none", initial=[0, 0], task=UNTRAINED),
                record("noise", initial=[0.2, 0.4], task=UNTRAINED),
            ]
        )
        row = table["noise"]
        assert row.privacy.mean.value == pytest.approx(0.3)
        assert table["none"].privacy.psnr is None
        assert (row.utility, row.cost, row.complete, row.pareto) == (None, None, True, False)

    def test_utility_only(self):
        row = by_defense([record("none", None, task=UNATTACKED), record("noise", None, task=UNATTACKED)])["noise"]
        assert (row.verdict, row.privacy, row.complete, row.cells) == ("not attacked", None, True, 1)
        assert row.utility.difference == 0

    def test_hardware_profiles_are_apart(self):
        both = [*hand(), *(record("noise", "dlg", 0, [0.1, 0.1], [0.1, 0.1], hardware="gpu") for _ in range(1))]
        assert {(row.hardware, row.verdict) for row in score.rows(both)} == {("cpu", "scored"), ("gpu", "no baseline")}

    def test_the_later_play_of_a_cell_counts(self):
        early = record("none", initial=[0, 0], trained=[0, 0], accuracy=0.1, day=0)
        late = record("none", initial=[0, 0], trained=[0, 0], accuracy=0.7, day=1)
        for order in ([early, late], [late, early]):
            assert score.rows(order)[0].utility.accuracy == pytest.approx(0.7)

    def test_naive_and_aware_start_times_compare(self):
        early = record("none", initial=[0, 0], trained=[0, 0], accuracy=0.1)
        naive = early.provenance.model_copy(update={"started": datetime(2027, 1, 1)})
        late = record("none", initial=[0, 0], trained=[0, 0], accuracy=0.7).model_copy(update={"provenance": naive})
        assert score.rows([late, early])[0].utility.accuracy == pytest.approx(0.7)

    def test_the_weakest_guarantee_is_shown(self):
        statements = [Privacy(statement="a", epsilon_server=3.0), Privacy(statement="b", epsilon_server=None)]
        records = [record("noise", seed=seed, privacy=privacy) for seed, privacy in enumerate(statements)]
        assert score.rows(records)[0].guarantee.statement == "b"


MSE = st.floats(0, 1)
PAIR = st.lists(MSE, min_size=2, max_size=2)


@st.composite
def boards(draw):
    """The undefended, broken by `dlg`, and up to three defenses with arbitrary triples."""
    found = [record("none", "dlg", 0, [0, 0], [0, 0], draw(MSE))]
    for index in range(draw(st.integers(1, 3))):
        accuracy, up, seconds = draw(MSE), draw(st.integers(1, 4)), draw(st.floats(0.5, 2))
        mses = draw(PAIR), draw(PAIR)
        found.append(record(f"d{index}", "dlg", 0, *mses, accuracy, up=float(up), seconds=seconds))
    return found


@settings(max_examples=25, deadline=None)
@given(boards(), st.data())
def test_an_attack_more_never_raises_privacy(records, data):
    more = [
        record(r.cell.defense.name, "other", 0, data.draw(PAIR), data.draw(PAIR), r.utility.accuracy) for r in records
    ]
    before, after = by_defense(records), by_defense([*records, *more])
    for name, row in before.items():
        assert after[name].privacy.mean.value <= row.privacy.mean.value + 1e-12


@settings(max_examples=40, deadline=None)
@given(boards())
def test_a_dominated_row_is_never_marked(records):
    table = score.rows(records)
    for row in table:
        dominated = any(score.dominates(other, row) for other in table)
        assert row.pareto == (not dominated)
    assert any(row.pareto for row in table)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(random: Random):
    records = [*hand(), record("noise", "dlg", 0, [0, 0], [0, 0], day=-3)]
    shuffled = list(records)
    random.shuffle(shuffled)
    assert score.rows(shuffled) == score.rows(records)


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys, fl_attack_bench.score;"
        "print([m for m in ('torch', 'mlflow', 'pandas', 'matplotlib', 'seaborn', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
