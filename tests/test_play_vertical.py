"""Jobs of a vertical task played for real on the bundled digits: complete, deterministic, and refused by name."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reachable import tensors

from fl_attack_bench import hardware, jobs, registry
from fl_attack_bench.api import ACTIVE
from fl_attack_bench.assemble import assemble
from fl_attack_bench.codec import Payload, encode
from fl_attack_bench.data import datasets
from fl_attack_bench.errors import SkipCell, UserError
from fl_attack_bench.jobs import PICTURES, Outcome, Settings
from fl_attack_bench.play import play
from fl_attack_bench.record import Provenance, Record
from fl_attack_bench.suite import Cell, Suite

TASK: dict[str, Any] = {
    "name": "halves",
    "scenario": "vertical",
    "dataset": "digits",
    "split": {"by": "rows", "parties": {"upper": "0-13", "lower": "14-27"}},
    "training": {"epochs": 3, "batch_size": 64, "learning_rate": 0.2},
    "malicious": "lower",
    "backdoor": {"target": 0, "trigger": {"pixels": [[25, 27], [27, 25], [26, 26], [27, 27]]}},
    "victims": 4,
}
SPARSE = [{"trainable_top": {"hidden": 8}}, {"gradient_sparsification": {"drop": 0.9}}]


def cell(attack: Any = "gradient_replacement", defense: Any = "none", **changes: Any) -> Cell:
    suite = Suite.model_validate(
        {
            "suite": "test",
            "version": 1,
            "title": "Test",
            "seeds": [0],
            "tasks": [TASK | changes],
            "attacks": [attack] if attack else [],
            "defenses": [defense],
        }
    )
    (found,) = [one for one in suite.cells("generic-cpu") if one.defense.is_baseline == (defense == "none")]
    return found


def settings(work: Path) -> Settings:
    return Settings(work=work, data_dir=work, links=hardware.load("generic-cpu").links)


def played(one: Cell, work: Path) -> Record:
    """Every job of a cell, assembled as the runner does."""
    torch.set_num_threads(1)
    now = datetime.now(UTC)
    for job in jobs.of(one):
        play(job, settings(work))
    return assemble(
        one,
        gate=Suite.model_fields["gate"].default,
        folders={job.kind: job.folder(work) for job in jobs.of(one)},
        outcomes={job.kind: Outcome(status="ok", started=now) for job in jobs.of(one)},
        attack=None,
        defense=None,
        provenance=Provenance(
            command="",
            started=now,
            seconds=0,
            revision=None,
            dirty=None,
            dataset_fingerprint="",
            packages={},
            machine={},
            hardware_matched=True,
        ),
    )


def folder_of(one: Cell, work: Path) -> Path:
    return {job.kind: job for job in jobs.of(one)}["corrupted"].folder(work)


def test_a_backdoor_is_played_beside_the_honest_training(tmp_path: Path) -> None:
    record = played(cell(), tmp_path)
    assert record.status == "ok", record.reason
    found = record.vertical
    assert found is not None
    assert found.honest is not None
    assert found.attacked is not None
    assert found.honest.triggered is not None
    assert [epoch for epoch, _ in found.honest.curve] == [0, 1, 2, 3]
    assert found.honest.accuracy > 0.3
    # No copy of a sample of the target class counts.
    assert 300 < found.honest.triggered.samples < 360
    assert found.attacked.losses != found.honest.losses
    assert found.attacked.losses[0] == found.honest.losses[0]
    assert record.provenance.dataset_fingerprint


def test_the_cost_is_that_of_the_honest_messages(tmp_path: Path) -> None:
    found = played(cell(), tmp_path).vertical
    assert found is not None
    assert found.cost is not None
    sizes = [64] * 22 + [1437 - 22 * 64]
    there = sum(len(encode(Payload.dense(torch.zeros(size, 32), "embeddings"))) for size in sizes)
    back = sum(len(encode(Payload.dense(torch.zeros(size, 32), "gradients"))) for size in sizes)
    parties = found.cost.parties
    assert (parties["lower"].sent, parties["lower"].received) == (there, back)
    assert (parties[ACTIVE].sent, parties[ACTIVE].received) == (2 * back, 2 * there)
    assert found.cost.bytes_total == 3 * 2 * (there + back)
    assert found.cost.exchanges == 2 * len(sizes)
    assert found.cost.inference_bytes == pytest.approx(2 * 32 * 4, rel=0.01)
    assert found.cost.network["WAN"] > found.cost.network["LAN"] > 0
    assert found.cost.passive_seconds
    assert found.cost.active_seconds


def test_a_chain_pays_for_its_sparse_messages(tmp_path: Path) -> None:
    found = played(cell(defense=SPARSE), tmp_path).vertical
    assert found is not None
    assert found.cost is not None
    parties = found.cost.parties
    assert parties["lower"].received == pytest.approx(parties["upper"].received, rel=0.02)
    assert 0.1 * parties["lower"].sent < parties["lower"].received < 0.15 * parties["lower"].sent


def test_labels_are_read_off_a_sum(tmp_path: Path) -> None:
    found = played(cell("direct_label_inference"), tmp_path).vertical
    assert found is not None
    assert found.labels is not None
    assert (found.labels.accuracy, found.labels.samples, found.labels.known) == (1.0, 1437, 0)
    assert found.attacked is None


def test_features_are_reconstructed_and_shown(tmp_path: Path) -> None:
    one = cell({"embedding_inversion": {"known": 200}})
    found = played(one, tmp_path).vertical
    assert found is not None
    assert found.features is not None
    assert [error.victim for error in found.features.victims] == [0, 1, 2, 3]
    assert sum(e.mse for e in found.features.victims) < 0.7 * sum(e.blind for e in found.features.victims)
    with np.load(folder_of(one, tmp_path) / PICTURES) as pictures:
        assert pictures["originals"].shape == pictures["trained"].shape == (4, 1, 28, 28)
        assert pictures["originals"].dtype == np.uint8


@pytest.mark.parametrize("attack", ["gradient_replacement", {"embedding_inversion": {"known": 20}}])
def test_a_cell_played_twice_is_the_same(tmp_path: Path, attack: Any) -> None:
    one = cell(attack, SPARSE)
    first, second = (played(one, tmp_path / name) for name in ("first", "second"))
    assert first.without_timings() == second.without_timings()


def test_what_the_attack_changes_is_not_what_the_honest_train(tmp_path: Path) -> None:
    """Another attack meets the same honest training: same batches, same first weights."""
    first, second = (played(cell(attack), tmp_path) for attack in ("gradient_replacement", "label_replacement"))
    assert first.vertical is not None
    assert second.vertical is not None
    assert first.vertical.honest == second.vertical.honest
    assert first.vertical.attacked != second.vertical.attacked


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": {"by": "rows", "parties": {"upper": "0-14", "lower": "14-27"}}}, "14"),
        ({"split": {"by": "rows", "parties": {"upper": "0-12", "lower": "14-27"}}}, "13"),
        ({"split": {"by": "rows", "parties": {"upper": "0-13", "lower": "14-28"}}}, "28"),
        ({"malicious": "upper"}, "upper|trigger"),
        ({"backdoor": TASK["backdoor"] | {"target": 10}}, "10"),
        ({"backdoor": TASK["backdoor"] | {"train": 1e-6}}, "train=1e-06 of 1,437 samples"),
        ({"backdoor": {"target": 0, "trigger": {"features": [783], "natural": True}}}, "carr"),
        ({"backdoor": TASK["backdoor"] | {"train": 1.0}}, "clean"),
        ({"dataset": "diabetes", "split": {"by": "features", "parties": {"lower": "0-9"}}}, "numbers"),
        ({"bottom": {"outputs": 4}}, "outputs=4"),
    ],
)
def test_what_cannot_be_played_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (first, *_) = jobs.of(cell(**changes))
    with pytest.raises(UserError, match=message):
        play(first, settings(tmp_path))
    assert not first.done(tmp_path)


@pytest.mark.parametrize(
    ("attack", "defense", "changes", "message"),
    [
        ("idlg", "none", {}, "not for vertical tasks"),
        ("gradient_replacement", "gaussian_noise", {}, "Gaussian noise is not for vertical tasks"),
        ("gradient_replacement", "none", {"backdoor": None}, "no backdoor"),
        ({"embedding_inversion": {"known": 1434}}, "none", {}, "more than there are"),
    ],
)
def test_what_has_no_meaning_here_is_skipped(
    tmp_path: Path, attack: Any, defense: Any, changes: dict[str, Any], message: str
) -> None:
    last = jobs.of(cell(attack, defense, **changes))[-1]
    with pytest.raises(SkipCell, match=message):
        play(last, settings(tmp_path))


def test_a_result_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from fl_attack_bench.api import Card, LabelAttack\n"
        "@dataclass(frozen=True)\n"
        "class Mine(LabelAttack):\n"
        "    card = Card(title='Mine', paper='https://example.org', threat='curious')\n"
        "    def infer(self, view, streams):\n"
        "        return view.known_labels\n"
    )
    last = jobs.of(cell(str(tmp_path / "mine.py")))[-1]
    with pytest.raises(UserError, match=r"Mine: infer must return int64 labels of shape \(1437,\)"):
        play(last, settings(tmp_path))


def test_a_result_is_json_without_infinities(tmp_path: Path) -> None:
    found: list[str] = []
    for job in jobs.of(cell()):
        play(job, settings(tmp_path))
        json.loads((job.folder(tmp_path) / jobs.RESULT).read_text(), parse_constant=found.append)
    assert found == []


def seen_by(
    monkeypatch: pytest.MonkeyPatch, work: Path, name: str, verb: str, defense: Any, **parameters: Any
) -> list[torch.Tensor]:
    """Every tensor that the engine's own call puts within an attack's reach, after the training where it looks then."""
    cls = registry.find("attack", name).cls
    plays, given = getattr(cls, verb), []

    def spied(self: Any, view: Any, *rest: Any) -> Any:
        given.append(view)
        return plays(self, view, *rest)

    monkeypatch.setattr(cls, verb, spied)
    play(jobs.of(cell({name: parameters}, defense))[-1], settings(work))
    (view,) = given
    return tensors(view)


def held(found: list[torch.Tensor], wanted: torch.Tensor) -> bool:
    return any(one.shape == wanted.shape and torch.equal(one.to(wanted), wanted) for one in found)


@pytest.mark.parametrize("defense", ["none", {"trainable_top": {"hidden": 8}}])
@pytest.mark.parametrize(("attack", "verb"), [("gradient_replacement", "corrupt"), ("gradient_direction", "infer")])
def test_a_malicious_party_reaches_neither_labels_nor_the_features_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: str, verb: str, defense: Any
) -> None:
    data = datasets.load("digits", tmp_path)
    found = seen_by(monkeypatch, tmp_path, attack, verb, defense)
    flat = data.x_train.flatten(1)
    own = [one for one in found if one.shape == (1437, 392)]
    assert own  # the walk does find what is there
    clean = torch.ones(1437, dtype=torch.bool)
    clean[(own[0] != flat[:, 392:]).any(1)] = False  # the poisoned ones
    assert clean.sum() > 1400
    assert not any(torch.equal(one[clean], flat[clean, :392]) for one in own)
    assert not held(found, data.y_train)
    for one in found:
        assert one.untyped_storage().nbytes() <= 1437 * 392 * 4, "memory that holds more than its own features"
        if one.dtype == torch.int64 and one.ndim == 1 and len(one) <= 1437:
            # ids that it knows are of the target class, and labels that it was told, are few
            assert len(one) <= 64 or not torch.equal(one, data.y_train[: len(one)])


def test_a_curious_active_party_has_no_features_but_those_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = datasets.load("digits", tmp_path)
    found = seen_by(monkeypatch, tmp_path, "embedding_inversion", "reconstruct", "none", known=20)
    victims = data.x_train[:4].flatten(1)
    told = [one for one in found if one.shape == (20, 784)]
    assert len(told) == 1
    assert torch.cdist(told[0].double(), victims.double()).min() > 0.1
    wide = [one for one in found if one.ndim == 2 and one.shape[1] in (392, 784)]
    assert len(wide) == 1
    assert all(one.untyped_storage().nbytes() <= 1437 * 32 * 4 for one in found if one.is_floating_point())


def test_a_training_that_runs_off_later_is_no_cheaper(tmp_path: Path) -> None:
    """The epoch that is cut short does not count."""
    (tmp_path / "loud.py").write_text(
        "from dataclasses import dataclass\n"
        "import torch\n"
        "from fl_attack_bench.api import Card, Returned, VerticalDefense\n"
        "@dataclass(frozen=True)\n"
        "class Loud(VerticalDefense):\n"
        "    card = Card(title='Loud', paper='https://example.org', threat='none')\n"
        "    def outgoing(self, returned, exchange):\n"
        "        late = (exchange.batch.epoch, exchange.batch.number) >= (1, 5)\n"
        "        return Returned(returned.values * (torch.inf if late else 1))\n"
    )
    plain = played(cell(), tmp_path / "plain").vertical
    loud = played(cell(defense=str(tmp_path / "loud.py")), tmp_path / "loud").vertical
    assert plain is not None
    assert loud is not None
    assert loud.honest is not None
    assert (loud.honest.diverged, [epoch for epoch, _ in loud.honest.curve]) == (True, [0, 1])
    assert loud.cost is not None
    assert plain.cost is not None
    assert (loud.cost.epochs, loud.cost.exchanges) == (1, plain.cost.exchanges)
    assert loud.cost.parties == plain.cost.parties


def test_a_training_that_runs_off_at_once_is_recorded_without_a_cost(tmp_path: Path) -> None:
    quick = {"training": TASK["training"] | {"learning_rate": 1e12}}
    found = played(cell(**quick), tmp_path).vertical
    assert found is not None
    assert found.honest is not None
    assert found.honest.diverged
    assert found.cost is None
    last = jobs.of(cell("direct_label_inference", **quick))[-1]
    with pytest.raises(SkipCell, match="ran off in its first epoch"):
        play(last, settings(tmp_path))
