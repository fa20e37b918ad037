"""The board: a static site that is a pure function of records. `build` makes it, `serve` shows it."""

from fl_attack_bench.site.board import TITLE, build
from fl_attack_bench.site.serve import serve

__all__ = ["TITLE", "build", "serve"]
