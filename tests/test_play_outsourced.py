"""Cells of outsourced tasks, played for real: what ends up in the record, what is refused, what an attack is given."""

import json

import pytest
import torch
from fl_attack_bench.attacks.one_share import OneShare
from reachable import tensors

from fl_attack_bench import jobs, play
from fl_attack_bench.api import OutsourcedView
from fl_attack_bench.codec import encode
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.jobs import Job, Settings
from fl_attack_bench.link import Link
from fl_attack_bench.outsourced_record import InputsReconstructed, OutsourcedCost, OutsourcedLearned
from fl_attack_bench.suite import Cell, MethodSpec
from fl_attack_bench.tasks import OutsourcedTask

LAN = Link(name="LAN", bits_per_second=1e9, round_trip_seconds=0.0002)
LOGISTIC = {
    "name": "zero",
    "scenario": "outsourced",
    "dataset": "digits",
    "layers": [{"kind": "dense", "outputs": 1, "activation": "sigmoid"}],
    "training": {"steps": 30, "batch_size": 32, "learning_rate": 0.1},
    "inference_batch": 16,
    "target": 0,
    "victims": 4,
}
CONVOLUTION = LOGISTIC | {
    "name": "digits",
    "layers": [
        {"kind": "convolution", "outputs": 2, "kernel": 4, "stride": 2, "activation": "relu"},
        {"kind": "dense", "outputs": 10, "activation": "sigmoid"},
    ],
    "training": {"steps": 12, "batch_size": 32, "learning_rate": 1.0},
    "target": None,
}


def job(kind, task=LOGISTIC, defense="rtas", attack=None, **parameters):
    cell = Cell(
        suite="s",
        suite_version=1,
        task=OutsourcedTask.model_validate(task),
        attack=attack,
        defense=MethodSpec(name=defense, parameters=parameters),
        seed=0,
        hardware="generic-cpu",
    )
    return Job(kind=kind, cell=cell)


def played(folder, one):
    settings = Settings(work=folder, data_dir=folder, links=[LAN])
    play.play(one, settings)
    return json.loads((one.folder(folder) / jobs.RESULT).read_text())


@pytest.mark.parametrize("defense", ["none", "rtas", "rtas_fast"])
@pytest.mark.parametrize("task", [LOGISTIC, CONVOLUTION], ids=["logistic", "convolution"])
def test_a_training_ends_where_the_plain_one_does(tmp_path, defense, task):
    found = played(tmp_path, job("training", task, defense))
    learned = OutsourcedLearned.model_validate(found["learned"])
    assert learned.weight_difference < (1e-3 if defense != "none" else 1e-12)
    assert learned.accuracy == pytest.approx(learned.plain_accuracy, abs=0.005)
    assert learned.steps == task["training"]["steps"]
    if task is LOGISTIC:
        assert learned.accuracy > 0.9
    OutsourcedCost.model_validate(found["cost"])


def test_bytes_and_trips_of_logistic_regression_are_those_of_the_formula(tmp_path):
    """RTAS in the ring, B samples of D features: every message by its shape."""
    cost = OutsourcedCost.model_validate(played(tmp_path, job("training"))["cost"])
    samples, size, batch = 1437, 784, 32
    words, seed = 8, 32

    def frame(*parts):
        """Bytes of a message with parts of so many axes and words, by name."""
        return 6 + sum(1 + len(name) + 3 + 8 * axes + count * words for name, axes, count in parts)

    # step: open W (D); reveal z, answered by a and slope to party 1; open slope and error; truncate; open error;
    # truncate both gradients
    peers = [
        frame(("weights/0", 2, size)),
        frame(("error", 2, batch), ("slope/0", 2, batch)),
        frame(("truncated", 1, batch)),
        frame(("error/0", 2, batch)),
        frame(("truncated", 1, size + 1)),
    ]
    third = frame(("z/0", 1, batch))
    answer = frame(("f/0/0", 1, batch), ("f/0/1", 1, batch))
    parties = cost.training.parties
    assert parties["compute/0"].sent == parties["compute/1"].sent == sum(peers) + third
    assert parties["third"].sent == answer
    assert parties["compute/1"].received == sum(peers) + answer
    assert parties["owner"].sent == parties["labels"].sent == parties["helper"].sent == 0
    assert cost.training.rounds == 1 + 2 + 1 + 1 + 1 + 1
    dealt = [
        frame(("mask weights/0", 2, size), ("product z/0", 2, batch)),
        frame(("mask error", 2, batch), ("mask slope/0", 2, batch), ("product sloped/0", 2, batch)),
        frame(*((f"truncation/{part}", 1, batch) for part in range(3))),
        frame(("mask error/0", 2, batch), ("product gradient/0", 2, size)),
        frame(*((f"truncation/{part}", 1, size + 1) for part in range(3))),
    ]
    assert parties["helper"].offline_sent == parties["compute/1"].offline_received == sum(dealt)
    owner = cost.setup.parties["owner"]
    seed_frame = 6 + 1 + 4 + 3 + 8 + seed
    shared = frame(("features", 2, samples * size)) + frame(("weights/0", 2, size)) + frame(("bias/0", 1, 1))
    assert owner.sent == seed_frame + shared


def test_timing_tells_what_the_parties_compute(tmp_path):
    found = played(tmp_path, job("timing", CONVOLUTION))
    for stage in ("setup", "training", "inference"):
        seconds = found[stage]
        assert 0 < seconds["seconds"] < 10
        assert max(seconds["party_seconds"].values()) <= seconds["seconds"] * 1.5
        assert "helper" not in seconds["party_seconds"]
        assert seconds["offline_seconds"] > 0


def attacked(folder, attack, defense="none", task=LOGISTIC, **parameters):
    """The attack job behind its training."""
    spec = MethodSpec.model_validate(attack)
    played(folder, job("training", task, defense, attack=spec, **parameters))
    return played(folder, job("attack", task, defense, attack=spec, **parameters))


def test_data_in_the_clear_are_read(tmp_path):
    found = attacked(tmp_path, {"name": "clear_reading"})
    inputs = InputsReconstructed.model_validate(found["inputs"])
    assert len(inputs.victims) == 4
    assert max(one.mse for one in inputs.victims) < 1e-12
    assert min(one.blind for one in inputs.victims) > 0.01


def test_a_protocol_without_the_adversarys_party_gives_no_view(tmp_path):
    with pytest.raises(SkipCell, match="no such view: under none there is no party 'third'"):
        attacked(tmp_path, {"name": "rank_matching"})


def test_more_samples_than_there_are_give_no_view(tmp_path):
    attack = {"name": "known_pairs", "parameters": {"known": 10_000}}
    with pytest.raises(SkipCell, match="4 victims, 10000 known and 0 other samples are too many"):
        attacked(tmp_path, attack, "rtas_fast")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": 12}, "target=12 is none of the 10 classes 0 to 9"),
        ({"target": None}, "the last layer has 1 outputs for 10 classes"),
        (
            {"layers": [{"kind": "convolution", "outputs": 1, "kernel": 40}, LOGISTIC["layers"][0]]},
            "layer 0: a kernel of 40 does not fit an image of 28x28",
        ),
    ],
)
def test_a_task_that_does_not_fit_its_data_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=f"task 'zero': {message}"):
        played(tmp_path, job("training", LOGISTIC | changes))


def test_protocols_of_other_scenarios_are_skipped(tmp_path):
    with pytest.raises(SkipCell, match="is not for outsourced tasks"):
        played(tmp_path, job("training", LOGISTIC, "soteria"))


def test_the_same_cell_gives_the_same_result_where_secrets_are_reproducible(tmp_path):
    found = [played(tmp_path / str(number), job("training", CONVOLUTION, reproducible=True)) for number in range(2)]
    assert found[0] == found[1]


def view_of(monkeypatch, folder, defense, party, task=LOGISTIC, moment="inference"):
    """What the engine really hands to an attack."""
    caught = []

    def catches(self, view, streams):
        caught.append(view)
        return torch.zeros(4, *view.plan.inputs)

    monkeypatch.setattr(OneShare, "adversary", property(lambda self: party))
    monkeypatch.setattr(OneShare, "moment", moment)
    monkeypatch.setattr(OneShare, "reconstruct", catches)
    attacked(folder, {"name": "one_share", "parameters": {"known": 3, "observed": 5, "auxiliary": 6}}, defense, task)
    return caught[0]


@pytest.mark.parametrize("defense", ["rtas", "rtas_fast"])
@pytest.mark.parametrize("party", ["compute/0", "compute/1", "labels", "owner"])
def test_a_view_holds_what_the_wire_delivered_to_the_party_and_no_more(monkeypatch, tmp_path, defense, party):
    view = view_of(monkeypatch, tmp_path, defense, party)
    assert isinstance(view, OutsourcedView)
    assert {message.receiver for message in view.messages} <= {party}
    assert view.weights is None
    assert len(view.known) == 3
    assert not set(view.known.tolist()) & set(view.victims.tolist())
    assert sorted(torch.cat(view.batches).tolist())[:4] == [0, 1, 2, 3]
    assert sum(map(len, view.batches)) == 16  # 4 + 3 + 5, filled up to a whole batch
    assert view.auxiliary.shape == (6, 784)


def test_no_victims_features_are_within_reach_of_a_view(monkeypatch, tmp_path):
    view = view_of(monkeypatch, tmp_path, "rtas", "compute/1")
    from fl_attack_bench.data import datasets

    victims = datasets.load("digits", tmp_path).x_test[:4].flatten(1)
    within = [found for found in tensors(view) if found.is_floating_point()]
    assert within
    for tensor in within:
        if tensor.ndim and tensor.shape[-1] == 784:
            rows = tensor.reshape(-1, 784).float()
            assert not any(bool((rows == victim).all(1).any()) for victim in victims)
    # and what it was sent decodes into shares, not into features
    for message in view.messages:
        for part in message.payload().parts.values():
            assert not part.values.is_floating_point()


def test_a_view_of_the_training_covers_every_step(monkeypatch, tmp_path):
    view = view_of(monkeypatch, tmp_path, "rtas_fast", "labels", moment="training")
    assert len(view.batches) == 30
    rounds = {message.round for message in view.messages if message.topic == "training"}
    assert rounds == set(range(30))


def test_the_bytes_that_are_metered_are_those_of_the_messages(monkeypatch, tmp_path):
    view = view_of(monkeypatch, tmp_path, "rtas", "compute/1")
    assert all(message.data == encode(message.payload()) for message in view.messages)


def test_a_cell_is_made_of_its_jobs():
    spec = MethodSpec(name="clear_reading")
    assert [one.kind for one in jobs.of(job("attack", attack=spec).cell)] == ["training", "timing", "attack"]
    assert [one.kind for one in jobs.of(job("attack").cell)] == ["training", "timing"]
