"""Records of vertical tasks without playing a cell: single ones, and a board's worth of them."""

from datetime import UTC, datetime, timedelta

import numpy as np

from fl_attack_bench.record import MethodUsed, Provenance, Record
from fl_attack_bench.suite import Cell, Gate, MethodSpec
from fl_attack_bench.tasks import VerticalTask
from fl_attack_bench.vertical_record import (
    FeatureError,
    FeaturesReconstructed,
    LabelsInferred,
    PartyBytes,
    Triggered,
    VerticalCost,
    VerticalLearned,
    VerticalResult,
)

EPOCHS = 10
TARGET = 3
SAMPLES = 1000  # of the training set
START = datetime(2026, 5, 1, tzinfo=UTC)


def task(name="split-digits", parties=2, victims=2, **fields):
    """Digits cut into stripes of rows, the second party malicious; ``fields`` replace the task's."""
    names = "abcdefgh"[:parties]
    rows = {name: f"{8 * place // parties}-{8 * (place + 1) // parties - 1}" for place, name in enumerate(names)}
    written = {
        "name": name,
        "scenario": "vertical",
        "dataset": "digits",
        "split": {"by": "rows", "parties": rows},
        "bottom": {"outputs": 16},
        "training": {"epochs": EPOCHS, "batch_size": 64, "learning_rate": 0.01},
        "malicious": "b",
        "backdoor": {"target": TARGET, "trigger": {"pixels": [[7, 5], [7, 7]]}},
        "victims": victims,
    }
    return VerticalTask.model_validate({key: value for key, value in (written | fields).items() if value is not None})


def learned(accuracy=0.9, success=0.02, triggered=100, **fields):
    """What a training left; ``success`` None: there is no backdoor."""
    rise = [1 - 0.6**turn for turn in range(EPOCHS + 1)]
    rise[-1] = 1.0
    scores = [(1 - (success or 0)) / 9] * 10
    scores[TARGET] = success or 0
    tried = success is not None and Triggered(
        samples=triggered,
        success=success,
        curve=[(turn, success * part) for turn, part in enumerate(rise)],
        scores=scores,
    )
    made = VerticalLearned(
        accuracy=accuracy,
        curve=[(turn, 0.1 + (accuracy - 0.1) * part) for turn, part in enumerate(rise)],
        losses=[(turn, 2.3 - 2 * accuracy * part) for turn, part in enumerate(rise)],
        triggered=tried or None,
    )
    return made.model_copy(update=fields)


def labels(accuracy, majority=0.2, known=0):
    return LabelsInferred(accuracy=accuracy, majority=majority, samples=SAMPLES - known, known=known, seconds=0.1)


def features(*mses, blind=0.1, known=50):
    victims = [FeatureError(victim=place, mse=mse, mse_raw=mse, blind=blind) for place, mse in enumerate(mses)]
    return FeaturesReconstructed(victims=victims, known=known, seconds=0.2)


def cost(where, up=1000.0, down=1000.0, seconds=1.0, epochs=EPOCHS):
    """Every passive party sends ``up`` and is sent ``down`` in an epoch."""
    count = len(where.split.parties)
    parties = {name: PartyBytes(sent=up, received=down) for name in where.split.parties}
    parties["active"] = PartyBytes(sent=count * down, received=count * up)
    return VerticalCost(
        epochs=epochs,
        exchanges=40,
        parties=parties,
        bytes_total=round(epochs * count * (up + down)),
        inference_bytes=count * 64,
        network={"lan": 0.01, "wan": 1.0},
        passive_seconds=0.5,
        active_seconds=0.5 * seconds,
        defense_seconds=0.5 * (seconds - 1) if seconds > 1 else 0.0,
    )


def spec(name, parameters=None):
    """A method; ``noise[variance=0.1]`` sets a parameter."""
    name, _, inside = name.removesuffix("]").partition("[")
    given = dict(part.split("=", 1) for part in inside.split(",") if inside)
    return MethodSpec(name=name, parameters=parameters or {key: _typed(value) for key, value in given.items()})


def _typed(value):
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            pass
    return value


def chain(*links):
    return MethodSpec.chain([spec(link) for link in links])


def method(made, title="", paper="", threat="", assumes=""):
    return MethodUsed(
        name=made.name,
        title=title or made.family.replace("_", " ").capitalize(),
        paper=paper,
        threat=threat,
        assumes=assumes,
        parameters=made.parameters,
        source_sha256="cd34" * 16,
        origin="built-in",
    )


def record(where, defense="none", attack="replacement", seed=0, status="ok", reason="", hardware="cpu", **fields):
    """One cell. ``attacked``, ``labels``, ``features``: what its attack reached; ``honest``, ``cost`` have defaults."""
    asked, told = fields.pop("used", {}), fields.pop("gate", Gate())
    defended = spec(defense) if isinstance(defense, str) else defense
    attacks = spec(attack) if attack else None
    provenance = {"day": 0, "dirty": False, "fingerprint": "f"} | fields.pop("provenance", {})
    cell = Cell(
        suite="vertical",
        suite_version=1,
        task=where,
        attack=attacks,
        defense=defended,
        seed=seed,
        hardware=hardware,
    )
    result = {"honest": learned(0.9, 0.02 if where.backdoor else None), "cost": cost(where)} | fields
    return Record(
        cell_id=cell.id,
        cell=cell,
        gate=told,
        status=status,
        reason=reason,
        attack=method(attacks, **asked) if attacks else None,
        defense=method(defended),
        vertical=VerticalResult(**result) if status == "ok" else None,
        provenance=Provenance(
            command=f"flab run vertical --task {where.name} --defense '{defended.label}' --attack '{attack}' "
            f"--seed {seed}",
            started=START + timedelta(days=provenance["day"]),
            seconds=4.0,
            revision="8ac6492",
            dirty=provenance["dirty"],
            dataset_fingerprint=provenance["fingerprint"],
            packages={"fl-attack-bench": "0.5.0", "torch": "2.13.0"},
            machine={"processor": "AMD EPYC", "cores": "2"},
            hardware_matched=True,
        ),
    )


PAPER = "https://arxiv.org/abs/2007.03608"
ATTACKS = {
    "replacement[gamma=10]": {
        "title": "Gradient-replacement backdoor",
        "paper": PAPER,
        "threat": "malicious passive party",
        "assumes": "the ids of one clean sample of the target class; which of its samples carry the trigger",
    },
    "replacement[gamma=1]": {
        "title": "Gradient-replacement backdoor",
        "paper": PAPER,
        "threat": "malicious passive party",
        "assumes": "the ids of one clean sample of the target class; which of its samples carry the trigger",
    },
    "sign": {"title": "Label inference by the gradient's sign", "paper": PAPER, "threat": "curious passive party"},
    "completion[known=4]": {
        "title": "Model completion",
        "paper": "https://www.usenix.org/conference/usenixsecurity22/presentation/fu-chong",
        "threat": "curious passive party",
        "assumes": "a few labels of each class",
    },
    "inversion": {
        "title": "Feature inversion by regression",
        "threat": "curious active party",
        "assumes": "the features of some training samples",
    },
}
# label, accuracy lost, backdoor success, labels found, MSE, bytes down, seconds of the active party
DEFENSES = (
    ("none", 0.0, 0.97, 1.0, 0.01, 1.0, 1.0),
    ("gaussian[variance=0.001]", 0.005, 0.95, 0.99, 0.011, 1.0, 1.02),
    ("gaussian[variance=0.01]", 0.02, 0.82, 0.81, 0.012, 1.0, 1.02),
    ("gaussian[variance=0.1]", 0.11, 0.33, 0.42, 0.02, 1.0, 1.02),
    ("laplace[variance=0.05]", 0.07, 0.52, 0.55, 0.02, 1.0, 1.06),
    ("clipping[norm=0.2]", 0.01, 0.61, 1.0, 0.012, 1.0, 1.1),
    ("sparsification[drop=0.5]", 0.0, 0.9, 0.97, 0.011, 0.55, 1.3),
    ("sparsification[drop=0.9]", 0.01, 0.58, 0.72, 0.014, 0.14, 1.3),
    ("sparsification[drop=0.99]", 0.06, 0.12, 0.35, 0.02, 0.03, 1.3),
    ("trainable_top[hidden=32]", -0.015, 0.06, 0.88, 0.03, 2.0, 1.9),
)
CHAIN = (chain("trainable_top[hidden=32]", "sparsification[drop=0.9]"), 0.0, 0.05, 0.45, 0.03, 0.28, 2.2)


def reached(attack, figures, rng):
    """What an attack reaches on a defense of :data:`DEFENSES`."""
    _, lost, success, found, mse, *_ = figures
    shaken = float(np.clip(success * (0.35 if "gamma=1]" in attack else 1.0) + rng.normal() * 0.01, 0, 1))
    if attack.startswith("replacement"):
        return {"attacked": learned(0.92 - lost - 0.01, shaken)}
    if attack.startswith("inversion"):
        return {"features": features(*(mse * (1 + 0.1 * rng.random(8))), blind=0.09)}
    if attack == "sign":
        return {"labels": labels(found if found == 1 else max(found - 0.03 * rng.random(), 0.1))}
    return {"labels": labels(max(0.3, found - 0.05), known=40)}


def board(seeds=3, where=None, defenses=(*DEFENSES, CHAIN), attacks=tuple(ATTACKS)):
    """Every defense under every attack, with a skipped attack, a timeout and a missing cell."""
    where = where or task(victims=8)
    found = []
    for figures in defenses:
        defense, lost, _, _, _, down, slow = figures
        label = defense if isinstance(defense, str) else defense.label
        for attack in attacks:
            for seed in range(seeds):
                rng = np.random.default_rng([len(found), seed])
                told = {"used": ATTACKS[attack], "honest": learned(0.92 - lost - 0.004 * seed, 0.02 + 0.005 * seed)}
                told |= {"cost": cost(where, 1_100_000.0, 1_100_000.0 * down, slow)} | reached(attack, figures, rng)
                if attack == "sign" and "trainable" in label:
                    told |= {"status": "skipped", "reason": "the top model is trained: the sign says nothing"}
                if attack == "sign" and label.startswith("laplace") and seed == 1:
                    told |= {"status": "timeout", "reason": "stopped after 20 minutes"}
                if not (label.startswith("clipping") and attack == "inversion" and seed == 2):
                    found.append(record(where, defense, attack, seed, hardware="generic-cpu", **told))
    return found
