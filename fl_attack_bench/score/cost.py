"""Cost: bytes and seconds over seeds, beside the undefended federation."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fl_attack_bench.record import Cost, Record
from fl_attack_bench.score.estimates import mean, mean_known
from fl_attack_bench.score.triple import CostScore


def cost_score(sound: Iterable[Record], undefended: Iterable[Record]) -> CostScore | None:
    """The cost that the records hold, and its multiples of the undefended; None where they hold none."""
    mine, base = _costs(sound), _costs(undefended)
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
        round_times=_times(top.bytes_round, bottom.bytes_round),
        seconds_times={link: ratio for link, ratio in ratios.items() if ratio is not None},
    )


def _costs(sound: Iterable[Record]) -> dict[int, Cost]:
    """By seed."""
    return {record.cell.seed: record.cost for record in sound if record.cost}


def _mean_cost(costs: Sequence[Cost]) -> CostScore:
    client = mean_known([cost.client_seconds for cost in costs])
    server = mean_known([cost.server_seconds for cost in costs])
    links = sorted(set.intersection(*(set(cost.network) for cost in costs)))
    measured = client is not None and server is not None
    return CostScore(
        rounds=max(cost.rounds for cost in costs),
        bytes_up=mean([cost.bytes_up for cost in costs]),
        bytes_down=mean([cost.bytes_down for cost in costs]),
        bytes_peers=mean([cost.bytes_peers for cost in costs]),
        bytes_total=mean([cost.bytes_total for cost in costs]),
        bytes_round=mean([cost.bytes_total / cost.rounds for cost in costs]),
        client_seconds=client,
        defense_seconds=mean_known([cost.defense_seconds for cost in costs]),
        server_seconds=server,
        seconds={
            link: (client or 0.0) + (server or 0.0) + mean([cost.network[link] for cost in costs])
            for link in links
            if measured
        },
    )


def _times(mine: float, base: float | None) -> float | None:
    return mine / base if base else None
