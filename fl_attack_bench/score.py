"""Records -> table rows: worst case over attacks, the triple, the gate, Pareto marks. Pure functions of records.

A row is one defense on one task under one suite version and hardware profile. Nothing here plays, fetches or plots.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fl_attack_bench.record import Cost, MethodUsed, Privacy, Reconstructed, Record, Utility, VictimScore
from fl_attack_bench.suite import BASELINE, Cell, Gate, MethodSpec, Task

Moment = Literal["initial", "trained"]
Verdict = Literal["scored", "attack too weak", "no baseline", "not attacked"]
MOMENTS: tuple[Moment, ...] = ("initial", "trained")
RESAMPLES = 2000
SECONDS_TOLERANCE = 0.10
IMPOSSIBLE = 1e18  # bytes or seconds: no federation that we could have played comes near


@dataclass(frozen=True)
class Estimate:
    """A figure with the ends of its 95% bootstrap interval, all in the figure's own unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class WorstCase:
    """The lowest MSE that any counting attack reached, image by image, at one moment of the training.

    Args:
        moment: ``initial`` or ``trained``.
        mean: over victims and seeds, clipped pixels in [0, 1]; higher is better for the defense.
        median: likewise.
        ssim: mean structural similarity of those worst reconstructions, in [-1, 1]; lower is better for the defense.
        psnr: their median peak signal-to-noise ratio in decibels; None where it is infinite (no error at all).
        broken: share of them with an MSE below the gate's, in [0, 1].
        reconstructions: how many there are: victims x seeds.
        strongest: attack labels with the number of images on which each was the strongest, most often first.
    """

    moment: Moment
    mean: Estimate
    median: Estimate
    ssim: float
    psnr: float | None
    broken: float
    reconstructions: int
    strongest: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class AttackScore:
    """One attack by itself at one moment.

    Args:
        attack: its label.
        moment: ``initial`` or ``trained``.
        mean: of the clipped MSE over victims and seeds.
        baseline_share: share of the undefended victims below the gate's MSE; None without an undefended record.
        passed: whether it passes the gate, that is, counts in the worst case.
    """

    attack: str
    moment: Moment
    mean: float
    baseline_share: float | None
    passed: bool


@dataclass(frozen=True)
class UtilityScore:
    """Test accuracy over seeds, as a fraction in [0, 1].

    Args:
        accuracy: mean over seeds; higher is better.
        sd: sample standard deviation over seeds; None for one seed.
        difference: mean of (this defense - undefended) over the seeds that both have; None where there are none.
        difference_sd: its sample standard deviation.
        centralised: mean accuracy of the network trained in one place.
        seeds: number of seeds.
        diverged: seeds whose training ran off.
    """

    accuracy: float
    sd: float | None
    difference: float | None
    difference_sd: float | None
    centralised: float
    seeds: int
    diverged: int


@dataclass(frozen=True)
class CostScore:
    """Bytes (exact) and seconds, means over seeds; lower is better. ``*_times`` are multiples of undefended.

    Args:
        rounds: of the training.
        bytes_up: a client's upload in one round.
        bytes_down: a client's download in one round.
        bytes_peers: what a client sends to other clients in one round.
        bytes_total: all bytes of all parties over the training.
        client_seconds: of one client's round, measured; None where it was not.
        defense_seconds: the defense's own part of it.
        server_seconds: of the server's round, measured.
        seconds: by link name: client + server + network seconds of one round.
        up_times: of ``bytes_up``; None without an undefended record.
        down_times: of ``bytes_down``.
        total_times: of ``bytes_total``.
        seconds_times: of ``seconds``, by link name.
    """

    rounds: int
    bytes_up: float
    bytes_down: float
    bytes_peers: float
    bytes_total: float
    client_seconds: float | None
    defense_seconds: float | None
    server_seconds: float | None
    seconds: Mapping[str, float]
    up_times: float | None = None
    down_times: float | None = None
    total_times: float | None = None
    seconds_times: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A cell without a usable result.

    Args:
        attack: its label, or ``utility`` on a task without victims.
        seed: the cell's.
        status: the record's, or ``missing``.
        reason: what the record says.
        counts: whether the row is incomplete because of it; an attack that fails the gate does not count.
        cell_id: None for a missing cell.
    """

    attack: str
    seed: int
    status: str
    reason: str
    counts: bool
    cell_id: str | None


@dataclass(frozen=True)
class Row:
    """One defense on one task: the triple and all that qualifies it.

    Args:
        suite: name.
        suite_version: version.
        hardware: profile.
        task: the whole task; two tasks of one name and different content never share a row.
        defense: label.
        spec: the defense as the suite wrote it.
        method: the defense as it was played; None where no record says.
        verdict: ``scored``, or why there is no privacy figure.
        privacy: at the moment that is worse for the defense.
        moments: all moments at which an attack counts.
        attacks: every attack by itself.
        utility: None on a task without training.
        cost: None where no record holds one.
        guarantee: the differential-privacy statement, the weakest over seeds.
        seeds: those of the task's records.
        cells: how many cells the row should have: attacks x seeds.
        failures: failed and missing cells.
        skipped: cells that could not be played, with the reason; no failures.
        complete: whether no failure counts.
        pareto: whether no competing row on the same task and hardware dominates it.
        records: ids of the cells the row is made of.
        commands: the shell lines that play them again.
        notes: what a reader must know beside the numbers.
    """

    suite: str
    suite_version: int
    hardware: str
    task: Task
    defense: str
    spec: MethodSpec
    method: MethodUsed | None
    verdict: Verdict
    privacy: WorstCase | None
    moments: tuple[WorstCase, ...]
    attacks: tuple[AttackScore, ...]
    utility: UtilityScore | None
    cost: CostScore | None
    guarantee: Privacy | None
    seeds: tuple[int, ...]
    cells: int
    failures: tuple[Failure, ...]
    skipped: tuple[Failure, ...]
    complete: bool
    pareto: bool
    records: tuple[str, ...]
    commands: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def baseline(self) -> bool:
        """Whether this is the undefended federation."""
        return _is_baseline(self.spec)

    @property
    def competes(self) -> bool:
        """Whether the row may carry a Pareto mark: complete, scored, and with the whole triple."""
        whole = self.privacy is not None and self.utility is not None and self.cost is not None
        return self.complete and self.verdict == "scored" and whole and bool(self.cost and self.cost.seconds)

    @property
    def summary(self) -> str:
        """The failures in one line: ``1 of 6 cells failed: timeout``; empty where there are none."""
        kinds = Counter(failure.status for failure in self.failures)
        missing = kinds.pop("missing", 0)
        parts = []
        if kinds:
            parts.append(f"{sum(kinds.values())} of {self.cells} cells failed: {', '.join(sorted(kinds))}")
        if missing:
            parts.append(f"{missing} of {self.cells} cells missing")
        return "; ".join(parts)


def rows(records: Iterable[Record]) -> tuple[Row, ...]:
    """Score records. The order in which they come does not matter; of two plays of one cell the later counts.

    Returns:
        Rows by suite, hardware and task; within a task the undefended federation first, then by label.
    """
    groups: dict[tuple[str, int, str, str], list[Record]] = defaultdict(list)
    for record in latest(records):
        cell = record.cell
        groups[(cell.suite, cell.suite_version, cell.hardware, _key(cell.task))].append(record)
    order = sorted(groups, key=lambda key: (key[0], key[1], key[2], groups[key][0].cell.task.name, key[3]))
    return tuple(row for key in order for row in _Group(groups[key]).rows())


def latest(records: Iterable[Record]) -> list[Record]:
    """One record a cell: the one that started last; sorted by cell id."""
    kept: dict[str, Record] = {}
    for record in records:
        other = kept.get(record.cell_id)
        if other is None or _age(record) > _age(other):
            kept[record.cell_id] = record
    return [kept[cell_id] for cell_id in sorted(kept)]


def dominates(a: Row, b: Row) -> bool:
    """Whether ``a`` is at least as good as ``b`` on all four measures and better on one.

    Mean worst-case MSE (up), accuracy (up) and total bytes (down) are compared exactly. Seconds (down) are compared on
    every link with a tolerance of 10%, for clocks are noisy: not worse means at most 1.1 times, better means less than
    1/1.1 times. Both rows must compete.
    """
    if not (a.competes and b.competes and a.privacy and b.privacy and a.utility and b.utility and a.cost and b.cost):
        return False
    gains = [
        a.privacy.mean.value - b.privacy.mean.value,
        a.utility.accuracy - b.utility.accuracy,
        b.cost.bytes_total - a.cost.bytes_total,
    ]
    slack = 1 + SECONDS_TOLERANCE
    links = a.cost.seconds.keys() & b.cost.seconds.keys()
    clocks = [(a.cost.seconds[link], b.cost.seconds[link]) for link in links]
    if any(gain < 0 for gain in gains) or any(mine > slack * other for mine, other in clocks):
        return False
    return any(gain > 0 for gain in gains) or any(slack * mine < other for mine, other in clocks)


def bootstrap(seeds: Sequence[Sequence[float]]) -> tuple[Estimate, Estimate]:
    """Mean and median over all values, each with its 95% interval.

    The bootstrap has two stages, seeds first and victims within each drawn seed, because an attack's success belongs
    to the network's weights more than to the image. It uses a fixed stream: the same values give the same interval.

    Args:
        seeds: one sequence of values a seed, none of them empty; a ragged set weighs seeds alike in the interval.

    Returns:
        The mean and the median, in the values' unit.
    """
    lengths = np.array([len(values) for values in seeds])
    padded = np.zeros((len(seeds), lengths.max()))
    for index, values in enumerate(seeds):
        padded[index, : len(values)] = values
    rng = np.random.default_rng(20_240_229)
    drawn = rng.integers(0, len(seeds), size=(RESAMPLES, len(seeds)))
    picks = (rng.random((RESAMPLES, len(seeds), padded.shape[1])) * lengths[drawn][..., None]).astype(np.int64)
    samples = padded[drawn[..., None], picks].reshape(RESAMPLES, -1)
    pooled = np.concatenate([np.asarray(values, dtype=float) for values in seeds])
    return (
        _interval(float(pooled.mean()), samples.mean(axis=1)),
        _interval(float(np.median(pooled)), np.median(samples, axis=1)),
    )


class _Group:
    """All records of one suite version, hardware profile and task."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.task = records[0].cell.task
        self.faults = {record.cell_id: fault for record in records if (fault := _fault(record))}
        self.seeds = tuple(sorted({record.cell.seed for record in records}))
        self.attacks = {_key(spec): _label(spec) for spec in (record.cell.attack for record in records)}
        if self.task.victims is not None:
            self.attacks.pop(_key(None), None)
        self.defenses: dict[str, list[Record]] = defaultdict(list)
        for record in sorted(records, key=lambda record: (record.cell.seed, _key(record.cell.attack))):
            self.defenses[_key(record.cell.defense)].append(record)
        self.undefended = next(
            (played for played in self.defenses.values() if _is_baseline(played[0].cell.defense)), []
        )
        # Strangers' records of one suite version may name different gates: the strictest of the baseline's holds.
        gates = [record.gate for record in self.undefended or records]
        self.gate = Gate(mse=min(gate.mse for gate in gates), share=max(gate.share for gate in gates))
        self.shares = self._shares()

    def rows(self) -> list[Row]:
        order = sorted(
            self.defenses.values(),
            key=lambda played: (
                not _is_baseline(played[0].cell.defense),
                played[0].cell.defense.label,
                _key(played[0].cell.defense),
            ),
        )
        scored = [self._row(played) for played in order]
        return [
            replace(row, pareto=row.competes and not any(dominates(other, row) for other in scored)) for row in scored
        ]

    def _ok(self, played: Iterable[Record]) -> list[Record]:
        return [record for record in played if record.status == "ok" and record.cell_id not in self.faults]

    def _scores(self, played: Iterable[Record], attack: str, moment: Moment) -> dict[tuple[int, int], VictimScore]:
        """Scores by (seed, victim) of one attack at one moment."""
        return {
            (record.cell.seed, score.victim): score
            for record in self._ok(played)
            if _key(record.cell.attack) == attack
            for done in record.reconstructed
            if done.moment == moment
            for score in done.victims
        }

    def _shares(self) -> dict[tuple[str, Moment], float]:
        """Share of undefended victims, pooled over seeds, that each attack brings below the gate's MSE."""
        found: dict[tuple[str, Moment], float] = {}
        for attack in self.attacks:
            for moment in MOMENTS:
                scores = self._scores(self.undefended, attack, moment)
                if scores:
                    below = sum(score.mse < self.gate.mse for score in scores.values())
                    found[attack, moment] = below / len(scores)
        return found

    def _passes(self, attack: str, moment: Moment) -> bool:
        return self.shares.get((attack, moment), -1.0) >= self.gate.share

    def _counting(self, moment: Moment) -> list[str]:
        return [attack for attack in self.attacks if self._passes(attack, moment)]

    def _row(self, played: Sequence[Record]) -> Row:
        first = played[0].cell
        moments = tuple(found for moment in MOMENTS if (found := self._worst(played, moment)))
        failures, skipped = self._failures(played)
        return Row(
            suite=first.suite,
            suite_version=first.suite_version,
            hardware=first.hardware,
            task=self.task,
            defense=first.defense.label,
            spec=first.defense,
            method=_latest_method(played),
            verdict=self._verdict(moments),
            privacy=min(moments, key=lambda worst: worst.mean.value, default=None),
            moments=moments,
            attacks=self._attack_scores(played),
            utility=self._utility(played),
            cost=self._cost(played),
            guarantee=_guarantee(self._ok(played)),
            seeds=self.seeds,
            cells=len(self.attacks) * len(self.seeds),
            failures=failures,
            skipped=skipped,
            complete=not any(failure.counts for failure in failures),
            pareto=False,
            records=tuple(record.cell_id for record in played),
            commands=tuple(dict.fromkeys(record.provenance.command for record in played)),
            notes=_notes(played),
        )

    def _verdict(self, moments: Sequence[WorstCase]) -> Verdict:
        if self.task.victims is None:
            return "not attacked"
        if not self.shares:
            return "no baseline"
        if not any(self._counting(moment) for moment in MOMENTS):
            return "attack too weak"
        return "scored" if moments else "not attacked"

    def _worst(self, played: Sequence[Record], moment: Moment) -> WorstCase | None:
        best: dict[tuple[int, int], tuple[VictimScore, str]] = {}
        for attack in sorted(self._counting(moment)):
            for pair, score in self._scores(played, attack, moment).items():
                if pair not in best or score.mse < best[pair][0].mse:
                    best[pair] = (score, self.attacks[attack])
        if not best:
            return None
        by_seed: dict[int, list[float]] = defaultdict(list)
        for seed, victim in sorted(best):
            by_seed[seed].append(best[seed, victim][0].mse)
        mean, median = bootstrap([by_seed[seed] for seed in sorted(by_seed)])
        scores = [best[pair][0] for pair in sorted(best)]
        psnr = float(np.median([np.inf if score.psnr is None else score.psnr for score in scores]))
        wins = Counter(attack for _, attack in best.values())
        return WorstCase(
            moment=moment,
            mean=mean,
            median=median,
            ssim=_mean([score.ssim for score in scores]),
            psnr=psnr if np.isfinite(psnr) else None,
            broken=sum(score.mse < self.gate.mse for score in scores) / len(scores),
            reconstructions=len(scores),
            strongest=tuple(sorted(wins.items(), key=lambda item: (-item[1], item[0]))),
        )

    def _attack_scores(self, played: Sequence[Record]) -> tuple[AttackScore, ...]:
        return tuple(
            AttackScore(
                attack=self.attacks[attack],
                moment=moment,
                mean=_mean([scores[pair].mse for pair in sorted(scores)]),
                baseline_share=self.shares.get((attack, moment)),
                passed=self._passes(attack, moment),
            )
            for attack in sorted(self.attacks, key=lambda key: (self.attacks[key], key))
            for moment in MOMENTS
            if (scores := self._scores(played, attack, moment))
        )

    def _utilities(self, played: Iterable[Record]) -> dict[int, Utility]:
        """By seed. A cell whose attack failed may still hold the utility of its training."""
        usable = [record for record in played if record.utility and record.cell_id not in self.faults]
        return {record.cell.seed: record.utility for record in usable if record.utility}

    def _utility(self, played: Sequence[Record]) -> UtilityScore | None:
        mine, base = self._utilities(played), self._utilities(self.undefended)
        if not mine:
            return None
        accuracies = [mine[seed].accuracy for seed in sorted(mine)]
        differences = [mine[seed].accuracy - base[seed].accuracy for seed in sorted(mine.keys() & base.keys())]
        return UtilityScore(
            accuracy=_mean(accuracies),
            sd=_sd(accuracies),
            difference=_mean(differences) if differences else None,
            difference_sd=_sd(differences),
            centralised=_mean([mine[seed].centralised_accuracy for seed in sorted(mine)]),
            seeds=len(mine),
            diverged=sum(utility.diverged for utility in mine.values()),
        )

    def _costs(self, played: Iterable[Record]) -> dict[int, Cost]:
        usable = [record for record in played if record.cost and record.cell_id not in self.faults]
        return {record.cell.seed: record.cost for record in usable if record.cost}

    def _cost(self, played: Sequence[Record]) -> CostScore | None:
        mine, base = self._costs(played), self._costs(self.undefended)
        if not mine:
            return None
        whole = _mean_cost([mine[seed] for seed in sorted(mine)])
        shared = sorted(mine.keys() & base.keys())
        if not shared:
            return whole
        top, bottom = _mean_cost([mine[seed] for seed in shared]), _mean_cost([base[seed] for seed in shared])
        ratios = {link: _times(top.seconds[link], bottom.seconds.get(link)) for link in top.seconds}
        return replace(
            whole,
            up_times=_times(top.bytes_up, bottom.bytes_up),
            down_times=_times(top.bytes_down, bottom.bytes_down),
            total_times=_times(top.bytes_total, bottom.bytes_total),
            seconds_times={link: ratio for link, ratio in ratios.items() if ratio is not None},
        )

    def _failures(self, played: Sequence[Record]) -> tuple[tuple[Failure, ...], tuple[Failure, ...]]:
        """Failed and missing cells, and skipped ones, by attack and seed."""
        utilities = self._utilities(played)
        by_cell = {(_key(record.cell.attack), record.cell.seed): record for record in played}
        failures: list[Failure] = []
        skipped: list[Failure] = []
        for attack in sorted(self.attacks, key=lambda key: (self.attacks[key], key)):
            counting = [moment for moment in MOMENTS if self._passes(attack, moment)]
            for seed in self.seeds:
                record = by_cell.get((attack, seed))
                status, reason = self._state(record, counting)
                if status == "ok":
                    continue
                untrained = self.task.training is not None and seed not in utilities
                failure = Failure(
                    attack=self.attacks[attack],
                    seed=seed,
                    status=status,
                    reason=reason,
                    counts=status != "skipped" and bool(counting or untrained),
                    cell_id=record.cell_id if record else None,
                )
                (skipped if status == "skipped" else failures).append(failure)
        return tuple(failures), tuple(skipped)

    def _state(self, record: Record | None, counting: Iterable[Moment]) -> tuple[str, str]:
        if record is None:
            return "missing", "no record of this cell"
        if record.status != "ok":
            return record.status, record.reason
        if record.cell_id in self.faults:
            return "error", self.faults[record.cell_id]
        absent = [m for m in counting if m not in {done.moment for done in record.reconstructed}]
        if absent:
            return "error", f"the record holds no {' and no '.join(absent)} reconstruction"
        if self.task.training is not None and record.utility is None:
            return "error", "the record holds no utility, though the task trains"
        return "ok", ""


def _fault(record: Record) -> str:
    """Why a record that parses cannot be true; empty where it can."""
    victims = record.cell.task.victims
    expected = sorted(victims.samples) if victims else []
    for done in record.reconstructed:
        if sorted(score.victim for score in done.victims) != expected:
            return f"the {done.moment} reconstruction does not hold exactly the task's victims"
        if fault := _impossible(done):
            return fault
    if len({done.moment for done in record.reconstructed}) != len(record.reconstructed):
        return "a moment stands twice"
    if (cost := record.cost) is not None:
        figures = [cost.bytes_up, cost.bytes_down, cost.bytes_peers, cost.bytes_total, *cost.network.values()]
        figures += [value for value in (cost.client_seconds, cost.server_seconds, cost.defense_seconds) if value]
        if not 0 <= min(figures) <= max(figures) <= IMPOSSIBLE:
            return f"a cost below 0 or above {IMPOSSIBLE:g} is impossible"
    return ""


def _impossible(done: Reconstructed) -> str:
    if any(score.mse > 1 for score in done.victims):
        return "a clipped MSE above 1 is impossible"
    if any(abs(score.ssim) > 1 for score in done.victims):
        return "an SSIM outside [-1, 1] is impossible"
    return ""


def _mean_cost(costs: Sequence[Cost]) -> CostScore:
    client = _mean_known([cost.client_seconds for cost in costs])
    server = _mean_known([cost.server_seconds for cost in costs])
    links = sorted(set.intersection(*(set(cost.network) for cost in costs)))
    measured = client is not None and server is not None
    return CostScore(
        rounds=max(cost.rounds for cost in costs),
        bytes_up=_mean([cost.bytes_up for cost in costs]),
        bytes_down=_mean([cost.bytes_down for cost in costs]),
        bytes_peers=_mean([cost.bytes_peers for cost in costs]),
        bytes_total=_mean([cost.bytes_total for cost in costs]),
        client_seconds=client,
        defense_seconds=_mean_known([cost.defense_seconds for cost in costs]),
        server_seconds=server,
        seconds={
            link: (client or 0.0) + (server or 0.0) + _mean([cost.network[link] for cost in costs])
            for link in links
            if measured
        },
    )


def _guarantee(played: Sequence[Record]) -> Privacy | None:
    """The weakest statement over seeds: the largest epsilon, none where one seed has none."""
    found = [record.privacy for record in played if record.privacy is not None]
    if not found:
        return None

    def weakness(privacy: Privacy) -> tuple[float, float, float, str]:
        server, model = privacy.epsilon_server, privacy.epsilon_model
        return (
            np.inf if server is None else server,
            np.inf if model is None else model,
            privacy.delta or 0.0,
            privacy.statement,
        )

    return max(found, key=weakness)


def _notes(played: Sequence[Record]) -> tuple[str, ...]:
    methods = [record.defense for record in played if record.defense is not None]
    terms = [
        (any(m.origin == "path" for m in methods), "local: the defense was given by path"),
        (len({m.source_sha256 for m in methods}) > 1, "its records come from different versions of the source"),
        (any(record.provenance.dirty for record in played), "the checkout had uncommitted changes"),
        (
            any(not record.provenance.hardware_matched for record in played),
            "the machine does not match the hardware profile",
        ),
        (any(record.utility and record.utility.diverged for record in played), "training ran off"),
    ]
    return tuple(text for holds, text in terms if holds)


def _latest_method(played: Sequence[Record]) -> MethodUsed | None:
    known = [record for record in played if record.defense is not None]
    return max(known, key=lambda record: (_started(record), record.cell_id)).defense if known else None


def _started(record: Record) -> datetime:
    started = record.provenance.started
    return started if started.tzinfo else started.replace(tzinfo=UTC)


def _age(record: Record) -> tuple[datetime, str]:
    return _started(record), record.model_dump_json()


def _is_baseline(spec: MethodSpec) -> bool:
    return spec.name == BASELINE and not spec.parameters


def _label(spec: MethodSpec | None) -> str:
    return spec.label if spec else "utility"


def _key(part: Task | MethodSpec | Cell | None) -> str:
    return json.dumps(part.model_dump(mode="json"), sort_keys=True) if part else ""


def _interval(value: float, samples: NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(samples, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(np.asarray(values, dtype=float)))


def _mean_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _mean(known) if known else None


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(np.asarray(values, dtype=float), ddof=1)) if len(values) > 1 else None


def _times(mine: float, base: float | None) -> float | None:
    return mine / base if base else None
