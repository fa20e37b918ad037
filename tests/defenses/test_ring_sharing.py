"""Learning with activations on shares follows learning in the clear with the same activations, at the stated price."""

from collections import Counter
from math import isclose

import numpy as np
import pytest
import torch
from fl_attack_bench.defenses.ring_sharing import RingSharing
from scipy import stats
from scipy.integrate import quad
from scipy.special import expit

from fl_attack_bench.api import COMPUTE, HELPER, LABELS, OWNER, Holding, Plan
from fl_attack_bench.codec import Dense
from fl_attack_bench.errors import UserError
from fl_attack_bench.models import stack
from fl_attack_bench.scenarios.outsourced import OFFLINE, Gathering
from fl_attack_bench.sharing.activations import CUBIC, LINEAR, ActivatingSession
from fl_attack_bench.sharing.arithmetic import Float
from fl_attack_bench.tasks.outsourced import Layer
from fl_attack_bench.wire import Wire

IMAGE = (1, 6, 6)
SAMPLES, BATCH, STEPS = 24, 8, 20
FRAME, PART = 6, 4  # bytes before a frame's first part, and before a part's name and shape


def network(*activations):
    return stack.plan(
        [
            Layer(kind="convolution", outputs=3, kernel=2, stride=2, activation=activations[0]),
            Layer(kind="dense", outputs=6, activation=activations[1]),
            Layer(kind="dense", outputs=2, activation=activations[2]),
        ],
        IMAGE,
    )


class Session:
    """A protocol that was set up on fixed data, with every message kept."""

    def __init__(self, layers, defense, samples=SAMPLES, weights=None, rate=0.5, scale=1):
        generator = torch.Generator().manual_seed(7)
        self.layers = layers
        self.features = torch.rand(samples, *IMAGE, generator=generator, dtype=torch.float64)
        self.targets = torch.rand(samples, layers[-1].layer.outputs, generator=generator, dtype=torch.float64)
        self.initial = weights or tuple(scale * weight for weight in stack.initial(layers, generator))
        self.wire = Wire(watched=[OWNER, LABELS, HELPER, *COMPUTE])
        holdings = {
            OWNER: Holding(features=self.shaped(self.features), weights=self.initial),
            LABELS: Holding(targets=self.targets),
        }
        plan = Plan(layers, samples, BATCH, rate)
        self.gathering = Gathering(defense.parties(plan), holdings, self.wire, lambda: 0.0)
        self.run("setup", 0, lambda name, party: party.setup())

    def run(self, topic, number, call):
        parties = self.gathering.parties
        return self.gathering.run(topic, number, {name: call(name, party) for name, party in parties.items()})

    def shaped(self, features):
        return features.reshape(-1, *self.layers[0].inputs)

    def step(self, number, rows):
        self.run("training", number, lambda name, party: party.step(rows))

    def weights(self):
        return self.run("weights", 0, lambda name, party: party.weights())

    def predict(self, number, features):
        given = {OWNER: self.shaped(features)}
        found = self.run("inference", number, lambda name, party: party.predict(len(features), given.get(name)))
        assert [name for name, value in found.items() if value is not None] == [OWNER]
        return found[OWNER]


def in_the_clear(kind):
    """The activations as the formulas have them; autograd finds their slopes."""

    def activate(activation, z):
        if activation == "relu":
            return torch.where(z > 0, z, torch.zeros_like(z))
        if activation == "square":
            return z * z
        if activation == "none":
            return z
        if kind == "polynomial":
            return 0.5 + LINEAR * (z / 8) + CUBIC * (z / 8) ** 3
        z = z / 4 if kind == "tangent" else z
        return torch.where(z > 0.5, 1.0, torch.where(z > -0.5, z + 0.5, 0.0))

    def forward(layers, weights, values):
        for number, planned in enumerate(layers):
            values = activate(planned.activation, stack.linear(planned, values, *weights[2 * number : 2 * number + 2]))
        return values.flatten(1)

    return forward


KINDS = [  # weights of three times the usual size lead into the bends of what stands for sigmoid
    ("piecewise", ("relu", "sigmoid", "sigmoid"), 0.5, 3),
    ("tangent", ("relu", "sigmoid", "sigmoid"), 0.5, 3),
    ("polynomial", ("relu", "sigmoid", "sigmoid"), 0.5, 3),
    ("piecewise", ("square", "relu", "none"), 0.2, 1),
]


@pytest.mark.parametrize(("sigmoid", "activations", "rate", "scale"), KINDS)
def test_training_follows_the_plain_network_with_the_same_activations(sigmoid, activations, rate, scale):
    layers, forward = network(*activations), in_the_clear(sigmoid)
    session = Session(layers, RingSharing(fraction_bits=18, sigmoid=sigmoid), rate=rate, scale=scale)
    weights = [weight.clone().requires_grad_() for weight in session.initial]
    for number in range(STEPS):
        rows = (torch.arange(BATCH) + number * BATCH) % SAMPLES
        session.step(number, rows)
        loss = (forward(layers, weights, session.features[rows]) - session.targets[rows]).square().mean()
        gradients = torch.autograd.grad(loss, weights)
        weights = [(w - rate * g).detach().requires_grad_() for w, g in zip(weights, gradients, strict=True)]
    found = session.weights()
    assert [name for name, value in found.items() if value is not None] == [OWNER]
    moved = max(float((w.detach() - before).abs().max()) for w, before in zip(weights, session.initial, strict=True))
    for shared, plain in zip(found[OWNER], weights, strict=True):
        assert float((shared - plain.detach()).abs().max()) < 2e-4 < moved / 100
    predicted = session.predict(0, session.features[:5])
    assert torch.allclose(predicted, forward(layers, weights, session.features[:5]), atol=5e-4)


ULP = 2**-16


@pytest.mark.parametrize(("sigmoid", "activation", "error"), [
    # Each truncation is off by less than one ulp, and what follows multiplies it.
    ("piecewise", "none", lambda z: 0 * z + 1),
    ("piecewise", "relu", lambda z: 0 * z + 1),
    ("piecewise", "sigmoid", lambda z: 0 * z + 1),
    ("tangent", "sigmoid", lambda z: 0 * z + 1),
    ("piecewise", "square", lambda z: 2 * z + 2),
    # t is off by 1, t^2 by 2 t + 1, the cubic factor by 2^-15 of itself; then times t, and one more truncation
    ("polynomial", "sigmoid", lambda z: 4 + 4 * (z / 8) + 6 * (z / 8).square() + 2 * (z / 8) ** 3),
])  # fmt: skip
def test_activations_of_a_range_of_numbers(sigmoid, activation, error):
    layers = stack.plan([Layer(kind="dense", outputs=36, activation=activation)], IMAGE)
    identity = torch.eye(36, dtype=torch.float64), torch.zeros(36, dtype=torch.float64)
    session = Session(layers, RingSharing(sigmoid=sigmoid), samples=1, weights=identity)
    z = 40 * torch.rand(100, 36, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 20
    z[:50] /= 20
    z[0, :5] = torch.tensor([0.0, 0.5, -0.5, ULP, -ULP])
    z = (z / ULP).round() * ULP
    off = session.predict(0, z) - in_the_clear(sigmoid)(layers, identity, z)
    assert (off.abs() <= ULP * error(z.abs())).all()
    assert off.mean().abs() < ULP * error(z.abs()).mean() / 4  # rounded up as often as down


def test_the_polynomial_is_the_closest_of_its_degree():
    def distance(linear, cubic):
        return quad(lambda x: (0.5 + linear * x / 8 + cubic * (x / 8) ** 3 - expit(x)) ** 2, -8, 8, epsabs=1e-13)[0]

    basis = [lambda t: t, lambda t: t**3]
    gram = [[quad(lambda t, f=f, g=g: f(t) * g(t), -1, 1)[0] for g in basis] for f in basis]
    right = [quad(lambda t, f=f: f(t) * (expit(8 * t) - 0.5), -1, 1, epsabs=1e-13)[0] for f in basis]
    assert np.linalg.solve(gram, right) == pytest.approx([LINEAR, CUBIC], abs=1e-7)
    assert all(distance(LINEAR + a, CUBIC + b) > distance(LINEAR, CUBIC) for a, b in ((1e-3, 0), (0, 1e-3), (-1e-3, 0)))


def predicting(activation, samples, outputs=13):
    layers = stack.plan([Layer(kind="dense", outputs=outputs, activation=activation)], IMAGE)
    session = Session(layers, RingSharing())
    session.predict(0, session.features[:samples])
    return session.wire


def sizes(wire, sender, receiver, topic):
    return [len(m.data) for m in wire.view() if (m.sender, m.receiver, m.topic) == (sender, receiver, topic)]


@pytest.mark.parametrize("samples", [1, 5])
def test_one_relu_costs_what_the_formula_says(samples):
    without, wire = predicting("none", samples), predicting("relu", samples)
    count, octets = 13 * samples, -(-13 * samples // 8)
    planes = [FRAME + PART + len("planes") + 16 + rows * octets for rows in (63, 92, 47, 23, 11, 5, 2)]
    last = FRAME + (PART + len("bits") + 8 + octets) + (PART + len("masked") + 8 + 8 * count)
    for pair in (COMPUTE, COMPUTE[::-1]):
        opening, *rest = sizes(without, *pair, "inference")
        assert sizes(wire, *pair, "inference") == [opening, *planes, last, *rest]
    seed, words = PART + len("seed") + 8 + 32, PART + len("words") + 16 + 16 * count
    dealt = FRAME + seed + (PART + len("planes") + 16 + 181 * octets) + words
    triple, *rest = sizes(without, HELPER, COMPUTE[1], "inference" + OFFLINE)
    assert sizes(wire, HELPER, COMPUTE[1], "inference" + OFFLINE) == [triple, dealt, *rest]
    assert not sizes(wire, HELPER, COMPUTE[0], "inference" + OFFLINE)


def test_trips_of_activations():
    def trips(activation):
        return len([phase for phase in predicting(activation, 2).phases if phase.topic == "inference"])

    assert trips("relu") == trips("sigmoid") == trips("none") + 8
    assert trips("square") == trips("none") + 2  # open, truncate


def test_nobody_is_shown_anything():
    """What compute parties receive is uniform on all-equal data, and the helper hears nothing."""
    session = Session(network("relu", "sigmoid", "square"), RingSharing())
    session.predict(0, torch.zeros(200, *IMAGE, dtype=torch.float64))
    session.step(0, torch.arange(BATCH))
    assert set(session.gathering.parties) == {OWNER, LABELS, HELPER, *COMPUTE}
    messages = session.wire.view()
    assert not [message for message in messages if message.receiver == HELPER]
    assert {message.sender for message in messages if message.receiver == OWNER} == set(COMPUTE)
    for party in COMPUTE:
        parts = [part for m in messages if m.receiver == party for part in m.payload().parts.values()]
        data = np.concatenate(
            [part.values.numpy().view(np.uint8).ravel() for part in parts if part.values.numel() > 64]
        )
        assert len(data) > 100_000
        assert stats.chisquare(np.bincount(data, minlength=256)).pvalue > 1e-6


def test_nothing_that_hides_a_number_is_used_twice():
    """Predicting the same samples again repeats no word and no plane: it would, were a mask or a triple reused."""
    session = Session(network("relu", "sigmoid", "square"), RingSharing())
    for number in range(2):
        session.predict(number, session.features)
    seen = Counter()
    for message in session.wire.view():
        if message.receiver in COMPUTE:
            for part in message.payload().parts.values():
                assert isinstance(part, Dense)
                rows = part.values if part.values.dtype == torch.uint8 else part.values.reshape(-1, 1)
                seen.update(row.numpy().tobytes() for row in rows.reshape(-1, rows.shape[-1]) if row.nbytes >= 8)
    assert len(seen) > 10_000
    assert max(seen.values()) == 1


def test_reproducible_secrets_are_asked_for_by_name():
    assert not RingSharing().from_seed
    assert RingSharing(reproducible=True).from_seed


@pytest.mark.parametrize(("parameters", "message"), [
    ({"sigmoid": "exact"}, "sigmoid='exact'"), ({"fraction_bits": 32}, "fraction_bits=32"), ({"masks": "no"}, "masks="),
])  # fmt: skip
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(UserError, match=message):
        RingSharing(**parameters)


def test_floating_point_shares_cannot_be_compared():
    with pytest.raises(ValueError, match="needs shares in a ring"):
        ActivatingSession(None, Float(), ())


def test_the_coefficients_stand_for_the_known_polynomial():
    assert isclose(LINEAR / 8, 0.15012, abs_tol=1e-5)
    assert isclose(CUBIC / 512, -0.001593, abs_tol=1e-6)
