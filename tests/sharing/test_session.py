"""The operations on shares against the same operations on numbers."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sharing.around import play

from fl_attack_bench.api import COMPUTE, OWNER, THIRD
from fl_attack_bench.crypto.ring import RangeError
from fl_attack_bench.sharing.arithmetic import Float, Ring
from fl_attack_bench.sharing.products import Elementwise, MatMul

RING, DOUBLE = Ring(16), Float(torch.float64, 100.0)
ARITHMETICS = [pytest.param(RING, 2e-4, id="ring"), pytest.param(DOUBLE, 1e-8, id="float64")]


def numbers(*shape, seed=0, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


async def given_to(session, name, values, bits=None):
    bits = session.fraction_bits if bits is None else bits
    return await session.share(name, OWNER, values.shape, bits, values if session.name == OWNER else None)


@pytest.mark.parametrize(("arithmetic", "error"), ARITHMETICS)
def test_what_is_shared_comes_back(arithmetic, error):
    x = numbers(7, 3)

    async def program(session):
        return await session.reveal("x", await given_to(session, "x", x), THIRD)

    found, _, _ = play(arithmetic, program)
    assert (found[THIRD] - x).abs().max() < error
    assert all(found[name] is None for name in found if name != THIRD)


@pytest.mark.parametrize(("arithmetic", "error"), ARITHMETICS)
@pytest.mark.parametrize("transposed", [False, True])
def test_matrix_product(arithmetic, error, transposed):
    x, y = numbers(5, 8), numbers(8, 3, seed=1)

    async def program(session):
        left, right = await given_to(session, "x", x), await given_to(session, "y", y.T if transposed else y)
        return await session.reveal("z", await session.product("z", MatMul(False, transposed), left, right), THIRD)

    found, _, _ = play(arithmetic, program)
    assert (found[THIRD] - x @ y).abs().max() < error


@pytest.mark.parametrize(("arithmetic", "error"), ARITHMETICS)
def test_a_square_opens_its_factor_once(arithmetic, error):
    x = numbers(20)

    async def program(session):
        value = await given_to(session, "x", x)
        return await session.reveal("z", await session.product("z", Elementwise(), value, value), THIRD)

    found, wire, _ = play(arithmetic, program, watched=[COMPUTE[0]])
    assert (found[THIRD] - x.square()).abs().max() < error
    opened = [m for m in wire.view() if m.sender == COMPUTE[1] and "x" in m.payload().parts]
    assert len(opened) == 1


def test_a_factor_in_two_products_is_opened_once():
    x, y = numbers(4, 4), numbers(4, 4, seed=1)

    async def program(session):
        left, right = await given_to(session, "x", x), await given_to(session, "y", y)
        first = await session.product("a", MatMul(), left, right)
        second = await session.product("b", MatMul(True), left, right)
        return await session.reveal("a", first, THIRD), await session.reveal("b", second, THIRD)

    found, wire, _ = play(RING, program, watched=[COMPUTE[0]])
    a, b = found[THIRD]
    assert (a - x @ y).abs().max() < 1e-3
    assert (b - x.T @ y).abs().max() < 1e-3
    opened = [m for m in wire.view() if m.sender == COMPUTE[1] and set(m.payload().parts) & {"x", "y"}]
    assert len(opened) == 1


@given(
    values=st.lists(st.floats(-(2.0**18), 2.0**18), min_size=1, max_size=30),
    factor=st.floats(1e-4, 3.0),
)
@example(values=[0.0001, 0.0], factor=2.5)
@settings(max_examples=60, deadline=None)
def test_rescaling_is_right_to_the_last_digit(values, factor):
    x = torch.tensor(values, dtype=torch.float64)

    async def program(session):
        (down,) = await session.rescale([await given_to(session, "x", x, bits=32)], 16)
        (scaled,) = await session.rescale([await given_to(session, "y", x, bits=16)], 16, factor)
        return await session.reveal("x", down, THIRD), await session.reveal("y", scaled, THIRD)

    down, scaled = play(RING, program)[0][THIRD]
    assert ((down - x).abs() <= 2.0**-16).all()
    # The factor is kept to 14 binary digits, and multiplies the 2^-17 by which what was encoded is off.
    assert ((scaled - factor * x).abs() <= 2.0**-14 * (factor * x).abs() + 2**-16 + max(1.0, factor) * 2**-17).all()


@pytest.mark.parametrize("bits", [32, 46, 48, 54])
def test_numbers_are_rescaled_rightly_up_to_the_stated_size(bits):
    most = min(2.0**16, 2.0 ** (62 - bits))
    x = torch.tensor([-1.0, 1.0], dtype=torch.float64) * (most - 2.0**-16)

    async def program(session):
        fine = session.finer(await given_to(session, "x", x), bits)
        (down,) = await session.rescale([fine], session.fraction_bits)
        return await session.reveal("x", down, THIRD)

    assert ((play(RING, program)[0][THIRD] - x).abs() <= 2.0**-16).all()


def test_rounding_is_right_on_average():
    x = torch.full((200_000,), 5.25 * 2.0**-16, dtype=torch.float64)

    async def program(session):
        (down,) = await session.rescale([await given_to(session, "x", x, bits=32)], 16)
        return await session.reveal("x", down, THIRD)

    found = play(RING, program)[0][THIRD] * 2**16
    assert set(found.unique().tolist()) == {5.0, 6.0}
    assert abs(float(found.mean()) - 5.25) < 5 * 0.433 / 200_000**0.5


@pytest.mark.parametrize(("arithmetic", "error"), ARITHMETICS)
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "square"])
def test_activation_and_slope(arithmetic, error, activation):
    x = numbers(6, 5, scale=2.0)
    reference = {"relu": torch.relu, "sigmoid": torch.sigmoid, "square": torch.square}[activation]

    async def program(session):
        value = await given_to(session, "x", x, bits=2 * session.fraction_bits)
        outputs, slope = await session.activate("0", activation, value, slope=True)
        return await session.reveal("a", outputs, OWNER), await session.reveal("s", slope, OWNER)

    outputs, slope = play(arithmetic, program)[0][OWNER]
    leaf = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(reference(leaf).sum(), leaf)
    assert (outputs - reference(x)).abs().max() < error
    assert (slope - wanted).abs().max() < error


def test_the_third_party_sees_the_values_in_another_order_each_time():
    x = torch.arange(1000, dtype=torch.float64).reshape(100, 10) / 64

    async def program(session):
        value = await given_to(session, "x", x, bits=32)
        for number in range(2):
            await session.activate(str(number), "relu", value, slope=False)

    _, wire, _ = play(RING, program, watched=[THIRD])
    orders = []
    for number in range(2):
        shares = [m.payload().parts[f"z/{number}"].values for m in wire.view() if f"z/{number}" in m.payload().parts]
        seen = RING.decode(sum(shares), 32, "z")
        assert torch.equal(seen.sort().values, x.flatten())
        orders.append(seen)
    assert not torch.equal(orders[0], x.flatten())
    assert float((orders[0] == orders[1]).double().mean()) < 0.02


def test_numbers_that_do_not_fit_are_refused_by_name():
    async def program(session):
        await given_to(session, "x", torch.tensor([1.0, 2.0**20], dtype=torch.float64))

    with pytest.raises(RangeError, match=r"owner's x: 1.04858e\+06 is too large for a ring of 64 bits"):
        play(RING, program)


@pytest.mark.parametrize("arithmetic", [RING, DOUBLE], ids=["ring", "float64"])
def test_numbers_that_are_infinite_are_refused_by_name(arithmetic):
    async def program(session):
        await given_to(session, "x", torch.tensor([1.0, torch.inf], dtype=torch.float64))

    with pytest.raises(RangeError, match="owner's x"):
        play(arithmetic, program)


def test_a_product_that_left_the_ring_is_refused_where_it_is_seen():
    x = numbers(3, 4, scale=2.0**17)  # products of 2^34 at 32 fraction bits: more than 64 bits

    async def program(session):
        left, right = await given_to(session, "x", x), await given_to(session, "y", x.T)
        return await session.reveal("z", await session.product("z", MatMul(), left, right), THIRD)

    with pytest.raises(RangeError, match=r"z: .* came out, so a product left the ring of 64 bits"):
        play(RING, program)


def test_factors_that_do_not_fit_are_refused():
    async def program(session):
        left, right = await given_to(session, "x", numbers(3, 4)), await given_to(session, "y", numbers(3, 4))
        await session.product("z", MatMul(), left, right)

    with pytest.raises(ValueError, match=r"cannot multiply \(3, 4\) and \(3, 4\)"):
        play(RING, program)
