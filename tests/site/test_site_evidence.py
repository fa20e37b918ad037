"""What pages show of single attacks: the gate, what else leaks, certified bounds, papers' figures, and chains."""

import csv
from html.parser import HTMLParser

import pytest
import synthetic
from test_site_board import Links

from fl_attack_bench import score
from fl_attack_bench.site import build, contents, evidence, formats
from fl_attack_bench.suite import MethodSpec

NONE, NOISE, SOTERIA, CHAIN = (*(synthetic.DEFENSES[place] for place in (0, 2, 7)), synthetic.CHAIN)


class Tables(HTMLParser):
    """The cells' texts of every table, by the id of its caption."""

    def __init__(self):
        super().__init__()
        self.found, self.lines, self.open = {}, [], False

    def handle_starttag(self, tag, attrs):
        if tag == "caption":
            self.lines = self.found[dict(attrs)["id"]] = []
        elif tag == "tr":
            self.lines.append([])
        elif tag in ("th", "td"):
            self.lines[-1].append("")
            self.open = True

    def handle_endtag(self, tag):
        self.open = self.open and tag not in ("th", "td")

    def handle_data(self, data):
        if self.open:
            self.lines[-1][-1] = " ".join(f"{self.lines[-1][-1]} {data}".split())


def table(page, prefix):
    """The only table whose caption's id begins so, as a list of lines."""
    tables = Tables()
    tables.feed(page)
    (lines,) = [lines for name, lines in tables.found.items() if name.startswith(prefix)]
    return lines


def task_page(folder, name="task"):
    return next(folder.glob(f"{name}*.html")).read_text()


def built(tmp_path, records, folders=None):
    build(records, folders or {}, tmp_path / "site")
    return tmp_path / "site"


def played(where, attacks, defenses=(NONE, NOISE), seeds=1, **fields):
    return [
        synthetic.record(where, defense, attack, seed, **fields)
        for defense in defenses
        for attack in attacks
        for seed in range(seeds)
    ]


@pytest.mark.usefixtures("undrawn")
class TestGate:
    """An attack weakened on purpose is shown as too weak, and credits no defense."""

    def test_a_weak_attack_alone_credits_nobody(self, tmp_path):
        site = built(tmp_path, played(synthetic.task(victims=4), ["dlg"], blind=60.0))
        for page in (task_page(site), (site / "horizontal.html").read_text()):
            (line,) = table(page, "gate-")[1:]
            assert (line[0], line[3], line[6]) == ("dlg", "attack too weak", "attack too weak")
            assert "◆</span> Pareto</span>" not in page
        rows = table(task_page(site), "rows-1-caption")[1:]
        assert [(row[1], row[2], row[3]) for row in rows] == [("attack too weak", "–", "–")] * 2
        assert "Privacy, in full" not in task_page(site)

    def test_a_weak_attack_beside_a_strong_one_does_not_count(self, tmp_path):
        where = synthetic.task(victims=4)
        strong = played(where, ["idlg"])
        # Blind against the undefended, it happens to come closer to the images that the defense protects.
        weak = [synthetic.record(where, NONE, "dlg", blind=60.0), synthetic.record(where, NOISE, "dlg", blind=1e-3)]
        with_weak, alone = built(tmp_path / "a", [*strong, *weak]), built(tmp_path / "b", strong)
        page = task_page(with_weak)
        assert [(line[0], line[3]) for line in table(page, "gate-")[1:]] == [
            ("dlg", "attack too weak"),
            ("idlg", "passes"),
        ]
        for prefix, cells in (("rows-1-caption", slice(2, 4)), ("privacy-", slice(1, 8))):
            rows = [[row[cells] for row in table(task_page(site), prefix)[1:]] for site in (with_weak, alone)]
            assert rows[0] == rows[1]
        closest, counting = ([s.mse for s in r.reconstructed[0].victims] for r in (weak[1], strong[1]))
        assert max(closest) < min(counting)  # had it counted, it would be the worst case of every image
        assert table(page, "errors-")[2][1].startswith(formats.mse(sum(closest) / 4))
        assert {line[-1] for line in table(page, "privacy-")[1:]} == {"idlg 4"}

    def test_an_attack_of_the_same_label_hides_no_other(self, tmp_path):
        where = synthetic.task(victims=4)
        both = [*played(where, ["idlg"]), *played(where, ["./idlg.py"], blind=60.0)]
        page = task_page(built(tmp_path, both))
        assert {(line[0], line[3]) for line in table(page, "gate-")[1:]} == {
            ("idlg", "passes"),
            ("idlg", "attack too weak"),
        }
        strong = sum(image.mse for image in both[1].reconstructed[0].victims) / 4
        assert table(page, "errors-")[2][1].startswith(formats.mse(strong))

    def test_pictures_of_an_attack_that_does_not_count_say_so_and_come_last(self, tmp_path):
        where, folders, made = synthetic.task(victims=4), {}, []
        for defense in (NONE, NOISE):
            for attack, blind in (("dlg", 60.0 if defense is NONE else 1e-3), ("idlg", 1.0)):
                folder = tmp_path / "pictures" / f"{defense[0]}-{attack}"
                made.append(synthetic.record(where, defense, attack, blind=blind, folder=folder))
                folders[made[-1].cell_id] = folder
        page = task_page(built(tmp_path, made, folders), "defense-gaussian")
        assert page.index("attacked by <code>idlg</code>") < page.index("attacked by <code>dlg</code>")
        assert page.count("attack too weak: does not count") == 1
        assert page.index("attack too weak: does not count") > page.index("attacked by <code>dlg</code>")


@pytest.mark.usefixtures("undrawn")
class TestWhatElseLeaks:
    def test_attacks_without_images_are_no_weak_attacks(self, tmp_path):
        attacks = ["idlg", synthetic.LABELS, synthetic.REPRESENTATIONS]
        site = built(tmp_path, played(synthetic.task(victims=4), attacks))
        page = task_page(site)
        assert "attack too weak" not in page
        assert [line[:4] for line in table(page, "gate-")[2:]] == [
            [synthetic.LABELS, "–", "–", "infers labels, no images"],
            [synthetic.REPRESENTATIONS, "–", "–", "infers representations, no images"],
        ]
        assert [line[0] for line in table(page, "labels-")[1:]] == ["Undefended", "Gaussian noise scale=0.01"]
        assert table(page, "labels-")[0][1:] == ["idlg ↓", "label_inference ↓"]
        assert table(page, "labels-")[2][2] == "78.0% / 73.6%"
        assert table(page, "representations-")[0][1:] == [
            f"{synthetic.REPRESENTATIONS} {what} ↓" for what in ("fc1", "fc2", evidence.CLASSES)
        ]
        assert table(page, "representations-")[2][1:] == ["0.757 / 0.714", "0.772 / 0.729", "90.0% / 90.0%"]
        assert "read them beside the undefended" in page

    def test_the_overview_offers_only_attacks_with_an_mse(self, tmp_path):
        site = built(tmp_path, played(synthetic.task(victims=4), ["idlg", synthetic.LABELS]))
        page = (site / "horizontal.html").read_text()
        assert '<option value="idlg">' in page
        assert f'<option value="{synthetic.LABELS}">' not in page

    def test_a_task_without_images_says_so(self, tmp_path):
        page = task_page(built(tmp_path, played(synthetic.task(victims=4), [synthetic.LABELS])))
        for row in table(page, "rows-1-caption")[1:]:
            assert row[1].startswith("no images")
            assert "complete" not in row[1]
        assert "<b>No images.</b>" in page
        assert "too weak" not in page
        assert "Every attack by itself" not in page

    def test_nothing_is_shown_where_nothing_leaks(self, tmp_path):
        page = task_page(built(tmp_path, played(synthetic.task(victims=4), ["dlg"])))
        for title in ("What else leaks", "Certified bound", "Published figures", "Every attack by itself"):
            assert title not in page

    def test_the_download_holds_every_attack(self, tmp_path):
        attacks = ["idlg", synthetic.REPRESENTATIONS]
        site = built(tmp_path, played(synthetic.task(victims=4), attacks, (NONE, SOTERIA)))
        with (site / "attacks.csv").open(newline="") as stream:
            lines = list(csv.DictReader(stream))
        assert len(lines) == 2 * 2 * 2
        for line in lines:
            imaging = line["attack"] == "idlg"
            assert bool(line["mse_mean"]) == imaging == bool(line["label_accuracy"]) == bool(line["diverged"])
            assert bool(line["correlation_fc1"]) == bool(line["classes_found"]) == (not imaging)
            assert bool(line["certified_bound_median"]) == (imaging and line["defense"] == "soteria[prune=0.4]")


@pytest.mark.usefixtures("undrawn")
class TestBounds:
    def test_the_table_and_the_sentence_agree(self, tmp_path):
        page = task_page(built(tmp_path, played(synthetic.task(victims=6), ["dlg", "idlg"], (NONE, SOTERIA), seeds=2)))
        lines = table(page, "bounds-")[1:]
        assert [line[:4] for line in lines] == [
            ["Soteria prune=0.4", attack, "8 of 12 / 8 of 12", "all 8 / all 8"] for attack in ("dlg", "idlg")
        ]
        assert "Of 48 reconstructions 32 reproduce it to within 10%; in 32 of those" in page
        assert "leaves the defended layer out of its matching is not bound by it" in page

    def test_a_bound_that_does_not_hold_stands_out(self, tmp_path):
        records = played(synthetic.task(victims=6), ["dlg"], (NONE, SOTERIA))
        done = records[1].reconstructed[0]
        broken = done.victims[1].certified.model_copy(update={"bound": 1.1 * done.victims[1].certified.distance})
        done.victims[1] = done.victims[1].model_copy(update={"certified": broken})
        page = task_page(built(tmp_path, records))
        assert table(page, "bounds-")[1][3] == "3 of 4 / all 4"
        assert '<span class="mark bad">3 of 4</span>' in page
        assert "in 7 of those" in page


@pytest.mark.usefixtures("undrawn")
def test_published_figures_stand_beside_ours(tmp_path):
    source = "Sun et al. 2021, <b>Table 1</b>"
    figures = [
        {"quantity": "mse", "value": 0.8, "defense": "soteria[prune=0.4]", "attack": "dlg", "note": "other network"},
        {"quantity": "accuracy", "value": 0.91},
        {"quantity": "correlation", "value": 0.98, "attack": synthetic.REPRESENTATIONS, "layer": "fc1"},
        {"quantity": "label_accuracy", "value": 1.0, "attack": "gone"},
    ]
    where = synthetic.task(victims=4, published=[{**figure, "source": source} for figure in figures])
    records = played(where, ["dlg", synthetic.REPRESENTATIONS], (NONE, SOTERIA))
    page = task_page(built(tmp_path, records))
    lines = table(page, "published-")[1:]
    mse = sum(image.mse for image in records[2].reconstructed[0].victims) / 4
    accuracy = score.rows(records)[0].utility.accuracy
    assert [line[:6] for line in lines] == [
        ["MSE ↑", "soteria[prune=0.4]", "dlg", "–", "0.800", f"{formats.mse(mse)} round 0"],
        ["Test accuracy ↑", "none", "–", "–", "91.0%", formats.percent(accuracy)],
        ["Correlation of representations ↓", "none", synthetic.REPRESENTATIONS, "fc1", "0.980", lines[2][5]],
        ["Labels inferred ↓", "none", "gone", "–", "100.0%", "–"],
    ]
    assert lines[2][5] == "0.965 round 0 0.964 after training"
    assert lines[0][6:] == [source, "other network"]
    assert "<b>Table 1" not in page


class TestChains:
    def test_one_page_a_family_with_a_variant_each(self, tmp_path):
        other = (CHAIN[0], [{}, {"prune": 0.5}], *CHAIN[2:])
        site = built(tmp_path, played(synthetic.task(victims=4), ["dlg"], (NONE, SOTERIA, CHAIN, other)))
        assert len(list(site.glob("defense-*.html"))) == 3
        page = task_page(site, "defense-soteria-gradient")
        assert page.count("<h1>Soteria, then Gradient compression</h1>") == 1
        assert "<code>prune=0.4 + prune=0.9</code>" in page
        assert "<code>defaults + prune=0.5</code>" in page
        drawing = next((site / "figures").glob("task-*-cost-light.svg")).read_text()
        assert "+ gradient_compression[prune=0.9]" in drawing
        drawing = next((site / "figures").glob("task-*-tradeoff-light.svg")).read_text()
        assert ">soteria<" in drawing
        assert ">soteria+gradient_compression<" in drawing

    @pytest.mark.usefixtures("undrawn")
    def test_a_method_given_by_path_shares_no_page_with_a_built_in_one(self, tmp_path):
        twin = ("./none.py", *NONE[1:])
        site = built(tmp_path, played(synthetic.task(victims=4), ["dlg"], (NONE, twin)))
        assert len(list(site.glob("defense-none-*.html"))) == 2

    @pytest.mark.parametrize(
        ("spec", "shown"),
        [
            (MethodSpec(name="a"), ""),
            (MethodSpec(name="a", parameters={"x": [1, 2], "y": "[z]"}), "x=[1, 2],y=[z]"),
            (MethodSpec(name="folder/a.py", parameters={"x": 1}), "x=1"),
        ],
    )
    def test_a_single_methods_parameters(self, spec, shown):
        assert contents.parameters(spec) == shown


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"victims": 4}, "4 victims of the test split"),
        (
            {"victims": 4, "batch": 2, "local_epochs": 3},
            "2 victims of 2 samples of the test split; 3 local epochs, batch 2",
        ),
        ({"victims": None, "devices": 3}, "3 devices of the partition, with all their samples"),
        ({"victims": 4, "rounds": 5}, "4 victims of the test split, seen in 5 rounds"),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_the_page_says_who_is_attacked(asked, said, tmp_path):
    page = task_page(built(tmp_path, played(synthetic.task(**asked), ["dlg"])))
    assert f"<dt>Victims</dt><dd>{said}</dd>" in page


@pytest.mark.usefixtures("undrawn")
def test_eight_attacks_and_fourteen_defenses(tmp_path):
    """Every attack has its column and line, pictures of the weaker ones are folded, and no id stands twice."""
    attacks = [f"idlg[iterations={n}]" for n in range(6)] + [synthetic.LABELS, synthetic.REPRESENTATIONS]
    noises = [("gaussian_noise", {"scale": n}, "Gaussian noise", "", 0.1 + n / 50, 0.01 * n, 1, 1) for n in range(9)]
    defenses = [NONE, *noises, SOTERIA, synthetic.DEFENSES[8], CHAIN, synthetic.DEFENSES[6]]
    where = synthetic.task(victims=3, trains=False)
    made, folders = [], {}
    for place, (defense, attack) in enumerate((d, a) for d in defenses for a in attacks):
        shown = tmp_path / "pictures" / str(place) if defense[0] in ("none", "masking") else None
        made.append(synthetic.record(where, defense, attack, folder=shown))
        if shown:
            folders[made[-1].cell_id] = shown
    site = built(tmp_path, made, folders)
    page = task_page(site)
    assert [len(line) for line in table(page, "errors-")] == [1 + 6] * 15
    assert [len(line) for line in table(page, "labels-")] == [1 + 7] * 15
    assert len(table(page, "gate-")) == 1 + 8
    assert len(table(page, "sheet-")) == 1 + 2
    assert "Measured at round 0" in page
    masked = task_page(site, "defense-masking")
    assert "5 more attacks" in masked
    assert masked.count("<details") == masked.count("</details>")
    for path in site.glob("*.html"):
        links = Links()
        links.feed(path.read_text())  # asserts that no id stands twice
        tags = [tag for tag, _ in links.tags]
        assert tags.count("table") == tags.count("caption")
