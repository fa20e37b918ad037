"""Records of outsourced tasks without playing a cell: single ones, and a board's worth of them."""

import numpy as np
import vertical_records
from vertical_records import method, spec

from fl_attack_bench.outsourced_record import (
    InputError,
    InputsReconstructed,
    OutsourcedCost,
    OutsourcedLearned,
    OutsourcedResult,
    PartyTraffic,
    StageCost,
)
from fl_attack_bench.record import Record
from fl_attack_bench.suite import Cell, Gate
from fl_attack_bench.tasks import OutsourcedTask

STEPS = 100
LAYERS = [
    {"kind": "convolution", "outputs": 4, "kernel": 4, "stride": 2, "activation": "relu"},
    {"kind": "dense", "outputs": 100, "activation": "sigmoid"},
    {"kind": "dense", "outputs": 10, "activation": "sigmoid"},
]
PARTIES = ("owner", "labels", "compute/0", "compute/1", "helper", "third")
LINKS = {"LAN": (1e9, 0.0002), "WAN": (1e8, 0.04)}


def task(name="mnist-cnn", victims=2, **fields):
    """The paper's network on digits; ``fields`` replace the task's."""
    written = {
        "name": name,
        "scenario": "outsourced",
        "dataset": "digits",
        "layers": LAYERS,
        "training": {"steps": STEPS, "batch_size": 32, "learning_rate": 0.1},
        "inference_batch": 32,
        "victims": victims,
    }
    return OutsourcedTask.model_validate({key: value for key, value in (written | fields).items() if value is not None})


def learned(accuracy=0.9, plain=0.9, weights=1e-4, **fields):
    made = OutsourcedLearned(
        accuracy=accuracy,
        plain_accuracy=plain,
        weight_difference=weights,
        weight_rms_difference=None if weights is None else weights / 10,
        steps=STEPS,
    )
    return made.model_copy(update=fields)


def inputs(*mses, party="third", moment="inference", blind=0.07, known=0, auxiliary=100, **fields):
    """What an attack reached on each victim; ``blind`` is one figure or one a victim."""
    blinds = blind if isinstance(blind, tuple) else (blind,) * len(mses)
    victims = [
        InputError(victim=place, mse=mse, mse_raw=mse * 1.2, blind=guess)
        for place, (mse, guess) in enumerate(zip(mses, blinds, strict=True))
    ]
    told = {"knows_model": False, "seconds": 0.3} | fields
    return InputsReconstructed(party=party, moment=moment, victims=victims, known=known, auxiliary=auxiliary, **told)


def stage(sent=1000.0, offline=0.0, rounds=4, seconds=0.01, samples=32, batches=5, parties=PARTIES):
    """Every party sends ``sent`` bytes online to the next one; the last one sends ``offline`` ahead of it to the first.

    Seconds on the network: the busiest party's bytes and half a round trip for each trip.
    """
    traffic = {name: PartyTraffic(sent=sent, received=sent, offline_sent=0, offline_received=0) for name in parties}
    traffic[parties[-1]] = traffic[parties[-1]].model_copy(update={"offline_sent": offline})
    first = traffic[parties[0]]
    traffic[parties[0]] = first.model_copy(update={"offline_received": first.offline_received + offline})
    return StageCost(
        batches=batches,
        samples=samples,
        rounds=rounds,
        parties=traffic,
        network={link: 8 * 2 * sent / bits + rounds * trip / 2 for link, (bits, trip) in LINKS.items()},
        seconds=seconds,
        offline_seconds=seconds / 2,
        party_seconds=dict.fromkeys(parties, seconds / 4),
    )


def cost(sent=1000.0, offline=0.0, seconds=0.01, rounds=4, trains=True, parties=PARTIES):
    setup = stage(10 * sent, 0.0, 1, seconds, 1000, 1, parties)
    training = stage(sent, offline, rounds, seconds, 32, 5, parties)
    total = len(parties) * (10 * sent + (STEPS * sent if trains else 0)) + (STEPS * offline if trains else 0)
    return OutsourcedCost(
        setup=setup,
        training=training if trains else None,
        inference=stage(sent / 2, offline / 2, rounds // 2, seconds / 2, 32, 3, parties),
        bytes_total=round(total),
    )


def record(where, defense="none", attack="inversion", seed=0, status="ok", reason="", hardware="cpu", **fields):
    """One cell. ``inputs``: what its attack reached; ``learned`` and ``cost`` have defaults, on skipped cells too."""
    asked, told = fields.pop("used", {}), fields.pop("gate", Gate())
    defended = spec(defense) if isinstance(defense, str) else defense
    attacks = spec(attack) if attack else None
    origin = vertical_records.record(vertical_records.task(), provenance=fields.pop("provenance", {})).provenance
    command = f"flab run outsourced --task {where.name} --defense '{defended.label}' --attack '{attack}' --seed {seed}"
    cell = Cell(
        suite="outsourced",
        suite_version=1,
        task=where,
        attack=attacks,
        defense=defended,
        seed=seed,
        hardware=hardware,
    )
    result = {"learned": learned(), "cost": cost()} | fields
    return Record(
        cell_id=cell.id,
        cell=cell,
        gate=told,
        status=status,
        reason=reason,
        attack=method(attacks, **asked) if attacks else None,
        defense=method(defended),
        outsourced=OutsourcedResult(**result) if status in ("ok", "skipped") else None,
        provenance=origin.model_copy(update={"command": command}),
    )


PAPER = "https://doi.org/10.1145/3442381"
KNOWN = (0, 16, 64, 256, 1024)
ATTACKS = {
    "reading": {"title": "Reading what lies in the clear", "threat": "whoever computes"},
    "least_squares": {
        "title": "Least squares from known samples",
        "paper": PAPER,
        "threat": "curious party that sees the first layer's output",
        "assumes": "the features of some samples of the batches",
    },
    "rank_matching": {
        "title": "Rank matching of permuted values",
        "paper": PAPER,
        "threat": "curious third party",
        "assumes": "public samples of the same distribution; the model",
    },
    "share_averaging": {"title": "Averaging of masked openings", "threat": "curious compute party"},
    "one_share": {"title": "What one share says", "threat": "curious compute party"},
}
SIDES = ("owner", "compute/0", "compute/1", "helper")
# label, accuracy, weights' difference, parties, MB online and offline a step, seconds, trips
PROTOCOLS = (
    ("none", 0.92, 0.0, ("owner", "labels", "compute/0"), 0.1, 0.0, 0.002, 2),
    ("rtas[arithmetic=ring]", 0.92, 2e-4, PARTIES, 3.2, 4.1, 0.06, 18),
    ("rtas[arithmetic=float64,masks=fresh]", 0.919, 3e-6, PARTIES, 3.2, 4.1, 0.03, 18),
    ("rtas_fast", 0.92, 1e-4, PARTIES[:5], 1.1, 1.3, 0.02, 6),
    ("sharing[activation=polynomial]", 0.881, 3e-2, PARTIES[:5], 9.0, 30.0, 0.3, 60),
    ("encrypted", 0.905, None, ("owner", "compute/0"), 300.0, 0.0, 9.0, 2),
)


def reached(label, attack, known, rng, victims):
    """What an attack makes of a protocol's view, or why it has none."""
    noise = 1 + 0.3 * rng.random(victims)
    if label == "encrypted":
        return None
    if attack == "reading":
        return inputs(*(0.0 * noise), party="compute/0") if label == "none" else None
    if attack == "least_squares":
        error = {0: 0.068, 16: 0.06, 64: 0.031, 256: 0.004, 1024: 0.0004}[known]
        return (
            inputs(*(error * noise), party="labels", moment="training", known=known) if label == "rtas_fast" else None
        )
    if attack == "rank_matching":
        return inputs(*(0.05 * noise), knows_model=True) if label.startswith("rtas[") else None
    if label == "none":
        return None
    if attack == "share_averaging":
        fresh = "fresh" in label
        return inputs(*((0.02 if fresh else 0.4) * noise), party="compute/1", moment="training")
    return inputs(*(0.3 * noise), party="compute/0")


def board(seeds=3, where=None, protocols=PROTOCOLS, attacks=tuple(ATTACKS), victims=16):
    """Every protocol under every attack, most of which have no view; a failure and a missing cell."""
    where = where or task(victims=victims)
    found = []
    for label, accuracy, weights, parties, online, offline, seconds, rounds in protocols:
        trains = label != "encrypted"
        common = {"cost": cost(online * 1e6 / len(parties), offline * 1e6, seconds, rounds, trains, parties)}
        for attack in attacks:
            for known in KNOWN if attack == "least_squares" else (0,):
                for seed in range(seeds):
                    rng = np.random.default_rng([len(found), seed])
                    got = reached(label, attack, known, rng, where.victims)
                    told = common | {"used": ATTACKS[attack], "hardware": "generic-cpu"}
                    told |= {"learned": learned(accuracy - 0.003 * seed, 0.92 - 0.003 * seed, weights), "inputs": got}
                    if got is None:
                        told |= {"status": "skipped", "reason": f"{attack} has no view under {label.partition('[')[0]}"}
                    if label.startswith("sharing") and attack == "one_share" and seed == 1:
                        told |= {"status": "timeout", "reason": "stopped after 20 minutes"}
                    called = f"{attack}[known={known}]" if attack == "least_squares" else attack
                    if not (label == "rtas_fast" and attack == "share_averaging" and seed == 2):
                        found.append(record(where, label, called, seed, **told))
    return found


PUBLISHED = [
    {"quantity": "seconds", "value": value, "stage": stage, "link": link, "defense": defense}
    for defense, stage, link, value in (
        ("cryptonets", "inference", "LAN", 55.21),
        ("cryptonets", "inference", "WAN", 155.21),
        ("securenn", "inference", "LAN", 122.61),
        ("securenn", "training", "LAN", 0.38),
        ("securenn", "inference", "WAN", 6981.0),
        ("securenn", "training", "WAN", 31.64),
        ("rtas", "inference", "LAN", 10.61),
        ("rtas", "training", "LAN", 0.54),
        ("rtas", "inference", "WAN", 212.15),
        ("rtas", "training", "WAN", 3.25),
    )
] + [
    {"quantity": "bytes", "value": value, "stage": stage, "defense": defense, "note": "the rows look swapped"}
    for defense, stage, value in (
        ("cryptonets", "inference", 36.75e6),
        ("securenn", "training", 2829e6),
        ("rtas", "training", 41.7e6),
        ("rtas", "inference", 1.28e6),
    )
]
PUBLISHED = [{"source": "RTAS 2021, Tables 3 and 4"} | one for one in PUBLISHED]
