"""A batch in the slots of ciphertexts: what is opened is what was computed, and hostile bytes are refused by name."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_attack_bench.crypto.homomorphic import BadCiphertext
from fl_attack_bench.crypto.homomorphic_parameters import MOST_COEFFICIENT_BITS
from fl_attack_bench.crypto.packed_ciphertexts import NotEvaluable, PackedEvaluator, PackedOwner, Packing
from fl_attack_bench.errors import UserError

ONE_SQUARE = Packing((True,))
LINEAR = Packing((), ring_size=4096)


@pytest.fixture(scope="module")
def owner() -> PackedOwner:
    return PackedOwner(ONE_SQUARE)


@pytest.fixture(scope="module")
def computing(owner: PackedOwner) -> PackedEvaluator:
    return PackedEvaluator(ONE_SQUARE, owner.evaluation_keys())


def numbers(samples: int, features: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(samples, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 6), st.integers(1, 30), st.integers(0, 2**31))
def test_a_sum_a_square_and_a_sum_are_those_of_the_numbers(owner, computing, features, samples, seed):
    given_ = numbers(samples, features, seed)
    weights = (2 * numbers(2, features, seed + 1) - 1).tolist()
    inner = computing.open(owner.encrypt(given_), features)
    sums = [computing.combine(inner, row, 0.25, 2.0**16) for row in weights]
    for each in sums:
        computing.square(each)
    outputs = computing.combine(sums, [0.5, -1.5], -0.125, 2.0**20)
    opened = owner.decrypt(computing.close([outputs]), samples, 1)
    squares = (given_ @ torch.tensor(weights, dtype=torch.float64).T + 0.25).square()
    expected = squares @ torch.tensor([[0.5], [-1.5]], dtype=torch.float64) - 0.125
    assert opened.shape == (samples, 1)
    assert torch.allclose(opened, expected, atol=2e-3)


def test_the_slots_are_all_there_and_do_not_mix(owner, computing):
    given_ = numbers(ONE_SQUARE.slots, 2)
    sums = [computing.combine(computing.open(owner.encrypt(given_), 2), [1.0, 0.0], 0.0, 2.0**16)]
    computing.square(sums[0])
    opened = owner.decrypt(computing.close([computing.combine(sums, [1.0], 0.0, 2.0**20)]), ONE_SQUARE.slots, 1)
    assert torch.allclose(opened, given_[:, :1].square(), atol=1e-3)


def test_a_sum_without_weights_is_its_bias(owner, computing):
    inner = computing.open(owner.encrypt(numbers(3, 2)), 2)
    total = computing.combine(inner, [0.0, 1e-9], 0.5, 2.0**16)
    computing.square(total)
    opened = owner.decrypt(computing.close([computing.combine([total], [1.0], 0.0, 2.0**20)]), 3, 1)
    assert torch.allclose(opened, torch.full((3, 1), 0.25, dtype=torch.float64), atol=1e-3)


def test_ciphertexts_of_one_message_have_one_size_and_the_same_each_time(owner):
    sizes = {tuple(owner.encrypt(numbers(5, 3, seed)).shape) for seed in range(4)}
    assert len(sizes) == 1
    ((count, size),) = sizes
    assert (count, size % (ONE_SQUARE.ring_size // 8)) == (3, 0)
    # a seed and one polynomial of two primes of 60 and 58 bits, which SEAL stores in little more
    assert 1.0 < size / ((60 + 58) * ONE_SQUARE.ring_size / 8) < 1.15


def test_equal_samples_have_unequal_ciphertexts(owner):
    first, second = owner.encrypt(torch.zeros(2, 2))
    assert not torch.equal(first, second)
    assert not torch.equal(owner.encrypt(torch.zeros(2, 2))[0], first)


def test_the_evaluating_party_has_no_key_that_opens(owner, computing):
    """Its keys are for squares only; with another owner's they make nothing that either can open."""
    other = PackedEvaluator(ONE_SQUARE, PackedOwner(ONE_SQUARE).evaluation_keys())
    given_ = numbers(4, 1)
    opened = []
    for party in (computing, other):
        total = party.combine(party.open(owner.encrypt(given_), 1), [1.0], 0.0, 2.0**16)
        party.square(total)
        opened.append(owner.decrypt(party.close([party.combine([total], [1.0], 0.0, 2.0**20)]), 4, 1))
    assert torch.allclose(opened[0], given_.square(), atol=1e-3)
    assert float((opened[1] - given_.square()).abs().max()) > 1
    assert not any(hasattr(computing, name) for name in ("decrypt", "_decryptor", "_encryptor"))


def test_a_linear_layer_needs_no_key_and_the_smallest_ring():
    owner = PackedOwner(LINEAR)
    assert owner.evaluation_keys().shape == (0, 0)
    computing = PackedEvaluator(LINEAR, owner.evaluation_keys())
    given_ = numbers(2048, 3)
    total = computing.combine(computing.open(owner.encrypt(given_), 3), [0.5, -2.0, 1.0], 0.25, 2.0**20)
    opened = owner.decrypt(computing.close([total]), 2048, 1)
    expected = given_ @ torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64) + 0.25
    assert torch.allclose(opened[:, 0], expected, atol=1e-3)


@pytest.mark.parametrize("squares", [(), (True,), (True, True), (True, False), (False, False, False)])
@pytest.mark.parametrize("ring_size", sorted(MOST_COEFFICIENT_BITS))
def test_moduli_stay_within_the_security_table_or_are_refused(squares, ring_size):
    needed = 60 + sum(58 if square else 30 for square in squares) + 40
    if needed > MOST_COEFFICIENT_BITS[ring_size]:
        with pytest.raises(NotEvaluable, match=f"{needed} bits; at ring_size {ring_size}"):
            Packing(squares, ring_size)
        return
    made = Packing(squares, ring_size)
    assert sum(made.coefficient_bits) <= MOST_COEFFICIENT_BITS[ring_size]
    assert len(made.coefficient_bits) == len(squares) + 2


def test_seal_itself_holds_the_parameters_secure():
    assert Packing((True, True)).context.parameters_set()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ring_size": 2048}, "ring_size must be one of 4096, 8192, 16384, 32768, not 2048"),
        ({"number_bits": 30}, r"number_bits \+ 2 weight_bits is 62: at most 60"),
        ({"number_bits": 8}, "number_bits >= 16"),
        ({"weight_bits": 4}, "weight_bits >= 8"),
        ({"squares": (True,) * 3}, "4 layers need a modulus of 274 bits; at ring_size 8192 more than 218"),
    ],
)
def test_parameters_that_do_not_fit_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        Packing(**{"squares": (True,), **changes})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_numbers_that_do_not_fit_are_refused(owner, value):
    with pytest.raises(UserError, match=r"finite numbers from -2\^16"):
        owner.encrypt(torch.tensor([[value]]))


@pytest.mark.parametrize("samples", [0, ONE_SQUARE.slots + 1])
def test_more_samples_than_slots_are_refused(owner, samples):
    with pytest.raises(UserError, match=f"holds 1 to 4096 samples, not {samples}"):
        owner.encrypt(torch.zeros(samples, 1))


def test_the_larger_the_answers_the_coarser_the_weights():
    made = Packing((True,))
    assert made.answer_scale(1.0) == 2.0**20
    room = [largest * made.answer_scale(largest) for largest in (2.0**12, 2.0**18, made.bound)]
    assert all(each <= 2.0 ** (58 - made.number_bits) for each in room)
    assert room[2] == 2.0 ** (58 - made.number_bits)


# Hostile bytes


def test_another_number_of_ciphertexts_is_refused(owner, computing):
    rows = owner.encrypt(numbers(2, 2))
    for wrong in (rows[:1], rows.float(), rows[0], torch.zeros(0, 0, dtype=torch.uint8)):
        with pytest.raises(BadCiphertext, match="rows of bytes are expected"):
            computing.open(wrong, 2)


def test_the_frame_is_checked(owner, computing):
    rows = owner.encrypt(numbers(2, 1))
    behind, longer = rows.clone(), rows.clone()
    behind[0, -1] = 1
    longer[0, :4] = 255
    for wrong in (behind, longer, rows[:, :-2048], rows[:, :3]):
        with pytest.raises(BadCiphertext, match="announced"):
            computing.open(wrong, 1)


def test_ciphertexts_of_other_parameters_levels_and_scales_are_refused(owner, computing):
    rows = owner.encrypt(numbers(2, 1))
    for stranger in (Packing((False,)), Packing((True, True)), Packing((True,), ring_size=16384), LINEAR):
        with pytest.raises(BadCiphertext, match=r"not of this encryption|announced"):
            computing.open(PackedOwner(stranger).encrypt(numbers(2, 1)), 1)
    (fresh,) = computing.open(rows, 1)
    scaled = computing.combine([fresh], [1.0], 0.0, 2.0**16)
    with pytest.raises(BadCiphertext, match="of scale"):
        computing.open(computing.close([scaled]), 1)
    computing.rescale(scaled)
    with pytest.raises(BadCiphertext, match="polynomials, primes, degree"):
        computing.open(computing.close([scaled]), 1)
    with pytest.raises(BadCiphertext, match="polynomials, primes, degree"):
        owner.decrypt(rows, 2, 1)


def test_keys_that_are_none_are_refused(owner):
    keys = owner.evaluation_keys()
    with pytest.raises(BadCiphertext, match="1 rows of bytes are expected"):
        PackedEvaluator(ONE_SQUARE, keys[:0])
    with pytest.raises(BadCiphertext, match="not of this encryption"):
        PackedEvaluator(ONE_SQUARE, owner.encrypt(numbers(2, 1)))
    with pytest.raises(BadCiphertext, match="not of this encryption"):
        PackedEvaluator(ONE_SQUARE, PackedOwner(Packing((True, True))).evaluation_keys())


def test_altered_bytes_are_refused_by_name_or_open_but_never_crash(owner, computing):
    rows, generator, refused = owner.encrypt(numbers(2, 1)), np.random.default_rng(3), 0
    for trial in range(80):
        altered = rows.clone()
        for at in generator.integers(0, 4 if trial % 5 == 0 else 140, size=1 + trial % 3):
            altered[0, at] = int(generator.integers(256))
        try:
            assert len(computing.open(altered, 1)) == 1
        except BadCiphertext:
            refused += 1
    assert refused > 30
