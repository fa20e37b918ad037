"""What calibration figures and the use of the processors say against a machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_attack_bench import hardware
from fl_attack_bench.conditions import Conditions, Range, judge
from fl_attack_bench.errors import UserError

FIGURES = {"matrix_product_gflops": 100.0, "convolution_gflops": 90.0, "memory_copy_gb_per_second": 20.0}
RANGES = {
    "matrix_product_gflops": Range(at_least=50, at_most=200),
    "memory_copy_gb_per_second": Range(at_least=10),
}


def marks(before=FIGURES, after=FIGURES, others=0.0, ranges=RANGES):
    return [(mark.kind, mark.reason) for mark in judge(ranges, before, after, others, "some").marks]


def test_a_machine_as_it_should_be_is_not_marked():
    assert marks() == []
    assert marks(after={}, others=None) == []
    assert marks(before={}, after={}, others=None) == []  # a stand-in gives other figures or none


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({"matrix_product_gflops": 49.9}, "matrix_product_gflops before the timed part was 49.9, below the 50 of some"),
        ({"matrix_product_gflops": 201}, "matrix_product_gflops before the timed part was 201, above the 200 of some"),
        (
            {"memory_copy_gb_per_second": 9},
            "memory_copy_gb_per_second before the timed part was 9, below the 10 of some",
        ),
    ],
)
def test_a_figure_outside_of_what_the_profile_states_is_marked_once(planted, said):
    assert marks(FIGURES | planted, FIGURES | planted) == [("out of range", said)]
    after = marks(FIGURES, FIGURES | planted, ranges=RANGES)
    assert ("out of range", said.replace("before", "after")) in after
    assert marks(dict.fromkeys(FIGURES, 1.0), {}, ranges={}) == []


def test_a_machine_that_became_slower_by_more_than_a_quarter_is_marked():
    assert marks(after=FIGURES | {"convolution_gflops": 68.0}) == []
    assert marks(after=FIGURES | {"convolution_gflops": 66.0}) == [
        ("slower", "convolution_gflops fell by 27% during the timed part, from 90 to 66")
    ]
    assert marks(after=FIGURES | {"convolution_gflops": 900.0}) == []


def test_a_busy_machine_is_marked():
    assert marks(others=0.2) == []
    assert marks(others=0.21) == [("busy", "other programs took 21% of the processor time meanwhile")]


numbers = st.floats(0, 1e9)


@given(
    st.dictionaries(st.sampled_from(sorted(FIGURES)), numbers),
    st.dictionaries(st.sampled_from(sorted(FIGURES)), numbers),
    st.none() | st.floats(0, 1),
)
def test_any_figures_are_judged_and_survive_being_written(before, after, others):
    found = judge(RANGES, before, after, others, "some")
    assert Conditions.model_validate_json(found.model_dump_json()) == found
    assert len(found.marks) == len({(mark.kind, mark.reason.split()[0]) for mark in found.marks})


def test_a_profile_says_what_its_figures_may_be_and_a_misspelt_one_is_refused(tmp_path):
    text = (
        "name: mine\ntitle: x\ndevice: cpu\nthreads: 1\nlinks: [{name: x, bits_per_second: 1, round_trip_seconds: 0}]\n"
    )
    path = tmp_path / "mine.yaml"
    path.write_text(text + "calibration: {convolution_gflops: {at_least: 3}}\n")
    assert hardware.load(str(path)).calibration == {"convolution_gflops": Range(at_least=3)}
    for wrong, said in (
        ("{convolution: {at_least: 3}}", "convolution"),
        ("{convolution_gflops: {}}", "state at_least, at_most or both"),
        ("{convolution_gflops: {at_least: 4, at_most: 3}}", "at_least 4 is not below at_most 3"),
        ("{convolution_gflops: {at_least: -1}}", "greater than 0"),
        ("{convolution_gflops: {least: 1}}", "unknown key 'least'"),
    ):
        path.write_text(text + f"calibration: {wrong}\n")
        with pytest.raises(UserError, match=said):
            hardware.load(str(path))


@pytest.mark.parametrize(
    ("name", "flops_a_second", "bytes_a_second"),
    # data sheets: cores x 2 x boost clock, and the memory's width x rate
    [("rtx-2080ti", 4352 * 2 * 1.545e9, 352 / 8 * 14e9), ("t4", 2560 * 2 * 1.59e9, 256 / 8 * 10e9)],
)
def test_what_the_bundled_profiles_state_lies_around_the_data_sheet(name, flops_a_second, bytes_a_second):
    stated = hardware.load(name).calibration
    product, copy = stated["matrix_product_gflops"], stated["memory_copy_gb_per_second"]
    assert product.at_least * 1e9 < flops_a_second / 2
    assert flops_a_second * 0.999 < product.at_most * 1e9 < flops_a_second * 1.5
    assert copy.at_least * 1e9 < bytes_a_second / 2
    assert copy.at_most * 1e9 == pytest.approx(bytes_a_second, rel=0.01)
    # Each other's cards are told apart where they run at what the data sheet says: a T4 is no 2080 Ti.
    other = {"rtx-2080ti": 8141, "t4": 13450}[name]
    assert name == "rtx-2080ti" or other > product.at_most
