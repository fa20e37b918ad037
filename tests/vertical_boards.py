"""A vertical board small enough to be worked out by hand, for the tests of its score."""

from vertical_records import cost, features, labels, learned, record, task

from fl_attack_bench import score

WHERE = task()


def hand():
    """Two seeds, gate 0.5. Undefended: `strong` succeeds on 1.0 and 0.8, `mild` on 0.4 and 0.5: too weak by 0.05.

    Labels, majority 0.2: `sign` finds 1.0 and 0.8 (advantage (1 + 0.75) / 2), `guess` 0.5 and 0.6 (0.4375): too weak.
    Features, blind 0.1: `invert` has MSE 0.02 and 0.04 over its victims (advantage 0.7).
    """
    found = []
    for seed, (strong, mild, sign, guess, mses) in enumerate(
        [(1.0, 0.4, 1.0, 0.5, (0.01, 0.03)), (0.8, 0.5, 0.8, 0.6, (0.04, 0.04))]
    ):
        honest = {"honest": learned(0.9 - 0.1 * seed, 0.02)}
        found += [
            record(WHERE, "none", "strong", seed, attacked=learned(0.88 - 0.1 * seed, strong), **honest),
            record(WHERE, "none", "mild", seed, attacked=learned(0.9 - 0.1 * seed, mild), **honest),
            record(WHERE, "none", "sign", seed, labels=labels(sign), **honest),
            record(WHERE, "none", "guess", seed, labels=labels(guess), **honest),
            record(WHERE, "none", "invert", seed, features=features(*mses), **honest),
        ]
        changed = {"honest": learned(0.85 - 0.1 * seed, 0.04), "cost": cost(WHERE, down=250.0, seconds=2.0)}
        found += [
            record(WHERE, "noise", "strong", seed, attacked=learned(0.7, 0.3 + 0.2 * seed), **changed),
            record(WHERE, "noise", "mild", seed, attacked=learned(0.7, 0.9), **changed),
            record(WHERE, "noise", "sign", seed, labels=labels(0.3), **changed),
            record(WHERE, "noise", "guess", seed, labels=labels(0.9), **changed),
            record(WHERE, "noise", "invert", seed, features=features(0.06, 0.08 + 0.04 * seed), **changed),
        ]
    return found


def rows(records):
    return {row.defense: row for row in score.vertical_rows(records)}


def without(records, defense, attack, seed):
    return [
        one
        for one in records
        if (one.cell.defense.name, one.cell.attack.name, one.cell.seed) != (defense, attack, seed)
    ]


def replaced(records, made):
    return [made if one.cell_id == made.cell_id else one for one in records]
