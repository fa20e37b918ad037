"""The federation against plain formulas: what is averaged, what is sent, what the server sees."""

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fl_attack_bench import models
from fl_attack_bench.api import (
    Card,
    ClientState,
    HorizontalDefense,
    HorizontalView,
    LocalPlan,
    LocalStep,
    Payload,
    Update,
)
from fl_attack_bench.codec import Dense, encode
from fl_attack_bench.flat_model import FlatModel
from fl_attack_bench.scenarios.horizontal import (
    Client,
    LocalWork,
    Samples,
    Server,
    Snapshot,
    play_round,
    train,
)
from fl_attack_bench.scenarios.observation import observe
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks.horizontal import Iid, Model, Training
from fl_attack_bench.wire import SERVER, Wire, client

SHAPE = (1, 12, 12)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Plain(HorizontalDefense):
    card = Card(title="plain", paper="https://example.org", threat="none")


def model(name: str = "logistic", shape: tuple[int, int, int] = SHAPE, **options: object) -> FlatModel:
    network = models.build(Model(name=name, options=options), shape, 10, torch.Generator().manual_seed(5))
    return FlatModel(network, CPU)


def samples(count: int, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, *shape, generator=generator)
    return Samples(images, torch.randint(0, 10, (count,), generator=generator))


def training(**changes: object) -> Training:
    base: dict[str, object] = {
        "partition": Iid(kind="iid", devices=4),
        "rounds": 3,
        "sampled": 4,
        "batch_size": 5,
        "learning_rate": 0.1,
    }
    return Training.model_validate(base | changes)


def loss_gradient(weights: Tensor, layout, data: Samples) -> Tensor:
    weights = weights.clone().requires_grad_()
    parts = layout.views(weights)
    logits = data.images.flatten(1) @ parts["classifier.weight"].T + parts["classifier.bias"]
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, data.labels), weights)
    return gradient


def test_fedsgd_is_gradient_descent_on_the_pooled_loss() -> None:
    flat = model()
    devices = [samples(n, seed=n) for n in (4, 7, 9, 12)]
    pool = Samples(torch.cat([d.images for d in devices]), torch.cat([d.labels for d in devices]))
    weights = flat.weights.clone()
    for _ in range(3):
        weights -= 0.1 * loss_gradient(weights, flat.layout, pool)
    trained = train(training(algorithm="fedsgd"), flat, devices, samples(5), Plain(), Streams(0))
    assert torch.allclose(trained.weights, weights, atol=1e-6)


def test_fedavg_averages_the_clients_weights_by_sample_counts() -> None:
    flat = model()
    devices = [samples(5, seed=1), samples(10, seed=2)]
    start = flat.weights.clone()
    ends = []
    for number, data in enumerate(devices):
        # The order of batches is the client's own stream; replay it.
        streams = Streams(0).child("client", client(number), 0)
        weights = start.clone()
        for rows in torch.randperm(len(data), generator=streams.generator("order")).split(5):
            weights -= 0.1 * loss_gradient(weights, flat.layout, data.pick(rows))
        ends.append(weights)
    wanted = (5 * ends[0] + 10 * ends[1]) / 15
    setting = training(partition=Iid(kind="iid", devices=2), sampled=2, rounds=1)
    found = train(setting, flat, devices, samples(5), Plain(), Streams(0))
    assert torch.allclose(found.weights, wanted, atol=1e-6)


def test_one_local_step_uploads_exactly_its_gradient() -> None:
    flat = model()
    data = samples(1)
    wire = Wire(watched=[SERVER])
    server = Server(flat, Plain(), 0.01)
    before = flat.weights.clone()
    play_round(wire, server, [Client(client(0), data, Plain())], flat, LocalWork(0.01), 0, Streams(0))
    sent = Plain().read(wire.view()[0].payload(), flat.layout).values
    assert torch.allclose(sent, loss_gradient(before, flat.layout, data), atol=1e-7)


def test_the_same_streams_give_the_same_federation_bit_for_bit() -> None:
    devices = [samples(10, seed=n) for n in range(4)]
    runs = [train(training(sampled=2), model(), devices, samples(20), Plain(), Streams(4)) for _ in range(2)]
    assert torch.equal(runs[0].weights, runs[1].weights)
    assert runs[0].curve == runs[1].curve
    other = train(training(sampled=2), model(), devices, samples(20), Plain(), Streams(5))
    assert not torch.equal(runs[0].weights, other.weights)


def test_every_byte_of_every_round_is_metered() -> None:
    flat = model()
    devices = [samples(10, seed=n) for n in range(4)]
    down = len(encode(Server(flat, Plain(), 0.1).model()))
    up = len(encode(Payload({"update": Dense(flat.weights), "samples": Dense(torch.tensor([10]))})))
    found = train(training(sampled=3, rounds=5), flat, devices, samples(5), Plain(), Streams(0))
    assert len(found.wire.phases) == 10
    for phase in found.wire.phases:
        server = phase.traffic[SERVER]
        assert (server.sent, server.received) == ((3 * down, 0) if phase.topic == "model" else (0, 3 * up))
        assert sum(t.sent for t in phase.traffic.values()) == sum(t.received for t in phase.traffic.values())


def test_exposure_counts_what_an_accountant_asks() -> None:
    devices = [samples(10, seed=n) for n in range(4)]
    found = train(training(sampled=1, rounds=9), model(), devices, samples(5), Plain(), Streams(0)).exposure
    assert (found.clients, found.sampled, found.rounds, found.equal_weights) == (4, 1, 9, True)
    assert 3 <= found.participations <= 9


@dataclass(frozen=True)
class Explosive(HorizontalDefense):
    card = Card(title="explosive", paper="https://example.org", threat="none")

    def upload(self, update: Update, client: ClientState) -> Payload:
        return Payload.dense(update.flat * (torch.inf if client.round == 2 else 1))


def test_a_federation_that_runs_off_keeps_its_last_finite_model() -> None:
    devices = [samples(10, seed=n) for n in range(4)]
    setting = training(rounds=6, evaluate_every=1)
    found = train(setting, model(), devices, samples(5), Explosive(), Streams(0))
    whole = train(training(rounds=2, evaluate_every=1), model(), devices, samples(5), Plain(), Streams(0))
    assert found.diverged
    assert torch.equal(found.weights, whole.weights)
    assert [round for round, _ in found.curve] == [1, 2, 3]


@dataclass(frozen=True)
class Doubling(HorizontalDefense):
    card = Card(title="doubling", paper="https://example.org", threat="none")

    def local_gradient(self, gradient: Update, step: LocalStep) -> Update:
        assert step.images.shape[1:] == SHAPE
        return gradient.with_flat(gradient.flat * 2)


def test_a_local_gradient_is_stepped_with_and_uploaded_as_the_defense_left_it() -> None:
    devices = [samples(10, seed=n) for n in range(2)]
    setting = training(partition=Iid(kind="iid", devices=2), sampled=2)
    doubled = train(setting, model(), devices, samples(5), Doubling(), Streams(0))
    plain = train(
        training(**(setting.model_dump() | {"learning_rate": 0.2})), model(), devices, samples(5), Plain(), Streams(0)
    )
    assert torch.allclose(doubled.weights, plain.weights, atol=1e-6)


def test_running_statistics_travel_and_are_averaged() -> None:
    flat = model("convnet", (3, 32, 32), width=2)
    devices = [replace(samples(6, seed=n, shape=(3, 32, 32))) for n in range(2)]
    setting = training(partition=Iid(kind="iid", devices=2), sampled=2, rounds=1, batch_size=6)
    singles = []
    for number, data in enumerate(devices):
        alone = model("convnet", (3, 32, 32), width=2)
        alone.module.train()
        order = Streams(0).child("client", client(number), 0).generator("order")
        alone.module(data.images[torch.randperm(6, generator=order)])
        singles.append(alone.statistics.clone())
    found = train(setting, flat, devices, samples(2, shape=(3, 32, 32)), Plain(), Streams(0))
    assert flat.statistics.numel() > 0
    assert torch.allclose(found.statistics, (singles[0] + singles[1]) / 2, atol=1e-5)


def test_a_flat_model_shares_memory_with_its_module() -> None:
    flat = model("mlp")
    flat.weights.zero_()
    assert all(not p.any() for p in flat.module.parameters())


def seen(flat: FlatModel, hands: list[Samples], rounds: int = 1, work: LocalWork | None = None) -> HorizontalView:
    snapshots = [Snapshot(flat.weights.clone() * (1 + n), flat.statistics.clone()) for n in range(rounds)]
    names = [client(n) for n in range(len(hands))]
    return observe(flat, snapshots, hands, names, Plain(), "plain", work or LocalWork(0.1), Streams(0))


def test_a_victim_of_several_samples_sends_the_gradient_of_their_mean_loss() -> None:
    flat, data = model("mlp"), samples(6)
    view = seen(flat, [data.pick(torch.arange(3)), data.pick(torch.arange(3, 6))])
    assert view.local == LocalPlan(samples=3, epochs=1, batch_size=3, learning_rate=0.1)
    wanted = flat.gradient(data.images[3:], data.labels[3:])
    assert torch.allclose(view.observed.values[1], wanted, atol=1e-6)


def test_local_steps_add_up_to_the_difference_of_the_weights() -> None:
    flat, data = model("mlp"), samples(4)
    before = flat.weights.clone()
    view = seen(flat, [data], work=LocalWork(0.1, epochs=3, batch_size=2))
    assert view.local.steps == 6
    local = model("mlp")
    local.weights.copy_(before)
    order = Streams(0).child("client", client(0), 0).generator("order")
    for rows in [rows for _ in range(3) for rows in torch.randperm(4, generator=order).split(2)]:
        local.weights.sub_(local.gradient(data.images[rows], data.labels[rows]), alpha=0.1)
    assert torch.allclose(view.observed.values[0], (before - local.weights) / 0.1, atol=1e-5)


def test_epochs_without_a_batch_size_are_full_steps() -> None:
    flat, data = model("mlp"), samples(4)
    before = flat.weights.clone()
    view = seen(flat, [data], work=LocalWork(0.1, epochs=3))
    assert view.local.steps == 3
    local = model("mlp")
    local.weights.copy_(before)
    for _ in range(3):
        local.weights.sub_(local.gradient(data.images, data.labels), alpha=0.1)
    assert torch.allclose(view.observed.values[0], (before - local.weights) / 0.1, atol=1e-5)


def test_each_round_is_seen_under_the_model_that_was_sent_in_it() -> None:
    flat, data = model("mlp"), samples(1)
    before = flat.weights.clone()
    view = seen(flat, [data], rounds=2)
    for number, shown in enumerate(view.rounds):
        flat.weights.copy_(before * (1 + number))
        assert torch.allclose(shown.observed.values[0], flat.gradient(data.images, data.labels), atol=1e-6)
    assert view.model is view.rounds[-1].model


@pytest.mark.parametrize("keep", [1, 3])
def test_the_first_and_last_models_are_kept(keep: int) -> None:
    setting, data = training(rounds=5), [samples(4, seed=n) for n in range(4)]
    begin = model().weights.clone()
    found = train(setting, model(), data, samples(2), Plain(), Streams(0), keep)
    assert len(found.first) == len(found.last) == keep
    assert torch.equal(found.first[0].weights, begin)
    assert torch.equal(found.last[-1].weights, found.weights)
    shorter = train(setting.model_copy(update={"rounds": 6 - keep}), model(), data, samples(2), Plain(), Streams(0))
    assert torch.equal(found.last[0].weights, shorter.weights)


def test_what_an_adversary_is_handed_holds_no_gradient_and_changes_nothing() -> None:
    flat = model("mlp")
    victims = samples(3)
    view = seen(flat, [victims.pick(torch.tensor([n])) for n in range(3)])
    assert all(p.grad is None for p in view.model.parameters())
    before = flat.weights.clone()
    for parameter in view.model.double().parameters():
        parameter.data.zero_()
    assert torch.equal(flat.weights, before)


def test_normalisation_constants_are_no_statistics() -> None:
    assert model("lenet5", (3, 32, 32), normalise="cifar10").statistics.numel() == 0


def test_accuracy_is_the_share_of_hits() -> None:
    flat = model()
    data = samples(23)
    with torch.no_grad():
        wanted = (flat.module(data.images).argmax(1) == data.labels).float().mean()
    accuracy, loss = flat.evaluate(data.images, data.labels, batch=5)
    assert accuracy == flat.accuracy(data.images, data.labels) == pytest.approx(float(wanted))
    with torch.no_grad():
        assert loss == pytest.approx(float(F.cross_entropy(flat.module(data.images), data.labels)), rel=1e-5)
    assert isinstance(flat.module, nn.Module)
