"""What attacks reconstruct: every one by itself, and sample by sample the one that came closest."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fl_attack_bench.outsourced_record import InputsReconstructed
from fl_attack_bench.record import Record
from fl_attack_bench.score.estimates import bootstrap, mean
from fl_attack_bench.score.learned import Spread
from fl_attack_bench.score.outsourced.chance import EXACT, NEAR, chance, chances
from fl_attack_bench.score.outsourced.group import OutsourcedGroup
from fl_attack_bench.score.outsourced.row import BLIND, MOMENTS, Exposure, InputAttack, Moment, in_view_order

Sample = tuple[int, int]  # seed and the sample's id


@dataclass(frozen=True)
class _Closest:
    mse: float
    by: tuple[str, str]


@dataclass(frozen=True)
class _Reached:
    """What one attack made of one sample."""

    sample: Sample
    moment: Moment
    by: tuple[str, str]
    mse: float
    blind: float


def attacks(group: OutsourcedGroup, played: Sequence[Record]) -> tuple[InputAttack, ...]:
    """Every attack by itself, by label."""
    return tuple(
        _attack(group, attack, list(found.values()))
        for attack in group.attacks_by_label()
        if attack in group.specs and (found := group.reconstructed(played, attack))
    )


def exposures(group: OutsourcedGroup, played: Sequence[Record]) -> tuple[Exposure, ...]:
    """Over all views and by party, at each moment at which an attack was played."""
    reached = list(_reached(group, played))
    guesses: dict[tuple[Moment, Sample], float] = {}
    # Not of all protocols: of two strangers' records neither may lower the other one's figures.
    for one in (*_reached(group, group.undefended), *reached):
        place = one.moment, one.sample
        guesses[place] = min(one.blind, guesses.get(place, one.blind))
    found = []
    for moment in MOMENTS:
        own = [one for one in reached if one.moment == moment]
        for party in (None, *in_view_order({one.by[1] for one in own})):
            seen = [one for one in own if party in (None, one.by[1])]
            if seen:
                found.append(
                    _exposure(party, moment, seen, {s: guess for (at, s), guess in guesses.items() if at == moment})
                )
    return tuple(found)


def _reached(group: OutsourcedGroup, played: Sequence[Record]) -> Iterator[_Reached]:
    for attack in group.attacks_by_label():
        for seed, inputs in group.reconstructed(played, attack).items():
            for one in inputs.victims:
                by = group.attacks[attack], inputs.party
                yield _Reached((seed, one.victim), inputs.moment, by, one.mse, one.blind)


def _exposure(party: str | None, moment: Moment, seen: Iterable[_Reached], guesses: dict[Sample, float]) -> Exposure:
    best: dict[Sample, _Closest] = {}
    for one in seen:
        closest = best.setdefault(one.sample, _Closest(guesses[one.sample], BLIND))
        if one.mse < closest.mse:
            best[one.sample] = _Closest(one.mse, one.by)
    by_seed: dict[int, list[float]] = defaultdict(list)
    for sample in sorted(best):
        by_seed[sample[0]].append(best[sample].mse)
    errors = [error for own in by_seed.values() for error in own]
    blind = [guesses[sample] for sample in sorted(best)]
    mean_mse, median_mse = bootstrap(list(by_seed.values()))
    wins = Counter(closest.by for closest in best.values())
    return Exposure(
        party=party,
        moment=moment,
        mean=mean_mse,
        median=median_mse,
        blind=mean(blind),
        exact=chance(errors, EXACT),
        near=chance(errors, NEAR),
        chances=chances(errors),
        blind_chances=chances(blind),
        samples=len(errors),
        strongest=tuple(sorted(wins.items(), key=lambda item: (-item[1], item[0]))),
    )


def _attack(group: OutsourcedGroup, attack: str, found: Sequence[InputsReconstructed]) -> InputAttack:
    means = [mean([one.mse for one in inputs.victims]) for inputs in found]
    victims = [one for inputs in found for one in inputs.victims]
    errors = [one.mse for one in victims]
    return InputAttack(
        attack=group.attacks[attack],
        spec=group.specs[attack],
        party=found[0].party,
        moment=found[0].moment,
        mse=Spread(mean(means), min(means), max(means), len(means)),
        raw=mean([one.mse_raw for one in victims]),
        blind=mean([one.blind for one in victims]),
        lowest=min(errors),
        exact=chance(errors, EXACT),
        near=chance(errors, NEAR),
        victims=max(len(inputs.victims) for inputs in found),
        known=max(inputs.known for inputs in found),
        auxiliary=max(inputs.auxiliary for inputs in found),
        knows_model=any(inputs.knows_model for inputs in found),
    )
