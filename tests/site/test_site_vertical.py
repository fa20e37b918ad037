"""Pages of feature-partitioned learning: overview, task page with figures and attack cards, downloads, both tracks."""

import csv
import json
import random

import drawings
import pytest
import synthetic
import vertical_records as made
from test_site_board import contents_of, parsed
from test_site_evidence import built, table, task_page

from fl_attack_bench import score
from fl_attack_bench.site import contents, filters, formats, labels, vertical

FEW = [made.DEFENSES[place] for place in (0, 2, 3, 7, 9)]
PUBLISHED = [
    {"quantity": "backdoor", "value": 0.99, "attack": "replacement[gamma=10]", "source": "Liu et al. 2020, Figure 4"},
    {"quantity": "accuracy", "value": 0.957, "source": "Liu et al. 2020, Table 2"},
    {"quantity": "accuracy", "value": 0.95, "attack": "replacement[gamma=10]", "source": "Liu et al. 2020, Figure 4"},
]


@pytest.fixture(scope="module")
def records():
    return made.board(2, made.task(victims=8, published=PUBLISHED), (*FEW, made.CHAIN))


@pytest.fixture(scope="module")
def site(records, tmp_path_factory):
    """A vertical task beside a horizontal one."""
    where = synthetic.task(victims=4)
    horizontal = [synthetic.record(where, defense) for defense in synthetic.DEFENSES[:2]]
    with pytest.MonkeyPatch.context() as patch:
        drawings.leave_out_methods(patch)
        return built(tmp_path_factory.mktemp("vertical"), [*records, *horizontal])


@pytest.fixture(scope="module")
def page(site):
    return task_page(site, "task-split-digits")


def lines_of(page, prefix="vertical-rows"):
    return {line[0]: line for line in table(page, prefix)[1:]}


class TestOverview:
    def test_one_line_a_row_with_its_figures_units_and_what_they_are_held_against(self, site, records):
        found = lines_of((site / "vertical.html").read_text())
        assert len(found) == len(score.vertical_rows(records)) == 6
        base = score.vertical_rows(records)[0]
        line = found["Undefended"]
        assert line[2].startswith(f"{100 * base.backdoor.figures.success.mean:.1f}%")
        assert "main task 91.0%" in line[2]
        assert line[2].endswith("replacement [gamma=10]")
        assert line[3].endswith("blind guess 20.0% sign")
        assert line[4].endswith("blind guess 0.0900 inversion")
        assert line[5] == "91.8% ± 0.3"
        assert line[6] == "4.4 MB 1.00×"
        assert line[7] == "lan 1.01 s 1.00× wan 2 s 1.00×"
        sparse = found["Sparsification drop=0.9"]
        assert (sparse[5], sparse[6]) == ("90.8% ± 0.3 −1.0 points", "2.51 MB 0.57×")
        assert found["Trainable top hidden=32"][8] == "◆ Pareto 2 of 10 cells skipped"

    def test_heads_say_which_way_is_better(self, site):
        heads = table((site / "vertical.html").read_text(), "vertical-rows")[0]
        assert [head[-1] for head in heads[2:8]] == ["↓", "↓", "↑", "↑", "↓", "↓"]

    def test_the_tracks_stay_out_of_each_others_pages_and_figures(self, site):
        text, other = (site / "vertical.html").read_text(), (site / "horizontal.html").read_text()
        assert "digits-mlp" not in text
        assert "split-digits" not in other
        filters_of = {page: page.split('<form id="filters"')[1].split("</form>")[0] for page in (text, other)}
        assert "dlg" not in filters_of[text]
        assert "replacement" not in filters_of[other]
        assert len(list((site / "figures").glob("task-split-digits*-light.svg"))) == 5

    def test_each_attack_s_own_figures_are_in_the_table_for_the_script(self, site, records):
        row = next(row for row in score.vertical_rows(records) if row.defense == "sparsification[drop=0.9]")
        own = json.loads(filters.vertical_attack_data(row))
        assert set(own) == set(made.ATTACKS)
        assert own["replacement[gamma=1]"]["backdoor"]["note"].endswith("does not count")
        assert own["sign"].keys() == {"labels"}
        assert own["inversion"]["features"]["value"] == row.features.figures.mse.mean


class TestTaskPage:
    def test_what_is_learned_stands_in_words(self, page):
        for needle in (
            "<code>a</code>: rows 0 to 3",
            "<code>b</code>: rows 4 to 7",
            '<span class="mark bad">malicious</span>',
            made.task().network,
            "pixels (row, column) (7, 5), (7, 7) set to 1, on 1% of the training samples; their labels stay true",
            "class 3",
            "10 epochs, batch 64, learning rate 0.01",
        ):
            assert needle in page

    def test_every_attack_by_itself_with_its_gate(self, page, records):
        heads, *lines = table(page, "grid-1-backdoor")
        assert heads[1:] == [
            "Trigger without attack ↓",
            "replacement [gamma=1] ↓ attack too weak",
            "replacement [gamma=10] ↓ passes",
        ]
        by_name = {line[0]: line for line in lines}
        row = next(row for row in score.vertical_rows(records) if row.defense == "gaussian[variance=0.1]")
        strong = next(one for one in row.backdoors if "gamma=10]" in one.attack).figures
        assert by_name["Gaussian variance=0.1"][1].startswith("2.2%")
        assert by_name["Gaussian variance=0.1"][3] == (
            f"{100 * strong.success.mean:.1f}% {100 * strong.success.low:.1f}–{100 * strong.success.high:.1f} "
            f"main task {100 * strong.accuracy.mean:.1f}%, {formats.points(strong.difference)}"
        )
        labels = {line[0]: line for line in table(page, "grid-1-labels")[1:]}
        assert labels["Trainable top hidden=32"][2] == "–"
        assert table(page, "grid-1-features")[0][1] == "inversion ↑ passes"

    def test_attack_cards(self, page):
        cards = [part.split("</article>")[0] for part in page.split('<article class="card">')[1:]]
        titles = [card.split("</h3>")[0].rpartition(">")[2] for card in cards]
        assert titles == [
            "Model completion",
            "Feature inversion by regression",
            "Gradient-replacement backdoor",
            "Label inference by the gradient&#39;s sign",
        ]
        card = cards[2]
        for needle in (
            f'<a href="{made.PAPER}"',
            "malicious passive party",
            "one clean sample of the target class",
            "attack too weak",
            "passes",
        ):
            assert needle in card
        lines = table(page, "card-1-3")[1:]
        assert [line[0] for line in lines] == ["gamma=1", "gamma=10"]
        assert lines[1][2].endswith("%")
        assert "<code>known=4</code>" in cards[0]

    def test_bytes_by_party(self, page):
        heads, *lines = table(page, "traffic-1")
        assert heads[1:7] == [
            "Party a sends",
            "Party a receives",
            "Party b sends",
            "Party b receives",
            "Active party sends",
            "Active party receives",
        ]
        sparse = {line[0]: line for line in lines}["Sparsification drop=0.9"]
        assert sparse[1:8] == ["1.1 MB", "154 kB", "1.1 MB", "154 kB", "308 kB 0.14×", "2.2 MB 1.00×", "2.51 MB 0.57×"]

    def test_papers_beside_ours(self, page):
        lines = table(page, "published-1")[1:]
        assert [line[0] for line in lines] == ["Backdoor success ↓", "Test accuracy ↑", "Test accuracy ↑"]
        assert [line[4] for line in lines] == ["99.0%", "95.7%", "95.0%"]
        assert [line[5] for line in lines][1:] == ["91.8%", "91.0%"]

    def test_skipped_cells_are_listed(self, page):
        lines = table(page, "troubles-1")[1:]
        assert {line[4] for line in lines} == {"skipped"}
        assert all("returns no images" not in line[5] for line in lines)


@pytest.mark.usefixtures("tasks_drawn")
class TestFigures:
    def drawing(self, site, name):
        (found,) = (site / "figures").glob(f"task-split-digits*-{name}-light.svg")
        return found.read_text()

    def test_learning_has_a_panel_a_defense_and_names_its_attack(self, site):
        text = self.drawing(site, "learning")
        for needle in (">undefended<", "variance=0.1", "under replacement[gamma=10]", "main task, honest"):
            assert needle in text
        assert text.count("under replacement[gamma=10]") == 6
        assert text.count(">epoch<") == 3

    def test_the_sweep_of_defenses_has_a_panel_an_attack(self, site):
        text = self.drawing(site, "tradeoff")
        for needle in ("replacement[gamma=1]", "replacement[gamma=10]", "(→ better)", "(↓ better)", ">drop=0.9<"):
            assert needle in text

    def test_a_sweep_of_the_attack_is_one_panel_along_its_parameter(self, tmp_path):
        where = made.task()
        found = [
            made.record(where, defense, f"replacement[gamma={gamma}]", attacked=made.learned(0.9, success))
            for defense in ("none", "trainable_top")
            for gamma, success in ((1, 0.2), (5, 0.7), (10, 0.95))
        ]
        text = self.drawing(built(tmp_path, found), "tradeoff")
        for needle in (">replacement<", ">gamma=1<", ">gamma=5<", ">gamma=10<"):
            assert needle in text

    def test_the_lowest_panel_of_each_column_names_the_axis_where_the_last_line_is_not_full(self, tmp_path):
        where = made.task()
        found = [made.record(where, f"d{place}", attacked=made.learned(0.9, 0.9)) for place in range(4)]
        text = self.drawing(built(tmp_path, [made.record(where, attacked=made.learned(0.9, 0.9)), *found]), "learning")
        assert text.count(">epoch<") == 3
        assert text.count(">10<") == 3

    def test_records_of_other_classes_leave_their_bars_out(self, tmp_path):
        """A stranger's records may name other classes on one seed than on another."""
        where, found = made.task(), []
        for seed in (0, 1):
            attacked = made.learned(0.9, 0.9)
            scores = [0.0] * 3 + [1.0] + [0.0] * (6 + seed)
            told = attacked.triggered.model_copy(update={"scores": scores})
            attacked = attacked.model_copy(update={"triggered": told})
            found += [made.record(where, name, seed=seed, attacked=attacked) for name in ("none", "noise")]
        site = built(tmp_path, found)
        assert not list((site / "figures").glob("*-scores-*"))

    @pytest.mark.parametrize(("backdoor", "attack"), [(None, "sign"), (made.task().backdoor, "replacement")])
    def test_the_caption_of_the_curves_says_what_is_drawn(self, backdoor, attack, tmp_path):
        where = made.task(**({} if backdoor else {"backdoor": None}))
        honest = made.learned(0.9, 0.02 if backdoor else None)
        reached = {"attacked": made.learned(0.9, 0.9, diverged=True)} if backdoor else {"labels": made.labels(0.9)}
        text = task_page(built(tmp_path, [made.record(where, attack=attack, honest=honest, **reached)]))
        caption = next(part for part in text.split("<figcaption>") if part.startswith("Accuracy of the main task"))
        caption = caption.partition("</figcaption>")[0]
        assert "mean over seeds;" not in caption
        for needle in ("success of the trigger", "Solid: under the worst", "A training that diverged ends there"):
            assert (needle in caption) == bool(backdoor)

    def test_words_in_a_figure_keep_what_tells_variants_apart(self):
        told = [f"distribution=gaussian,variance={value}" for value in (0.01, 1.0)]
        assert [labels.fitted(text, 26) for text in told] == ["gaussian, 0.01", "gaussian, 1.0"]
        assert labels.fitted("norm=0.2", 26) == "norm=0.2"

    def test_scores_and_traffic(self, site):
        scores, traffic = self.drawing(site, "scores"), self.drawing(site, "traffic")
        assert "mean predicted probability" in scores
        assert ">9<" in scores
        assert "MB sent in an epoch" in traffic
        assert "passive party a" in traffic


def test_pages_are_sound_html_for_readers_without_eyes_or_mouse(site):
    for path in site.glob("*.html"):
        links = parsed(path)
        for _, target in links.local:
            name, _, anchor = target.partition("#")
            assert (site / (name or path.name)).is_file(), target
            assert not anchor or anchor in parsed(site / (name or path.name)).ids
        assert all(attrs.get("alt") for tag, attrs in links.tags if tag == "img")
        assert sum(tag == "table" for tag, _ in links.tags) == sum(tag == "caption" for tag, _ in links.tags)
        assert all(attrs.get("scope") for tag, attrs in links.tags if tag == "th")
        assert sum(tag == "h1" for tag, _ in links.tags) == 1
        for _, attrs in links.tags:
            assert attrs.get("aria-labelledby", "h1") in {"h1", *links.ids}


def test_a_defenses_page_lists_its_rows_of_both_tracks(site):
    text = task_page(site, "defense-none")
    assert len(table(text, "rows-caption")) == 2
    assert len(table(text, "vertical-rows-caption")) == 2
    alone = task_page(site, "defense-sparsification")
    assert len(table(alone, "vertical-rows-caption")) == 2
    for absent in ("What it costs, in full", "On every task"):
        assert absent not in alone


def test_downloads_hold_every_row_and_every_attack(site, records):
    rows = {row.defense: row for row in score.vertical_rows(records)}
    with (site / "vertical.csv").open(newline="") as stream:
        lines = {line["defense"]: line for line in csv.DictReader(stream)}
    assert lines.keys() == rows.keys()
    for defense, line in lines.items():
        row = rows[defense]
        assert float(line["backdoor_success"]) == row.backdoor.figures.success.mean
        assert float(line["bytes_epoch"]) == row.cost.bytes_epoch
        assert float(line["passive_bytes_sent"]) == row.cost.active.received
        assert float(line["seconds_wan"]) == row.cost.seconds["wan"]
    with (site / "vertical-attacks.csv").open(newline="") as stream:
        attacks = list(csv.DictReader(stream))
    assert len(attacks) == sum(len(row.attacks) for row in rows.values()) == 6 * 5 - 2
    weak = [line for line in attacks if line["attack"] == "replacement[gamma=1]"]
    assert {line["counts"] for line in weak} == {"False"}
    assert {line["feature_mse_mean"] for line in weak} == {""}
    with (site / "data.csv").open(newline="") as stream:
        assert {line["task"] for line in csv.DictReader(stream)} == {"digits-mlp"}


def test_the_same_records_give_the_same_bytes_in_any_order(records, tmp_path):
    few = [record for record in records if record.cell.seed == 0][:10]
    shuffled = list(few)
    random.Random(3).shuffle(shuffled)
    for name, order in (("a", few), ("b", shuffled)):
        (tmp_path / name).mkdir()
        built(tmp_path / name, order)
    assert contents_of(tmp_path / "a" / "site") == contents_of(tmp_path / "b" / "site")


@pytest.mark.usefixtures("undrawn")
def test_many_parties_have_one_column(tmp_path):
    where = made.task(parties=8)
    text = task_page(built(tmp_path, [made.record(where, attacked=made.learned(0.9, 0.9))]))
    heads, line = table(text, "traffic-1")
    assert heads[1:3] == ["Mean of 8 passive parties sends", "Mean of 8 passive parties receives"]
    assert line[1:6] == ["1 kB", "1 kB", "8 kB 1.00×", "8 kB 1.00×", "16 kB 1.00×"]


@pytest.mark.parametrize(
    ("fields", "holdings", "trigger"),
    [
        (
            {"split": {"by": "features", "parties": {"b": ["0-3", 7, "9-12"], "c": "4"}}},
            [("b", "features 0 to 3, 7, 9 to 12"), ("c", "feature 4")],
            "pixels (row, column) (7, 5), (7, 7) set to 1, on 1% of the training samples; their labels stay true",
        ),
        (
            {"backdoor": {"target": 0, "trigger": {"features": [9], "natural": True}}},
            [("a", "rows 0 to 3"), ("b", "rows 4 to 7")],
            "samples that have the value 1 at feature 9 of their own accord",
        ),
        (
            {"backdoor": {"target": 0, "train": 0.02, "trigger": {"features": list(range(9)), "value": 0.5}}},
            [("a", "rows 0 to 3"), ("b", "rows 4 to 7")],
            "features 0, 1, 2, 3, 4, 5 and 3 more set to 0.5, on 2% of the training samples; their labels stay true",
        ),
    ],
)
def test_splits_and_triggers_in_words(fields, holdings, trigger):
    where = made.task(**fields)
    assert vertical.holdings(where) == holdings
    assert vertical.trigger_words(where) == trigger


def test_labels_in_numeric_order():
    labels = ["a[x=10]", "a[x=9.5]", "a", "b[x=1e+20]", "b[x=2]", "a[x=nan]"]
    ordered = sorted(labels, key=contents.in_order)
    assert ordered == ["a", "a[x=9.5]", "a[x=10]", "a[x=nan]", "b[x=2]", "b[x=1e+20]"]
    assert formats.foldable("gradient_replacement[gamma=10,known=1]") == [
        "gradient_",
        "replacement",
        "[gamma=10,",
        "known=1]",
    ]
