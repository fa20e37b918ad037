"""A head's records against its base's: what is planted is caught, what is alike is not."""

import math
import re
from xml.etree import ElementTree

import boards
import outsourced_records
import pytest
import vertical_boards
from hypothesis import given, settings

from fl_attack_bench.compare.regression import check_records, recorded, timed
from fl_attack_bench.compare.report import Report, junit, markdown, table
from fl_attack_bench.compare.verdict import Tolerances, timing
from fl_attack_bench.errors import UserError
from fl_attack_bench.record import Privacy

DEFAULT = Tolerances()


def regressions(base, head):
    return [check for check in check_records(base, head, DEFAULT) if check.state == "regression"]


def planted(records, defense="noise", **fields):
    """The records with other fields in one defense's."""
    return [boards.changed(one, **fields) if one.cell.defense.name == defense else one for one in records]


@settings(max_examples=20, deadline=None)
@given(boards.arbitrary())
def test_records_against_themselves_raise_no_alarm(records):
    checks = check_records(records, records, Tolerances(0, 0, 0, 0))
    assert {check.state for check in checks} == {"ok"}


@pytest.mark.parametrize("records", [boards.hand, vertical_boards.hand], ids=["horizontal", "vertical"])
def test_boards_against_themselves_raise_no_alarm(records):
    checks = check_records(records(), records(), Tolerances(0, 0, 0, 0))
    assert {check.axis for check in checks} == {"privacy", "utility", "cost"}
    assert all(check.state == "ok" for check in checks)


def test_a_loss_of_two_points_of_accuracy_is_caught_once_and_a_gain_is_none():
    base = boards.hand()
    head = [
        boards.changed(one, utility={"accuracy": one.utility.accuracy - 0.02})
        if one.cell.defense.name == "noise" else one
        for one in base
    ]  # fmt: skip
    (found,) = regressions(base, head)
    assert (found.axis, found.defense, found.attack, found.what) == ("utility", "noise", "", "test accuracy")
    assert (found.base, found.head) == pytest.approx((0.83, 0.81))
    assert found.reason == "2.0 points worse (more than 1)"
    assert not regressions(head, base)


def test_half_the_mse_of_one_attack_is_caught_at_its_moment():
    base = boards.hand()
    head = [
        boards.with_images(one, mse=[score.mse / 2 for score in one.reconstructed[0].victims])
        if (one.cell.defense.name, one.cell.attack.name) == ("noise", "dlg") else one
        for one in base
    ]  # fmt: skip
    found = regressions(base, head)
    assert {(one.axis, one.defense, one.attack) for one in found} == {("privacy", "noise", "dlg")}
    assert found[0].what == "MSE, initial"
    assert found[0].base == 2 * found[0].head == pytest.approx(0.205)
    assert not [one for one in regressions(head, base) if one.what == "MSE, initial"]


def test_an_attack_that_no_longer_breaks_the_undefended_baseline_is_caught():
    base = [boards.record("none", "dlg", 0, [0.001, 0.002], [0.5, 0.5])]
    head = [boards.record("none", "dlg", 0, [0.001, 0.3], [0.5, 0.5])]
    weak = [boards.record("none", "dlg", 0, [0.1, 0.3], [0.5, 0.5])]
    assert not regressions(base, head)  # half of the images are enough
    assert [one.what for one in regressions(base, weak)] == ["attack passes the gate, initial"]
    assert not [one for one in regressions(weak, base) if "gate" in one.what]


def test_one_seed_that_went_another_way_among_many_does_not_decide():
    base = [boards.record("d", None, seed, accuracy=0.8, task=boards.UNATTACKED) for seed in range(5)]
    head = [
        boards.record("d", None, seed, accuracy=0.8 - 0.02 * (seed == 0), task=boards.UNATTACKED) for seed in range(5)
    ]
    assert not regressions(base, head)


def test_more_bytes_and_a_lost_guarantee_are_caught():
    told = [boards.record("noise", seed=0, initial=[0.1, 0.1], privacy=Privacy(statement="a", epsilon_server=3.0))]
    lost = [boards.record("noise", seed=0, initial=[0.1, 0.1], privacy=Privacy(statement="a"))]
    assert {one.what for one in regressions(told, lost)} == {"epsilon, server"}
    more = planted(boards.hand(), cost={"bytes_total": 800})
    assert {(one.axis, one.what) for one in regressions(boards.hand(), more)} == {("cost", "bytes a round")}


def test_a_vertical_and_an_outsourced_loss():
    base = vertical_boards.hand()
    head = [
        one.model_copy(
            update={"vertical": one.vertical.model_copy(update={"honest": one.vertical.honest.model_copy(
                update={"accuracy": one.vertical.honest.accuracy - 0.02})})}
        )
        for one in base
    ]  # fmt: skip
    assert {one.what for one in regressions(base, head)} == {"test accuracy"}
    where = outsourced_records.task()
    seen, closer = outsourced_records.inputs(0.04, 0.02), outsourced_records.inputs(0.02, 0.01)
    found = regressions(
        [outsourced_records.record(where, "ring", inputs=seen)],
        [outsourced_records.record(where, "ring", inputs=closer)],
    )
    assert [(one.axis, one.what) for one in found] == [("privacy", "input MSE")]


def test_cells_that_fail_or_lack_on_one_side():
    base, head = boards.hand(), boards.hand()
    head[6] = boards.record("noise", "dlg", 0, status="error", reason="it broke")
    base[7] = boards.record("noise", "dlg", 1, status="timeout", reason="slow")
    del head[8], base[9]
    cells = {(one.attack, one.what): one for one in check_records(base, head, DEFAULT) if one.axis == "cell"}
    assert {place: one.state for place, one in cells.items()} == {
        ("dlg", "seed 0"): "regression",
        ("dlg", "seed 1"): "note",
        ("idlg", "seed 0"): "regression",
        ("idlg", "seed 1"): "note",
    }
    assert cells["dlg", "seed 0"].reason == "error on the head only: it broke"
    assert cells["dlg", "seed 1"].reason == "timeout on the base only: repaired, nothing to compare with"
    assert cells["idlg", "seed 0"].reason == "the head has no record of this cell"
    assert cells["idlg", "seed 1"].reason == "only on the head: ok, nothing to compare with"
    both = [boards.record("noise", "dlg", 0, status="error")]
    assert not check_records(both, both, DEFAULT)


def test_a_figure_that_the_head_no_longer_holds():
    base = boards.hand()
    head = [one.model_copy(update={"utility": None}) for one in base]
    found = regressions(base, head)
    assert {(one.what, one.head) for one in found} == {("test accuracy", None)}


def test_records_without_a_cell_in_common_are_refused():
    with pytest.raises(UserError, match="no cell is on both sides"):
        check_records([boards.record(hardware="a")], [boards.record(hardware="b")], DEFAULT)


def test_recorded_seconds_are_told_and_not_judged():
    slow = [boards.record("noise", "dlg", 0, [0.1, 0.1], seconds=9.0)]
    (found,) = recorded([boards.record("noise", "dlg", 0, [0.1, 0.1], seconds=1.0)], slow)
    assert (found.base, found.head, found.state) == (1.5, 9.5, "note")


def test_a_timing_becomes_a_check():
    slow = timed(boards.record(), timing([1.0, 1.1, 1.2], [1.5, 1.6, 1.7], 0.1), 0.1)
    assert (slow.state, slow.base, slow.head) == ("regression", 1.1, 1.6)
    assert slow.reason == "the fastest of 3 head rounds is 25% slower than the slowest base round (more than 10%)"
    unsure = timed(boards.record(), timing([1.0, 1.1, 1.5], [1.5, 1.6, 1.7], 0.1), 0.1)
    assert unsure.state == "note"
    assert unsure.reason == "the base's own rounds differ by 50%: a slowdown of 10% could hide in that"
    close = timed(boards.record(), timing([1.0, 1.0, 1.05], [1.1, 1.2, 1.2], 0.1), 0.1)
    assert (close.state, close.reason) == ("note", "the medians differ by 20%, but the rounds overlap")


HOSTILE = "a|b\n<script>`x`</script>\x00\x1b]@everyone&\ud800"


def report():
    base = [boards.record("noise", "dlg", 0, [0.2, 0.2], [0.2, 0.2], 0.9)]
    head = [boards.record("noise", "dlg", 0, [0.1, 0.1], [0.2, 0.2], 0.9)]
    checks = check_records(base, head, DEFAULT)
    names = {"task": HOSTILE, "reason": HOSTILE}
    return Report("main", HOSTILE, tuple(type(c)(**{**c.__dict__, **names}) for c in checks), (HOSTILE,))


def test_the_junit_file_is_well_formed_whatever_the_names_hold():
    told = report()
    (suite,) = ElementTree.fromstring(junit(told).encode())
    assert (suite.get("tests"), suite.get("failures")) == (str(len(told.checks)), "1")
    cases = suite.findall("testcase")
    assert len(cases) == len(told.checks)
    (failed,) = [case for case in cases if case.find("failure") is not None]
    assert failed.get("classname") == "flab.regress.privacy"
    assert "<script>" in failed.get("name")
    assert "base 0.200, head 0.100" in failed.find("failure").text


def test_the_markdown_holds_no_markup_of_strangers():
    text = markdown(report())
    assert text.startswith("### Regression: a")
    assert "<script" not in text
    assert not re.search(r"(?<!\\)`|@everyone", text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {9}
    assert "REGRESSION" in rows[2]


def test_a_run_without_regression():
    same = boards.hand()
    told = Report("main", "head", tuple(check_records(same, same, DEFAULT)))
    assert told.passed
    assert told.summary == f"passed: {len(told.checks)} checks, no regressions"
    assert table(told) == []
    assert markdown(told).startswith("### No regression: head against main\n")
    assert math.isclose(len(ElementTree.fromstring(junit(told).encode()).findall(".//testcase")), len(told.checks))
