"""Records in which every field that may holds the worst: the board shows text, runs nothing, stays in its folder."""

import contextlib
import functools
import json
import math
import re

import outsourced_records
import pytest
import synthetic
import vertical_records
from test_site_board import HOSTILE, parsed
from test_site_browser import complaints, visit

from fl_attack_bench import record as records_of
from fl_attack_bench.cli import main
from fl_attack_bench.errors import UserError
from fl_attack_bench.site import build
from fl_attack_bench.store import Store
from fl_attack_bench.suite import Cell

pytestmark = pytest.mark.xdist_group("hostile")
SCRIPTS = (HOSTILE, "javascript:alert(1)//" + HOSTILE, 'https://x.org/"onmouseover=window.pwned=1 ' + HOSTILE)
PATHS = ("../../../../tmp/pwned" + HOSTILE, "/etc/passwd\x00" + HOSTILE, "..\\..\\" + HOSTILE)
ODD = (math.nan, math.inf, -math.inf, 1e308, -1e308, 10**400, -1, "7", "NaN", None, True, [], {}, [[]] * 3)


def plain():
    """One record of each scenario, attacked and defended, with as many fields as there are."""
    where = synthetic.task(victims=4, published=[{"quantity": "mse", "value": 1.0, "source": "s", "defense": "none"}])
    inputs = outsourced_records.inputs(0.01, 0.02)
    return {
        "horizontal": synthetic.record(where, synthetic.DEFENSES[2]),
        "clients": synthetic.attacked(synthetic.attacked_task(), synthetic.HOLDING[3], "tampering", 1),
        "vertical": vertical_records.record(vertical_records.task(), "noise"),
        "outsourced": outsourced_records.record(outsourced_records.task(), "hiding", inputs=inputs),
    }


def leaves(value, path=()):
    """The path of every scalar in a document, keys of mappings not counted."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, place))
    else:
        yield path, value


def reached(document, path):
    for step in path:
        document = document[step]
    return document


def changed(document, path, value):
    """A copy with one leaf changed and the id that its cell has now, if it is a cell."""
    copy = json.loads(json.dumps(document))
    reached(copy, path[:-1])[path[-1]] = value
    with contextlib.suppress(ValueError):
        copy["cell_id"] = Cell.model_validate(copy["cell"]).id
    return copy


def renamed(record):
    """The record with a key of every mapping that takes any key replaced by a script."""
    document = json.loads(record.model_dump_json())
    for path in sorted({leaf[:cut] for leaf, _ in leaves(document) for cut in range(1, len(leaf))}, key=str):
        try:
            inner = reached(document, path)
        except KeyError:  # a key on the way was renamed
            continue
        if not isinstance(inner, dict):
            continue
        first = next(iter(inner))
        tried = changed(document, path, {HOSTILE if key == first else key: value for key, value in inner.items()})
        with contextlib.suppress(UserError):
            records_of.loads(json.dumps(tried), "x")
            document = tried
    return records_of.loads(json.dumps(document), "x")


def worst(record, kind, choices):
    """The record with every leaf of a type replaced by one of the choices, in turn, that a record may hold there."""
    document = json.loads(record.model_dump_json())
    for turn, (path, value) in enumerate(list(leaves(document))):
        if path == ("cell_id",) or not isinstance(value, kind) or isinstance(value, bool):
            continue
        for step in range(len(choices)):
            tried = changed(document, path, choices[(turn + step) % len(choices)])
            with contextlib.suppress(UserError):
                records_of.loads(json.dumps(tried), "x")
                document = tried
                break
    return records_of.loads(json.dumps(document), "x")


@functools.cache
def hostile_records():
    """Beside the plain ones, those with the worst texts, keys and numbers, of each scenario."""
    found = list(plain().values())
    for record in plain().values():
        scripts = worst(record, str, SCRIPTS)
        found += [renamed(scripts), worst(record, str, PATHS), worst(scripts, (int, float), (1e308, 2**62))]
        found += [worst(record, (int, float), choices) for choices in ((5e-324, 0), (-1e308, -1, 1e308))]
    return list({record.cell_id: record for record in found}.values())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "a" / "b"
    found = hostile_records()
    assert sum(HOSTILE[:20] in record.model_dump_json() for record in found) >= 4
    return build(found, {}, folder / "site", title=HOSTILE).parent


def test_every_text_field_was_reached():
    """Otherwise the rest says nothing: names, titles, papers, reasons, commands, packages, machines, layers."""
    found = {
        path[-1]
        for record in hostile_records()
        for path, value in leaves(json.loads(record.model_dump_json()))
        if isinstance(value, str) and "window.pwned" in value
    }
    assert {"title", "paper", "threat", "assumes", "command", "source", "note"} <= found


def test_pages_hold_no_foreign_script_link_or_handler(site):
    pages = sorted(site.glob("*.html"))
    assert len(pages) > 30
    for page in pages:
        links = parsed(page)
        assert [attrs.get("src") for tag, attrs in links.tags if tag == "script"] == ["board.js"]
        assert not [attrs for _, attrs in links.tags if any(name.startswith("on") for name in attrs)]
        assert not [link for _, link in links.remote if not link.startswith("https://")]
        for _, target in links.local:
            assert (site / target.partition("#")[0]).resolve().is_relative_to(site.resolve()), target
    for drawing in (site / "figures").glob("*.svg"):
        assert "<script" not in drawing.read_text()


def test_nothing_lands_outside_of_the_site(site):
    assert [path.name for path in site.parent.iterdir()] == ["site"]
    assert not [path for path in site.rglob("*") if path.is_symlink()]
    assert not [path.name for path in site.rglob("*.html") if not re.fullmatch(r"[a-z0-9-]{1,80}\.html", path.name)]
    assert {path.name for path in site.iterdir() if path.is_dir()} <= {"figures", "pictures"}


@pytest.mark.browser
def test_no_page_runs_what_a_record_holds(browser, site):
    shown = 0
    for page in sorted(site.glob("*.html")):
        visit(browser, page)
        assert browser.execute_script("return window.pwned === undefined"), page.name
        assert browser.execute_script("return document.scripts.length") == 1
        assert complaints(browser) == [], page.name
        shown += "<script>window.pwned=1</script>" in browser.execute_script("return document.body.textContent")
    assert shown > 10
    visit(browser, site / "records.json")
    assert browser.execute_script("return window.pwned === undefined")


@pytest.mark.parametrize("scenario", sorted(plain()))
def test_odd_values_are_refused_in_one_line_or_are_sound(scenario):
    """Numbers as strings, NaN, infinities and huge values at every place of a record."""
    document = json.loads(plain()[scenario].model_dump_json())
    refused, kept = [], []
    for path, value in leaves(document):
        for odd in ODD:
            try:
                found = records_of.loads(json.dumps(changed(document, path, odd)), "x.json")
            except UserError as error:
                refused.append(str(error))
                continue
            sound = json.loads(found.model_dump_json())
            kept.append((path, value, reached(sound, path)))
            for where, held in leaves(sound):
                assert not isinstance(held, float) or math.isfinite(held), where
    assert len(refused) > len(kept) > 0
    assert not [text for text in refused if not text.startswith("x.json: ") or "\n" in text]
    # "7" may be taken for 7, and never stays text: pages would print it unformatted. Only methods' parameters are any
    # scalars.
    texts = [path for path, value, now in kept if isinstance(value, float) and isinstance(now, str)]
    assert not [path for path in texts if "parameters" not in path]


def test_a_run_folder_of_odd_records_makes_a_board_and_names_what_was_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sound = plain()["horizontal"]
    Store(tmp_path / "runs").put(sound)
    document = json.loads(sound.model_dump_json())
    for place, text in enumerate(
        ("{", "[]", "null", json.dumps(document)[:-1], json.dumps(document).replace("1", "NaN"))
    ):
        folder = tmp_path / "runs" / "records" / f"odd-{place}"
        folder.mkdir()
        (folder / "record.json").write_text(text)
    assert main(["board", "build", "--from", "runs"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("1 records: ")
    assert err.count("skipped a corrupt record: ") == len(err.splitlines()) == 5
    assert "5 files could not be read" in (tmp_path / "site" / "index.html").read_text()
