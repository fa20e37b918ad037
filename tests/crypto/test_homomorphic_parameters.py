"""Parameters that hold no sound encryption are refused when they are made; bounds and errors follow their formulas."""

import subprocess
import sys
from math import sqrt

import pytest

from fl_attack_bench.crypto.homomorphic_parameters import Homomorphic
from fl_attack_bench.errors import UserError


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"scheme": "paillier"}, "scheme must be one of ckks, bfv, not 'paillier'"),
        ({"ring_size": 2048}, "ring_size must be one of 4096, 8192, 16384, 32768, not 2048"),
        ({"coefficient_bits": (54, 56)}, "sum to 110: at ring_size 4096 more than 109 bits"),
        ({"ring_size": 8192, "coefficient_bits": (55, 55, 55, 54)}, "sum to 219: at ring_size 8192 more than 218 bits"),
        ({"coefficient_bits": (54,)}, "at least two primes, not 1"),
        ({"coefficient_bits": (29, 54)}, "from 30 to 60, not 29"),
        ({"coefficient_bits": (61, 40)}, "from 30 to 60, not 61"),
        ({"scale_bits": 53}, "scale_bits must be a whole number from 1 to 52, not 53"),
        ({"scale_bits": 40.0}, "scale_bits must be a whole number from 1 to 52, not 40.0"),
        ({"scale_bits": 20}, "scale_bits 20 leaves an error of 0.02 on each number, more than 0.0001"),
        ({"scheme": "bfv", "plain_bits": 41}, "plain_bits must be a whole number from 20 to 40, not 41"),
        ({"scheme": "bfv", "plain_bits": 19}, "plain_bits must be a whole number from 20 to 40, not 19"),
        ({"scheme": "bfv", "fraction_bits": 31}, "fraction_bits must be a whole number from 1 to 30, not 31"),
        ({"scheme": "bfv", "fraction_bits": 0}, "fraction_bits must be a whole number from 1 to 30, not 0"),
        ({"scheme": "bfv", "coefficient_bits": (36, 60)}, "plain_bits 32 leaves no room for noise in a modulus of 36"),
    ],
)
def test_what_cannot_work_is_refused_with_its_bound(wrong: dict, why: str):
    with pytest.raises(UserError) as caught:
        Homomorphic(**wrong)
    assert why in str(caught.value)


def test_the_largest_secure_moduli_are_accepted():
    assert Homomorphic(coefficient_bits=(54, 55)).coefficient_bits == (54, 55)
    assert Homomorphic(ring_size=8192, coefficient_bits=[55, 55, 54, 54]).coefficient_bits == (55, 55, 54, 54)


@pytest.mark.parametrize("ring_size", [4096, 8192, 16384, 32768])
@pytest.mark.parametrize("bits", [20, 26, 32])
def test_the_plain_modulus_is_the_one_that_seal_finds(ring_size: int, bits: int):
    from tenseal import sealapi

    own = Homomorphic("bfv", ring_size, plain_bits=bits, fraction_bits=8).plain_modulus
    assert own == sealapi.PlainModulus.Batching(ring_size, bits).value()


def test_bounds_and_errors_by_hand():
    ckks = Homomorphic()
    assert ckks.bound(1) == 4096  # 2^(54 - 2 - 40)
    assert ckks.bound(10) == 409.6
    sigma = sqrt((2 * 4096 / 3 + 2) / 12)
    assert ckks.error(10) == pytest.approx(24 * sqrt(10 * 2048) * sigma / 2**40)
    assert ckks.error(10) < 1e-7
    bfv = Homomorphic("bfv", plain_bits=26, fraction_bits=16)
    assert bfv.plain_modulus == 67_084_289
    assert bfv.bound(10) == (67_084_288 // 2 // 10) / 2**16
    assert bfv.error(10) == 10 / 2**17


@pytest.mark.parametrize("scheme", ["ckks", "bfv"])
def test_impossible_numbers_of_terms_are_refused(scheme: str):
    parameters = Homomorphic(scheme)
    assert parameters.bound(parameters.most_terms) < parameters.bound(1)
    for terms in (0, -1, parameters.most_terms + 1):
        with pytest.raises(UserError, match=f"cannot sum {terms} ciphertexts under {scheme}"):
            parameters.bound(terms)


def test_ciphertexts_needed():
    assert [Homomorphic().count(n) for n in (0, 1, 2048, 2049, 61_706)] == [0, 1, 1, 2, 31]
    assert [Homomorphic("bfv").count(n) for n in (0, 1, 4096, 4097, 61_706)] == [0, 1, 1, 2, 16]


def test_no_key_is_printed_and_no_two_pairs_are_alike():
    one, other = Homomorphic().keys(), Homomorphic().keys()
    assert one.secret != other.secret
    assert len(repr(one)) < 50


def test_importing_and_making_parameters_does_not_load_tenseal():
    script = (
        "import sys; from fl_attack_bench.crypto import homomorphic as h; h.Homomorphic('bfv').bound(10); "
        "print('tenseal' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "False"


def test_a_missing_tenseal_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tenseal", None)
    with pytest.raises(UserError, match="pip install 'tenseal"):
        Homomorphic().keys()
