"""The typed, versioned result of one cell. Everything right of the runner is a pure function of these."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from fl_attack_bench.conditions import Conditions
from fl_attack_bench.errors import UserError
from fl_attack_bench.outsourced_record import OutsourcedResult
from fl_attack_bench.schema import Document
from fl_attack_bench.suite import Cell, Gate
from fl_attack_bench.vertical_record import VerticalResult

MAX_BYTES = 4_000_000
MOST_NOTES = 20
Status = Literal["ok", "error", "timeout", "out_of_memory", "skipped"]
Text = Annotated[str, Field(max_length=20_000)]
NonNegative = Annotated[float, Field(ge=0)]


class Certified(Document):
    """A defense's lower bound on one image's reconstruction, beside what was measured.

    Args:
        bound: the least ``||X - X'||_2`` over pixels, if ``X'`` reproduces the representation that was let through.
        distance: the measured one, of the reconstruction before clipping.
        residual: ``||f(X') - r'|| / ||r - r'||``: small where the reconstruction does reproduce it, so that the bound
            speaks of it; None where the defense changed nothing.
    """

    bound: NonNegative
    distance: NonNegative
    residual: NonNegative | None


class VictimScore(Document):
    """How well one image of a victim was reconstructed. Pixels are in [0, 1].

    Args:
        victim: the sample's id in the task's split.
        mse: mean squared error of the reconstruction clipped to [0, 1]; higher is better for the defense.
        mse_raw: the same without clipping.
        psnr: decibels, of the clipped image; None where the error is zero.
        ssim: structural similarity of the clipped image, in [-1, 1].
        label: the true label.
        label_recovered: what the attack took for the label; None where it infers none.
        objective: the attacker's own objective at the end, for the restart that it chose.
        iterations: that this restart took.
        diverged: whether it ran off; the image is then its best finite state, and counts as not reconstructed.
        certified: the defense's bound, where it states one.
    """

    victim: int
    mse: NonNegative
    mse_raw: NonNegative
    psnr: float | None
    ssim: float
    label: int
    label_recovered: int | None
    objective: float
    iterations: int
    diverged: bool
    certified: Certified | None = None


class Reconstructed(Document):
    """The attack at one moment of the training.

    Args:
        moment: ``initial`` is round 0, ``trained`` after the last round.
        victims: one score an image, in the task's order; empty for an attack that reconstructs no images.
        label_accuracy: share of labels inferred rightly, as a multiset for each victim; None where none are inferred.
        correlations: by layer, the mean absolute correlation of inferred class-wise representations with the true ones.
        blind: by layer, the correlation that a guess without any gradient has: what the network makes of noise. Where
            it is as high, the images have nearly one representation, and inferring it says little.
        classes_found: share of a victim's classes for which a representation was inferred; None where there are none.
        curve: median over victims of the attacker's objective after each iteration.
        seconds: wall seconds of the attack (timing).
    """

    moment: Literal["initial", "trained"]
    victims: list[VictimScore]
    label_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    correlations: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    blind: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    classes_found: Annotated[float, Field(ge=0, le=1)] | None = None
    curve: list[float] = []
    seconds: NonNegative = 0.0


class Learned(Document):
    """How well a federation learned, on the test set.

    For class labels the accuracy is the share that is right and the loss the mean cross entropy in nats. For numbers
    the accuracy is the coefficient of determination ``R^2 = 1 - sum((y - f)^2) / sum((y - mean(y))^2)`` clipped to
    [0, 1], and the loss the mean squared error ``mean((y - f)^2)`` in the target's unit squared; its root is the RMSE.

    Args:
        accuracy: of the federated model under the defense after the last round.
        targets: what is learned: class labels, or numbers.
        curve: ``(round, accuracy)`` points.
        losses: ``(round, loss)`` points; those that are finite.
        diverged: whether the weights became infinite or NaN; the accuracy is then of the last finite model.
        failed_rounds: how many rounds had no mean; the model stayed as it was.
        failures: why, of the first of them.
        incident_count: how often the server noticed something and went on in spite of it.
        incidents: what, of the first of them.
    """

    accuracy: Annotated[float, Field(ge=0, le=1)]
    targets: Literal["classes", "numbers"] = "classes"
    curve: list[tuple[int, float]]
    losses: list[tuple[int, float]] = []
    diverged: bool = False
    failed_rounds: Annotated[int, Field(ge=0)] = 0
    failures: Annotated[list[Text], Field(max_length=MOST_NOTES)] = []
    incident_count: Annotated[int, Field(ge=0)] = 0
    incidents: Annotated[list[Text], Field(max_length=MOST_NOTES)] = []


class Utility(Learned):
    """What a federation of honest clients learned.

    Args:
        centralised_accuracy: of the same network trained on the same samples in one place, with as many steps.
    """

    centralised_accuracy: Annotated[float, Field(ge=0, le=1)]


class Integrity(Learned):
    """What the same federation learned where an active attack's clients took part, on the same seed.

    Args:
        clients: how many clients the attack controlled.
    """

    clients: Annotated[int, Field(ge=1)]


class Cost(Document):
    """What the defense costs. Bytes are exact; the seconds of ``network`` are modelled, the others measured.

    Args:
        rounds: rounds of the training.
        exchanges: dependent one-way trips in one round.
        bytes_up: a client's upload in one round, mean over clients and rounds.
        bytes_down: a client's download in one round, likewise.
        bytes_peers: what a client sends to other clients in one round, likewise.
        bytes_total: all bytes sent by all parties over the whole training.
        network: seconds of one round by link name.
        client_seconds: seconds of a client's local training with the defense in one round: the mean over clients, of
            which the median over rounds.
        defense_seconds: the part of it that is the defense's own.
        server_seconds: median seconds in which the server decodes and aggregates one round.
    """

    rounds: int
    exchanges: int
    bytes_up: NonNegative
    bytes_down: NonNegative
    bytes_peers: NonNegative
    bytes_total: int
    network: dict[str, NonNegative]
    client_seconds: NonNegative | None = None
    defense_seconds: NonNegative | None = None
    server_seconds: NonNegative | None = None


class Privacy(Document):
    """A differential-privacy statement at the level of a client; an epsilon is None where there is no finite bound."""

    statement: Text
    delta: float | None = None
    epsilon_server: NonNegative | None = None
    epsilon_model: NonNegative | None = None


class MethodUsed(Document):
    """A method as it was really played.

    Args:
        name: as the registry found it.
        title: from its card.
        paper: from its card.
        threat: from its card: the adversary that an attack is, or that a defense stands against.
        assumes: from its card: what an attack's adversary knows beyond its view.
        parameters: all of them, defaults included.
        source_sha256: of the file that defines it.
        origin: where it was found.
    """

    name: str
    title: Text
    paper: Text
    threat: Text = ""
    assumes: Text = ""
    parameters: dict[str, Any]
    source_sha256: str
    origin: Literal["built-in", "entry-point", "path"]


class Provenance(Document):
    """Where a record comes from; enough to make it again.

    Args:
        command: the shell line that plays this cell.
        started: when (timing).
        seconds: wall seconds of all jobs of the cell (timing).
        revision: of the source checkout, or None for an installed package.
        dirty: whether the checkout had uncommitted changes.
        dataset_fingerprint: sha256 over the arrays.
        packages: versions of what the numbers depend on.
        machine: processor, cores, memory, accelerator, operating system.
        hardware_matched: whether the machine matches the hardware profile's terms.
        calibration: figures of the machine's speed when the run began (timing).
        conditions: how the machine was while it was timed (timing); None on records from before this was measured.
    """

    command: Text
    started: datetime
    seconds: NonNegative
    revision: str | None
    dirty: bool | None
    dataset_fingerprint: str
    packages: dict[str, str]
    machine: dict[str, str]
    hardware_matched: bool
    calibration: dict[str, float] = {}
    conditions: Conditions | None = None


class Record(Document):
    """The result of one cell, whatever happened."""

    schema_version: Literal[1] = 1
    cell_id: str
    cell: Cell
    gate: Gate
    status: Status
    reason: Text = ""
    attack: MethodUsed | None
    defense: MethodUsed | None
    reconstructed: list[Reconstructed] = []
    utility: Utility | None = None
    integrity: Integrity | None = None
    cost: Cost | None = None
    privacy: Privacy | None = None
    vertical: VerticalResult | None = None
    outsourced: OutsourcedResult | None = None
    provenance: Provenance

    def without_timings(self) -> dict[str, Any]:
        """The record as plain data without what the clock measured: equal for two plays of one cell on one machine."""
        data = self.model_dump(mode="json")
        for key in ("started", "seconds", "calibration", "conditions"):
            del data["provenance"][key]
        for moment in data["reconstructed"]:
            del moment["seconds"]
        for key in ("client_seconds", "defense_seconds", "server_seconds") if data["cost"] else ():
            del data["cost"][key]
        vertical = data["vertical"] or {}
        for key in ("passive_seconds", "active_seconds", "defense_seconds") if vertical.get("cost") else ():
            del vertical["cost"][key]
        for part in ("labels", "features"):
            if vertical.get(part):
                del vertical[part]["seconds"]
        outsourced = data["outsourced"] or {}
        if outsourced.get("inputs"):
            del outsourced["inputs"]["seconds"]
        for stage in (outsourced.get("cost") or {}).values():
            for key in ("seconds", "offline_seconds", "party_seconds") if isinstance(stage, dict) else ():
                del stage[key]
        return data


def read(path: Path) -> Record:
    """A record from its JSON file.

    Raises:
        UserError: missing, too large, cut short, or not a sound record; the message names the file and the key.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES} bytes: no record is")
        return loads(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def loads(text: str | bytes, where: str) -> Record:
    """A record from JSON text; ``where`` names it in errors."""
    try:
        record = Record.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise UserError(f"{where}: {place + ': ' if place else ''}{first['msg']}") from None
    if record.cell_id != record.cell.id:
        raise UserError(f"{where}: cell_id {record.cell_id!r} is not that of its cell ({record.cell.id!r})")
    return record
