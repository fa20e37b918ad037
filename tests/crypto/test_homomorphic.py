"""The decrypted sum of encryptions is the sum; whoever holds only the public context adds and learns nothing."""

import struct
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_attack_bench.crypto.context_bytes import vector_of
from fl_attack_bench.crypto.homomorphic import BadCiphertext, BadContext, Encryptor, Homomorphic, KeyPair, Scheme
from fl_attack_bench.crypto.ring import RangeError
from fl_attack_bench.errors import UserError
from fl_attack_bench.update import Layout

FLOAT32 = 2.0**-24  # relative error of rounding to float32
SIZE = 61_952  # bytes of a ciphertext at the defaults


@dataclass(frozen=True)
class Parties:
    keys: KeyPair
    client: Encryptor
    server: Encryptor


def parties(parameters: Homomorphic) -> Parties:
    keys = parameters.keys()
    return Parties(keys, Encryptor(parameters, keys.secret), Encryptor(parameters, keys.public))


@pytest.fixture(scope="module")
def ckks() -> Parties:
    return parties(Homomorphic("ckks"))


@pytest.fixture(scope="module")
def bfv() -> Parties:
    return parties(Homomorphic("bfv"))


@pytest.fixture(params=["ckks", "bfv"])
def both(request: pytest.FixtureRequest) -> Parties:
    return request.getfixturevalue(request.param)


def vectors(count: int, length: int, seed: int, scale: float = 1.0) -> Tensor:
    draw = torch.rand(count, length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (2 * draw - 1) * scale


def summed(who: Parties, values: Tensor) -> Tensor:
    messages = [who.client.encrypt(each, len(values)) for each in values]
    return who.client.decrypt(who.server.add(messages), values.shape[1])


@given(st.integers(1, 10), st.integers(1, 5000), st.integers(0, 2**31))
@settings(max_examples=12, deadline=None)
def test_ckks_sums_are_the_plain_sums_within_the_stated_error(ckks: Parties, terms: int, length: int, seed: int):
    values = vectors(terms, length, seed)
    found, expected = summed(ckks, values), values.sum(0)
    assert found.dtype == torch.float32
    assert found.shape == (length,)
    assert (found - expected).abs().max() <= 1e-4
    assert ((found - expected).abs() <= ckks.client.parameters.error(terms) + FLOAT32 * expected.abs()).all()


@given(st.integers(1, 10), st.integers(1, 5000), st.integers(0, 2**31))
@settings(max_examples=12, deadline=None)
def test_bfv_sums_are_exact_on_the_grid(bfv: Parties, terms: int, length: int, seed: int):
    grid = 2**bfv.client.parameters.fraction_bits
    most = 2**23 // terms  # so that the sum is a float32
    integers = torch.randint(-most, most + 1, (terms, length), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(summed(bfv, integers.double() / grid), (integers.sum(0).double() / grid).float())


def test_bfv_rounds_to_the_grid(bfv: Parties):
    values = vectors(10, 300, seed=3)
    grid = 2**bfv.client.parameters.fraction_bits
    exact = sum(np.rint(each.numpy() * grid).astype(int) for each in values)
    found = summed(bfv, values)
    assert np.array_equal(found.numpy(), (exact / grid).astype(np.float32))
    assert (found - values.sum(0)).abs().max() <= bfv.client.parameters.error(10) + 10 * FLOAT32


def test_the_noise_of_ckks_is_the_one_that_its_error_is_computed_from(ckks: Parties):
    zeros = torch.zeros(2048)
    slots = torch.cat([ckks.client.decrypt(ckks.client.encrypt(zeros, 1), 2048) for _ in range(40)])
    deviations = ckks.client.parameters.error(1) / 24
    assert slots.std() == pytest.approx(deviations, rel=0.1)
    # heavier than a normal law, whose fourth moment would be three times the squared variance: see `error`
    assert 4.5 < (slots**4).mean() / slots.var() ** 2 < 8


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_values_still_fit(both: Parties, sign: int):
    parameters = both.client.parameters
    values = torch.full((10, 100), sign * parameters.bound(10), dtype=torch.float64)
    found = summed(both, values)
    assert (found - values.sum(0)).abs().max() <= parameters.error(10) + FLOAT32 * values.sum(0).abs().max()


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
def test_a_larger_ring_and_more_primes(scheme: Scheme):
    who = parties(Homomorphic(scheme, ring_size=8192, coefficient_bits=(50, 50, 60)))
    values = vectors(3, 9000, seed=1)
    assert (summed(who, values) - values.sum(0)).abs().max() <= who.client.parameters.error(3) + 3 * FLOAT32


def test_a_sum_of_sums_is_a_sum(both: Parties):
    values = vectors(4, 10, seed=5)
    messages = [both.client.encrypt(each, 4) for each in values]
    halves = [both.server.add(messages[:2]), both.server.add(messages[2:])]
    found = both.client.decrypt(both.server.add(halves), 10)
    assert (found - values.sum(0)).abs().max() <= both.client.parameters.error(4) + 4 * FLOAT32


def test_the_public_context_cannot_decrypt(both: Parties):
    message = both.client.encrypt(torch.ones(3), 1)
    with pytest.raises(UserError, match="no secret key"):
        both.server.decrypt(message, 3)
    with pytest.raises(ValueError, match="doesn't hold a secret_key"):
        both.server._open(message[0]).decrypt()  # not by TenSEAL itself either
    assert both.client.secret
    assert not both.server.secret


def test_the_public_context_holds_no_other_keys(both: Parties):
    inside = both.server._context
    assert not inside.has_secret_key()
    assert not inside.has_galois_keys()
    assert not inside.has_relin_keys()
    assert inside.has_public_key()


def test_whoever_adds_may_not_hold_the_secret_key(both: Parties):
    with pytest.raises(UserError, match="public context"):
        both.client.add([both.client.encrypt(torch.ones(3), 1)])


def test_a_client_may_encrypt_with_the_public_context(both: Parties):
    message = both.server.encrypt(torch.tensor([0.25, -0.5]), 1)
    assert both.client.decrypt(message, 2).tolist() == pytest.approx([0.25, -0.5], abs=1e-6)


def test_equal_vectors_have_unequal_ciphertexts(both: Parties):
    assert len({both.client.encrypt(torch.zeros(3), 1) for _ in range(5)}) == 5


@pytest.mark.parametrize(("scheme", "slots", "a_number"), [("ckks", 2048, 30.25), ("bfv", 4096, 15.125)])
def test_every_ciphertext_has_the_stated_size(request, scheme: str, slots: int, a_number: float):
    who: Parties = request.getfixturevalue(scheme)
    values = vectors(2, 2 * slots + 1, seed=2)
    messages = [who.client.encrypt(each, 2) for each in values]
    sizes = {len(data) for message in [*messages, who.server.add(messages)] for data in message}
    assert sizes == {SIZE}
    assert pytest.approx(a_number) == SIZE / slots
    assert len(messages[0]) == who.client.parameters.count(2 * slots + 1) == 3


def test_an_empty_vector_has_no_ciphertext(both: Parties):
    assert both.client.encrypt(torch.zeros(0), 1) == ()
    assert both.client.decrypt((), 0).shape == (0,)


LAYOUT = Layout(names=("first", "second.weight"), shapes=((3,), (2, 2)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e9, -1e9])
def test_values_that_do_not_fit_are_named(both: Parties, value: float):
    values = torch.zeros(7)
    values[5] = value
    bound = both.client.parameters.bound(10)
    with pytest.raises(RangeError) as caught:
        both.client.encrypt(values, 10, LAYOUT)
    for part in ("layer 'second.weight', entry 2", f"{value:g}", "sum of 10", f"{bound:g}"):
        assert part in str(caught.value)
    with pytest.raises(RangeError, match="entry 5: "):
        both.client.encrypt(values, 10)


def test_the_bound_is_where_encryption_refuses(both: Parties):
    bound = both.client.parameters.bound(3)
    both.client.encrypt(torch.tensor([bound], dtype=torch.float64), 3)
    with pytest.raises(RangeError):
        both.client.encrypt(torch.tensor([bound * (1 + 1e-9)], dtype=torch.float64), 3)
    with pytest.raises(ValueError, match="7 entries cannot name 3 values"):
        both.client.encrypt(torch.zeros(3), 1, LAYOUT)


def test_a_flipped_bit_decrypts_to_rubbish_without_a_word(ckks: Parties):
    """Why ciphertexts are signed: what SEAL's own checks let through is not told from a genuine ciphertext."""
    values = torch.full((2048,), 0.5)
    (genuine,) = ckks.client.encrypt(values, 1)
    silent = 0
    for bit in range(8 * 5000, 8 * 5000 + 40):
        altered = bytearray(genuine)
        altered[bit // 8] ^= 1 << bit % 8
        try:
            found = ckks.client.decrypt((bytes(altered),), 2048)
        except BadCiphertext:
            continue
        assert (found - values).abs().max() > 10
        silent += 1
    assert silent > 0


def test_hostile_bytes_are_refused_by_name_or_decrypt_but_never_crash(both: Parties):
    """Alterations where they hurt: the frame, SEAL's header, the members in the beginning of the compressed body."""
    (genuine,) = both.client.encrypt(torch.ones(5), 1)
    generator = np.random.default_rng(11)
    refused = 0
    for trial in range(300):
        altered = bytearray(genuine)
        for at in generator.integers(0, 4 if trial % 5 == 0 else 120, size=1 + trial % 3):
            altered[at] = generator.integers(256)
        try:
            assert both.client.decrypt((bytes(altered),), 5).shape == (5,)
            both.server.add([(genuine,), (bytes(altered),)])
        except BadCiphertext:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("length", [0, 1, 511, 512, SIZE - 1, SIZE - 512, SIZE + 512, 10**6])
def test_other_lengths_are_refused(both: Parties, length: int):
    (genuine,) = both.client.encrypt(torch.ones(5), 1)
    with pytest.raises(BadCiphertext):
        both.client.decrypt(((genuine + bytes(10**6))[:length],), 5)


def test_what_stands_behind_a_ciphertext_must_be_zeros(both: Parties):
    (genuine,) = both.client.encrypt(torch.ones(5), 1)
    with pytest.raises(BadCiphertext, match="zeros behind"):
        both.client.decrypt((genuine[:-1] + b"\x01",), 5)


def test_messages_that_do_not_belong_together_are_refused(both: Parties):
    short, long = (both.client.encrypt(torch.ones(n), 2) for n in (5, 5000))
    with pytest.raises(BadCiphertext, match="messages of 1 and "):
        both.server.add([short, long])
    with pytest.raises(BadCiphertext, match="stand in 1 ciphertexts, not in "):
        both.client.decrypt(long, 5)
    with pytest.raises(UserError, match="no message"):
        both.server.add([])


def test_ciphertexts_of_other_parameters_are_refused(ckks: Parties, bfv: Parties):
    primes = parties(Homomorphic(coefficient_bits=(53, 54)))
    scale = parties(Homomorphic(scale_bits=38))
    for who, other in [(ckks, bfv), (bfv, ckks), (ckks, primes), (ckks, scale)]:
        message = other.client.encrypt(torch.ones(5), 1)
        with pytest.raises(BadCiphertext, match=r"data is invalid|of scale"):
            who.client.decrypt(message, 5)
        with pytest.raises(BadCiphertext, match=r"data is invalid|of scale"):
            who.server.add([message])


def test_a_ciphertext_that_hides_nothing_is_refused(ckks: Parties):
    """A plaintext in the shape of a ciphertext: SEAL's members with a second polynomial of zeros, not compressed."""
    members = bytes.fromhex(PARAMETERS_HASH) + b"\x01" + struct.pack("<QQQdQ", 2, 4096, 1, 2.0**40, 1)
    polynomials = struct.pack("<Q", 2 * 4096) + b"\x05" + bytes(16 * 4096 - 1)
    data = seal_object(members + seal_object(polynomials))
    framed = struct.pack("<I", len(data)) + data
    assert ckks.server._load(ckks.server._context, vector_of(data, 2048, 2.0**40)).size() == 2048  # SEAL takes it
    with pytest.raises(BadCiphertext, match="hides nothing"):
        ckks.client.decrypt((framed + bytes(-len(framed) % 512),), 5)


PARAMETERS_HASH = "2101806e43b4962f7db3eb4c1e8502fbb5ee1dd0df6ea66a9b6f54e0c03816e4"  # of N = 4096, (54, 54), CKKS


def seal_object(body: bytes) -> bytes:
    return struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 3, 0, 0, 16 + len(body)) + body


@pytest.mark.parametrize(
    "other", [Homomorphic("bfv"), Homomorphic(scale_bits=39), Homomorphic(coefficient_bits=(54, 53))]
)
def test_a_context_of_other_parameters_is_refused(ckks: Parties, other: Homomorphic):
    for context in (ckks.keys.public, ckks.keys.secret):
        with pytest.raises(BadContext, match="other parameters"):
            Encryptor(other, context)


@pytest.mark.parametrize("context", [b"", b"\x00", b"\xff" * 100, b"\x0a\x01a", bytes(10**5)])
def test_what_is_no_context_is_refused(context: bytes):
    with pytest.raises(BadContext):
        Encryptor(Homomorphic(), context)


def test_altered_contexts_are_refused_or_load_but_never_crash(both: Parties):
    generator = np.random.default_rng(5)
    refused = 0
    for _ in range(150):
        altered = bytearray(both.keys.public)
        altered[generator.integers(300)] ^= 1 << int(generator.integers(8))
        try:
            assert not Encryptor(both.client.parameters, bytes(altered)).secret
        except BadContext:
            refused += 1
    assert refused > 75


def test_a_context_with_further_keys_is_refused(ckks: Parties):
    import tenseal as library

    fresh = library.context(library.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[54, 54], n_threads=1)
    fresh.global_scale = 2.0**40
    Encryptor(ckks.client.parameters, fresh.serialize(save_relin_keys=False))
    with pytest.raises(BadContext, match="other parameters"):
        Encryptor(ckks.client.parameters, fresh.serialize(save_relin_keys=True))
