"""Boards without their figures, which take most of a build's time."""

from collections import defaultdict

from fl_attack_bench.site.defense_pages import DefenseFigures


def leave_out(patch):
    """Let every page be written as if there were nothing to draw on it.

    Args:
        patch: pytest's, which undoes it.
    """
    for track in ("_figures", "_vertical_figures", "_outsourced_figures"):
        patch.setattr(f"fl_attack_bench.site.pages.Pages.{track}", lambda *_: defaultdict(lambda: None))
    patch.setattr("fl_attack_bench.site.pages.Pages._sweeps", lambda *_: [])
    patch.setattr("fl_attack_bench.site.pages.Pages._front", lambda *_: None)
    leave_out_methods(patch)


def leave_out_methods(patch):
    """Likewise on the pages of defenses and papers alone."""
    patch.setattr("fl_attack_bench.site.defense_pages.figures_of", lambda *_: DefenseFigures())
    patch.setattr("fl_attack_bench.site.paper_figures.against", lambda *_: None)
