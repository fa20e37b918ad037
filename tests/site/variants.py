"""Boards of one defense's variants, for the tests of its page."""

import synthetic

from fl_attack_bench import score
from fl_attack_bench.site import contents, defense_pages, style

NONE = synthetic.DEFENSES[0]


def variant(parameters, name="soteria", noise=0.2, lost=0.01, up=1.0, slow=2.0):
    return (name, parameters, "Soteria", "https://arxiv.org/abs/2012.06043", noise, lost, up, slow)


def rows_of(variants, where=None, attacks=("idlg",), seeds=1):
    """Rows of one task under given variants, the undefended first."""
    where = where or synthetic.task(victims=3)
    made = [
        synthetic.record(where, one, attack, seed)
        for one in (NONE, *variants)
        for attack in attacks
        for seed in range(seeds)
    ]
    return score.rows(made), made


def board_of(made):
    kept = score.latest(made)
    return contents.gather(score.rows(kept), score.vertical_rows(kept), score.outsourced_rows(kept), kept, {})


def page_of(board, name):
    return next(page for page in board.defenses if page.name == name)


def figures_of(made, name, folder):
    board = board_of(made)
    looks = style.looks((row.spec.name for row in board.everything), "none")
    with style.drawing():
        return defense_pages.figures_of(page_of(board, name), board, looks, folder)
