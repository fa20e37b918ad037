"""A board's worth of records without playing a cell: digits as originals, noise on them as reconstructions."""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from fl_attack_bench.record import (
    Certified,
    Cost,
    Integrity,
    MethodUsed,
    Privacy,
    Provenance,
    Reconstructed,
    Record,
    Utility,
    VictimScore,
)
from fl_attack_bench.suite import Cell, Gate, MethodSpec
from fl_attack_bench.tasks import HorizontalTask

VICTIMS = 8
PARAMETERS = 5000
# name, parameters, title, paper, noise that it puts on reconstructions, accuracy lost, upload, seconds
DEFENSES = (
    ("none", {}, "No defense", "", 0.005, 0.0, 1.0, 1.0),
    ("gaussian_noise", {"scale": 0.0001}, "Gaussian noise", "https://arxiv.org/abs/1906.08935", 0.01, 0.001, 1, 1.01),
    ("gaussian_noise", {"scale": 0.01}, "Gaussian noise", "https://arxiv.org/abs/1906.08935", 0.22, 0.03, 1, 1.01),
    ("gaussian_noise", {"scale": 0.1}, "Gaussian noise", "https://arxiv.org/abs/1906.08935", 0.45, 0.21, 1, 1.02),
    ("laplace_noise", {"scale": 0.01}, "Laplace noise", "https://arxiv.org/abs/1906.08935", 0.28, 0.05, 1, 1.05),
    (
        "gradient_compression",
        {"prune": 0.5},
        "Gradient compression",
        "https://arxiv.org/abs/1712.01887",
        0.08,
        0,
        0.53,
        1.1,
    ),
    (
        "gradient_compression",
        {"prune": 0.9},
        "Gradient compression",
        "https://arxiv.org/abs/1712.01887",
        0.33,
        0.01,
        0.13,
        1.2,
    ),
    ("soteria", {"prune": 0.4}, "Soteria", "https://arxiv.org/abs/2012.06043", 0.18, 0.005, 1.0, 6.3),
    ("masking", {}, "Pairwise masking", "https://eprint.iacr.org/2017/281", 0.52, 0.0, 2.0, 1.6),
)
# A chain has a list of parameters, one entry a link.
CHAIN = (
    "soteria+gradient_compression",
    [{"prune": 0.4}, {"prune": 0.9}],
    "Soteria, then Gradient compression",
    "https://arxiv.org/abs/2012.06043",
    0.41,
    0.02,
    0.13,
    6.4,
)
ATTACKS = {"dlg": 1.4, "idlg": 1.0, "gradient_similarity": 1.9}
LABELS, REPRESENTATIONS = "label_inference", "representation_inference"  # these return no images
LAYERS = {"fc1": 0.97, "fc2": 0.99}


def task(name="digits-mlp", dataset="digits", model="mlp", victims=VICTIMS, trains=True, published=(), **asked):
    """``asked`` goes to the victims: batch, rounds, devices."""
    training = {
        "partition": {"kind": "shards", "devices": 20, "classes": 2, "per_class": 30},
        "rounds": 60,
        "sampled": 5,
        "learning_rate": 0.1,
        "evaluate_every": 10,
    }
    return HorizontalTask.model_validate(
        {
            "name": name,
            "dataset": dataset,
            "model": model,
            "training": training if trains else None,
            "victims": ({"first": victims} if victims else {}) | asked or None,
            "published": list(published),
        }
    )


def method(name, title, paper, parameters):
    return MethodUsed(
        name=name, title=title, paper=paper, parameters=parameters, source_sha256="ab12" * 16, origin="built-in"
    )


def record(
    where,
    defense=DEFENSES[0],
    attack="dlg",
    seed=0,
    status="ok",
    reason="",
    hardware="cpu-generic",
    suite="gradient-leakage",
    blind=1.0,
    folder=None,
):
    """One record; with ``folder`` its reconstructions are written there. ``blind`` multiplies the attack's error."""
    name, parameters, title, paper, noise, lost, up, slow = defense
    cell = Cell(
        suite=suite,
        suite_version=2,
        task=where,
        attack=spec(attack) if where.attacked else None,
        defense=chained(name, parameters) if isinstance(parameters, list) else spec(name, parameters),
        seed=seed,
        hardware=hardware,
    )
    rng = np.random.default_rng(abs(hash_of(cell.id)) % 2**32)
    done, arrays = [], {}
    if status == "ok" and where.victims:
        done, arrays = reconstruct(cell, noise * ATTACKS.get(attack, 1.0) * blind, rng)
        if attack in (LABELS, REPRESENTATIONS):
            done, arrays = [inferred(one, attack, noise) for one in done], {"originals": arrays["originals"]}
    if folder is not None and arrays:
        folder.mkdir(parents=True)
        np.savez(folder / "reconstructions.npz", **arrays)
    trained = status == "ok" and where.training is not None
    return Record(
        cell_id=cell.id,
        cell=cell,
        gate=Gate(),
        status=status,
        reason=reason,
        attack=method(attack, attack.upper(), "https://arxiv.org/abs/1906.08935", {}) if where.attacked else None,
        defense=method(name, title, paper, {} if isinstance(parameters, list) else parameters),
        reconstructed=done,
        utility=utility(0.93 - lost, rng) if trained else None,
        cost=cost(up, slow) if trained else None,
        privacy=guarantee(name, parameters),
        provenance=Provenance(
            command=f"flab run {suite} --task {where.name} --attack {attack} --defense '{cell.defense.label}'"
            f" --seed {seed} --hardware {hardware}",
            started=datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=seed),
            seconds=12.0,
            revision="8ac6492",
            dirty=False,
            dataset_fingerprint="d" * 64,
            packages={"fl-attack-bench": "0.1.0", "numpy": "2.4.6", "torch": "2.13.0", "torchvision": "0.28.0"},
            machine={"processor": "AMD EPYC", "cores": "2"},
            hardware_matched=True,
        ),
    )


def spec(name, parameters=None):
    """A method; ``dlg[sent_only=True]`` sets a parameter."""
    name, _, inside = name.partition("[") if name.endswith("]") else (name, "", "")
    given = dict(part.split("=", 1) for part in inside.removesuffix("]").split(",") if inside)
    return MethodSpec(name=name, parameters=parameters or given)


def chained(name, parameters):
    return MethodSpec.chain([spec(link, own) for link, own in zip(name.split("+"), parameters, strict=True)])


def inferred(done, attack, noise):
    """The same moment for an attack that returns no images."""
    spoilt = min(noise, 0.5) * (1.0 if done.moment == "initial" else 1.2)
    correlations = {layer: value * (1 - spoilt) for layer, value in LAYERS.items()}
    return done.model_copy(
        update={
            "victims": [],
            "curve": [],
            "label_accuracy": 1 - spoilt if attack == LABELS else None,
            "correlations": correlations if attack == REPRESENTATIONS else {},
            "classes_found": 0.9 if attack == REPRESENTATIONS else None,
        }
    )


def hash_of(text):
    import zlib

    return zlib.crc32(text.encode())


def reconstruct(cell, noise, rng):
    samples = cell.task.victims.samples or list(range(100, 100 + 2 * cell.task.victims.devices))
    originals = digits()[: len(samples), None] / 16
    moments = ["initial", "trained"] if cell.task.training else ["initial"]
    done, arrays = [], {"originals": as_pixels(originals)}
    for moment in moments:
        level = noise * (1.0 if moment == "initial" else 1.5)
        spread = rng.uniform(0.5, 1.4, size=(len(originals), 1, 1, 1)) * level
        noisy = originals + rng.normal(size=originals.shape) * spread
        clipped = noisy.clip(0, 1)
        errors, raw = ((clipped - originals) ** 2).mean((1, 2, 3)), ((noisy - originals) ** 2).mean((1, 2, 3))
        arrays[moment] = as_pixels(clipped)
        victims = [
            VictimScore(
                victim=victim,
                mse=float(errors[place]),
                mse_raw=float(raw[place]),
                psnr=float(-10 * np.log10(errors[place])) if errors[place] else None,
                ssim=float(max(0.0, 1 - 4 * errors[place] ** 0.5)),
                label=place % 10,
                label_recovered=place % 10,
                objective=float(errors[place]),
                iterations=40,
                diverged=False,
                certified=bounded(cell, float(raw[place] * originals[place].size) ** 0.5, place),
            )
            for place, victim in enumerate(samples)
        ]
        curve = [float(10 * np.exp(-step / 8) + level**2 / 10 + 1e-6) for step in range(40)]
        accuracy = None if cell.attack.name == "dlg" else 1 - min(noise, 0.5) / 2
        done.append(Reconstructed(moment=moment, victims=victims, label_accuracy=accuracy, curve=curve, seconds=3.0))
    return done, arrays


@cache
def digits():
    """They are read from a compressed file each time."""
    return load_digits().images


def bounded(cell, distance, place):
    """Soteria states a bound; every third reconstruction does not reproduce the representation and may fall below."""
    if "soteria" not in cell.defense.name:
        return None
    apart = place % 3 == 0
    return Certified(bound=distance * (2 if apart else 0.4), distance=distance, residual=0.7 if apart else 0.02)


def as_pixels(images):
    return (images * 255).round().astype(np.uint8)


def utility(final, rng):
    final = float(np.clip(final + rng.normal() * 0.004, 0, 1))
    curve = [(turn, float(0.1 + (final - 0.1) * (1 - np.exp(-turn / 15)))) for turn in range(0, 61, 10)]
    return Utility(accuracy=final, centralised_accuracy=0.955, curve=curve)


def cost(up, slow):
    sent, received = 4 * PARAMETERS * up, 4 * PARAMETERS
    return Cost(
        rounds=60,
        exchanges=2,
        bytes_up=sent,
        bytes_down=received,
        bytes_peers=0,
        bytes_total=int(60 * 5 * (sent + received)),
        network={"lan": 0.0004 + 1e-8 * sent, "wan": 0.08 + 1e-7 * sent},
        client_seconds=0.05 * slow,
        defense_seconds=0.05 * (slow - 1),
        server_seconds=0.002,
    )


def guarantee(name, parameters):
    if "noise" not in name:
        return None
    if parameters["scale"] < 0.1:
        return Privacy(statement="No guarantee: the update is not clipped, so one client's influence is unbounded.")
    return Privacy(
        statement="(ε, δ)-differential privacy for a whole client.", delta=1e-5, epsilon_server=8.4, epsilon_model=2.1
    )


def board(folder: Path, seeds=3, tasks=None, defenses=DEFENSES, attacks=tuple(ATTACKS), hardware=("cpu-generic",)):
    """Records and their pictures' folders, with a timeout, a skipped attack, a missing cell and a hopeless task."""
    records, pictures = [], {}
    for where in tasks or (task(), task("digits-lenet", model="lenet5"), task("wide-convnet", model="convnet")):
        for machine in hardware:
            for defense in defenses:
                for attack in attacks if where.victims else (None,):
                    for seed in range(seeds):
                        place = len(records)
                        kind = _fate(defense, attack, seed, where)
                        if kind == "missing":
                            continue
                        status, reason = kind
                        made = record(
                            where,
                            defense,
                            attack or "",
                            seed,
                            status,
                            reason,
                            machine,
                            blind=60.0 if where.name == "wide-convnet" else 1.0,
                            folder=folder / str(place),
                        )
                        records.append(made)
                        pictures[made.cell_id] = folder / str(place)
    return records, pictures


SHAMIR = "Shamir's secret sharing"
# name, parameters, title: defenses against malicious clients, as DEFENSES without what concerns privacy.
HOLDING = (
    DEFENSES[0],
    ("encryption", {"authenticated": False}, "Homomorphic encryption", "", 0, 0.0, 40.0, 9.0),
    ("encryption", {"authenticated": True}, "Homomorphic encryption", "", 0, 0.0, 40.0, 9.1),
    ("shamir", {"check": "none"}, SHAMIR, "", 0, 0.01, 2.0, 1.5),
    ("shamir", {"check": "code"}, SHAMIR, "", 0, 0.01, 2.0, 1.6),
    ("shamir", {"check": "tags"}, SHAMIR, "", 0, 0.01, 3.0, 1.7),
)
CLIENTS = 10
ROUNDS = 30
VARIANCE = 0.052  # of the test targets, where they are numbers


def attacked_task(name="digits-attacked", numbers=False):
    """Ten clients, some of whom an attack controls."""
    return HorizontalTask.model_validate(
        {
            "name": name,
            "dataset": "diabetes" if numbers else "digits",
            "model": "linear_regression" if numbers else "mlp",
            "adversary": "clients",
            "training": {
                "partition": {"kind": "iid", "devices": CLIENTS},
                "rounds": ROUNDS,
                "sampled": CLIENTS,
                "learning_rate": 0.1,
            },
        }
    )


def attacked(where, defense, attack, clients, seed=0, under=None, numbers=False, **fields):
    """One cell of a task with malicious clients. ``under`` replaces fields of what is learned under attack."""
    made = record(where, defense, f"{attack}[clients={clients}]", seed, suite="robust", **fields)
    spec_ = MethodSpec(name=attack.partition("[")[0], parameters={**spec(attack).parameters, "clients": clients})
    cell = made.cell.model_copy(update={"attack": spec_})
    change = {"cell": cell, "cell_id": cell.id, "attack": method(spec_.name, attack.title(), "", {"clients": clients})}
    if made.status == "ok":
        honest = held(0.92 - 0.01 * seed, numbers)
        change["utility"] = Utility(**honest, centralised_accuracy=0.95)
        told = held(0.92 - 0.01 * seed, numbers) | (under or {})
        change["integrity"] = Integrity(**told, clients=clients)
    return made.model_copy(update=change)


def held(accuracy, numbers=False, **fields):
    """What a training left: for numbers the accuracy is that of R^2, and the loss follows from it."""
    curve = [(10, 0.6 * max(accuracy, 0)), (20, 0.9 * max(accuracy, 0)), (ROUNDS, max(accuracy, 0))]
    losses = [(turn, (1 - value) * VARIANCE if numbers else 2.3 - 2 * value**2) for turn, value in curve]
    if numbers and accuracy < 0:
        losses[-1] = (ROUNDS, (1 - accuracy) * VARIANCE)
    targets = "numbers" if numbers else "classes"
    return {"accuracy": max(accuracy, 0), "targets": targets, "curve": curve, "losses": losses} | fields


def _tampered(name, parameters, clients, seed, numbers):
    """Wrong shares: a code corrects two and fails at three, tags name the culprits, the others are fooled."""
    check = parameters.get("check", "tags" if parameters.get("authenticated") else "none")
    if check == "tags":
        return {"incident_count": ROUNDS, "incidents": [f"round 0: {clients} of {CLIENTS} shares carry a wrong tag"]}
    if check == "code" and clients <= 2:
        return {"incident_count": ROUNDS, "incidents": [f"round 0: corrected the shares of {clients} clients"]}
    if check == "code":
        failures = [f"round {turn}: {clients} of {CLIENTS} shares are wrong; 2 can be corrected" for turn in range(20)]
        return held(-12.0 if numbers else 0.1, numbers, failed_rounds=ROUNDS, failures=failures)
    lost = clients * (0.03 if name == "none" else 0.21) - 0.01 * seed
    return held(0.92 - lost * (30 if numbers else 1), numbers)


def embattled(seeds=2, numbers=False, name="digits-attacked", defenses=HOLDING):
    """All defenses against poisoning, tampering and dropping clients; dropout is skipped under encryption."""
    where, found = attacked_task(name, numbers), []
    for defense in defenses:
        for seed in range(seeds):
            for clients in (1, 2, 3):
                under = _tampered(defense[0], defense[1], clients, seed, numbers)
                found.append(attacked(where, defense, "tampering", clients, seed, under, numbers))
            for clients in (2, 4):
                lost = (0.1, 0.7)[clients == 4] + 0.02 * seed
                under = held(0.92 - lost * (20 if numbers else 1), numbers)
                found.append(attacked(where, defense, "poisoning[mode=scale]", clients, seed, under, numbers))
                skipped = {"status": "skipped", "reason": "one upload a round"} if "enc" in defense[0] else {}
                found.append(attacked(where, defense, "dropout", clients, seed, numbers=numbers, **skipped))
    return found


def _fate(defense, attack, seed, where):
    name = defense[0]
    if where.name == "digits-lenet" and name == "soteria" and attack == "idlg" and seed == 1:
        return "timeout", "stopped after 20 minutes"
    if name == "masking" and attack == "gradient_similarity":
        return "skipped", "nothing of the update can be read: there is no gradient to compare with"
    if where.name == "digits-lenet" and name == "laplace_noise" and seed == 2:
        return "missing"
    return "ok", ""
