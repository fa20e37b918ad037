"""What a reader of the scatter of privacy against utility must not miss: the undefended, and what is off its scale."""

from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure
from variants import rows_of, variant

from fl_attack_bench.site import figures, style
from fl_attack_bench.suite import MethodSpec


def test_the_undefended_is_drawn_over_what_lies_on_it():
    specs = [MethodSpec(name="none"), MethodSpec(name="soteria"), MethodSpec(name="dp")]
    rows = [SimpleNamespace(spec=spec, pareto=False) for spec in specs]
    points = [(float(place), 0.5, row) for place, row in enumerate(rows)]
    axes = Figure().add_subplot()
    figures.scatter(axes, points, style.looks((spec.name for spec in specs), "none"))
    (marks,) = axes.collections
    assert [x for x, _ in marks.get_offsets()] == [1.0, 2.0, 0.0]


@pytest.mark.parametrize(("noise", "told"), [(1e-6, True), (0.2, False)])
def test_an_error_that_is_drawn_at_the_floor_is_said_to_be(tmp_path, noise, told):
    rows, _ = rows_of([variant({"prune": 0.5}, noise=noise)])
    shown = [row for row in rows if row.spec.name == "soteria"]
    assert all((row.privacy.mean.value < style.FLOOR) == told for row in shown)
    looks = style.looks((row.spec.name for row in shown), "none")
    with style.drawing():
        drawn = figures.tradeoff(shown, looks, tmp_path, "t")
    assert drawn.caption.endswith("An MSE below 10⁻⁶ is drawn there.") == told
