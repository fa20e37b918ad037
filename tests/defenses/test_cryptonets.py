"""CryptoNets as a protocol: the right predictions, real bytes, and a compute party that sees ciphertexts alone."""

from collections.abc import Sequence
from math import ceil

import pytest
import torch

from fl_attack_bench import registry
from fl_attack_bench.api import COMPUTE, OWNER, CodecError, Holding, OutsourcedDefense, Payload, Plan, SkipCell
from fl_attack_bench.errors import UserError
from fl_attack_bench.method import build
from fl_attack_bench.models import stack
from fl_attack_bench.scenarios.outsourced import Gathering
from fl_attack_bench.tasks.outsourced import Layer
from fl_attack_bench.wire import Wire

TASK = (
    Layer(kind="convolution", outputs=2, kernel=2, stride=2, activation="relu"),
    Layer(kind="dense", outputs=5, activation="sigmoid"),
    Layer(kind="dense", outputs=3, activation="sigmoid"),
)
LINEAR = (Layer(kind="dense", outputs=1, activation="sigmoid"),)
SHAPE = (1, 6, 5)


def cryptonets(**parameters: object) -> OutsourcedDefense:
    made = build(registry.find("defense", "cryptonets").cls, parameters)
    assert isinstance(made, OutsourcedDefense)
    return made


def plan_of(defense: OutsourcedDefense, layers: Sequence[Layer]) -> Plan:
    return Plan(stack.plan(defense.layers(layers), SHAPE), samples=0, batch_size=4, learning_rate=0.1)


def gathering(defense: OutsourcedDefense, plan: Plan, weights: stack.Weights | None, wire: Wire) -> Gathering:
    holdings = {COMPUTE[0]: Holding(weights=weights)}
    made = Gathering(defense.parties(plan), holdings, wire, lambda: 0.0)
    made.run("setup", 0, {name: party.setup() for name, party in made.parties.items()})
    return made


def predict(made: Gathering, features: torch.Tensor) -> torch.Tensor:
    calls = {
        name: party.predict(len(features), features if name == OWNER else None) for name, party in made.parties.items()
    }
    return made.run("inference", 0, calls)[OWNER]


def drawn(plan: Plan) -> stack.Weights:
    return stack.initial(plan.layers, torch.Generator().manual_seed(4))


def images(samples: int) -> torch.Tensor:
    return torch.rand(samples, *SHAPE, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(("layers", "ring_size", "samples"), [(TASK, 8192, 9), (LINEAR, 4096, 2050), (LINEAR, 8192, 1)])
def test_predictions_are_those_of_the_network_in_the_clear(layers, ring_size, samples):
    defense = cryptonets(ring_size=ring_size)
    plan, wire = plan_of(defense, layers), Wire()
    features = images(samples)
    if len(layers) == 1:
        features = features.flatten(1)
    found = predict(gathering(defense, plan, drawn(plan), wire), features)
    assert torch.allclose(found, stack.forward(plan.layers, drawn(plan), features), atol=1e-3)
    sent = [phase for phase in wire.phases if phase.topic == "inference"]
    assert len(sent) == 2  # there and back, however many parts
    parts = ceil(samples / (ring_size // 2))
    rows, answers = sent[0].traffic[OWNER].sent, sent[1].traffic[COMPUTE[0]].sent
    primes = (60 + 58 * 2) if len(layers) > 1 else 60
    # a seed and one polynomial a feature; two polynomials of the last prime an output
    assert 1.0 < rows / (parts * 30 * ring_size * primes / 8) < 1.15
    assert 1.0 < answers / (parts * plan.outputs * 2 * ring_size * 60 / 8) < 1.15


def test_activations_before_the_last_become_squares():
    none = Layer(kind="dense", outputs=4)
    changed = cryptonets().layers((*TASK[:2], none, TASK[2]))
    assert [layer.activation for layer in changed] == ["square", "square", "none", "sigmoid"]
    assert [(layer.kind, layer.outputs, layer.kernel, layer.stride) for layer in changed] == [
        (layer.kind, layer.outputs, layer.kernel, layer.stride) for layer in (*TASK[:2], none, TASK[2])
    ]


def test_the_compute_party_sees_other_ciphertexts_each_time():
    defense = cryptonets(ring_size=4096)
    plan = plan_of(defense, LINEAR)
    views = []
    for _ in range(2):
        wire = Wire(watched={COMPUTE[0]})
        predict(gathering(defense, plan, drawn(plan), wire), torch.zeros(1, 30))
        (message,) = wire.view()  # no key at all: nothing is squared
        rows = message.payload().parts["samples"].values
        assert len({bytes(row.numpy()) for row in rows}) == len(rows) == 30  # of thirty equal features
        views.append(rows)
    assert not torch.equal(*views)


def test_it_only_predicts_and_the_network_is_with_the_compute_party():
    defense = cryptonets()
    assert (defense.trains, defense.model_holder) == (False, COMPUTE[0])
    assert list(defense.parties(plan_of(defense, TASK))) == [OWNER, COMPUTE[0]]
    made = gathering(defense, plan_of(defense, TASK), drawn(plan_of(defense, TASK)), Wire())
    assert set(made.run("weights", 0, {n: party.weights() for n, party in made.parties.items()}).values()) == {None}
    with pytest.raises(SkipCell, match="cannot be learned on ciphertexts"):
        made.run("training", 0, {n: party.step(torch.arange(4)) for n, party in made.parties.items()})


def test_a_network_that_does_not_fit_is_skipped_with_the_reason():
    with pytest.raises(SkipCell, match="3 layers need a modulus of 216 bits; at ring_size 4096 more than 109"):
        cryptonets(ring_size=4096).parties(plan_of(cryptonets(), TASK))
    defense = cryptonets()
    plan = plan_of(defense, TASK)
    with pytest.raises(SkipCell, match=r"outputs of magnitude up to .* do not fit"):
        gathering(defense, plan, tuple(1000 * weight for weight in drawn(plan)), Wire())
    with pytest.raises(SkipCell, match="outputs of magnitude up to nan do not fit"):
        gathering(defense, plan, tuple(float("nan") * weight for weight in drawn(plan)), Wire())


def test_bad_parameters_are_refused():
    with pytest.raises(UserError, match="ring_size=2048"):
        cryptonets(ring_size=2048)


class _Liar:
    """A gathering in which one party's messages are replaced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, change) -> None:
        from fl_attack_bench.scenarios.outsourced import LocalEndpoint

        honest = LocalEndpoint.send

        def send(endpoint, receiver, payload, *, offline=False):
            part = payload.parts.get(name)
            honest(endpoint, receiver, Payload.dense(change(part.values), name) if part else payload, offline=offline)

        monkeypatch.setattr(LocalEndpoint, "send", send)


@pytest.mark.parametrize(
    ("name", "layers", "sender"),
    [("keys", TASK, OWNER), ("samples", TASK, OWNER), ("answers", LINEAR, COMPUTE[0])],
)
@pytest.mark.parametrize(
    "change",
    [lambda rows: rows[:0], lambda rows: rows[:, :-2048], lambda rows: rows.flip(1), lambda rows: rows.roll(60, 1)],
    ids=["none", "cut", "reversed", "moved"],
)
def test_what_is_not_of_the_protocol_is_refused_and_its_sender_named(monkeypatch, name, layers, sender, change):
    defense = cryptonets()
    plan = plan_of(defense, layers)
    _Liar(monkeypatch, name, change)
    features = images(3) if layers is TASK else images(3).flatten(1)
    with pytest.raises(CodecError, match=f"^{sender}: "):
        predict(gathering(defense, plan, drawn(plan), Wire()), features)


def test_features_of_another_shape_are_refused():
    defense = cryptonets(ring_size=4096)
    plan = plan_of(defense, LINEAR)
    made = gathering(defense, plan, drawn(plan), Wire())
    with pytest.raises(ValueError, match=r"samples of shape \(30,\) are to be predicted"):
        predict(made, torch.zeros(2, 31))
