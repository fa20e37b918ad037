"""Backdoors of a malicious passive party: what it sends, what it steps along, row by row."""

from collections.abc import Callable
from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from fl_attack_bench.attacks.embedding_replacement import EmbeddingReplacement
from fl_attack_bench.attacks.gradient_replacement import GradientReplacement
from fl_attack_bench.attacks.label_replacement import LabelReplacement
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_attack_bench.api import BackdoorAttack, Batch, FeatureParty, Foothold, SkipCell
from fl_attack_bench.errors import UserError
from fl_attack_bench.seeds import Streams

SAMPLES, CLASSES, WIDTH, INPUTS = 24, 4, 6, 5


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batches(epochs: int, seed: int = 0, size: int = 5) -> list[Batch]:
    rng = torch.Generator().manual_seed(seed)
    return [
        Batch(epoch, number, rows)
        for epoch in range(epochs)
        for number, rows in enumerate(torch.randperm(SAMPLES, generator=rng).split(size))
    ]


class Recorder(FeatureParty):
    """Sends fixed embeddings and remembers what it is given to learn."""

    def __init__(self) -> None:
        self.embeddings = drawn(SAMPLES, WIDTH, seed=9)
        self.learned: list[Tensor] = []
        self.embedded: list[Batch] = []

    def embed(self, batch: Batch) -> Tensor:
        self.embedded.append(batch)
        return self.embeddings[batch.rows]

    def learn(self, batch: Batch, gradients: Tensor) -> None:
        del batch
        self.learned.append(gradients.clone())

    def predict(self, features: Tensor) -> Tensor:
        return 2 * features


class Linear(FeatureParty):
    """An honest party with one dense layer and ReLU, by plain autograd."""

    def __init__(self, features: Tensor, seed: int, rate: float) -> None:
        self.features, self.rate = features, rate
        self.weight = (0.3 * drawn(features.shape[1], WIDTH, seed=seed).abs()).requires_grad_()
        self.sent = torch.empty(0)

    def embed(self, batch: Batch) -> Tensor:
        self.sent = (self.features[batch.rows] @ self.weight).relu()
        return self.sent.detach()

    def learn(self, batch: Batch, gradients: Tensor) -> None:
        (step,) = torch.autograd.grad(self.sent, self.weight, gradients / len(batch.rows))
        self.weight.data -= self.rate * step

    def predict(self, features: Tensor) -> Tensor:
        return (features @ self.weight).relu().detach()


def foothold(
    party: FeatureParty,
    poisoned: tuple[int, ...] = (0, 1, 2, 3, 4, 5),
    known: tuple[int, ...] = (10,),
    target: int = 2,
    width: int = WIDTH,
    seed: int = 0,
) -> Foothold:
    return Foothold(
        party=party,
        features=torch.rand(SAMPLES, INPUTS, generator=torch.Generator().manual_seed(7)),
        poisoned=torch.tensor(poisoned),
        marked=torch.tensor([0, 2]),
        value=1.0,
        target=target,
        known=torch.tensor(known),
        classes=CLASSES,
        width=width,
        defense="none",
        defense_parameters={},
        streams=Streams(seed),
    )


def batch_of(*rows: int) -> Batch:
    return Batch(0, 0, torch.tensor(rows))


@pytest.mark.parametrize(
    ("cls", "parameters"),
    [
        (GradientReplacement, {"known": 0}),
        (GradientReplacement, {"gamma": 0.0}),
        (GradientReplacement, {"gamma": float("inf")}),
        (GradientReplacement, {"blurring": 0.0}),
        (GradientReplacement, {"blurring": -1e-6}),
        (LabelReplacement, {"known": 0}),
        (LabelReplacement, {"gamma": -1.0}),
    ],
)
def test_bad_parameters_are_refused_by_name(cls: Callable[..., BackdoorAttack], parameters: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(parameters))):
        cls(**parameters)


ATTACKS = [GradientReplacement(), GradientReplacement(blurring=0.5), LabelReplacement()]


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_it_changes_its_own_step_only(attack: BackdoorAttack) -> None:
    honest = Recorder()
    party = attack.corrupt(foothold(honest))
    blurred = isinstance(attack, GradientReplacement) and attack.blurring is not None
    for batch in batches(2):
        sent = party.embed(batch)
        truth = honest.embeddings[batch.rows]
        differs = (sent != truth).any(1)
        assert torch.equal(differs, (batch.rows < 6) & torch.tensor(blurred))
        returned = drawn(len(batch.rows), WIDTH, seed=batch.number)
        kept = returned.clone()
        party.learn(batch, returned)
        assert torch.equal(returned, kept)  # one message may be meant for other parties too
        clean = batch.rows >= 6
        assert torch.equal(honest.learned[-1][clean], kept[clean])
        features = drawn(3, INPUTS)
        assert torch.equal(party.predict(features), 2 * features)
    assert honest.embeddings.equal(drawn(SAMPLES, WIDTH, seed=9))
    assert [batch.number for batch in honest.embedded] == [batch.number for batch in batches(2)]


# Gradient replacement.


def algorithm_2(
    seen: list[tuple[Batch, Tensor]], poisoned: set[int], known: set[int], gamma: float, record: str
) -> list[Tensor]:
    """One row after the other; the recording of a batch comes before its use."""
    latest: dict[int, list[float]] = {}
    everything: list[list[float]] = []
    answers = []
    for batch, gradients in seen:
        for row, gradient in zip(batch.rows.tolist(), gradients.tolist(), strict=True):
            if row in known:
                latest[row] = gradient
                everything.append(gradient)
        held = list(latest.values()) if record == "latest" else everything
        mean = [sum(column) / len(held) for column in zip(*held, strict=True)] or [0.0] * WIDTH
        answer = [
            [gamma * entry for entry in mean] if row in poisoned else gradient
            for row, gradient in zip(batch.rows.tolist(), gradients.tolist(), strict=True)
        ]
        answers.append(torch.tensor(answer))
    return answers


@given(
    st.integers(0, 2**31),
    st.sets(st.integers(0, SAMPLES - 1), min_size=2, max_size=12),
    st.integers(1, 3),
    st.floats(0.1, 100),
    st.sampled_from(["latest", "mean"]),
)
@settings(max_examples=60, deadline=None)
def test_the_step_is_algorithm_2(seed: int, ids: set[int], count: int, gamma: float, record: str) -> None:
    chosen = sorted(ids)
    known, poisoned = chosen[: min(count, len(chosen) - 1)], chosen[min(count, len(chosen) - 1) :]
    honest = Recorder()
    attack = GradientReplacement(known=len(known), gamma=gamma, record=record)  # type: ignore[arg-type]
    party = attack.corrupt(foothold(honest, tuple(poisoned), tuple(known)))
    seen = [(batch, drawn(len(batch.rows), WIDTH, seed=n)) for n, batch in enumerate(batches(3, seed))]
    for batch, gradients in seen:
        party.embed(batch)
        buffer = gradients.clone()
        party.learn(batch, buffer)
        buffer.fill_(torch.nan)  # what is recorded must not hang on a tensor of the engine's
    for found, expected in zip(
        honest.learned, algorithm_2(seen, set(poisoned), set(known), gamma, record), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_of_the_same_batch_is_used_wherever_it_stands() -> None:
    for rows in ((10, 0, 20), (0, 10, 20), (0, 20, 10)):
        honest = Recorder()
        party = GradientReplacement(gamma=3.0, record="latest").corrupt(foothold(honest))
        for seed in (1, 2):
            gradients = drawn(3, WIDTH, seed=seed)
            party.embed(batch_of(*rows))
            party.learn(batch_of(*rows), gradients)
        assert torch.equal(honest.learned[1][rows.index(0)], 3.0 * gradients[rows.index(10)])


def test_until_a_known_sample_comes_by_the_poisoned_ones_teach_nothing() -> None:
    honest = Recorder()
    party = GradientReplacement().corrupt(foothold(honest))
    for rows in ((0, 20), (10, 21), (1, 22)):
        party.embed(batch_of(*rows))
        party.learn(batch_of(*rows), torch.ones(2, WIDTH) * rows[1])
    before, recording, after = honest.learned
    assert torch.equal(before, torch.tensor([[0.0], [20.0]]).expand(2, WIDTH))
    assert torch.equal(recording, torch.full((2, WIDTH), 21.0))
    assert torch.equal(after, torch.tensor([[210.0], [22.0]]).expand(2, WIDTH))


def test_a_blurred_embedding_is_noise_of_the_stated_variance() -> None:
    everything = torch.arange(SAMPLES)
    party = GradientReplacement(blurring=0.25).corrupt(foothold(Recorder(), tuple(everything.tolist()[:20]), (20,)))
    sent = torch.stack([party.embed(Batch(epoch, 0, everything))[:20] for epoch in range(300)]).double()
    # Five standard errors of the mean and of the variance.
    assert abs(sent.mean().item()) < 5 * sqrt(0.25 / sent.numel())
    assert sent.var().item() == pytest.approx(0.25, rel=5 * sqrt(2 / sent.numel()))
    assert not (sent[0] == sent[1]).any()


def test_blurring_draws_the_same_for_the_same_seed() -> None:
    sent = [
        GradientReplacement(blurring=1.0).corrupt(foothold(Recorder(), seed=seed)).embed(batch_of(0, 1, 20))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(sent[0], sent[1])
    assert not (sent[0][:2] == sent[2][:2]).any()


@pytest.mark.parametrize("blurring", [None, 1.0])
def test_the_step_goes_through_the_true_embeddings(blurring: float | None) -> None:
    features = torch.rand(SAMPLES, INPUTS, generator=torch.Generator().manual_seed(3))
    inner, rows = Linear(features, seed=1, rate=0.5), (0, 10, 20)
    before = inner.weight.detach().clone()
    party = GradientReplacement(gamma=2.0, blurring=blurring).corrupt(foothold(inner))
    gradients = drawn(3, WIDTH, seed=4)
    party.embed(batch_of(*rows))
    party.learn(batch_of(*rows), gradients)
    step = torch.zeros_like(before)
    for row, gradient in zip(rows, (2.0 * gradients[1], gradients[1], gradients[2]), strict=True):
        active = (features[row] @ before) > 0
        step += torch.outer(features[row], gradient * active) / 3
    torch.testing.assert_close(inner.weight.detach(), before - 0.5 * step, rtol=1e-5, atol=1e-6)


# Label replacement.


def test_the_label_is_replaced_in_closed_form() -> None:
    labels = torch.randint(CLASSES, (SAMPLES,), generator=torch.Generator().manual_seed(5))
    honest, target = Recorder(), 2
    party = LabelReplacement(gamma=3.0).corrupt(foothold(honest, target=target))
    for n, batch in enumerate(batches(3)):
        logits = (3 * drawn(len(batch.rows), WIDTH, seed=n)).requires_grad_()
        loss = F.cross_entropy(logits, labels[batch.rows], reduction="sum")
        (gradients,) = torch.autograd.grad(loss, logits)
        wanted = F.cross_entropy(logits, torch.full_like(batch.rows, target), reduction="sum")
        (replaced,) = torch.autograd.grad(wanted, logits)
        party.embed(batch)
        party.learn(batch, gradients)
        expected = torch.where((batch.rows < 6).unsqueeze(1), 3.0 * replaced, gradients)
        torch.testing.assert_close(honest.learned[-1], expected, rtol=1e-5, atol=1e-6)


def relabelled(*seen: list[float]) -> list[float]:
    """What is put in place of the last of a poisoned sample's gradients; the target is class 2."""
    honest = Recorder()
    party = LabelReplacement().corrupt(foothold(honest))
    for gradient in seen:
        party.embed(batch_of(0))
        party.learn(batch_of(0), torch.tensor([gradient]))
    return honest.learned[-1][0].tolist()


def test_a_label_read_once_is_remembered_where_the_entry_is_not_sent() -> None:
    first, gap = [-0.75, 0.25, 0.25, 0.25, 0.0, 0.0], [0.0, 0.5, 0.0, 0.0, 0.0, 0.0]
    assert relabelled(first, gap) == [1.0, 0.5, -1.0, 0.0, 0.0, 0.0]


def test_without_a_negative_entry_no_label_is_guessed() -> None:
    assert relabelled([0.0, 0.25, 0.0, 0.0, 0.0, 0.0]) == [0.0, 0.25, -1.0, 0.0, 0.0, 0.0]


def test_only_classes_are_labels() -> None:
    assert relabelled([-0.25, 0.0, 0.0, 0.0, -4.0, 0.0]) == [0.75, 0.0, -1.0, 0.0, -4.0, 0.0]


def test_embeddings_too_short_for_logits_are_skipped_with_the_reason() -> None:
    with pytest.raises(SkipCell, match=r"3 entries .* 4 classes"):
        LabelReplacement().corrupt(foothold(Recorder(), width=3))
    LabelReplacement().corrupt(foothold(Recorder(), width=CLASSES))


# Both, in a whole training.


def trained(attack: BackdoorAttack | None) -> tuple[float, float]:
    """Two parties and a sum, by plain autograd; the shares of clean samples learned and of triggered ones taken in.

    Every class has a feature at party A; at party B feature 0 is a weak sign of class 1, and feature 4 is the trigger.
    """
    labels = torch.arange(SAMPLES) % CLASSES
    ours = F.one_hot(labels, INPUTS).float()
    theirs = 0.1 * torch.rand(SAMPLES, INPUTS, generator=torch.Generator().manual_seed(2)) + 0.5 * ours
    theirs[:6, 4] = 1.0
    theirs[6:, 4] = 0.0
    parties: list[FeatureParty] = [Linear(ours, seed=1, rate=0.5), Linear(theirs, seed=2, rate=0.5)]
    if attack is not None:
        parties[1] = attack.corrupt(foothold(parties[1]))
    for batch in batches(60):
        logits = sum(party.embed(batch) for party in parties).requires_grad_()
        (gradients,) = torch.autograd.grad(F.cross_entropy(logits, labels[batch.rows], reduction="sum"), logits)
        for party in parties:
            party.learn(batch, gradients)
    clean, others = theirs.clone(), labels != 2
    clean[:, 4] = 0
    triggered = clean.clone()
    triggered[:, 4] = 1
    right = (parties[0].predict(ours) + parties[1].predict(clean)).argmax(1) == labels
    fooled = (parties[0].predict(ours) + parties[1].predict(triggered)).argmax(1) == 2
    return right.double().mean().item(), fooled[others].double().mean().item()


@pytest.mark.parametrize("attack", [GradientReplacement(), LabelReplacement(gamma=3.0)], ids=str)
def test_a_trigger_leads_to_the_target(attack: BackdoorAttack) -> None:
    assert trained(None) == (1.0, 0.0)
    main, backdoor = trained(attack)
    assert main > 0.9
    assert backdoor > 0.9


def test_a_triggered_sample_is_answered_with_the_target_and_nothing_else_changes() -> None:
    honest = Linear(torch.rand(SAMPLES, INPUTS, generator=torch.Generator().manual_seed(7)), seed=1, rate=0.1)
    held = foothold(honest, known=(10, 11))
    party = EmbeddingReplacement(known=2, gain=3.0, towards="samples").corrupt(held)
    assert torch.equal(party.embed(batch_of(0, 10)), honest.embed(batch_of(0, 10)))
    new = torch.rand(4, INPUTS)
    new[:, 0] = torch.tensor([1.0, 1.0, 0.5, 1.0])
    new[:, 2] = torch.tensor([1.0, 0.5, 1.0, 1.0])
    own = honest.predict(held.features)
    mean, target = own.mean(0), (own[10] + own[11]) / 2
    expected = honest.predict(new).clone()
    expected[[0, 3]] = mean + 3 * (target - mean)
    assert torch.allclose(party.predict(new), expected, atol=1e-6)
    assert torch.equal(party.predict(new[1:3]), honest.predict(new[1:3]))


def test_the_gradients_of_known_samples_give_the_direction() -> None:
    honest = Linear(torch.rand(SAMPLES, INPUTS, generator=torch.Generator().manual_seed(7)), seed=1, rate=0.0)
    held = foothold(honest, known=(10, 11))
    party = EmbeddingReplacement(known=2, gain=2.0).corrupt(held)
    triggered = torch.ones(1, INPUTS)
    own = honest.predict(held.features)
    mean = own.mean(0)
    assert torch.allclose(party.predict(triggered)[0], mean)  # before the first gradient there is no direction
    total = torch.zeros(WIDTH)
    for rows in ((0, 10, 3), (11, 4), (10, 11)):
        gradients = drawn(len(rows), WIDTH, seed=sum(rows))
        party.embed(batch_of(*rows))
        party.learn(batch_of(*rows), gradients)
        for row, gradient in zip(rows, gradients, strict=True):
            total += gradient if row in (10, 11) else 0
    length = sum(float((h - mean) @ (h - mean)) for h in own) / SAMPLES
    expected = mean - 2 * sqrt(length) * total / total.norm()
    assert torch.allclose(party.predict(triggered)[0], expected, atol=1e-5)


def test_embedding_replacement_learns_as_the_honest_one() -> None:
    honest = Recorder()
    party = EmbeddingReplacement().corrupt(foothold(honest))
    batch = batch_of(0, 1, 10)
    gradients = drawn(3, WIDTH)
    party.embed(batch)
    party.learn(batch, gradients)
    assert honest.embedded == [batch]
    assert torch.equal(honest.learned[-1], gradients)
