"""Which rows of a defense are a sweep of one parameter, and the figures that are drawn of them."""

import itertools
from xml.etree import ElementTree

import outsourced_records
import pytest
import synthetic
import vertical_records
from hypothesis import given, settings
from hypothesis import strategies as st
from test_site_board import contents_of
from variants import figures_of, rows_of, variant

from fl_attack_bench import score
from fl_attack_bench.site import defense_costs, defense_pages, sweep_figures
from fl_attack_bench.site.sweep_measures import Measure, horizontal
from fl_attack_bench.site.sweeps import logarithmic, number, sweeps
from fl_attack_bench.suite import MethodSpec

HOSTILE = "</text><script>alert('&amp;$x^2$')</script>\x07"


class Bare:
    """As much of a row as sweeps look at."""

    baseline, method = False, None

    def __init__(self, *links):
        made = [MethodSpec(name=f"m{place}", parameters=dict(own)) for place, own in enumerate(links)]
        self.spec = MethodSpec.chain(made) if len(made) > 1 else made[0]
        self.flat = {(place, name): value for place, own in enumerate(links) for name, value in own}


VALUES = st.sampled_from([1, 2, 2.0, 0.5, True, "1", "a", None, -3])
PARAMETERS = st.frozensets(st.tuples(st.sampled_from("xyz"), VALUES), max_size=3).filter(
    lambda own: len({name for name, _ in own}) == len(own)
)


def expected(rows):
    """By brute force: for each parameter the classes of rows that agree in all others, with two values or more."""
    names = {setting for row in rows for setting in row.flat}

    def same(a, b, setting):
        left, right = a.flat.get(setting, "absent"), b.flat.get(setting, "absent")
        return left == right and isinstance(left, bool) == isinstance(right, bool)

    found = set()
    for setting in names:
        numeric = [row for row in rows if type(row.flat.get(setting)) in (int, float)]
        for first in numeric:
            group = [row for row in numeric if all(same(first, row, other) for other in names - {setting})]
            if len({row.flat[setting] for row in group}) > 1:
                found.add((setting, frozenset(map(id, group))))
    return found


class TestSweeps:
    @given(st.lists(st.tuples(PARAMETERS, PARAMETERS), max_size=9, unique=True))
    @settings(max_examples=150, deadline=None)
    def test_they_are_the_rows_that_differ_in_one_number_and_in_nothing_else(self, links):
        rows = [Bare(*pair) for pair in links]
        found = sweeps(rows)
        assert {(one.setting, frozenset(map(id, one.rows))) for one in found} == expected(rows)
        assert len(found) == len(expected(rows))
        for one in found:
            assert list(one.values) == sorted(row.flat[one.setting] for row in one.rows)
        assert [len(one.points) for one in found] == sorted((len(one.points) for one in found), reverse=True)

    def test_a_parameter_that_is_left_out_has_the_default_that_its_record_tells(self):
        rows, _ = rows_of([variant({"prune": 0.1}), variant({"prune": 0.5}), variant({})])
        rows = [row if row.defense != "soteria" else _with(row, {"prune": 0.3, "formula": "paper"}) for row in rows]
        (found,) = sweeps(rows)
        assert found.values == (0.1, 0.3, 0.5)
        assert [row.defense for row in found.rows] == ["soteria[prune=0.1]", "soteria", "soteria[prune=0.5]"]
        assert found.others == ()

    def test_sweeps_of_one_parameter_are_told_apart_by_what_they_hold_fixed(self):
        grid = [variant({"prune": p, "formula": f}) for p in (0.1, 0.9) for f in ("paper", "released")]
        found = sweeps(rows_of(grid)[0])
        assert [(one.name, one.others) for one in found] == [
            ("prune", (("formula", "paper"),)),
            ("prune", (("formula", "released"),)),
        ]

    def test_a_chains_parameters_carry_their_link(self):
        chain = (synthetic.CHAIN[0], [{"prune": 0.4}, {"prune": 0.5}], *synthetic.CHAIN[2:])
        (found,) = sweeps(rows_of([synthetic.CHAIN, chain])[0])
        assert (found.name, found.setting, found.values) == (
            "gradient_compression: prune",
            (1, "prune"),
            (0.5, 0.9),
        )

    @pytest.mark.parametrize(
        ("value", "told"),
        [(1, 1.0), (True, None), ("1", None), (None, None), (float("inf"), None), (10**400, None), ([1], None)],
    )
    def test_what_a_number_is(self, value, told):
        assert number(value) == told

    def test_more_than_a_decade_is_logarithmic(self):
        assert logarithmic([0.01, 0.2])
        assert not logarithmic([0.01, 0.1])
        assert not logarithmic([0, 1, 100])
        assert not logarithmic([-1, 100])


def _with(row, parameters):
    from dataclasses import replace

    return replace(row, method=row.method.model_copy(update={"parameters": parameters}))


def texts_of(path):
    """Every text of an SVG, which must be sound XML."""
    return ["".join(node.itertext()) for node in ElementTree.parse(path).iter() if node.tag.endswith("}text")]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Three values over two decades on a task, a lone variant on another, drawn twice."""
    here, there = synthetic.task(victims=3), synthetic.task("digits-lenet", model="lenet5", victims=3)
    scales = [
        variant({"scale": scale}, "laplace_noise", noise, lost, 1.0 + place)
        for place, (scale, noise, lost) in enumerate([(0.001, 0.05, 0.0), (0.03, 0.2, 0.03), (0.1, 0.45, 0.2)])
    ]
    _, made = rows_of(scales, here)
    made += rows_of(scales[1:2], there)[1]
    folders = [tmp_path_factory.mktemp("drawn") for _ in range(2)]
    drawn = [
        figures_of(order, "laplace_noise", folder) for order, folder in zip((made, made[::-1]), folders, strict=True)
    ]
    return drawn[0], *folders


class TestFigures:
    def test_a_sweep_has_its_values_units_and_arrows(self, swept):
        drawn, folder, _ = swept
        (one,) = drawn.sweeps
        assert drawn.swept == 1
        told = texts_of(folder / one.light)
        for scale in ("0.001", "0.03", "0.1"):
            # Beside the point, and under both panels that are drawn by the value.
            assert told.count(scale) >= 3, scale
        joined = " ".join(" ".join(told).split())
        for label in (
            "worst-case MSE, pixels in [0, 1] (↑ better)",
            "test accuracy, % (→ better)",
            "test accuracy, % (↑ better)",
            "undefended",
        ):
            assert label in joined, label
        assert "worst-case MSE and test accuracy" in one.alt
        assert "at 0.001, 0.03 and 0.1" in one.alt
        assert one.caption.startswith("digits-mlp: along scale.")

    def test_a_task_without_a_sweep_shows_the_variants_as_points(self, swept):
        drawn, folder, _ = swept
        told = texts_of(folder / drawn.variants.light)
        assert "digits-lenet" in told
        assert "digits-mlp" not in told
        assert "scale=0.03" in told
        assert drawn.intervals is None

    def test_cost_bars_have_a_line_a_task_and_a_figure_a_bar(self, swept):
        drawn, folder, _ = swept
        (one,) = drawn.costs
        told = texts_of(folder / one.light)
        assert {"digits-mlp", "digits-lenet", "bytes up", "bytes down", "seconds, wan"} <= set(told)
        assert "bytes to peers" not in told
        assert told.count("bytes up") == 2
        assert {"1.00×", "2.00×", "3.00×"} <= set(told)

    def test_the_same_records_give_the_same_bytes_in_any_order(self, swept):
        _, *folders = swept
        assert contents_of(folders[0]) == contents_of(folders[1]) != {}

    def test_a_task_without_training_shows_intervals(self, tmp_path):
        where = synthetic.task("still", victims=3, trains=False)
        drawn = figures_of(rows_of([variant({"layer": "a"}), variant({"layer": "b"})], where)[1], "soteria", tmp_path)
        assert (drawn.sweeps, drawn.swept, drawn.variants, drawn.costs) == ((), 0, None, ())
        assert {"layer=a", "layer=b", "undefended"} <= set(texts_of(tmp_path / drawn.intervals.light))

    def test_no_more_than_six_sweeps_are_drawn_each_task_first(self, tmp_path, monkeypatch):
        seen = []
        monkeypatch.setattr(sweep_figures, "sweep", lambda drawn, *_: seen.append(drawn) or None)
        monkeypatch.setattr(defense_costs, "bars", lambda *_: None)
        grid = [variant({"prune": p, "scale": s}) for p, s in itertools.product((0.1, 0.2, 0.3), (1, 2))]
        made = [one for place in range(4) for one in rows_of(grid, synthetic.task(f"task-{place}", victims=2))[1]]
        assert figures_of(made, "soteria", tmp_path).swept == 8
        assert [(one.label, one.sweeps[0].name) for one in seen] == [
            ("task-0", "prune"),
            ("task-0", "scale"),
            ("task-1", "prune"),
            ("task-1", "scale"),
            ("task-2", "prune"),
            ("task-3", "prune"),
        ]
        assert [len(one.sweeps) for one in seen] == [2, 3, 2, 3, 2, 2]

    def test_the_undefended_has_none(self, tmp_path):
        assert figures_of(rows_of([])[1], "none", tmp_path) == defense_pages.DefenseFigures()
        assert list(tmp_path.iterdir()) == []

    def test_hostile_names_stay_text(self, tmp_path):
        grid = [variant({HOSTILE: value, "other": HOSTILE}, HOSTILE) for value in (0.1, 0.9)]
        drawn = figures_of(rows_of(grid)[1], HOSTILE, tmp_path)
        assert len(drawn.sweeps) == len(drawn.costs) == 1
        for path in tmp_path.rglob("*.svg"):
            assert "<script" not in path.read_text().lower()
            if "sweep" in path.name:
                assert any(text.startswith("</text><script>") for text in texts_of(path))

    @pytest.mark.parametrize("high", [True, False])
    def test_arrows_follow_the_better_way(self, high):
        one = Measure("error", "m", high, lambda _: None)
        assert one.upright() == f"error, m   ({'↑' if high else '↓'} better)"
        assert one.lying() == f"error, m   ({'→' if high else '←'} better)"

    def test_numbers_are_measured_by_r2(self):
        rows = score.rows(synthetic.embattled(1, numbers=True, defenses=synthetic.HOLDING[::3]))
        assert [one.title for one in horizontal(rows)] == ["RMSE under the worst attack", "test R²"]


def test_vertical_sweeps_show_each_attack_against_the_main_task(tmp_path):
    where = vertical_records.task()
    made = [
        vertical_records.record(where, defense, attack, **reached)
        for place, defense in enumerate(("none", "noise[variance=0.01]", "noise[variance=1.0]"))
        for attack, reached in (
            ("replacement", {"attacked": vertical_records.learned(0.9, 0.9 - 0.3 * place)}),
            ("sign", {"labels": vertical_records.labels(1 - 0.2 * place)}),
        )
    ]
    drawn = figures_of(made, "noise", tmp_path)
    joined = " ".join(" ".join(texts_of(tmp_path / drawn.sweeps[0].light)).split())
    assert joined.count("backdoor success, % (↓ better)") == 2
    assert joined.count("labels found, % (↓ better)") == 2
    assert joined.count("main task's accuracy, % (→ better)") == 2
    assert joined.count("main task's accuracy, % (↑ better)") == 1
    assert "features' MSE" not in joined
    assert len(drawn.costs) == 1


def test_outsourced_sweeps_show_error_against_seconds(tmp_path):
    where = outsourced_records.task()
    made = [
        outsourced_records.record(
            where,
            defense,
            "matching",
            inputs=outsourced_records.inputs(0.01 * place, 0.02 * place),
            cost=outsourced_records.cost(1000.0 * 10**place, seconds=0.01 * 10**place),
        )
        for place, defense in enumerate(("none", "rtas[bits=8]", "rtas[bits=16]", "rtas[bits=32]"))
    ]
    drawn = figures_of(made, "rtas", tmp_path)
    joined = " ".join(" ".join(texts_of(tmp_path / drawn.sweeps[0].light)).split())
    assert "training step, WAN, seconds (← better)" in joined
    assert "worst-case MSE, features in [0, 1] (↑ better)" in joined
    assert "test accuracy, % (↑ better)" in joined
    bars = texts_of(tmp_path / drawn.costs[0].light)
    assert {"training, bytes", "inference, bytes", "training, s, WAN", "10×", "100×", "1,000×"} <= set(bars)
