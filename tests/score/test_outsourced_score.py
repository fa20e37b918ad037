"""The outsourced table by hand: worst case over views, chance, utility, cost, gaps, Pareto marks, papers."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outsourced_boards import NO_VIEW, WHERE, hand, replaced, rows
from outsourced_records import PUBLISHED, board, cost, inputs, learned, record, task

from fl_attack_bench import score
from fl_attack_bench.score import outsourced
from fl_attack_bench.score.outsourced import chance as chances
from fl_attack_bench.score.outsourced.pareto import dominates
from fl_attack_bench.score.outsourced.row import BLIND


class TestWorstCase:
    def test_every_sample_by_the_attack_that_came_closest_and_never_farther_off_than_the_guess(self):
        worst = rows(hand())["hiding"].privacy
        # matching 0.04, shares 0.02; matching 0.01, matching 0.05; the guess 0.06 and 0.08 beats none of them
        assert worst.mean.value == pytest.approx((0.04 + 0.02 + 0.01 + 0.05) / 4)
        assert worst.median.value == pytest.approx(0.03)
        assert worst.mean.low <= worst.mean.value <= worst.mean.high
        assert worst.blind == pytest.approx(0.07)
        assert (worst.moment, worst.party, worst.samples) == ("inference", None, 4)
        assert worst.strongest == ((("matching", "third"), 3), (("shares", "compute/0"), 1))

    def test_each_view_by_itself_is_capped_by_the_guess(self):
        third, compute = rows(hand())["hiding"].views
        assert (third.party, compute.party) == ("third", "compute/0")
        assert third.mean.value == pytest.approx((0.04 + 0.08 + 0.01 + 0.05) / 4)
        assert compute.mean.value == pytest.approx((0.06 + 0.02 + 0.06 + 0.08) / 4)
        assert compute.worst == BLIND
        assert dict(compute.strongest)[BLIND] == 3

    def test_the_guess_is_the_best_of_the_undefended_and_of_ones_own_records_and_no_others(self):
        stranger = [record(WHERE, "other", "matching", seed, inputs=inputs(0.04, 0.04, blind=0.0)) for seed in (0, 1)]
        table = rows([*hand(), *stranger])
        assert table["hiding"].privacy == rows(hand())["hiding"].privacy
        assert table["other"].privacy.mean.value == 0
        better = record(WHERE, "none", "reading", 0, inputs=inputs(0, 0, party="compute/0", blind=(0.015, 0.08)))
        changed = rows(replaced(hand(), better))["hiding"].privacy
        assert changed.mean.value == pytest.approx((0.015 + 0.02 + 0.01 + 0.05) / 4)

    def test_of_two_moments_the_worse_for_the_protocol(self):
        found = [
            record(WHERE, "none", "reading", inputs=inputs(0, 0, party="compute/0")),
            record(WHERE, "hiding", "late", inputs=inputs(0.05, 0.05)),
            record(WHERE, "hiding", "early", inputs=inputs(0.04, 0.03, moment="training")),
        ]
        row = rows(found)["hiding"]
        assert (row.privacy.moment, row.privacy.samples) == ("training", 2)
        assert row.privacy.mean.value == pytest.approx(0.035)
        assert sorted({one.moment for one in row.exposures}) == ["inference", "training"]

    def test_a_moment_is_worse_by_what_is_left_of_the_guess(self):
        found = [
            record(WHERE, "hiding", "late", inputs=inputs(0.06, 0.06, blind=0.1)),
            record(WHERE, "hiding", "early", inputs=inputs(0.04, 0.04, moment="training", blind=0.04)),
        ]
        row = rows(found)["hiding"]
        assert row.privacy.moment == "inference"

    def test_every_attack_by_itself_is_not_capped(self):
        matching, shares = rows(hand())["hiding"].attacks
        assert (matching.attack, matching.party, shares.party) == ("matching", "third", "compute/0")
        assert (shares.mse.mean, shares.mse.low, shares.mse.high) == pytest.approx((0.38, 0.26, 0.5))
        assert (shares.lowest, shares.raw) == (0.02, pytest.approx(0.38 * 1.2))
        assert matching.near == pytest.approx(0)

    @given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.floats(0, 1))
    @settings(deadline=None, max_examples=25)
    def test_one_more_attack_never_helps_a_protocol(self, mses, blind):
        before = rows(hand())["hiding"].privacy
        more = record(WHERE, "hiding", "more", 0, inputs=inputs(*mses, party="compute/1", blind=blind))
        after = rows([*hand(), more])["hiding"].privacy
        assert after.mean.value <= before.mean.value + 1e-12
        assert all(later >= earlier for later, earlier in zip(after.chances, before.chances, strict=True))


class TestChance:
    def test_share_of_samples_within_an_error(self):
        """Definition 3.2 with the root mean squared error, counted by hand."""
        errors = [0.0, 0.0001, 0.01, 0.09]  # roots 0, 0.01, 0.1, 0.3
        for delta, share in ((1 / 512, 0.25), (0.01, 0.25), (0.011, 0.5), (0.1, 0.5), (0.2, 0.75), (0.5, 1.0)):
            assert chances.chance(errors, delta) == share

    def test_the_grid_goes_from_half_a_step_of_8_bits_to_a_half(self):
        assert chances.DELTAS[0] == 1 / 512
        assert chances.DELTAS[-1] == 0.5
        assert all(a < b for a, b in zip(chances.DELTAS, chances.DELTAS[1:], strict=False))

    def test_of_a_row_over_all_and_by_view(self):
        row = rows(hand())["hiding"]
        at = dict(zip(chances.DELTAS, row.privacy.chances, strict=True))
        roots = [math.sqrt(error) for error in (0.04, 0.02, 0.01, 0.05)]
        assert at == {delta: sum(root < delta for root in roots) / 4 for delta in chances.DELTAS}
        assert (row.privacy.exact, row.privacy.near) == (0, 0)
        assert rows(hand())["none"].privacy.exact == 1
        assert row.privacy.blind_chances[0] == 0

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
    def test_it_never_falls_with_the_error(self, errors):
        found = chances.chances(errors)
        assert list(found) == sorted(found)
        assert found[0] >= 0
        assert found[-1] <= 1


class TestUtilityAndCost:
    def test_utility_beside_the_plain_network(self):
        row = rows(hand())["hiding"]
        assert (row.utility.accuracy, row.utility.plain) == (pytest.approx(0.84), pytest.approx(0.85))
        assert (row.utility.difference, row.utility.seeds) == (pytest.approx(-0.01), 2)
        assert (row.utility.weights, row.utility.weights_rms) == (0.02, pytest.approx(0.0015))
        assert rows(hand())["none"].utility.difference == 0

    def test_bytes_seconds_and_their_multiples(self):
        step = rows(hand())["hiding"].cost.training
        assert (step.online, step.offline, step.bytes) == (18_000, 6_000, 24_000)
        assert step.bytes_times == pytest.approx(24_000 / 6_000)
        assert step.seconds["LAN"] == pytest.approx(0.04 + 8 * 6000 / 1e9 + 10 * 0.0001)
        assert step.seconds["WAN"] == pytest.approx(0.04 + 8 * 6000 / 1e8 + 10 * 0.02)
        base = rows(hand())["none"].cost.training
        assert step.seconds_times["WAN"] == pytest.approx(step.seconds["WAN"] / base.seconds["WAN"])
        assert (step.parties["third"].offline_sent, step.parties["owner"].offline_received) == (6000, 6000)
        assert (step.computing, step.offline_seconds, step.party_seconds["third"]) == (0.04, 0.02, 0.01)

    def test_a_protocol_that_does_not_train(self):
        found = record(WHERE, "encrypted", "reading", inputs=inputs(0.5, 0.5), cost=cost(trains=False))
        row = rows([*hand(), found])["encrypted"]
        assert row.cost.training is None
        assert row.cost.inference.bytes_times == 1

    def test_seconds_that_were_not_measured(self):
        dumb = cost()
        dumb = dumb.model_copy(update={"inference": dumb.inference.model_copy(update={"seconds": None})})
        row = rows([record(WHERE, "none", "reading", inputs=inputs(0, 0), cost=dumb)])["none"]
        assert (row.cost.inference.computing, row.cost.inference.seconds, row.competes) == (None, {}, False)


class TestGaps:
    def test_an_attack_without_a_view_is_no_gap(self):
        row = rows(hand())["hiding"]
        assert (row.complete, row.failures, row.skipped, row.summary) == (True, (), (), "")
        assert [(one.attack, one.reason) for one in row.no_view] == [("reading", "no such view")]
        assert row.verdict == "scored"

    def test_a_skipped_seed_is_one_where_others_were_played(self):
        row = rows(replaced(hand(), record(WHERE, "hiding", "matching", 1, **NO_VIEW)))["hiding"]
        assert (row.complete, row.summary) == (False, "1 of 6 cells skipped, on some seeds only")
        assert len(row.no_view) == 1

    def test_no_attack_applies_is_said_and_earns_nothing(self):
        silent = [
            record(WHERE, "silent", name, s, **NO_VIEW) for name in ("reading", "matching", "shares") for s in (0, 1)
        ]
        row = rows([*hand(), *silent])["silent"]
        assert (row.verdict, row.privacy, row.views, row.complete) == ("no attack applies", None, (), True)
        assert (row.competes, row.pareto) == (False, False)
        assert row.utility.accuracy == pytest.approx(0.9)

    def test_a_protocol_that_cannot_compute_the_network(self):
        told = NO_VIEW | {"learned": None, "cost": None}
        unfit = [record(WHERE, "unfit", name, s, **told) for name in ("reading", "matching", "shares") for s in (0, 1)]
        row = rows([*hand(), *unfit])["unfit"]
        assert (row.verdict, row.utility, row.cost) == ("not played", None, None)

    def test_missing_and_failed_cells_count(self):
        gap = rows([one for one in hand() if (one.cell.defense.name, one.cell.seed) != ("hiding", 1)])["hiding"]
        assert (gap.complete, gap.summary) == (False, "3 of 6 cells missing; 1 of 6 cells skipped, on some seeds only")
        assert not gap.competes
        failed = rows(replaced(hand(), record(WHERE, "hiding", "shares", 1, status="timeout", reason="late")))["hiding"]
        assert (failed.complete, failed.summary) == (False, "1 of 6 cells failed: timeout")

    def test_a_record_without_what_it_is_for_is_an_error(self):
        (failure,) = rows(replaced(hand(), record(WHERE, "hiding", "shares", 1)))["hiding"].failures
        assert (failure.status, failure.reason) == ("error", "the record holds no reconstruction")
        made = record(WHERE, "hiding", "shares", 1, inputs=inputs(0.1, 0.1), cost=None)
        (failure,) = rows(replaced(hand(), made))["hiding"].failures
        assert failure.reason == "the record does not hold both an accuracy and a cost"

    def test_a_training_that_ran_off_competes_for_nothing(self):
        found = [
            record(WHERE, "none", "reading", inputs=inputs(0, 0)),
            record(
                WHERE, "hiding", "reading", inputs=inputs(0.1, 0.1), learned=learned(0.1, weights=None, diverged=True)
            ),
        ]
        row = rows(found)["hiding"]
        assert (row.utility.diverged, row.utility.weights, row.competes, row.notes) == (
            1,
            None,
            False,
            ("training diverged",),
        )


def test_tasks_on_which_nobody_attacks():
    quiet = task(victims=None)
    row = rows([record(quiet, defense, None) for defense in ("none", "hiding")])["hiding"]
    assert (row.verdict, row.cells, row.complete, row.exposures) == ("not attacked", 1, True, ())


class TestPareto:
    def board(self, **changed):
        """One seed, two protocols; ``changed`` replaces the second one's figures."""
        first = {"mse": 0.04, "accuracy": 0.9, "sent": 1000.0, "offline": 0.0, "seconds": 0.1, "trains": True}
        found = []
        for defense, told in (("none", first), ("hiding", first | changed)):
            price = cost(told["sent"], told["offline"], told["seconds"], trains=told["trains"])
            got = inputs(told["mse"], told["mse"])
            found.append(record(WHERE, defense, "matching", inputs=got, learned=learned(told["accuracy"]), cost=price))
        return tuple(row.pareto for row in rows(found).values())

    @pytest.mark.parametrize(
        ("changed", "marks"),
        [
            ({"mse": 0.05}, (False, True)),
            ({"mse": 0.0402}, (True, True)),  # within the tolerance they are equal
            ({"mse": 0.05, "accuracy": 0.88}, (True, True)),
            ({"mse": 0.05, "sent": 1001.0}, (True, True)),
            ({"mse": 0.05, "offline": 1.0}, (True, True)),
            ({"mse": 0.05, "seconds": 0.2}, (True, True)),
            ({"sent": 999.0}, (False, True)),
            ({"seconds": 0.2}, (True, False)),
            ({"seconds": 0.05}, (False, True)),
            ({"accuracy": 0.95}, (False, True)),
            ({"trains": False, "mse": 0.06, "accuracy": 0.99}, (True, True)),
            ({"trains": False}, (True, False)),
        ],
    )
    def test_every_measure_counts(self, changed, marks):
        assert self.board(**changed) == marks

    def test_no_published_figure_competes(self):
        free = [{"quantity": "seconds", "value": 1e-9, "stage": "inference", "link": "LAN", "defense": "dream"}]
        where = task(victims=16, published=[one | {"source": "x"} for one in (*free, *PUBLISHED)])
        told = [row.pareto for row in score.outsourced_rows(board(1, where))]
        assert told == [row.pareto for row in score.outsourced_rows(board(1))]
        assert any(told)

    @given(st.lists(st.tuples(*[st.sampled_from([0.9, 1.0, 1.005, 1.09, 1.2])] * 4), min_size=2, max_size=6))
    @settings(deadline=None, max_examples=30)
    def test_some_row_is_dominated_by_no_other(self, figures):
        found = [
            record(
                WHERE,
                f"d{place}" if place else "none",
                "matching",
                inputs=inputs(0.04 * mse, 0.04 * mse),
                learned=learned(0.9 + (accuracy - 1) / 100),
                cost=cost(1000 * sent, 0, 0.1 * seconds),
            )
            for place, (mse, accuracy, sent, seconds) in enumerate(figures)
        ]
        table = list(rows(found).values())
        assert any(row.pareto for row in table)
        assert not any(dominates(row, row) for row in table)


class TestPapers:
    def beside(self):
        where = task(victims=16, published=PUBLISHED)
        return score.outsourced_rows(board(2, where))

    def test_ours_stand_beside_the_published_ones_of_the_same_protocol(self):
        table = self.beside()
        found = {
            (one.published.defense, one.published.quantity, one.published.stage, one.published.link): one
            for one in outsourced.published(table)
        }
        ring = next(row for row in table if row.defense == "rtas[arithmetic=ring]")  # sets fewest parameters
        lan = found["rtas", "seconds", "training", "LAN"]
        assert (lan.row, lan.ours) == (ring, ring.cost.training.seconds["LAN"])
        sent = found["rtas", "bytes", "training", None]
        assert (sent.ours, sent.ahead) == (pytest.approx(3.2e6), pytest.approx(4.1e6))
        assert found["securenn", "seconds", "training", "WAN"].row is None

    def test_the_exact_label_goes_before_the_method(self):
        (figure,) = [one for one in self.beside()[0].task.published if (one.stage, one.link) == ("training", "LAN")][1:]
        named = figure.model_copy(update={"defense": "rtas[arithmetic=float64,masks=fresh]"})
        table = score.outsourced_rows(board(1, task(victims=16, published=[named])))
        assert outsourced.published(table)[0].row.defense == named.defense

    def test_protocols_that_nobody_here_plays_are_rows_of_their_own(self):
        nets, securenn = outsourced.elsewhere(self.beside())
        assert (nets.defense, securenn.defense) == ("cryptonets", "securenn")
        assert nets.seconds("inference") == [("LAN", 55.21), ("WAN", 155.21)]
        assert (nets.seconds("training"), nets.bytes("inference"), nets.bytes("training")) == ([], [36.75e6], [])
        assert securenn.sources == ["RTAS 2021, Tables 3 and 4"]

    def test_accuracies_errors_and_links_in_other_letters(self):
        asked = [
            {"quantity": "accuracy", "value": 0.98, "defense": "hiding"},
            {"quantity": "mse", "value": 0.1, "defense": "hiding"},
            {"quantity": "mse", "value": 0.1, "defense": "hiding", "attack": "shares"},
            {"quantity": "seconds", "value": 1.0, "defense": "hiding", "stage": "inference", "link": "wan"},
            {"quantity": "seconds", "value": 1.0, "defense": "hiding", "stage": "inference", "link": "moon"},
        ]
        where = task(published=[{"source": "x"} | one for one in asked])
        found = [one.model_copy(update={"cell": one.cell.model_copy(update={"task": where})}) for one in hand()]
        ours = [one.ours for one in outsourced.published(score.outsourced_rows(found))]
        wan = 0.02 + 8 * 2 * 1500 / 1e8 + 5 * 0.02
        assert ours == [pytest.approx(0.84), pytest.approx(0.03), pytest.approx(0.38), pytest.approx(wan), None]


def test_the_tracks_do_not_meet():
    assert (score.rows(hand()), score.vertical_rows(hand())) == ((), ())


@given(st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=10)
def test_the_order_of_records_does_not_matter(rng: random.Random):
    shuffled = hand()
    rng.shuffle(shuffled)
    assert score.outsourced_rows(shuffled) == score.outsourced_rows(hand())


def test_the_latest_play_of_a_cell_counts():
    early = record(WHERE, "none", "reading", inputs=inputs(0.01, 0.01))
    late = record(WHERE, "none", "reading", inputs=inputs(0.02, 0.02), provenance={"day": 1})
    for order in ([early, late], [late, early]):
        assert rows(order)["none"].privacy.mean.value == pytest.approx(0.02)
