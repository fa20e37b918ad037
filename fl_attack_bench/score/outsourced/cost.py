"""Cost of a protocol's stages over seeds, beside the undefended one's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from fl_attack_bench.outsourced_record import OutsourcedCost, OutsourcedResult, StageCost
from fl_attack_bench.score.estimates import mean, mean_known
from fl_attack_bench.score.outsourced.row import OutsourcedCostScore, StageScore, Traffic

Results = Mapping[int, Sequence[OutsourcedResult]]


def cost(mine: Results, undefended: Results) -> OutsourcedCostScore | None:
    """The cost that the records hold by seed, and its multiples of the undefended; None where they hold none."""
    own, base = _costs(mine), _costs(undefended)
    if not own:
        return None
    whole = _mean([own[seed] for seed in sorted(own)])
    shared = sorted(own.keys() & base.keys())
    if not shared:
        return whole
    top, bottom = _mean([own[seed] for seed in shared]), _mean([base[seed] for seed in shared])
    return replace(
        whole,
        setup=_beside(whole.setup, top.setup, bottom.setup),
        inference=_beside(whole.inference, top.inference, bottom.inference),
        training=_beside(whole.training, top.training, bottom.training) if whole.training else None,
    )


def _costs(results: Results) -> dict[int, OutsourcedCost]:
    found = {seed: _first(own) for seed, own in results.items()}
    return {seed: cost for seed, cost in found.items() if cost is not None}


def _first(results: Iterable[OutsourcedResult]) -> OutsourcedCost | None:
    return next((one.cost for one in results if one.cost is not None), None)


def _mean(costs: Sequence[OutsourcedCost]) -> OutsourcedCostScore:
    training = [cost.training for cost in costs if cost.training is not None]
    return OutsourcedCostScore(
        setup=_stage([cost.setup for cost in costs]),
        training=_stage(training) if training else None,
        inference=_stage([cost.inference for cost in costs]),
        bytes_total=mean([cost.bytes_total for cost in costs]),
    )


def _stage(stages: Sequence[StageCost]) -> StageScore:
    names = [name for name in stages[0].parties if all(name in stage.parties for stage in stages)]
    parties = {name: _traffic(stages, name) for name in names}
    computing = mean_known([stage.seconds for stage in stages])
    links = sorted(set.intersection(*(set(stage.network) for stage in stages)))
    network = {link: mean([stage.network[link] for stage in stages]) for link in links}
    clocked = [stage.party_seconds for stage in stages if stage.party_seconds is not None]
    return StageScore(
        samples=max(stage.samples for stage in stages),
        rounds=mean([stage.rounds for stage in stages]),
        parties=parties,
        online=mean([sum(party.sent for party in stage.parties.values()) for stage in stages]),
        offline=mean([sum(party.offline_sent for party in stage.parties.values()) for stage in stages]),
        network=network,
        computing=computing,
        offline_seconds=mean_known([stage.offline_seconds for stage in stages]),
        party_seconds={
            name: value for name in names if (value := mean_known([one.get(name) for one in clocked])) is not None
        },
        seconds={link: computing + network[link] for link in links} if computing is not None else {},
    )


def _traffic(stages: Sequence[StageCost], name: str) -> Traffic:
    found = [stage.parties[name] for stage in stages]
    return Traffic(
        sent=mean([party.sent for party in found]),
        received=mean([party.received for party in found]),
        offline_sent=mean([party.offline_sent for party in found]),
        offline_received=mean([party.offline_received for party in found]),
    )


def _beside(whole: StageScore, top: StageScore | None, bottom: StageScore | None) -> StageScore:
    """With multiples over the seeds that both have; a stage that the undefended one lacks has none."""
    if top is None or bottom is None:
        return whole
    ratios = {link: _times(top.seconds[link], bottom.seconds.get(link)) for link in top.seconds}
    return replace(
        whole,
        bytes_times=_times(top.bytes, bottom.bytes),
        seconds_times={link: ratio for link, ratio in ratios.items() if ratio is not None},
    )


def _times(mine: float, base: float | None) -> float | None:
    return mine / base if base else None
