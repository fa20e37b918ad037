"""Pages of malicious clients: the grid, what went wrong in words, the figure, the overview's own section, downloads."""

import csv
import json
import re

import pytest
import synthetic
from test_site_board import HOSTILE, parsed
from test_site_evidence import built, table, task_page

from fl_attack_bench import score
from fl_attack_bench.site import formats, integrity

CODE, ENCRYPTION = synthetic.HOLDING[4], synthetic.HOLDING[1]


@pytest.fixture(scope="module")
def records():
    return synthetic.embattled()


@pytest.fixture(scope="module")
def site(records, tmp_path_factory):
    """The task with malicious clients beside one with a curious server."""
    where = synthetic.task(victims=4)
    server = [synthetic.record(where, defense) for defense in synthetic.DEFENSES[:2]]
    numbers = synthetic.embattled(1, numbers=True, name="numbers", defenses=synthetic.HOLDING[::3])
    return built(tmp_path_factory.mktemp("integrity"), [*records, *server, *numbers])


@pytest.fixture(scope="module")
def page(site):
    return task_page(site, "task-digits-attacked")


class TestTaskPage:
    def test_the_grid_holds_every_attack_by_number_of_clients(self, page):
        heads, clients, *lines = table(page, "integrity-1-caption")
        assert heads == ["Defense", "Honest clients", "dropout", "poisoning mode=scale", "tampering"]
        assert [head.split(" of")[0] for head in clients] == ["2", "4", "2", "4", "1", "2", "3"]
        assert {head[-1] for head in clients} == {"↑"}
        by_name = {line[0]: line for line in lines}
        assert len(by_name) == len(synthetic.HOLDING)
        plain = by_name["Undefended"]
        assert plain[1] == "91.5% 91.0–92.0"
        assert plain[4] == "81.0% −10.5 80.0–82.0"

    def test_failed_rounds_incidents_and_gaps_are_marked_in_their_cells(self, page):
        lines = {line[0]: line for line in table(page, "integrity-1-caption")[2:]}
        code = lines["Shamir's secret sharing check=code"]
        assert code[8] == "10.0% −81.5 10.0–10.0 60 of 60 rounds failed"
        assert code[7].endswith("60 incidents")
        assert "round" not in code[4]
        skipped = lines["Homomorphic encryption authenticated=False"]
        assert skipped[2:4] == ["skipped", "skipped"]
        assert 'href="#troubles-1-caption" title="one upload a round"' in page
        assert "troubles-1-caption" in parsed_ids(page)

    def test_what_went_wrong_stands_in_words_once_a_reason(self, page):
        lines = table(page, "happened-1-caption")[1:]
        (failed,) = [line for line in lines if line[3] != "0"]
        assert failed[:5] == ["Shamir's secret sharing check=code", "tampering", "3", "60 of 60", "0"]
        assert failed[5] == "failed round 0: 3 of 10 shares are wrong; 2 can be corrected"
        assert {line[4] for line in lines} == {"0", "60"}

    def test_the_table_of_honest_clients_has_no_columns_of_privacy(self, page):
        heads = table(page, "rows-1-caption")[0]
        assert "Accuracy ↑" in heads
        assert not [head for head in heads if "MSE" in head or "Images" in head]
        for absent in ("attack too weak", "not attacked", "Which attacks count", "No attack breaks", "Pareto</span>"):
            assert absent not in page

    def test_numbers_are_shown_as_rmse(self, site):
        text = task_page(site, "task-numbers")
        _, clients, *lines = table(text, "integrity-1-caption")
        assert {head[-1] for head in clients} == {"↓"}
        assert "RMSE" in text
        assert "R² ↑" in table(text, "rows-1-caption")[0]
        rmse = (synthetic.VARIANCE * 0.08) ** 0.5
        assert lines[0][1] == f"{rmse:.3f}"
        assert lines[0][4].startswith(f"{(synthetic.VARIANCE * 2.08) ** 0.5:.3f} +")

    def test_a_page_of_many_trainings_folds_them(self, page, tmp_path):
        assert "<details" not in page.split('id="wrong-')[1].split("</section>")[0]
        noisy = {"incident_count": 1, "incidents": ["round 0: x"]}
        where = synthetic.attacked_task()
        many = [synthetic.attacked(where, synthetic.HOLDING[0], "tampering", n, under=noisy) for n in range(1, 10)]
        many += [synthetic.attacked(where, CODE, "tampering", n, under=noisy) for n in range(1, 10)]
        folded = task_page(built(tmp_path, many), "task-digits-attacked")
        assert "18 trainings in which a round failed" in folded


def parsed_ids(page):
    from test_site_board import Links

    links = Links()
    links.feed(page)
    return links.ids


class TestFigure:
    def drawing(self, site, name):
        (found,) = (site / "figures").glob(f"task-{name}*-integrity-light.svg")
        return found.read_text()

    def test_a_panel_an_attack_and_a_line_a_variant(self, site):
        text = self.drawing(site, "digits-attacked")
        for needle in ("dropout", "tampering", "mode=scale", "malicious clients, of 10", "test accuracy, %", "better"):
            assert needle in text
        for needle in ("undefended", "shamir[check=none]", "shamir[check=code]", "shamir[check=tags]"):
            assert needle in text

    def test_numbers_that_lie_far_apart_have_a_logarithmic_axis(self, site):
        text = self.drawing(site, "numbers")
        assert "RMSE, target's unit   (↓ better)" in text
        assert {">0.1</text>", ">1</text>"} <= set(re.findall(">[0-9.]+</text>", text))
        assert ">0.2</text>" not in text

    def test_what_has_no_finite_figure_is_not_drawn(self, tmp_path):
        where = synthetic.attacked_task(numbers=True)
        ran_off = {"losses": [], "diverged": True}
        made = [
            synthetic.attacked(where, synthetic.HOLDING[0], "tampering", n, seed, ran_off, numbers=True)
            for n in (1, 2)
            for seed in (0, 1)
        ]
        site = built(tmp_path, made)
        assert not list((site / "figures").glob("*-integrity-*.svg"))
        line = table(task_page(site, "task-digits-attacked"), "integrity-1-caption")[2]
        assert line[2] == "∞ +∞ ∞–∞ diverged on 2 of 2 seeds"


class TestOverview:
    def test_tasks_under_attack_stand_in_a_section_of_their_own(self, site):
        text = (site / "horizontal.html").read_text()
        rows = text.split('id="rows"')[1].split("</table>")[0]
        assert "digits-attacked" not in rows
        assert rows.count("<tr") == 3
        section = text.split('id="integrity"')[1].split("</section>")[0]
        for needle in ("accuracy, higher is better ↑", "RMSE, lower is better ↓", "digits-attacked", "numbers"):
            assert needle in section
        assert text.count("Which attacks count on") == 1
        assert '<option value="digits-attacked">' not in text

    def test_the_worst_attack_and_the_worst_that_nobody_noticed(self, site):
        lines = {line[0]: line for line in table((site / "horizontal.html").read_text(), "integrity-1-caption")[1:]}
        code = lines["Shamir's secret sharing check=code"]
        assert code[1] == "91.5%"
        assert code[2].startswith("10.0% −81.5")
        assert "3 of 10 clients: tampering 60 of 60 rounds failed" in code[2]
        assert code[3].startswith("21.0% −70.5")
        assert "poisoning[mode=scale]" in code[3]
        assert code[4:] == ["60 of 420", "120", "complete"]

    def test_a_board_of_such_tasks_alone(self, records, tmp_path):
        text = built(tmp_path, records[:14]).joinpath("horizontal.html").read_text()
        assert "No records yet" not in text
        for absent in ('id="rows"', 'id="gates"', 'id="pictures"'):
            assert absent not in text

    def test_no_such_task_no_section(self, tmp_path):
        site = built(tmp_path, [synthetic.record(synthetic.task(victims=4))])
        assert 'id="integrity"' not in (site / "horizontal.html").read_text()
        assert "integrity.csv" not in (site / "data.html").read_text()
        assert not (site / "integrity.csv").exists()


def test_a_defenses_page_leads_to_its_tasks_under_attack(site):
    text = task_page(site, "defense-shamir")
    lines = table(text, "worst-caption")[1:]
    assert len(lines) == 4
    assert "On every task" not in text
    targets = {link for _, link in parsed(next(site.glob("defense-shamir*.html"))).local}
    assert {path.name for path in site.glob("task-digits-attacked*.html")} <= targets
    both = task_page(site, "defense-none")
    assert len(table(both, "worst-caption")) == 3
    assert len(table(both, "rows-caption")) == 2


def test_every_link_and_anchor_leads_somewhere(site):
    for page in site.glob("*.html"):
        for _, target in parsed(page).local:
            name, _, anchor = target.partition("#")
            assert (site / (name or page.name)).is_file()
            assert not anchor or anchor in parsed(site / (name or page.name)).ids


def test_failed_rounds_of_an_ordinary_task_are_told_on_its_page(tmp_path):
    where = synthetic.task(victims=4)
    made = [synthetic.record(where, defense) for defense in synthetic.DEFENSES[:2]]
    rounds = {"failed_rounds": 3, "failures": ["round 7: 4 of 5 clients came; 5 must"]}
    made[1] = made[1].model_copy(update={"utility": made[1].utility.model_copy(update=rounds)})
    page = task_page(built(tmp_path, made))
    assert "3 of 60 rounds failed" in table(page, "rows-1-caption")[2][1]
    (line,) = table(page, "happened-1-caption")[1:]
    assert line[1:] == ["none: honest clients", "–", "3 of 60", "0", "failed round 7: 4 of 5 clients came; 5 must"]


def test_downloads_hold_every_attack(site, records):
    with (site / "integrity.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    held = {(row.defense, one.attack): one for row in score.rows(records) for one in row.integrity.attacks}
    mine = [line for line in lines if line["task"] == "digits-attacked"]
    assert len(mine) == len(held) == 6 * 7
    for line in mine:
        one = held[line["defense"], line["attack"]]
        assert line["learned_mean"] == ("" if one.learned is None else str(one.learned.mean))
        assert (int(line["clients"]), int(line["failed_rounds"])) == (one.clients, one.course.failed_rounds)
        assert line["gaps"] == ("" if one.learned else "skipped; skipped")
    assert {line["quantity"] for line in lines} == {"accuracy", "rmse"}
    with (site / "data.csv").open(newline="") as stream:
        kinds = {(line["task"], line["verdict"], line["mse_mean"] == "") for line in csv.DictReader(stream)}
    assert {("digits-attacked", "integrity", True), ("digits-mlp", "scored", False)} <= kinds
    kept = {entry["cell_id"]: entry for entry in json.loads((site / "records.json").read_text())}
    assert all(kept[record.cell_id]["integrity"] == record.model_dump(mode="json")["integrity"] for record in records)


def test_strangers_texts_stay_text_and_short(tmp_path):
    where, text = synthetic.attacked_task(), HOSTILE + "x" * 19_000
    under = {
        "failed_rounds": 20,
        "failures": [text] * 20,
        "incident_count": 9,
        "incidents": [f"{n}{text}" for n in range(9)],
    }
    hostile = (CODE[0], {"check": HOSTILE}, HOSTILE, "", 0, 0.0, 1.0, 1.0)
    made = [
        synthetic.attacked(where, synthetic.HOLDING[0], "tampering", 2),
        synthetic.attacked(where, hostile, "tampering", 2, under=under),
        synthetic.attacked(where, hostile, HOSTILE, 3, status="error", reason=text),
    ]
    site = built(tmp_path, made)
    for path in site.glob("*.html"):
        links = parsed(path)
        assert [attrs.get("src") for tag, attrs in links.tags if tag == "script"] == ["board.js"]
        assert not [attrs for _, attrs in links.tags if any(name.startswith("on") for name in attrs)]
        assert "x" * 700 not in path.read_text()
    page = task_page(site, "task-digits-attacked")
    assert "&lt;script&gt;window.pwned" in page
    words = table(page, "happened-1-caption")[1][5]
    assert words.count("incident") == integrity.MAX_REASONS
    assert words.endswith("and others, in records.json")
    assert words.count("failed") == 1
    assert not [path for path in (site / "figures").glob("*.svg") if "<script" in path.read_text()]


@pytest.mark.parametrize(
    ("texts", "kept", "more"),
    [
        ([], [], False),
        (["round 0: a", "round 12: a"], ["round 0: a"], False),
        (["round 1: a", "round 1: b", "c", "d"], ["round 1: a", "round 1: b", "c"], True),
    ],
)
def test_reasons_that_differ_in_their_round_alone_are_one(texts, kept, more):
    assert integrity.reasons(texts) == (kept, more)


def test_figures_of_both_quantities():
    inf = float("inf")
    shown = [formats.learned(value, "rmse") for value in (None, 0.1634, 1.19, 31.8, 1.2e7, inf)]
    assert shown == ["–", "0.163", "1.190", "31.8", "1.2 × 10⁷", "∞"]
    assert [formats.apart(value, "rmse") for value in (0.0112, -0.5, 0.0001, inf)] == [
        "+0.011",
        "−0.500",
        "0.000",
        "+∞",
    ]
    assert (formats.learned(0.915, "accuracy"), formats.apart(-0.1, "accuracy")) == ("91.5%", "−10.0")
