"""Jobs played for real on the bundled digits: deterministic, complete, and their failures named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fl_attack_bench import hardware, jobs, metrics
from fl_attack_bench.codec import Payload, encode
from fl_attack_bench.data import datasets
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.jobs import PICTURES, Job, Settings
from fl_attack_bench.link import Link
from fl_attack_bench.play import play
from fl_attack_bench.play.horizontal import traffic
from fl_attack_bench.suite import Cell, MethodSpec, Suite
from fl_attack_bench.wire import SERVER, Wire, client

SUITE = {
    "suite": "test",
    "version": 1,
    "title": "Test",
    "seeds": [0],
    "tasks": [
        {
            "name": "digits",
            "dataset": "digits",
            "model": "lenet_dlg",
            "training": {
                "partition": {"kind": "shards", "devices": 6, "classes": 2, "per_class": 10},
                "rounds": 4,
                "sampled": 3,
                "batch_size": 8,
                "learning_rate": 0.1,
                "evaluate_every": 2,
            },
            "victims": {"ids": [3, 7]},
        }
    ],
    "attacks": [{"idlg": {"iterations": 4}}],
    "defenses": [{"gaussian_noise": {"scale": 1e-3, "clip": 5.0}}],
}


def cell(**changes: Any) -> Cell:
    (found,) = [c for c in Suite.model_validate(SUITE).cells("generic-cpu") if c.defense.name != "none"]
    return found.model_copy(update=changes)


def settings(work: Path) -> Settings:
    return Settings(work=work, data_dir=work, links=hardware.load("generic-cpu").links)


def results(one: Cell, work: Path) -> dict[str, Any]:
    found = {}
    for job in jobs.of(one):
        play(job, settings(work))
        found[job.kind] = json.loads((job.folder(work) / jobs.RESULT).read_text())
    return found


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, dict[str, Any]]]:
    torch.set_num_threads(1)
    folders = [tmp_path_factory.mktemp("work") for _ in range(2)]
    return [(folder, results(cell(), folder)) for folder in folders]


def test_the_same_cell_twice_gives_the_same_results_but_for_timings(twice: list[tuple[Path, dict[str, Any]]]) -> None:
    (first_folder, first), (second_folder, second) = twice
    for found in (first, second):
        for moment in found["attack"]["reconstructed"]:
            assert moment.pop("seconds") >= 0
        assert all(seconds > 0 for seconds in found.pop("timing").values())
    assert first == second
    place = Job(kind="attack", cell=cell()).folder(first_folder).relative_to(first_folder) / PICTURES
    with np.load(first_folder / place) as ours, np.load(second_folder / place) as theirs:
        assert sorted(ours) == ["initial", "originals", "trained"]
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_scores_are_those_of_the_pictures(twice: list[tuple[Path, dict[str, Any]]]) -> None:
    folder, found = twice[0]
    with np.load(Job(kind="attack", cell=cell()).folder(folder) / PICTURES) as pictures:
        images = {name: torch.from_numpy(pictures[name]).float() / 255 for name in pictures}
    for moment in found["attack"]["reconstructed"]:
        wanted = metrics.mse(images[moment["moment"]], images["originals"])
        assert [v["victim"] for v in moment["victims"]] == [3, 7]
        assert [v["mse"] for v in moment["victims"]] == pytest.approx(wanted.tolist(), abs=4e-3)


def test_training_tells_accuracy_bytes_and_guarantee(twice: list[tuple[Path, dict[str, Any]]]) -> None:
    training = twice[0][1]["training"]
    assert [round for round, _ in training["utility"]["curve"]] == [2, 4]
    assert training["cost"]["rounds"] == 4
    assert training["cost"]["exchanges"] == 2
    assert training["cost"]["bytes_total"] == 4 * 3 * (training["cost"]["bytes_up"] + training["cost"]["bytes_down"])
    assert training["cost"]["bytes_peers"] == 0
    assert set(training["cost"]["network"]) == {"LAN", "WAN"}
    assert training["privacy"]["epsilon_server"] > 0


def test_the_attack_does_not_change_the_training_nor_the_seed_the_timing() -> None:
    base, other = cell(), cell(attack=MethodSpec(name="dlg"))
    keys = {
        kind: [Job(kind=kind, cell=one).key for one in (base, other, cell(seed=1))] for kind in ("training", "timing")
    }
    assert keys["training"][0] == keys["training"][1] != keys["training"][2]
    assert len(set(keys["timing"])) == 1
    assert Job(kind="attack", cell=base).key != Job(kind="attack", cell=other).key


def test_every_defense_meets_the_same_weights_and_starting_points(tmp_path: Path) -> None:
    task = cell().task.model_copy(update={"training": None})
    found = []
    for defense in ("none", "gradient_compression"):
        parameters = {"prune": 0.0} if defense != "none" else {}
        one = cell(task=task, defense=MethodSpec(name=defense, parameters=parameters))
        found.append(results(one, tmp_path)["attack"]["reconstructed"][0])
        found[-1].pop("seconds")
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("victims", "images"),
    [
        ({"first": 4, "batch": 2, "local_epochs": 2}, 4),
        ({"devices": 2}, 40),
        ({"ids": [3], "rounds": 3}, 1),
    ],
)
def test_victims_may_be_batches_devices_or_seen_in_several_rounds(
    tmp_path: Path, victims: dict[str, Any], images: int
) -> None:
    task = type(cell().task).model_validate(cell().task.model_dump() | {"victims": victims})
    found = results(cell(task=task, attack=MethodSpec(name="dlg", parameters={"iterations": 1})), tmp_path)
    for moment in found["attack"]["reconstructed"]:
        ids = [score["victim"] for score in moment["victims"]]
        assert len(set(ids)) == len(ids) == images
        assert 0 <= moment["label_accuracy"] <= 1
        labels = {score["victim"]: score["label"] for score in moment["victims"]}
        split = "train" if "devices" in victims else "test"
        data = datasets.load("digits", tmp_path)
        assert labels == {number: int(getattr(data, f"y_{split}")[number]) for number in ids}


def test_a_chain_is_trained_timed_and_attacked_as_one(tmp_path: Path) -> None:
    links = [MethodSpec(name="gaussian_noise", parameters={"scale": 1e-4}), MethodSpec(name="gradient_compression")]
    chain, single = cell(defense=MethodSpec.chain(links)), cell(defense=links[1])
    found, alone = results(chain, tmp_path), results(single, tmp_path)
    assert found["training"]["cost"]["bytes_up"] == pytest.approx(alone["training"]["cost"]["bytes_up"], rel=0.01)
    assert found["training"]["privacy"] is not None
    scores, others = (r["attack"]["reconstructed"][0]["victims"] for r in (found, alone))
    assert scores[0]["mse"] != others[0]["mse"]


def test_what_needs_a_gpu_is_skipped_without_one(tmp_path: Path) -> None:
    one = cell(task=cell().task.model_copy(update={"gpu": True}))
    for job in jobs.of(one):
        with pytest.raises(SkipCell, match="marked gpu"):
            play(job, settings(tmp_path))


def test_peers_are_counted_apart_from_uploads() -> None:
    wire, payload = Wire(), Payload.dense(torch.zeros(100))
    size = len(encode(payload))
    with wire.phase(0, "shares"):
        wire.send(client(0), client(1), payload)
        wire.send(client(1), client(0), payload)
    with wire.phase(0, "update"):
        for number in range(2):
            wire.send(client(number), SERVER, payload)
    found = traffic(wire, devices=2, sampled=2, links=[Link(name="LAN", bits_per_second=1e9, round_trip_seconds=0)])
    assert (found["bytes_up"], found["bytes_peers"], found["bytes_down"]) == (size, size, 0)
    assert found["bytes_total"] == 4 * size


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"victims": {"ids": [99_999]}}, "victim 99999 does not exist"),
        ({"model": {"name": "lenet_dgl"}}, "lenet_dlg"),
        ({"dataset": "digit"}, "digits"),
    ],
)
def test_what_does_not_exist_is_named(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    task = type(cell().task).model_validate(cell().task.model_dump() | changes | {"training": None})
    with pytest.raises(UserError, match=why):
        play(Job(kind="attack", cell=cell(task=task)), settings(tmp_path))
    assert not list((tmp_path / "attack").glob("[!.]*")) if (tmp_path / "attack").exists() else True


ROGUE = """
from dataclasses import dataclass
import torch
from fl_attack_bench.api import Card, HorizontalView, PassiveAttack, Reconstruction, Streams

@dataclass(frozen=True)
class Rogue(PassiveAttack):
    card = Card(title="Rogue", paper="https://example.org", threat="server")
    nan: bool = False

    def reconstruct(self, view: HorizontalView, streams: Streams) -> Reconstruction:
        count = len(view.victims)
        images = torch.full((count, 1, *view.image_shape), float("nan")) if self.nan else torch.zeros(count, 3)
        zeros = torch.zeros(count, dtype=torch.int64)
        return Reconstruction(images, zeros.unsqueeze(1), zeros.float(), zeros, zeros.bool())
"""


@pytest.mark.parametrize(("nan", "why"), [(False, "shape"), (True, "infinite or NaN")])
def test_an_attack_that_breaks_its_contract_is_told_so(tmp_path: Path, nan: bool, why: str) -> None:
    path = tmp_path / "rogue.py"
    path.write_text(ROGUE)
    task = cell().task.model_copy(update={"training": None})
    one = cell(task=task, attack=MethodSpec(name=str(path), parameters={"nan": nan}))
    with pytest.raises(UserError, match=why):
        play(Job(kind="attack", cell=one), settings(tmp_path))


FEDERATION = {
    "name": "diabetes",
    "dataset": "diabetes",
    "model": "linear_regression",
    "adversary": "clients",
    "training": {
        "algorithm": "fedsgd",
        "partition": {"kind": "iid", "devices": 10},
        "rounds": 30,
        "sampled": 10,
        "learning_rate": 0.25,
        "evaluate_every": 15,
    },
}


def attacked(attack: str, defense: str = "none", task: dict[str, Any] | None = None, **parameters: Any) -> Cell:
    suite = SUITE | {"tasks": [FEDERATION | (task or {})], "attacks": [{attack: parameters}], "defenses": [defense]}
    return next(c for c in Suite.model_validate(suite).cells("generic-cpu") if c.defense.name == defense)


def test_an_active_attack_is_played_on_the_same_federation_and_told_beside_it(tmp_path: Path) -> None:
    harmed, calm = attacked("update_poisoning", factor=-3.0, clients=4), attacked("dropout", clients=10, after=9)
    first, second = results(harmed, tmp_path / "a"), results(calm, tmp_path / "a")
    assert list(first) == ["centralised", "training", "timing", "corrupted"]
    utility, integrity = first["training"]["utility"], first["corrupted"]["integrity"]
    assert second["training"]["utility"] == utility
    # Attackers who do as honest clients do change nothing: the same seeds play the same federation.
    assert second["corrupted"]["integrity"] == utility | {"clients": 10}
    assert integrity["clients"] == 4
    assert [round for round, _ in integrity["curve"]] == [15, 30]
    assert utility["accuracy"] > 0.4 > 0 == integrity["accuracy"]
    assert integrity["losses"][-1][1] > 10 * utility["losses"][-1][1]
    assert first["corrupted"]["dataset_fingerprint"] == first["training"]["dataset_fingerprint"]
    assert results(harmed, tmp_path / "b")["corrupted"] == first["corrupted"]


def test_failed_rounds_are_counted_and_the_first_of_them_told(tmp_path: Path) -> None:
    found = results(attacked("dropout", clients=10), tmp_path)["corrupted"]["integrity"]
    assert (found["failed_rounds"], len(found["failures"]), found["incident_count"]) == (30, 20, 0)
    assert found["failures"][3] == "round 3: none of 10 clients sent an update"
    assert found["accuracy"] == 0


def test_each_attack_has_a_job_of_its_own_and_shares_the_training() -> None:
    cells = [attacked("dropout"), attacked("dropout", clients=2), attacked("update_poisoning")]
    keys = {kind: {Job(kind=kind, cell=one).key for one in cells} for kind in ("training", "timing", "corrupted")}
    assert {kind: len(found) for kind, found in keys.items()} == {"training": 1, "timing": 1, "corrupted": 3}


@pytest.mark.parametrize(
    ("one", "kind", "why"),
    [
        (attacked("dlg"), "corrupted", "passive attack, and this task's adversary are malicious clients"),
        (attacked("dropout", clients=11), "corrupted", "controls 11 clients, and the federation has 10"),
        (cell(attack=MethodSpec(name="dropout")), "attack", "active attack, and this task's adversary is a curious"),
    ],
)
def test_an_attack_that_does_not_fit_the_adversary_is_skipped(
    tmp_path: Path, one: Cell, kind: jobs.Kind, why: str
) -> None:
    with pytest.raises(SkipCell, match=why):
        play(Job(kind=kind, cell=one), settings(tmp_path))


def test_numbers_have_networks_partitions_and_attacks_of_their_own(tmp_path: Path) -> None:
    shards = FEDERATION["training"] | {"partition": {"kind": "shards", "devices": 2, "classes": 1, "per_class": 1}}
    for task, why in (
        ({"model": "mlp"}, "'mlp' predicts class labels, and the targets of dataset 'diabetes' are numbers"),
        ({"dataset": "digits"}, "'linear_regression' predicts numbers, and the targets of dataset 'digits' are class"),
        ({"training": shards | {"sampled": 2}}, "partition shards deals by classes"),
    ):
        with pytest.raises(UserError, match=why):
            play(Job(kind="corrupted", cell=attacked("dropout", task=task)), settings(tmp_path))
    private = attacked("idlg", task={"adversary": "server", "training": None, "victims": {"first": 1}})
    with pytest.raises(UserError, match="diabetes: its targets are numbers; attacks on privacy are for class labels"):
        play(Job(kind="attack", cell=private), settings(tmp_path))
