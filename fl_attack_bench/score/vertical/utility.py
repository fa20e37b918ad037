"""Utility and cost of the honest training over seeds, beside the undefended one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from fl_attack_bench.record import Record
from fl_attack_bench.score.estimates import deviation, mean, mean_known
from fl_attack_bench.score.vertical.attacks import mean_scores, over_seeds
from fl_attack_bench.score.vertical.row import PartyTraffic, VerticalCostScore, VerticalUtility
from fl_attack_bench.tasks import VerticalTask
from fl_attack_bench.vertical_record import VerticalCost, VerticalLearned


def utility(mine: Mapping[int, VerticalLearned], base: Mapping[int, VerticalLearned]) -> VerticalUtility | None:
    """The honest training's accuracy by seed, and its difference from the undefended; None where there is none."""
    if not mine:
        return None
    accuracies = [mine[seed].accuracy for seed in sorted(mine)]
    differences = [mine[seed].accuracy - base[seed].accuracy for seed in sorted(mine.keys() & base.keys())]
    triggered = [one for seed in sorted(mine) if (one := mine[seed].triggered) is not None]
    return VerticalUtility(
        accuracy=mean(accuracies),
        sd=deviation(accuracies),
        difference=mean(differences) if differences else None,
        difference_sd=deviation(differences),
        seeds=len(mine),
        diverged=sum(one.diverged for one in mine.values()),
        floor=over_seeds([one.success for one in triggered]) if triggered else None,
        scores=mean_scores(triggered),
    )


def cost(sound: Iterable[Record], undefended: Iterable[Record], task: VerticalTask) -> VerticalCostScore | None:
    """The cost that the records hold, and its multiples of the undefended; None where they hold none."""
    mine, base = _costs(sound), _costs(undefended)
    if not mine:
        return None
    whole = _mean([mine[seed] for seed in sorted(mine)], task)
    shared = sorted(mine.keys() & base.keys())
    if not shared:
        return whole
    top, bottom = _mean([mine[seed] for seed in shared], task), _mean([base[seed] for seed in shared], task)
    ratios = {link: _times(top.seconds[link], bottom.seconds.get(link)) for link in top.seconds}
    return replace(
        whole,
        epoch_times=_times(top.bytes_epoch, bottom.bytes_epoch),
        up_times=_times(_up(top), _up(bottom)),
        down_times=_times(top.active.sent, bottom.active.sent),
        inference_times=_times(top.inference_bytes, bottom.inference_bytes),
        seconds_times={link: ratio for link, ratio in ratios.items() if ratio is not None},
    )


def _costs(sound: Iterable[Record]) -> dict[int, VerticalCost]:
    """By seed."""
    return {
        record.cell.seed: record.vertical.cost
        for record in sound
        if record.vertical is not None and record.vertical.cost is not None
    }


def _mean(costs: Sequence[VerticalCost], task: VerticalTask) -> VerticalCostScore:
    passive = mean_known([cost.passive_seconds for cost in costs])
    active = mean_known([cost.active_seconds for cost in costs])
    links = sorted(set.intersection(*(set(cost.network) for cost in costs)))
    network = {link: mean([cost.network[link] for cost in costs]) for link in links}
    measured = passive is not None and active is not None
    names = list(task.split.parties)
    return VerticalCostScore(
        epochs=max(cost.epochs for cost in costs),
        exchanges=mean([cost.exchanges for cost in costs]),
        active=_traffic(costs, lambda name: name not in task.split.parties),
        passive={name: _traffic(costs, name.__eq__) for name in names},
        bytes_epoch=mean([cost.bytes_total / cost.epochs for cost in costs]),
        bytes_total=mean([cost.bytes_total for cost in costs]),
        inference_bytes=mean([cost.inference_bytes for cost in costs]),
        network=network,
        passive_seconds=passive,
        active_seconds=active,
        defense_seconds=mean_known([cost.defense_seconds for cost in costs]),
        seconds={link: (passive or 0.0) + (active or 0.0) + network[link] for link in links if measured},
    )


def _traffic(costs: Sequence[VerticalCost], chosen: Callable[[str], bool]) -> PartyTraffic:
    found = [party for cost in costs for name, party in cost.parties.items() if chosen(name)]
    return PartyTraffic(mean([party.sent for party in found]), mean([party.received for party in found]))


def _up(score: VerticalCostScore) -> float:
    return sum(party.sent for party in score.passive.values())


def _times(mine: float, base: float | None) -> float | None:
    return mine / base if base else None
