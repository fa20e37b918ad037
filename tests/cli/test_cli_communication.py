"""`flab communication`: rows that can be read by people and programs, a figure, and bad input."""

import csv
import io
import json
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest

SMALL = "communication --model logistic --image-shape 1x2x3 --classes 2"
SIZE = 6 * 2 + 2  # parameters
PLAIN = 6 + (1 + 6 + 3 + 8) + 4 * SIZE + (1 + 7 + 3 + 8) + 8


def words(text):
    return shlex.split(f"{SMALL} {text}")


def test_the_rows_as_json_and_csv_are_exact(flab):
    asked = "--defense none --defense additive_sharing --clients 4,2,1000000 --measure-up-to 4"
    status, out, err = flab(*words(f"{asked} --format json"))
    assert (status, err) == (0, "")
    rows = json.loads(out)
    assert [(row["defense"], row["clients"], row["kind"]) for row in rows] == [
        ("none", 2, "measured"),
        ("none", 4, "measured"),
        ("none", 1_000_000, "modelled"),
        ("additive_sharing", 2, "skipped"),
        ("additive_sharing", 4, "measured"),
        ("additive_sharing", 1_000_000, "modelled"),
    ]
    assert rows[1] == {
        "defense": "none", "clients": 4, "kind": "measured", "up": PLAIN, "down": 0, "peers": 0,
        "per_client": PLAIN, "total": 4 * PLAIN, "reason": "",
    }  # fmt: skip
    assert rows[3]["up"] is rows[3]["total"] is None
    assert rows[5]["peers"] == 999_999 * (6 + (1 + 5 + 3 + 8) + 8 * SIZE)
    status, out, _ = flab(*words(f"{asked} --format csv"))
    found = list(csv.DictReader(io.StringIO(out)))
    assert status == 0
    assert found == [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]


def test_the_table_names_units_and_what_was_measured(flab):
    status, out, err = flab(*words("--defense none --defense additive_sharing --clients 2,5,1000 --measure-up-to 5"))
    assert (status, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split("  ")[0] == "defense"
    assert "per client" in head
    assert rows[0].split() == f"none 2 measured {PLAIN} B 0 B 0 B {PLAIN} B {2 * PLAIN} B".split()
    assert rows[2].split()[1:3] == ["1,000", "modelled"]
    assert "additive sharing with own_share=false needs at least 3 clients" in rows[3]


def test_a_chain_and_a_network_with_options(flab):
    status, out, _ = flab(
        *shlex.split(
            "communication --model 'mlp[hidden=3]' --dataset digits --clients 2 --format json "
            "--defense 'gaussian_noise[scale=1]+pairwise_masking'"
        )
    )
    assert status == 0
    (row,) = json.loads(out)
    assert row["defense"] == "gaussian_noise[scale=1]+pairwise_masking"
    assert row["peers"] == 0 < row["down"]


def test_the_figure_is_the_same_every_time(flab):
    asked = "--defense none --defense 'additive_sharing[layers=all]' --clients 2,5,1000 --measure-up-to 5 --figure"
    assert flab(*words(f"{asked} one.svg"))[0] == flab(*words(f"{asked} two.svg"))[0] == 0
    text = Path("one.svg").read_text()
    assert text == Path("two.svg").read_text()
    ElementTree.fromstring(text)
    for label in (
        "logistic, 14 parameters",
        "clients in a round",
        "bytes per client and round",
        "better",
        "additive_sharing[layers=all]",
        "cost model",
        "measured on the wire",
        "1,000",
    ):
        assert label in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Missing option '--defense'"),
        ("--defense additive_sharin", "unknown defense 'additive_sharin'; did you mean 'additive_sharing'?"),
        ("--defense 'additive_sharing[layer=all]'", "unknown parameter of AdditiveSharing 'layer'; did you mean"),
        ("--defense 'additive_sharing[layers=conv]'", "the model has no layer 'conv'; legal: all, first, classifier"),
        ("--defense additive_sharing --clients 2", "needs at least 3 clients in a round, not 2"),
        ("--defense none --clients 0,2", "--clients 0,2: '0' is no whole number in [1, 1000000000]"),
        ("--defense none --clients 2,-3", "--clients 2,-3: '-3' is no whole number"),
        ("--defense none --clients ''", "--clients : '' is no whole number"),
        ("--defense none --clients 2,,3", "--clients 2,,3: '' is no whole number"),
        ("--defense none --clients 10000000000", "'10000000000' is no whole number in [1, 1000000000]"),
        ("--defense none --measure-up-to -1", "Invalid value for '--measure-up-to'"),
        ("--defense none --model logistik", "unknown model 'logistik'; did you mean 'logistic'?"),
        ("--defense none --model 'logistic[pol=1]'", "unknown key 'pol'"),
        ("--defense none --model 'logistic['", "--model logistic[: write NAME or NAME[option=value,...]"),
        ("--defense none --image-shape 28x28", "--image-shape 28x28: write CHANNELSxHEIGHTxWIDTH, as 1x28x28"),
        ("--defense none --image-shape 1x0x28", "--image-shape 1x0x28: write CHANNELSxHEIGHTxWIDTH"),
        ("--defense none --dataset digits", "give --image-shape CxHxW or --dataset NAME, one of the two"),
        ("--defense none --figure out.png", "--figure out.png: figures are SVG; name a file that ends in .svg"),
        ("--defense trainable_top", "--defense trainable_top: trainable_top is for vertical tasks"),
        ("--defense none --format yaml", "Invalid value for '--format'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_status_2(flab, text, message):
    status, out, err = flab(*words(text))
    assert (status, out) == (2, "")
    assert err.startswith("flab: ")
    assert message in err
    assert err.count("\n") == 1


def test_where_a_figure_cannot_be_written(flab):
    status, _, err = flab(*words("--defense none --clients 2 --figure nowhere/out.svg"))
    assert status == 2
    assert err == "flab: --figure nowhere/out.svg: No such file or directory\n"
