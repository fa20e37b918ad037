"""Whole protocols against plain training with autograd, and what each party gets to see of them."""

import time
from collections import Counter

import numpy as np
import pytest
import torch
from fl_attack_bench.defenses.rtas import Rtas
from fl_attack_bench.defenses.rtas_fast import RtasFast

from fl_attack_bench.api import COMPUTE, HELPER, LABELS, OWNER, THIRD, Holding, Plan
from fl_attack_bench.codec import Dense
from fl_attack_bench.crypto.secrets import Secrets
from fl_attack_bench.models import stack
from fl_attack_bench.scenarios.outsourced import Gathering
from fl_attack_bench.seeds import Streams
from fl_attack_bench.sharing.value import BadMessage, Common
from fl_attack_bench.tasks.outsourced import Layer
from fl_attack_bench.wire import Wire

LOGISTIC = [Layer(kind="dense", outputs=1, activation="sigmoid")]
DEEP = [
    Layer(kind="convolution", outputs=3, kernel=3, stride=2, activation="relu"),
    Layer(kind="convolution", outputs=2, kernel=2, activation="square"),
    Layer(kind="dense", outputs=6, activation="sigmoid"),
    Layer(kind="dense", outputs=4),
]
SAMPLES, BATCH = 40, 8
PROTOCOLS = [
    pytest.param(Rtas(), 2e-3, id="rtas"),
    pytest.param(Rtas(masks="fresh"), 2e-3, id="rtas-fresh"),
    pytest.param(Rtas(arithmetic="float64"), 1e-7, id="rtas-float64"),
    pytest.param(RtasFast(), 2e-3, id="fast"),
    pytest.param(RtasFast(trainer="third", masks="fresh"), 2e-3, id="fast-third"),
    pytest.param(RtasFast(arithmetic="float64"), 1e-7, id="fast-float64"),
]


class Federation:
    """All parties of a protocol, with the data in the clear beside them."""

    def __init__(self, defense, layers=LOGISTIC, *, watched=(), seed=3, shape=(1, 9, 9), rate=0.5):
        rng = torch.Generator().manual_seed(seed)
        planned = stack.plan(layers, shape)
        self.x = torch.rand(SAMPLES, *planned[0].inputs, generator=rng) ** 4  # mostly dark, as pictures of digits are
        self.y = torch.rand(SAMPLES, layers[-1].outputs, generator=rng).round().double()
        self.weights = stack.initial(planned, rng)
        self.rate = rate
        self.plan = Plan(planned, SAMPLES, BATCH, rate)
        self.wire = Wire(watched)
        holdings = {OWNER: Holding(features=self.x, weights=self.weights), LABELS: Holding(targets=self.y)}
        streams = Streams(11) if defense.from_seed else None
        self.gathering = Gathering(defense.parties(self.plan), holdings, self.wire, time.perf_counter, streams)
        self.run("setup", 0, lambda name, party: party.setup())

    def run(self, topic, number, call):
        return self.gathering.run(topic, number, {name: call(name, p) for name, p in self.gathering.parties.items()})

    def train(self, steps):
        for number in range(steps):
            rows = torch.arange(number * BATCH, (number + 1) * BATCH) % SAMPLES
            self.run("training", number, lambda name, party, rows=rows: party.step(rows))
            self.weights = stack.descend(self.plan.layers, self.weights, self.x[rows], self.y[rows], self.rate)

    def revealed(self):
        return self.run("weights", 0, lambda name, party: party.weights())[OWNER]

    def predict(self, features):
        return self.run(
            "inference", 0, lambda name, party: party.predict(len(features), features if name == OWNER else None)
        )


def apart(weights, others):
    return max(float((a - b).abs().max()) for a, b in zip(weights, others, strict=True))


@pytest.mark.parametrize("layers", [LOGISTIC, DEEP], ids=["logistic", "deep"])
@pytest.mark.parametrize(("defense", "error"), PROTOCOLS)
def test_training_and_prediction_are_the_plain_ones(defense, error, layers):
    federation = Federation(defense, layers)
    federation.train(12)
    found = federation.revealed()
    assert [weight.shape for weight in found] == [weight.shape for weight in federation.weights]
    assert apart(federation.weights, Federation(defense, layers).weights) > 0.01  # else nothing was learned
    assert apart(found, federation.weights) < error
    predicted = federation.predict(federation.x[:5])
    wanted = stack.forward(federation.plan.layers, federation.weights, federation.x[:5])
    assert (predicted[OWNER] - wanted).abs().max() < 3 * error
    assert all(predicted[name] is None for name in predicted if name != OWNER)


def test_a_hundred_steps_of_logistic_regression_end_where_plain_ones_do():
    for arithmetic, error in (("ring", 1e-3), ("float64", 1e-4)):
        federation = Federation(Rtas(arithmetic=arithmetic), shape=(1, 28, 28), rate=0.1)
        federation.train(100)
        assert apart(federation.revealed(), federation.weights) < error


def test_reproducible_runs_are_alike_bit_for_bit_and_others_are_not():
    def weights(reproducible):
        federation = Federation(Rtas(reproducible=reproducible), DEEP)
        federation.train(3)
        return torch.cat([weight.flatten() for weight in federation.revealed()])

    assert torch.equal(weights(True), weights(True))
    assert not torch.equal(weights(False), weights(False))


def seen_by(defense, party, layers=DEEP):
    federation = Federation(defense, layers, watched=[party])
    federation.train(2)
    federation.revealed()
    federation.predict(federation.x[:5])
    parts = Counter()
    for message in federation.wire.view():
        for name in message.payload().parts:
            parts[message.sender, message.topic.removesuffix(" offline"), name.split("/")[0].split()[0]] += 1
    return set(parts)


def test_the_helper_hears_nothing():
    for defense in (Rtas(), RtasFast()):
        assert seen_by(defense, HELPER) == set()


def test_the_third_party_hears_the_shares_of_permuted_values_alone():
    wanted = {(party, topic, "z") for party in COMPUTE for topic in ("training", "inference")}
    assert seen_by(Rtas(), THIRD) == wanted


def test_the_owners_hear_what_is_theirs():
    weights = {(party, "weights", what) for party in COMPUTE for what in ("weights", "bias")}
    assert seen_by(Rtas(), OWNER) == weights | {(party, "inference", "predictions") for party in COMPUTE}
    assert seen_by(Rtas(), LABELS) == set()
    rest = {(OWNER, str(number)) for number in range(6)}  # weights and biases of the three layers behind the first
    fast = {(sender, what) for sender, _, what in seen_by(RtasFast(), LABELS)}
    assert fast == rest | {(party, "z") for party in COMPUTE}


@pytest.mark.parametrize("index", [0, 1])
def test_a_compute_party_hears_shares_masks_and_masked_values_alone(index):
    found = seen_by(Rtas(), COMPUTE[index])
    peer = COMPUTE[1 - index]
    from_others = {(sender, what) for sender, _, what in found if sender != peer}
    if index == 0:  # what it would be dealt it draws itself
        assert from_others == {(sender, "seed") for sender in (OWNER, LABELS, HELPER, THIRD)}
    else:
        assert from_others == {
            (OWNER, "features"), (OWNER, "weights"), (OWNER, "bias"), (LABELS, "targets"), (THIRD, "f"),
            (HELPER, "mask"), (HELPER, "product"), (HELPER, "truncation"),
        }  # fmt: skip
    opened = {what for sender, _, what in found if sender == peer}
    masked = {"features", "weights", "activation", "error", "slope", "upstream", "truncated"}
    assert opened == masked | ({"seed"} if index == 1 else set())


@pytest.mark.parametrize("party", COMPUTE)
def test_all_that_a_compute_party_hears_in_the_ring_is_uniform(party):
    federation = Federation(Rtas(), LOGISTIC, watched=[party], shape=(1, 28, 28))
    federation.train(4)
    words = []
    for message in federation.wire.view():
        for part in message.payload().parts.values():
            assert isinstance(part, Dense)
            if part.values.dtype == torch.int64 and part.values.numel() > 8:
                words.append(part.values.flatten())
    bits = torch.cat(words)
    # every byte of every word as often as any other: chi squared with 255 degrees of freedom
    for shift in range(0, 64, 8):
        counts = torch.bincount((bits >> shift) & 255, minlength=256).double()
        expected = len(bits) / 256
        assert float(((counts - expected) ** 2 / expected).sum()) < 400


def masks_of(defense, steps=4):
    """All that the helper drew to hide something with, as it was drawn: shares of masks, and random numbers."""
    federation = Federation(defense, LOGISTIC, watched=[COMPUTE[1]])
    federation.train(steps)
    drawn = [
        part.values.flatten()
        for message in federation.wire.view()
        if message.sender == HELPER
        for name, part in message.payload().parts.items()
        if name.startswith(("mask", "product", "truncation/0"))
    ]
    return torch.cat(drawn)


@pytest.mark.parametrize("masks", ["fixed", "fresh"])
def test_no_mask_and_no_triple_is_used_twice(masks):
    drawn = masks_of(Rtas(masks=masks))
    assert len(drawn.unique()) == len(drawn)


def test_masks_from_a_stream_that_begins_anew_are_noticed(monkeypatch):
    """The test above can fail."""
    monkeypatch.setattr(Secrets, "words", lambda self, count: np.arange(count) * 2**40)
    drawn = masks_of(Rtas())
    assert len(drawn.unique()) < len(drawn)


@pytest.mark.parametrize("defense", [Rtas(masks="fresh"), RtasFast(masks="fresh")], ids=["rtas", "fast"])
def test_no_stream_of_a_common_seed_is_drawn_from_twice(defense, monkeypatch):
    """The first party's halves of masks, triples and answers are never sent: no message shows one used again."""
    drawn, following = [], Common.next

    def noting(self, name):
        stream, begins = following(self, name), np.empty(16, dtype=np.uint8)
        stream.reader(0).fill(begins)
        drawn.append((self, begins.tobytes()))
        return stream

    monkeypatch.setattr(Common, "next", noting)
    federation = Federation(defense, DEEP)
    federation.train(3)
    for _ in range(2):
        federation.predict(federation.x[:5])
    assert len(drawn) > 50
    assert max(Counter(drawn).values()) == 1


def test_each_opening_of_a_tensor_has_a_mask_of_its_own():
    federation = Federation(Rtas(masks="fresh"), LOGISTIC, watched=[COMPUTE[1]])
    federation.train(10)  # each sample twice
    sent = [
        m.payload().parts["features"].values
        for m in federation.wire.view()
        if m.sender == COMPUTE[0] and "features" in m.payload().parts
    ]
    assert len(sent) == 10
    # the first party's share of the features is the same both times: what differs is the mask
    assert all(not bool((one == other).any()) for one, other in zip(sent[:5], sent[5:], strict=True))


def test_a_fixed_mask_opens_the_features_once():
    federation = Federation(Rtas(), LOGISTIC, watched=[COMPUTE[1]])
    federation.train(10)
    sent = [m for m in federation.wire.view() if m.sender == COMPUTE[0] and "features" in m.payload().parts]
    assert [m.topic for m in sent] == ["setup"]


def test_a_message_of_another_shape_is_refused_by_name():
    federation = Federation(Rtas(), LOGISTIC)
    calls = {name: party.step(torch.arange(8)) for name, party in federation.gathering.parties.items()}
    calls[COMPUTE[0]].close()
    calls[COMPUTE[0]] = federation.gathering.parties[COMPUTE[0]].step(torch.arange(7))
    with pytest.raises(BadMessage, match=r"compute/. sent .* of shape \(.*\) torch.int64, not \("):
        federation.gathering.run("training", 0, calls)
