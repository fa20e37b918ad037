"""An outsourced board small enough to be worked out by hand, for the tests of its score."""

from outsourced_records import cost, inputs, learned, record, task

from fl_attack_bench import score

WHERE = task()
NO_VIEW = {"status": "skipped", "reason": "no such view"}


def hand():
    """Two seeds, two victims. Undefended, `reading` recovers both; `matching` and `shares` have no view.

    Under `hiding`, `matching` (third, inference) reaches 0.04 and 0.09, on seed 1 0.01 and 0.05; `shares` (compute/0,
    inference) 0.5 and 0.02, on seed 1 0.5 and 0.5. The guess has 0.06 and 0.08.
    """
    guess, found = (0.06, 0.08), []
    for seed, (matched, shared) in enumerate([((0.04, 0.09), (0.5, 0.02)), ((0.01, 0.05), (0.5, 0.5))]):
        plain = {"learned": learned(0.9 - 0.1 * seed, 0.9 - 0.1 * seed, 0.0)}
        found += [
            record(WHERE, "none", "reading", seed, inputs=inputs(0, 0, party="compute/0", blind=guess), **plain),
            record(WHERE, "none", "matching", seed, **NO_VIEW, **plain),
            record(WHERE, "none", "shares", seed, **NO_VIEW, **plain),
        ]
        told = {
            "learned": learned(0.89 - 0.1 * seed, 0.9 - 0.1 * seed, 0.01 + 0.01 * seed),
            "cost": cost(3000.0, 6000.0, 0.04, 10),
        }
        found += [
            record(WHERE, "hiding", "reading", seed, **NO_VIEW, **told),
            record(WHERE, "hiding", "matching", seed, inputs=inputs(*matched, blind=guess), **told),
            record(WHERE, "hiding", "shares", seed, inputs=inputs(*shared, party="compute/0", blind=guess), **told),
        ]
    return found


def rows(records):
    return {row.defense: row for row in score.outsourced_rows(records)}


def replaced(records, made):
    return [made if one.cell_id == made.cell_id else one for one in records]
