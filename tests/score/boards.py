"""Boards that the tests share: one small enough to be worked out by hand, and arbitrary ones."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from fl_attack_bench import score
from fl_attack_bench.record import (
    Cost,
    Integrity,
    MethodUsed,
    Provenance,
    Reconstructed,
    Record,
    Utility,
    VictimScore,
)
from fl_attack_bench.suite import Cell, Gate, MethodSpec
from fl_attack_bench.tasks import HorizontalTask

TASK = HorizontalTask.model_validate(
    {
        "name": "digits",
        "dataset": "digits",
        "model": "mlp",
        "victims": {"ids": [7, 3]},
        "training": {
            "partition": {"kind": "iid", "devices": 4},
            "rounds": 5,
            "sampled": 2,
            "learning_rate": 0.1,
        },
    }
)
UNTRAINED = HorizontalTask.model_validate(
    {"name": "victims-only", "dataset": "digits", "model": "mlp", "victims": {"first": 2}}
)
UNATTACKED = TASK.model_copy(update={"name": "utility-only", "victims": None})
# Ten clients of whom an attack controls some; every figure is that of round 5.
ATTACKED = HorizontalTask.model_validate(
    {
        "name": "attacked",
        "dataset": "digits",
        "model": "mlp",
        "adversary": "clients",
        "training": TASK.training.model_dump() | {"partition": {"kind": "iid", "devices": 10}, "sampled": 10},
    }
)
VARIANCE = 0.05  # of the test targets, where they are numbers
START = datetime(2026, 1, 1, tzinfo=UTC)
MSE = st.floats(0, 1)
PAIR = st.lists(MSE, min_size=2, max_size=2)


def method(name):
    return MethodUsed(name=name, title=name, paper="", parameters={}, source_sha256="0" * 64, origin="built-in")


def scores(task, mses):
    return [
        VictimScore(
            victim=victim,
            mse=mse,
            mse_raw=mse,
            psnr=None if mse == 0 else 20.0,
            ssim=1 - mse,
            label=1,
            label_recovered=1,
            objective=0.1,
            iterations=3,
            diverged=False,
        )
        for victim, mse in zip(task.victims.samples, mses, strict=True)
    ]


def cost(up=100.0, seconds=1.0, network=1.0, rounds=5):
    return Cost(
        rounds=rounds,
        exchanges=2,
        bytes_up=up,
        bytes_down=100,
        bytes_peers=0,
        bytes_total=int(rounds * (up + 100)),
        network={"lan": network / 10, "wan": network},
        client_seconds=seconds,
        defense_seconds=0.0,
        server_seconds=0.5,
    )


def record(
    defense="none",
    attack="dlg",
    seed=0,
    initial=None,
    trained=None,
    accuracy=0.9,
    task=TASK,
    status="ok",
    reason="",
    parameters=None,
    day=0,
    privacy=None,
    hardware="cpu",
    **costs,
):
    cell = Cell(
        suite="hand",
        suite_version=1,
        task=task,
        attack=MethodSpec(name=attack) if attack else None,
        defense=MethodSpec(name=defense, parameters=parameters or {}),
        seed=seed,
        hardware=hardware,
    )
    ok, trains = status == "ok", task.training is not None
    moments = {"initial": initial, "trained": trained}
    return Record(
        cell_id=cell.id,
        cell=cell,
        gate=Gate(mse=0.01, share=0.5),
        status=status,
        reason=reason,
        attack=method(attack) if attack else None,
        defense=method(defense),
        reconstructed=[
            Reconstructed(moment=name, victims=scores(task, mses)) for name, mses in moments.items() if mses is not None
        ],
        utility=Utility(accuracy=accuracy, centralised_accuracy=0.95, curve=[(5, accuracy)]) if ok and trains else None,
        cost=cost(**costs) if ok and trains else None,
        privacy=privacy,
        provenance=Provenance(
            command=f"flab run hand --defense {defense} --attack {attack} --seed {seed}",
            started=START + timedelta(days=day),
            seconds=1,
            revision=None,
            dirty=None,
            dataset_fingerprint="f",
            packages={},
            machine={},
            hardware_matched=True,
        ),
    )


def learned(accuracy=None, loss=None, **fields):
    """What a training of five rounds left. Given a loss alone it is one of numbers, and the accuracy its R^2."""
    if accuracy is None:
        accuracy = min(max(1 - loss / VARIANCE, 0.0), 1.0)
        fields = {"targets": "numbers"} | fields
    losses = [] if loss is None else [(5, loss)]
    return {"accuracy": accuracy, "curve": [(5, accuracy)], "losses": losses, **fields}


def attacked(defense="none", attack="poisoning", clients=2, seed=0, honest=None, under=None, **fields):
    """One cell of the task with malicious clients; ``honest`` and ``under`` are made by :func:`learned`."""
    status, parameters = fields.pop("status", "ok"), fields.pop("parameters", {})
    base = record(defense, attack, seed, task=ATTACKED, status=status, **fields)
    spec = MethodSpec(name=attack, parameters={"clients": clients, **parameters})
    cell = base.cell.model_copy(update={"attack": spec})
    utility = Utility(**honest, centralised_accuracy=0.95) if honest else base.utility
    integrity = Integrity(**under, clients=clients) if under else None
    made = {"cell": cell, "cell_id": cell.id, "utility": utility, "integrity": integrity}
    return base.model_copy(update=made)


def hand():
    """Three attacks, two seeds, victims 7 and 3. `weak` passes the gate nowhere, `dlg` at both moments,
    `idlg` at round 0.

    noise, initial: dlg  [0.02, 0.30] and [0.40, 0.10], idlg [0.10, 0.20] and [0.50, 0.04]
           worst:        [0.02, 0.20]     [0.40, 0.04]  -> mean 0.165, median 0.12
           trained: dlg only              [0.2, 0.2] and [0.2, 0.4] -> mean 0.25
    """
    broken, whole = [0.001, 0.002], [0.3, 0.4]
    return [
        record("none", "dlg", 0, broken, broken, 0.90),
        record("none", "dlg", 1, broken, [0.005, 0.3], 0.80),
        record("none", "idlg", 0, broken, whole, 0.90),
        record("none", "idlg", 1, whole, whole, 0.80),
        record("none", "weak", 0, [0.009, 0.5], whole, 0.90),
        record("none", "weak", 1, whole, whole, 0.80),
        record("noise", "dlg", 0, [0.02, 0.30], [0.2, 0.2], 0.85, up=50.0, seconds=1.05),
        record("noise", "dlg", 1, [0.40, 0.10], [0.2, 0.4], 0.81, up=50.0, seconds=1.05),
        record("noise", "idlg", 0, [0.10, 0.20], [0.0, 0.0], 0.85, up=50.0, seconds=1.05),
        record("noise", "idlg", 1, [0.50, 0.04], [0.0, 0.0], 0.81, up=50.0, seconds=1.05),
        record("noise", "weak", 0, [0.0, 0.0], [0.0, 0.0], 0.85, up=50.0, seconds=1.05),
        record("noise", "weak", 1, [0.0, 0.0], [0.0, 0.0], 0.81, up=50.0, seconds=1.05),
    ]


def changed(record, **fields):
    """A record with other fields in its parts: ``changed(r, provenance={"dirty": True})``."""
    return record.model_copy(
        update={part: getattr(record, part).model_copy(update=update) for part, update in fields.items()}
    )


def inferring(record, label_accuracy=None, correlations=None, classes_found=None):
    """The record of an attack that returns no images but what is given."""
    told = {"label_accuracy": label_accuracy, "correlations": correlations or {}, "classes_found": classes_found}
    moments = [Reconstructed(moment=name, victims=[], **told) for name in ("initial", "trained")]
    return record.model_copy(update={"reconstructed": moments if record.status == "ok" else []})


def with_images(record, **fields):
    """The record with other fields in all its images, a list for each: ``with_images(r, diverged=[True, False])``."""
    moments = [
        done.model_copy(
            update={
                "victims": [
                    score.model_copy(update={name: values[place] for name, values in fields.items()})
                    for place, score in enumerate(done.victims)
                ]
            }
        )
        for done in record.reconstructed
    ]
    return record.model_copy(update={"reconstructed": moments})


def by_defense(records):
    return {row.defense: row for row in score.rows(records)}


@st.composite
def arbitrary(draw):
    """The undefended, broken by `dlg`, and up to three defenses with arbitrary triples."""
    found = [record("none", "dlg", 0, [0, 0], [0, 0], draw(MSE))]
    for index in range(draw(st.integers(1, 3))):
        accuracy, up, seconds = draw(MSE), draw(st.integers(1, 4)), draw(st.floats(0.5, 2))
        mses = draw(PAIR), draw(PAIR)
        found.append(record(f"d{index}", "dlg", 0, *mses, accuracy, up=float(up), seconds=seconds))
    return found


@st.composite
def crowded(draw):
    """The undefended and up to six defenses that differ by about as much as the tolerances."""
    found = [record("none", "dlg", 0, [0, 0], [0, 0], 0.5)]
    for index in range(draw(st.integers(2, 6))):
        mse, accuracy = 0.2 * 1.005 ** draw(st.integers(0, 6)), 0.5 + 0.0005 * draw(st.integers(0, 6))
        up, seconds = 100.0 + draw(st.integers(0, 1)), 1.04 ** draw(st.integers(0, 8))
        found.append(
            record(f"d{index}", "dlg", 0, [mse, mse], [mse, mse], accuracy, up=up, seconds=seconds, network=seconds)
        )
    return found
