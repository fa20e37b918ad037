"""What qualifies the seconds of a record is a note on its row, and in what `flab show` prints."""

import pytest
from boards import by_defense, hand

from fl_attack_bench.cli.record import shown
from fl_attack_bench.conditions import Conditions, Mark
from fl_attack_bench.record import Record

NAME = "matrix_product_gflops"


def test_a_record_from_before_this_was_measured_is_read_and_not_noted():
    old = hand()[0].model_dump(mode="json")
    del old["provenance"]["conditions"]
    assert Record.model_validate(old).provenance.conditions is None
    assert not any("machine" in note for row in by_defense(hand()).values() for note in row.notes)


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("out of range", "the machine's speed is outside of what its hardware profile states"),
        ("slower", "the machine became slower while it was timed"),
        ("busy", "the machine was busy with other programs while it was timed"),
    ],
)
def test_a_mark_on_one_record_is_a_note_on_its_row_alone(kind, note):
    found = Conditions(others=0.5, marks=[Mark(kind=kind, reason="9 of 10 <b>")])
    records = hand()
    at = next(i for i, record in enumerate(records) if record.cell.defense.name == "noise")
    origin = records[at].provenance.model_copy(update={"conditions": found, "calibration": {NAME: 12.5}})
    records[at] = records[at].model_copy(update={"provenance": origin})
    rows = by_defense(records)
    assert note in rows["noise"].notes
    assert [name for name, row in rows.items() if note in row.notes] == ["noise"]
    told = dict(shown(records[at]))
    assert told["MARKED"] == f"{kind}: 9 of 10 <b>"
    assert (told["others"], told["speed"]) == (
        "50% of the processor time while it was timed",
        "matrix product gflops 12.5",
    )
    assert records[at].without_timings() == hand()[at].without_timings()
