"""A sample of cells played again: what counts as the same, and what does not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_attack_bench import record as records
from fl_attack_bench.submission import manifest, verify

FIGURE = st.floats(-1e6, 1e6)


def edited(record, *keys, value):
    data = json.loads(record.model_dump_json())
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return records.loads(json.dumps(data), "edited")


def elsewhere(record):
    return edited(record, "provenance", "machine", "cpu", value="another")


def never(cells):
    raise AssertionError("played once more")


@pytest.fixture
def mine(held):
    return next(iter(held.values()))


def test_a_cell_played_again_is_the_same_bit_for_bit(really_played, mine, suite, tmp_path):
    again = verify.replay(suite, [mine.cell], tmp_path)[mine.cell_id]
    assert again.provenance.started != mine.provenance.started
    assert verify.compare(mine, again, never) == verify.Replayed(mine.cell_id, True, ())
    # 1% off is within the tolerance, but this cell repeats on this machine
    accuracy = again.utility.accuracy
    cheat = edited(mine, "utility", "accuracy", value=accuracy * 1.01)
    found = verify.compare(cheat, again, lambda cells: really_played)
    assert found.exact
    assert found.differences == (verify.Difference("utility.accuracy", accuracy * 1.01, accuracy),)


def test_what_the_clock_and_the_place_tell_does_not_count(mine):
    other = edited(mine, "cost", "client_seconds", value=99.0)
    other = edited(other, "provenance", "command", value="flab run elsewhere")
    other = edited(elsewhere(other), "provenance", "dirty", value=True)
    assert verify.compare(mine, other, never) == verify.Replayed(mine.cell_id, True, ())


def test_on_another_machine_the_tolerance_holds(mine):
    accuracy = mine.utility.accuracy
    near = elsewhere(edited(mine, "utility", "accuracy", value=accuracy * 0.96))
    assert verify.compare(mine, near, never) == verify.Replayed(mine.cell_id, False, ())
    far = elsewhere(edited(mine, "utility", "accuracy", value=accuracy * 0.94))
    (difference,) = verify.compare(mine, far, never).differences
    assert difference == verify.Difference("utility.accuracy", accuracy, accuracy * 0.94)


def test_where_two_plays_in_a_row_differ_the_tolerance_holds(mine):
    drawn = [edited(mine, "utility", "accuracy", value=mine.utility.accuracy * factor) for factor in (1.01, 1.02)]
    found = verify.compare(mine, drawn[0], lambda cells: {mine.cell_id: drawn[1]})
    assert found == verify.Replayed(mine.cell_id, False, ())


@pytest.mark.parametrize(
    ("keys", "value", "key"),
    [
        (("status",), "timeout", "status"),
        (("cost", "bytes_total"), 1, "cost.bytes_total"),
        (("provenance", "dataset_fingerprint"), "f" * 64, "dataset_fingerprint"),
        (("defense", "parameters", "scale"), 0.5, "defense.parameters.scale"),
        (("utility", "diverged"), True, "utility.diverged"),
        (("privacy",), {"statement": "none"}, "privacy.statement"),
    ],
)
def test_what_differs_is_named(mine, keys, value, key):
    found = verify.compare(mine, elsewhere(edited(mine, *keys, value=value)), never)
    assert key in [one.key for one in found.differences]


def victim(number, mse):
    return {
        "victim": number, "mse": mse, "mse_raw": mse, "psnr": None, "ssim": 0.5, "label": 1, "label_recovered": 1,
        "objective": mse, "iterations": number, "diverged": False,
    }  # fmt: skip


def test_victims_are_compared_one_by_one_or_by_their_mean(mine):
    def reached(*mses, seconds=1.0):
        victims = [victim(number, mse) for number, mse in enumerate(mses)]
        return edited(
            mine, "reconstructed", value=[{"moment": "initial", "victims": victims, "curve": mses, "seconds": seconds}]
        )

    a, b = reached(0.1, 0.3), reached(0.3, 0.1, seconds=2.0)
    assert not list(verify.differences(a, b, exact=False))
    assert "reconstructed.initial.victims.0.mse" in [one.key for one in verify.differences(a, b, exact=True)]
    (mse, raw) = verify.differences(a, reached(0.1, 0.2), exact=False)
    assert (mse.key, raw.key) == tuple(f"reconstructed.initial.victims.*.{name}" for name in ("mse", "mse_raw"))
    assert (mse.submitted, mse.again) == pytest.approx((0.2, 0.15))
    counted = {one.key: (one.submitted, one.again) for one in verify.differences(a, reached(0.2), exact=False)}
    assert counted["reconstructed.initial.victims.count"] == (2, 1)


@given(FIGURE, FIGURE)
def test_the_tolerance_is_the_stated_one(a, b):
    within = verify._close(a, b)
    assert within == verify._close(b, a)
    assert within == (abs(a - b) <= max(0.05 * max(abs(a), abs(b)), 1e-4))


def test_numbers_of_any_length_are_compared():
    assert verify._close(10**400, 10**400)
    assert not verify._close(10**400, 1)
    assert not verify._close(True, 1.02)


@given(st.lists(st.text(max_size=8), max_size=12), st.integers(1, 12), st.integers())
def test_the_sample_is_drawn_by_seed_alone(names, count, seed):
    drawn = verify.sample(names, count, seed)
    assert drawn == verify.sample(reversed(names), count, seed)
    assert len(drawn) == min(count, len(set(names)))
    assert set(drawn) <= set(names)


def test_another_seed_draws_others():
    names = [f"cell{number}" for number in range(100)]
    assert len({tuple(verify.sample(names, 3, seed)) for seed in range(20)}) == 20


def test_a_mark_makes_it_re_run(place, held):
    verify.mark(place, [verify.Replayed(cell_id, True, ()) for cell_id in held], 4)
    assert manifest.standing(place) == "re-run"
    told = json.loads((place / "verified.json").read_text())
    assert (told["cells"], told["seed"], told["exact"]) == (list(held), 4, True)
