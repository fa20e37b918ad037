"""Whole boards with vertical records: of one track alone, with gaps, pictures, and strangers' texts."""

import json

import numpy as np
import pytest
import synthetic
import vertical_records as made
from test_site_board import HOSTILE, parsed
from test_site_evidence import built, table, task_page
from test_site_vertical import FEW, PUBLISHED, lines_of

from fl_attack_bench import score
from fl_attack_bench.site import filters


@pytest.fixture(scope="module")
def records():
    return made.board(2, made.task(victims=8, published=PUBLISHED), (*FEW, made.CHAIN))


@pytest.mark.usefixtures("undrawn")
class TestBoardsOfOneTrack:
    def test_vertical_alone(self, records, tmp_path):
        site = built(tmp_path, records[:10])
        text = (site / "vertical.html").read_text()
        for absent in ("No records yet", 'id="rows"', 'id="gates"', "curious server", "data.csv"):
            assert absent not in text
        assert "parties hold different features" in text
        assert not (site / "horizontal.html").exists()
        assert {"vertical.csv", "vertical-attacks.csv"} <= {path.name for path in site.iterdir()}
        assert not {"data.csv", "attacks.csv"} & {path.name for path in site.iterdir()}

    def test_horizontal_alone(self, tmp_path):
        site = built(tmp_path, [synthetic.record(synthetic.task(victims=4))])
        text = (site / "index.html").read_text() + (site / "horizontal.html").read_text()
        for absent in ("vertical", "outsourced"):
            assert absent not in text
        assert not list(site.glob("vertical*"))

    def test_two_tasks_of_one_name_on_both_tracks_are_told_apart(self, tmp_path):
        site = built(tmp_path, [synthetic.record(synthetic.task("same", victims=4)), made.record(made.task("same"))])
        pages = site / "vertical.html", site / "horizontal.html"
        names = [target for page in pages for _, target in parsed(page).local if target.startswith("task-same")]
        assert len(set(names)) == 2
        assert (site / "vertical.html").read_text().count("same (vertical v1, ") > 0

    def test_a_weak_attack_alone_is_called_so(self, tmp_path):
        where = made.task()
        weak = [made.record(where, name, attacked=made.learned(0.9, 0.1)) for name in ("none", "noise")]
        text = task_page(built(tmp_path, weak))
        line = lines_of(text)["Noise"]
        assert (line[1], line[7]) == ("– attack too weak", "attack too weak")
        assert "No attack beats a blind guess" in text

    def test_a_kind_without_a_figure_says_why(self, tmp_path):
        where, found = made.task(), {}
        for name, defenses, accuracy in (("spoils", ("none", "noise"), 0.3), ("no-base", ("noise",), 0.9)):
            (tmp_path / name).mkdir()
            played = [made.record(where, defense, attacked=made.learned(accuracy, 0.9)) for defense in defenses]
            text = task_page(built(tmp_path / name, played))
            row = next(row for row in score.vertical_rows(played) if not row.baseline)
            note = json.loads(filters.vertical_attack_data(row))["replacement"]["backdoor"]["note"]
            found[name] = lines_of(text)["Noise"][1], note.partition("; ")[2]
        why = {"spoils": "spoils the main task of the undefended", "no-base": "no undefended result"}
        assert found == {name: (f"– {words}", f"{words}: does not count") for name, words in why.items()}

    def test_the_overview_leads_to_each_track_also_where_only_clients_attack(self, tmp_path):
        horizontal = synthetic.attacked(synthetic.attacked_task(), synthetic.HOLDING[0], "tampering", 1)
        index = built(tmp_path, [made.record(made.task()), horizontal]) / "index.html"
        assert {"horizontal.html", "vertical.html"} <= {target for _, target in parsed(index).local}
        assert "Every attack by malicious clients" in index.read_text()

    def test_trainings_that_ran_off_are_told(self, tmp_path):
        where = made.task()
        ran_off = {"honest": made.learned(0.4, diverged=True), "attacked": made.learned(0.9, 0.9, diverged=True)}
        text = task_page(built(tmp_path, [made.record(where), made.record(where, "noise", **ran_off)]))
        assert "training diverged" in lines_of(text)["Noise"][7]
        assert lines_of(text)["Noise"][4].endswith("diverged on 1 of 1 seeds")
        assert table(text, "grid-1-backdoor")[1][2].endswith("diverged on 1 of 1 seeds")

    def test_a_task_that_nobody_attacks(self, tmp_path):
        where = made.task(malicious=None, backdoor=None)
        quiet = [made.record(where, name, None, honest=made.learned(0.9, None)) for name in ("none", "noise")]
        text = task_page(built(tmp_path, quiet))
        assert "nobody: utility and cost only" in text
        for absent in ("Attack cards", "Every attack by itself", "Trigger"):
            assert absent not in text


@pytest.mark.usefixtures("undrawn")
def test_reconstructed_features_stand_beside_their_originals(tmp_path):
    where, pixels = made.task(victims=2), np.arange(128, dtype=np.uint8).reshape(2, 1, 8, 8)
    found, folders = [], {}
    for place, defense in enumerate(("none", "noise")):
        for seed in (0, 1):
            one = made.record(where, defense, "inversion", seed, features=made.features(0.01 + place, 0.03 * place))
            folder = tmp_path / one.cell_id
            folder.mkdir()
            np.savez(folder / "reconstructions.npz", originals=pixels, trained=pixels + 9 * (place + 1) + seed)
            found.append(one)
            folders[one.cell_id] = folder
    text = task_page(built(tmp_path, [one for one in found if one.cell.defense.name == "none"], folders))
    heads, line = table(text, "sheet-")
    assert heads == ["Original", "image 1", "image 0"]
    assert line == ["Undefended", "0", "0.0100"]
    assert "seed 0" in text
    # Two originals and what was made of them; the defense's page shows the other seed, too.
    assert len(list((tmp_path / "site" / "pictures").iterdir())) == 6


@pytest.mark.usefixtures("undrawn")
def test_strangers_texts_stay_text_and_short(tmp_path):
    where, long = made.task(), HOSTILE + "x" * 19_000
    told = {"title": long, "paper": "javascript:alert(1)", "threat": long, "assumes": long}
    evil = made.MethodSpec(name="evil", parameters={HOSTILE: HOSTILE})
    found = [
        made.record(where, "none", f"replacement[gamma={HOSTILE}]", attacked=made.learned(0.9, 1.0), used=told),
        made.record(where, evil, f"replacement[gamma={HOSTILE}]", attacked=made.learned(0.9, 1.0), used=told),
        made.record(where, evil, "sign", status="error", reason=long),
    ]
    site = built(tmp_path, found)
    for path in site.glob("*.html"):
        links = parsed(path)
        assert [attrs.get("src") for tag, attrs in links.tags if tag == "script"] == ["board.js"]
        assert not [attrs for _, attrs in links.tags if any(name.startswith("on") for name in attrs)]
        assert not [target for _, target in (*links.local, *links.remote) if "javascript" in target]
        assert "x" * 700 not in path.read_text()
    assert "&lt;script&gt;window.pwned" in task_page(site)


def test_hostile_labels_are_drawn_as_text(tmp_path):
    where = made.task()
    evil = made.MethodSpec(name="evil", parameters={"a": HOSTILE})
    found = [
        made.record(where, defense, HOSTILE, attacked=made.learned(0.9, 1.0), cost=made.cost(where))
        for defense in ("none", evil)
    ]
    site = built(tmp_path, found)
    drawn = list((site / "figures").glob("*.svg"))
    assert len(drawn) > 8
    assert not [path for path in drawn if "<script" in path.read_text()]
