"""Training on partitioned features against the same network trained in one place, and what each party can reach."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fl_attack_bench.api import ACTIVE, FeatureParty, Returned, Top, VerticalDefense
from fl_attack_bench.codec import CodecError, Dense, Payload, Sparse, encode
from fl_attack_bench.errors import UserError
from fl_attack_bench.models.bottom import BottomNetwork
from fl_attack_bench.scenarios import vertical, vertical_observation, vertical_parties
from fl_attack_bench.scenarios.vertical import Aligned, Collaboration
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.vertical import RESERVED, Bottom, VerticalTraining
from fl_attack_bench.wire import Wire

CLASSES, SAMPLES, FEATURES = 4, 50, 12
LAYERS = Bottom(hidden=6, outputs=5)
PLACES = {"a": torch.tensor([0, 2, 4]), "b": torch.tensor([1, 3, 5, 7, 9]), "c": torch.tensor([6, 8, 10, 11])}


class Dense32(Top):
    def __init__(self, width, rng):
        super().__init__()
        self.inner, self.outer = nn.Linear(width, 7), nn.Linear(7, CLASSES)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.5, 0.5, generator=rng)

    def forward(self, embeddings):
        return self.outer(self.inner(embeddings.transpose(0, 1).flatten(1)).relu())


@dataclass(frozen=True)
class Nothing(VerticalDefense):
    """No defense."""


@dataclass(frozen=True)
class WithTop(VerticalDefense):
    """A trainable top model."""

    def top(self, parties, width, classes, rng):
        return Dense32(parties * width, rng)


@dataclass(frozen=True)
class Halved(VerticalDefense):
    """Returns every second entry only."""

    def outgoing(self, returned, exchange):
        sent = torch.zeros_like(returned.values, dtype=torch.bool)
        sent[:, ::2] = True
        return Returned(returned.values * sent, sent)


@pytest.fixture
def images():
    return torch.rand(SAMPLES, 1, 3, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels():
    return torch.randint(CLASSES, (SAMPLES,), generator=torch.Generator().manual_seed(2))


def collaboration(images, labels, defense=None, wire=None, places=PLACES, rate=0.3, layers=LAYERS):
    training = VerticalTraining(epochs=3, batch_size=16, learning_rate=rate)
    train = Aligned.split(images, labels, places)
    return Collaboration(train, CLASSES, layers, training, defense or Nothing(), Streams(7), wire or Wire())


class Joint(nn.Module):
    """The whole network in one place, with the same first weights."""

    def __init__(self, defense, streams):
        super().__init__()
        self.bottoms = nn.ModuleList(
            BottomNetwork(LAYERS, len(held), streams.generator("weights", name)) for name, held in PLACES.items()
        )
        self.top = defense.top(len(PLACES), LAYERS.outputs, CLASSES, streams.generator("weights", ACTIVE))

    def forward(self, flat):
        parts = torch.stack([net(flat[:, held]) for net, held in zip(self.bottoms, PLACES.values(), strict=True)])
        return parts.sum(0) if self.top is None else self.top(parts)


@pytest.mark.parametrize("defense", [Nothing(), WithTop()])
def test_the_parties_learn_what_one_party_with_all_features_would(images, labels, defense):
    parties = collaboration(images, labels, defense)
    joint = Joint(defense, Streams(7))
    optimiser = torch.optim.SGD(joint.parameters(), lr=0.3)
    for epoch in range(3):
        order = torch.randperm(SAMPLES, generator=Streams(7).generator("order", epoch))
        for rows in order.split(16):
            optimiser.zero_grad()
            F.cross_entropy(joint(images.flatten(1)[rows]), labels[rows]).backward()
            optimiser.step()
        assert parties.epoch(epoch)
    new = torch.rand(9, 1, 3, 4)
    found = parties.predict(Aligned.split(new, torch.zeros(9, dtype=torch.int64), PLACES), Wire())
    expected = joint(new.flatten(1))[:, :CLASSES]
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, Joint(defense, Streams(7))(new.flatten(1))[:, :CLASSES], atol=1e-2)


def test_every_batch_is_embeddings_then_gradients_and_every_byte_is_counted(images, labels):
    wire = Wire()
    collaboration(images, labels, wire=wire).epoch(0)
    sizes = [16, 16, 16, 2]
    assert [phase.topic for phase in wire.phases] == ["embeddings", "gradients"] * len(sizes)
    for size, there, back in zip(sizes, wire.phases[::2], wire.phases[1::2], strict=True):
        up = len(encode(Payload.dense(torch.zeros(size, LAYERS.outputs), "embeddings")))
        down = len(encode(Payload.dense(torch.zeros(size, LAYERS.outputs), "gradients")))
        assert {name: traffic.sent for name, traffic in there.traffic.items()} == dict.fromkeys(PLACES, up) | {
            ACTIVE: 0
        }
        assert {name: traffic.received for name, traffic in back.traffic.items()} == dict.fromkeys(PLACES, down) | {
            ACTIVE: 0
        }
        assert back.traffic[ACTIVE].sent == down * len(PLACES)


def test_a_sum_returns_softmax_minus_the_label_to_all(images, labels):
    wire = Wire(watched={"b"})
    parties = collaboration(images, labels, wire=wire)
    curious = vertical_observation.Curious(parties.honest["b"])
    parties.parties["b"] = curious
    parties.epoch(0)
    (batch, _), message = curious.sent[0], wire.view()[0]
    first = Joint(Nothing(), Streams(7))(images.flatten(1)[batch.rows])
    expected = first.softmax(1) - F.one_hot(labels[batch.rows], LAYERS.outputs)
    assert torch.allclose(vertical_parties.read(message.payload(), 16, LAYERS.outputs).values, expected, atol=1e-6)


@pytest.mark.parametrize(("defense", "sent"), [(Nothing(), 1.0), (WithTop(), 1.0), (Halved(), 3 / 5)])
def test_a_curious_party_has_every_sample_once_an_epoch(images, labels, defense, sent):
    wire, plain = Wire(watched={"b"}), collaboration(images, labels, defense)
    parties = collaboration(images, labels, defense, wire)
    curious = vertical_observation.Curious(parties.honest["b"])
    parties.parties["b"] = curious
    for epoch in range(2):
        own = parties.honest["b"].predict(images.flatten(1)[:, PLACES["b"]]).clone()
        parties.epoch(epoch)
        plain.epoch(epoch)
    seen = vertical_observation.epochs(curious, wire, SAMPLES, LAYERS.outputs)
    assert len(seen) == 2
    assert seen[0].sent.double().mean() == pytest.approx(sent)
    assert bool((seen[0].gradients[~seen[0].sent] == 0).all())
    # The first batch of an epoch is embedded by the network as it was when the epoch began.
    rows = parties.batches(1)[0].rows
    assert torch.allclose(seen[1].embeddings[rows], own[rows], atol=1e-6)
    # Looking changes nothing.
    new = Aligned.split(images, labels, PLACES)
    assert torch.equal(parties.predict(new, Wire()), plain.predict(new, Wire()))


def test_a_curious_active_party_has_the_embeddings_by_sample(images, labels):
    wire = Wire(watched={ACTIVE})
    parties = collaboration(images, labels, wire=wire)
    before = {name: party.predict(images.flatten(1)[:, PLACES[name]]).clone() for name, party in parties.honest.items()}
    parties.epoch(0)
    parties.epoch(1)
    found = vertical_observation.embeddings(parties, wire, SAMPLES)
    rows = parties.batches(0)[0].rows
    assert {name: len(epochs) for name, epochs in found.items()} == dict.fromkeys(PLACES, 2)
    for name, epochs in found.items():
        assert torch.allclose(epochs[0][rows], before[name][rows], atol=1e-6)
        assert bool((epochs[0].abs().sum(1) > 0).all())


class Foul(FeatureParty):
    def __init__(self, honest, said):
        self.honest, self.said = honest, said

    def embed(self, batch):
        return self.said(self.honest.embed(batch))

    def learn(self, batch, gradients):
        self.honest.learn(batch, gradients)

    def predict(self, features):
        return self.honest.predict(features)


@pytest.mark.parametrize("said", [lambda h: h[:, :-1], lambda h: h.double(), lambda h: h[:1]])
def test_a_party_that_says_what_nobody_expects_is_named(images, labels, said):
    parties = collaboration(images, labels)
    parties.parties["b"] = Foul(parties.honest["b"], said)
    with pytest.raises(UserError, match="party b: 'embeddings' is"):
        parties.epoch(0)


class Careless(Foul):
    """Writes into what it is given."""

    def embed(self, batch):
        embeddings = self.honest.embed(batch)
        batch.rows.fill_(3)
        return embeddings

    def learn(self, batch, gradients):
        self.honest.learn(batch, gradients)
        gradients.zero_()


def test_what_a_party_does_to_its_own_copies_reaches_nobody(images, labels):
    plain, careless = (collaboration(images, labels) for _ in range(2))
    careless.parties["a"] = Careless(careless.honest["a"], None)
    for parties in (plain, careless):
        parties.epoch(0)
    new = Aligned.split(images, labels, PLACES)
    assert torch.equal(plain.predict(new, Wire()), careless.predict(new, Wire()))


@dataclass(frozen=True)
class Blind(VerticalDefense):
    """Takes no embedding in."""

    def incoming(self, embeddings, exchange):
        return torch.zeros_like(embeddings)


def test_incoming_acts_on_what_is_predicted_too(images, labels):
    parties = collaboration(images, labels, Blind())
    assert not parties.predict(Aligned.split(images, labels, PLACES), Wire()).any()


@dataclass(frozen=True)
class Odd(VerticalDefense):
    """Does what no defense may."""

    what: str = ""

    def top(self, parties, width, classes, rng):
        return Narrow() if self.what == "top" else None

    def incoming(self, embeddings, exchange):
        return embeddings[:, :2] if self.what == "incoming" else embeddings

    def outgoing(self, returned, exchange):
        values = returned.values
        odd = {"double": Returned(values.double()), "rows": Returned(values[:1]), "mask": Returned(values, values)}
        return odd.get(self.what, returned)


class Narrow(Top):
    def forward(self, embeddings):
        return embeddings.sum(0)[:, :2]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("top", r"Odd: its top model gives \(16, 2\)"),
        ("incoming", r"Odd: incoming gives torch.float32 \(16, 2\)"),
        ("double", r"Odd: outgoing gives torch.float64"),
        ("rows", r"Odd: outgoing gives torch.float32 \(1, 5\)"),
        ("mask", r"Odd: outgoing must say what is sent by a mask"),
    ],
)
def test_a_defense_that_gives_what_nobody_expects_is_named(images, labels, what, message):
    with pytest.raises(UserError, match=message):
        collaboration(images, labels, Odd(what)).epoch(0)


def test_what_runs_off_ends_the_training_and_keeps_the_last_finite_figures(images, labels):
    parties = collaboration(images, labels)
    parties.parties["b"] = Foul(parties.honest["b"], lambda h: h * float("nan"))
    test = Aligned.split(images, labels, PLACES)
    trained = vertical.train(parties, test, test, 0)
    assert trained.diverged
    assert [epoch for epoch, _ in trained.curve] == [0]
    assert len(trained.successes) == 1
    assert sum(trained.scores) == pytest.approx(1, abs=1e-5)


class Loud(Foul):
    """Says what overflows when it is asked for a prediction of one sample that nobody else has."""

    def predict(self, features):
        return self.honest.predict(features) + torch.where(features[:, :1] > 1, torch.inf, 0.0)


def test_predictions_that_overflow_end_it_too(images, labels):
    parties = collaboration(images, labels)
    parties.parties["b"] = Loud(parties.honest["b"], lambda h: h)
    test = Aligned.split(images, labels, PLACES)
    loud = Aligned({**test.features, "b": test.features["b"] + 2}, labels)
    trained = vertical.train(parties, test, loud, 0)
    assert trained.diverged
    assert trained.scores == trained.curve == []


def test_a_training_is_reproducible_and_ends_better_than_it_began(images, labels):
    test = Aligned.split(images, (images.flatten(1).sum(1) > 6).long(), PLACES)
    curves = []
    for _ in range(2):
        parties = collaboration(images, test.labels, WithTop())
        curves.append(vertical.train(parties, test, None, 0))
    assert curves[0].curve == curves[1].curve
    assert curves[0].losses == curves[1].losses
    assert curves[0].losses[-1][1] < curves[0].losses[0][1]
    assert curves[0].successes == []
    assert curves[0].predicted == 4 * SAMPLES


def test_embeddings_too_short_for_the_sum_are_refused_by_name(images, labels):
    with pytest.raises(UserError, match="outputs=3 is less than 4 classes"):
        collaboration(images, labels, layers=Bottom(outputs=3))
    collaboration(images, labels, WithTop(), layers=Bottom(outputs=3))


def test_gradients_survive_the_wire():
    values = torch.randn(6, 5)
    sent = torch.rand(6, 5) > 0.6
    dense, sparse = vertical_parties.written(Returned(values)), vertical_parties.written(Returned(values * sent, sent))
    assert torch.equal(vertical_parties.read(dense, 6, 5).values, values)
    found = vertical_parties.read(sparse, 6, 5)
    assert torch.equal(found.values, values * sent)
    assert torch.equal(found.sent, sent)
    assert len(encode(sparse)) < len(encode(dense))


@pytest.mark.parametrize(
    "payload",
    [
        Payload.dense(torch.zeros(5, 6), "gradients"),
        Payload({"gradients": Sparse(torch.tensor([0]), torch.ones(1), 29)}),
        Payload({"other": Dense(torch.zeros(6, 5))}),
    ],
)
def test_other_messages_are_no_gradients(payload):
    with pytest.raises(CodecError):
        vertical_parties.read(payload, 6, 5)


def test_the_names_of_the_wire_are_kept_from_the_parties():
    assert {ACTIVE, vertical_parties.ALL} == RESERVED
