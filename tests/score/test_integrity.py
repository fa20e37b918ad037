"""Malicious clients: what was learned under attack beside honest clients, by hand; nothing else moves."""

import math

import pytest
from boards import ATTACKED, TASK, attacked, by_defense, hand, learned, record

from fl_attack_bench import score
from fl_attack_bench.record import Integrity
from fl_attack_bench.score.learned import quantity
from fl_attack_bench.suite import MethodSpec

CLASSES = learned(0.9, 0.4), learned(0.7, 0.9)  # of seeds 0 and 1


def board(**second):
    """`none` under poisoning by 2 and by 10 clients and under dropout; ``second`` goes to poisoning by 2 on seed 1.

    honest 0.9 and 0.7; poisoning by 2: 0.8 and 0.5, by 10: 0.2 and 0.1, dropout by 3: 0.9 and 0.7.
    """
    found = []
    for attack, clients, figures in (
        ("poisoning", 10, (0.2, 0.1)),
        ("poisoning", 2, (0.8, 0.5)),
        ("dropout", 3, (0.9, 0.7)),
    ):
        for seed, figure in enumerate(figures):
            own = second if (attack, clients, seed) == ("poisoning", 2, 1) else {}
            found.append(attacked("none", attack, clients, seed, CLASSES[seed], learned(figure, 1.0, **own)))
    return found


def test_means_ranges_and_differences_by_family_and_clients():
    (row,) = score.rows(board())
    held = row.integrity
    assert (held.quantity, row.verdict, row.complete, row.cells, row.pareto) == (
        "accuracy",
        "integrity",
        True,
        6,
        False,
    )
    assert (held.honest.mean, held.honest.low, held.honest.high) == (pytest.approx(0.8), 0.7, 0.9)
    assert [(one.family.label, one.clients) for one in held.attacks] == [
        ("dropout", 3),
        ("poisoning", 2),
        ("poisoning", 10),
    ]
    two = held.attacks[1]
    assert (two.attack, two.learned.seeds) == ("poisoning[clients=2]", 2)
    assert (two.learned.mean, two.learned.low, two.learned.high) == (pytest.approx(0.65), 0.5, 0.8)
    assert two.difference == pytest.approx(((0.8 - 0.9) + (0.5 - 0.7)) / 2)
    assert held.worst.clients == 10


def test_rmse_is_the_root_of_the_last_loss():
    """Honest: losses 0.01 and 0.04; under attack 0.09 and 0.16, beyond what R^2 can tell."""
    pairs = [(0.01, 0.09), (0.04, 0.16)]
    records = [attacked(seed=seed, honest=learned(loss=a), under=learned(loss=b)) for seed, (a, b) in enumerate(pairs)]
    (row,) = score.rows(records)
    (one,) = row.integrity.attacks
    assert row.integrity.quantity == "rmse"
    assert (row.integrity.honest.mean, one.learned.mean) == (pytest.approx(0.15), pytest.approx(0.35))
    assert (one.learned.low, one.learned.high) == (pytest.approx(0.3), pytest.approx(0.4))
    assert one.difference == pytest.approx(((0.3 - 0.1) + (0.4 - 0.2)) / 2)
    assert row.utility.rmse == row.integrity.honest


def test_a_loss_that_was_not_finite_is_an_infinite_rmse_and_the_worst():
    honest = learned(loss=0.01), learned(loss=0.04)
    ran_off = {"accuracy": 0.0, "curve": [(4, 0.0), (5, 0.0)], "losses": [(4, 0.2)], "diverged": True}
    records = [attacked(seed=seed, honest=honest[seed], under=learned(loss=0.09)) for seed in (0, 1)]
    records += [attacked(clients=4, seed=seed, honest=honest[seed], under=ran_off) for seed in (0, 1)]
    (row,) = score.rows(records)
    worst = row.integrity.worst
    assert (worst.clients, worst.learned.mean, worst.difference, worst.course.diverged) == (4, math.inf, math.inf, 2)


def test_what_is_measured_follows_from_the_targets():
    numbers, classes = attacked(honest=learned(loss=0.1), under=learned(loss=0.2)), attacked(honest=learned(0.5, 0.1))
    assert quantity([numbers]) == "rmse"
    assert quantity([classes]) == "accuracy"
    assert quantity([]) == "accuracy"


def test_one_strangers_record_does_not_change_what_is_measured():
    sound = [
        attacked(seed=seed, honest=learned(loss=loss), under=learned(loss=loss + 0.001))
        for seed, loss in enumerate((0.01, 0.02, 0.03))
    ]
    foreign = attacked("mine", seed=0, honest=learned(0.5, 123.0), under=learned(0.25, 7.0))
    assert {row.integrity.quantity for row in score.rows([*sound, foreign])} == {"rmse"}


def test_failed_rounds_and_incidents_are_counted_over_seeds():
    notes = {"failed_rounds": 2, "failures": ["round 0: 5 of 10", "round 1: 5 of 10"]}
    notes |= {"incident_count": 7, "incidents": ["round 2: corrected"]}
    (row,) = score.rows(board(**notes))
    dropout, two, ten = row.integrity.attacks
    assert (two.course.failed_rounds, two.course.rounds, two.course.incident_count) == (2, 10, 7)
    assert (two.course.failures, two.course.incidents) == (tuple(notes["failures"]), ("round 2: corrected",))
    assert (dropout.course.smooth, two.course.smooth, ten.course.unnoticed) == (True, False, True)
    assert (row.integrity.course.failed_rounds, row.integrity.course.rounds) == (2, 30)
    assert row.integrity.unnoticed.clients == 10


def test_the_worst_that_nobody_noticed_is_another_than_the_worst():
    loud = {"failed_rounds": 5, "failures": ["round 0: no"]}
    records = [
        attacked(clients=2, honest=CLASSES[0], under=learned(0.1, 2.0, **loud)),
        attacked(clients=3, honest=CLASSES[0], under=learned(0.6, 1.0)),
    ]
    held = score.rows(records)[0].integrity
    assert (held.worst.clients, held.unnoticed.clients) == (2, 3)
    assert score.rows(records[:1])[0].integrity.unnoticed is None


def test_an_ordinary_tasks_failed_rounds_are_scored():
    rounds = {"failed_rounds": 3, "failures": ["round 1: x"]}
    first, second = (record("none", "dlg", seed, [0, 0], [0, 0]) for seed in (0, 1))
    first = first.model_copy(update={"utility": first.utility.model_copy(update=rounds)})
    course = score.rows([first, second])[0].utility.course
    assert (course.failed_rounds, course.rounds, course.failures) == (3, 10, ("round 1: x",))


def test_the_other_tasks_do_not_move():
    both = score.rows([*hand(), *board()])
    assert tuple(row for row in both if row.task.name == "digits") == score.rows(hand())
    (mine,) = (row for row in both if row.task.name == "attacked")
    assert (mine.privacy, mine.moments, mine.attacks, mine.competes) == (None, (), (), False)
    assert all(row.integrity is None for row in score.rows(hand()))


class TestGaps:
    def test_a_failed_cell_counts_and_keeps_the_other_seeds(self):
        records = [*board()[:3], attacked(clients=2, seed=1, status="timeout", reason="10 minutes"), *board()[4:]]
        (row,) = score.rows(records)
        assert [(f.attack, f.seed, f.status, f.reason, f.counts) for f in row.failures] == [
            ("poisoning[clients=2]", 1, "timeout", "10 minutes", True)
        ]
        assert (row.complete, row.summary) == (False, "1 of 6 cells failed: timeout")
        two = row.integrity.attacks[1]
        assert (two.learned.mean, two.learned.seeds) == (0.8, 1)
        assert two.difference == pytest.approx(-0.1)

    def test_skipped_on_every_seed_stays_in_the_row_and_is_no_gap(self):
        skipped = [
            attacked("shamir", "dropout", 3, seed, CLASSES[seed], status="skipped", reason="k") for seed in (0, 1)
        ]
        played = [attacked("shamir", "poisoning", 2, seed, CLASSES[seed], learned(0.8, 1.0)) for seed in (0, 1)]
        played += [attacked("shamir", "poisoning", 10, seed, CLASSES[seed], learned(0.8, 1.0)) for seed in (0, 1)]
        row = by_defense([*board(), *skipped, *played])["shamir"]
        assert (row.complete, row.failures, len(row.skipped)) == (True, (), 2)
        dropout = row.integrity.attacks[0]
        assert (dropout.family.label, dropout.clients, dropout.learned, dropout.difference) == (
            "dropout",
            3,
            None,
            None,
        )

    def test_a_missing_cell_and_one_without_integrity_are_failures(self):
        empty = attacked(clients=2, seed=1, honest=CLASSES[1])
        (row,) = score.rows([one for one in board()[:5] if one.cell_id != empty.cell_id] + [empty])
        assert {(f.attack, f.status): f.reason for f in row.failures} == {
            ("dropout[clients=3]", "missing"): "no record of this cell",
            ("poisoning[clients=2]", "error"): "the record holds no integrity, though the task's adversary are clients",
        }
        assert not row.complete

    def test_the_number_of_clients_is_the_attacks_default_where_nothing_was_played(self):
        made = attacked(status="error", reason="x", honest=CLASSES[0])
        cell = made.cell.model_copy(update={"attack": MethodSpec(name="poisoning")})
        used = made.attack.model_copy(update={"parameters": {"clients": 4}})
        made = made.model_copy(update={"cell": cell, "cell_id": cell.id, "attack": used})
        (one,) = score.rows([made])[0].integrity.attacks
        assert (one.clients, one.attack, one.learned) == (4, "poisoning", None)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"failed_rounds": 6}, "6 failed rounds of 5"),
        ({"curve": [(10**9, 0.5)]}, "outside the 5 rounds"),
        ({"losses": [(5, -1.0)]}, "loss below 0"),
    ],
)
def test_what_cannot_be_true_is_no_figure(fields, reason):
    false = attacked(under=learned(0.99, 0.1) | fields, honest=CLASSES[0])
    (row,) = score.rows([false])
    assert reason in row.failures[0].reason
    assert row.integrity.worst is None


def test_figures_of_the_wrong_adversary_are_refused():
    images = record("none", "dlg", initial=[0, 0], trained=[0, 0])
    under = Integrity(**learned(0.5), clients=1)
    (row,) = score.rows([images.model_copy(update={"integrity": under})])
    assert "adversary is the server" in row.failures[0].reason
    mixed = attacked(honest=CLASSES[0], under=learned(0.5)).model_copy(update={"reconstructed": images.reconstructed})
    (row,) = score.rows([mixed])
    assert (row.attacks, row.failures[0].status) == ((), "error")


def test_a_published_accuracy_under_an_attack_stands_beside_ours():
    figure = {"quantity": "accuracy", "value": 0.6, "source": "p"}
    figures = [figure | {"attack": "poisoning[clients=2]"}, figure, figure | {"attack": "gone"}]
    task = ATTACKED.model_validate(ATTACKED.model_dump() | {"published": figures})
    records = [one.model_copy(update={"cell": one.cell.model_copy(update={"task": task})}) for one in board()]
    found = score.published(score.rows(records))
    assert [[ours.value for ours in beside.ours] for beside in found] == [
        [pytest.approx(0.65)],
        [pytest.approx(0.8)],
        [],
    ]


def test_a_server_task_of_the_same_shape_stays_what_it_was():
    assert TASK.adversary == "server"
    row = by_defense(hand())["noise"]
    assert (row.verdict, row.integrity) == ("scored", None)
