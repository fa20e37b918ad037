"""Pages of papers: which paper a figure is of, and published figures beside those of the records."""

import random

import outsourced_records
import pytest
import synthetic
import vertical_records
from test_site_attack_pages import gathered, undrawn_pages
from test_site_board import HOSTILE, contents_of, hostile, parsed
from test_site_evidence import table

from fl_attack_bench import score
from fl_attack_bench.site import attack_pages, formats, paper_pages, references

DLG, SOTERIA = "https://arxiv.org/abs/1906.08935", "https://arxiv.org/abs/2012.06043"
NOISE = "gaussian_noise[scale=0.01]"
SUN = "Sun et al. 2021, Table 1"
PUBLISHED = [
    {"quantity": "mse", "value": 0.02, "attack": "dlg", "source": "Zhu et al. 2019, Figure 5", "defense": NOISE},
    {"quantity": "mse", "value": 0.001, "attack": "dlg", "source": "Zhu et al. 2019, Figure 5"},
    {"quantity": "mse", "value": 0.3, "attack": "dlg", "source": "Zhu et al. 2019, Figure 6", "defense": "soteria"},
    {
        "quantity": "accuracy",
        "value": 0.95,
        "source": SUN,
        "defense": "soteria[prune=0.4]",
        "note": "CIFAR-10; here digits",
    },
    {"quantity": "accuracy", "value": 0.96, "source": SUN},
    {"quantity": "correlation", "value": 0.5, "source": "A technical report", "layer": "fc1"},
]


def written(records, folder):
    """The pages of the papers alone, in a folder."""
    undrawn_pages(records, folder).write_papers()
    return folder


@pytest.fixture(scope="module")
def records():
    """Three defenses and a chain under an attack; a vertical board; protocols, of which papers tell most."""
    where = synthetic.task(victims=4, published=PUBLISHED)
    chosen = [*(synthetic.DEFENSES[place] for place in (0, 2, 7)), synthetic.CHAIN]
    images = [synthetic.record(where, defense, "dlg", seed) for defense in chosen for seed in (0, 1)]
    outsourced = outsourced_records.board(1, outsourced_records.task(victims=4, published=outsourced_records.PUBLISHED))
    told = [
        {
            "quantity": "accuracy",
            "value": 0.957,
            "source": "Liu et al. 2020, Table 2",
            "attack": "replacement[gamma=10]",
        }
    ]
    vertical = vertical_records.board(1, vertical_records.task(victims=8, published=told))
    return [*images, *outsourced, *vertical]


@pytest.fixture(scope="module")
def pages(records):
    return {page.title: page for page in paper_pages.pages(gathered(records))}


@pytest.fixture(scope="module")
def site(records, tmp_path_factory):
    return written(records, tmp_path_factory.mktemp("papers") / "site")


class TestReferences:
    @pytest.mark.parametrize(
        ("link", "same"),
        [
            ("https://arxiv.org/pdf/1906.08935v2.pdf", DLG),
            ("https://www.arxiv.org/abs/1906.08935/", DLG),
            ("https://arxiv.org/abs/1906.08935#S3", DLG),
            (" https://Doi.org/10.1145/358746.358762 ", "https://doi.org/10.1145/358746.358762"),
            ("https://a.org/", "https://a.org"),
            ("https://a.org/P?q=1", "https://a.org/P?q=1"),
            ("http://arxiv.org/abs/1906.08935", ""),
            ("javascript:alert(1)", ""),
            ("", ""),
        ],
    )
    def test_one_form_of_an_address(self, link, same):
        assert references.address(link) == same
        assert references.address(same) == same

    @pytest.mark.parametrize(
        ("source", "cited"),
        [
            ("Sun et al. 2021, Table 1", "Sun et al. 2021"),
            ("Sun, Li and Chen 2021b, Table 1", "Sun, Li and Chen 2021b"),
            ("RTAS 2021, Tables 3 and 4", "RTAS 2021"),
            ("A report, Table 1", "A report"),
            ("A report Fig. 3", "A report"),
            ("https://a.org/x", references.UNNAMED),
            ("", references.UNNAMED),
            ("Smith https://a.org/x, Table 2", "Smith"),
        ],
    )
    def test_what_a_source_calls_its_paper(self, source, cited):
        assert references.citation(source) == cited

    def test_short_names_and_years(self):
        assert [
            references.name(link) for link in (DLG, "https://doi.org/10.1/x", "https://eprint.iacr.org/2017/715")
        ] == [
            "arXiv 1906.08935",
            "doi 10.1/x",
            "ePrint 2017/715",
        ]
        assert [references.year(link) for link in (DLG, "https://eprint.iacr.org/2017/715", "https://a.org/x")] == [
            2019,
            2017,
            None,
        ]
        assert references.addressed("see https://a.org/x, Table 2") == "https://a.org/x"
        assert references.addressed("see http://a.org/x") == ""

    @pytest.mark.parametrize(
        ("cited", "figures", "link"),
        [
            ("DLG 2019", [], DLG),  # called like its method
            ("Sun et al. 2021", [{SOTERIA}, set(), {SOTERIA, DLG}], SOTERIA),
            ("Sun et al. 2021", [{SOTERIA}, {DLG}], ""),  # about methods of two papers
            ("Sun et al. 2021", [{SOTERIA, DLG}], ""),
            ("Sun et al. 2021", [{DLG}], ""),  # a comparison with a method that is two years older
            ("Zhu et al. 2019", [{DLG}], DLG),
            ("Zhu et al. 2018", [{DLG}], ""),  # not before the preprint
            ("Sun et al.", [{SOTERIA}], SOTERIA),
            ("Sun et al. 2021", [set()], ""),
        ],
    )
    def test_which_paper_a_citation_is_of(self, cited, figures, link):
        assert references.paper_of(cited, figures, {"dlg": DLG}) == link


class TestPages:
    def test_a_citation_and_the_methods_of_its_paper_share_a_page(self, pages):
        page = pages["Zhu et al. 2019"]
        assert (page.link, page.published, page.measured) == (DLG, 3, 2)
        assert {(method.kind, method.name) for method in page.methods} == {
            ("attack", "dlg"),
            ("defense", "gaussian_noise"),
        }
        assert page.path == paper_pages.path(DLG)
        assert "gradient-leakage v2" in page.suites
        # Called like a protocol that was played, which has no paper on its card here.
        assert (pages["RTAS 2021"].link, pages["RTAS 2021"].methods) == ("", ())
        assert pages["Sun et al. 2021"].link == SOTERIA
        assert pages["A technical report"].link == ""
        assert pages["Liu et al. 2020"].link == vertical_records.PAPER

    def test_the_card_of_a_chain_speaks_for_no_link(self, pages):
        assert [method.name for method in pages["Sun et al. 2021"].methods] == ["soteria"]

    def test_figures_stand_beside_what_the_rows_hold(self, records, pages):
        rows = {row.defense: row for row in score.rows(records)}
        noisy, base, absent = pages["Zhu et al. 2019"].pairs
        best = min(one.mean for one in rows[NOISE].attacks)
        assert (noisy.ours, noisy.ratio, noisy.difference) == (best, pytest.approx(best / 0.02), None)
        assert base.row.baseline
        assert (absent.row, absent.ours, absent.told) == (None, None, "–")
        assert noisy.attack == attack_pages.path(next(r.cell.attack for r in records if r.cell.attack.name == "dlg"))
        first, second = pages["Sun et al. 2021"].pairs
        ours = rows["soteria[prune=0.4]"].utility.accuracy
        assert (first.ours, first.ratio) == (ours, None)
        assert first.told == f"{formats.points(ours - 0.95)} points"
        assert second.ours == rows["none"].utility.accuracy

    def test_seconds_and_bytes_of_protocols(self, records, pages):
        row = next(row for row in score.outsourced_rows(records) if row.defense.startswith("rtas[arithmetic=ring"))
        found = {
            (p.published.quantity, p.published.stage, p.published.link): p for p in pages["RTAS 2021"].pairs if p.row
        }
        training = found["seconds", "training", "LAN"]
        assert training.ours == row.cost.training.seconds["LAN"]
        assert training.told == f"{formats.plain(row.cost.training.seconds['LAN'] / 0.54)}×"
        sent = found["bytes", "training", None]
        assert (sent.ours, sent.ahead) == (row.cost.training.online, row.cost.training.offline)
        assert (pages["RTAS 2021"].published, pages["RTAS 2021"].measured) == (14, 6)

    def test_one_figure_on_two_machines_counts_once(self, tmp_path):
        where = synthetic.task(victims=4, published=PUBLISHED[:1])
        made = [
            synthetic.record(where, synthetic.DEFENSES[place], hardware=machine)
            for place in (0, 2)
            for machine in ("a", "b")
        ]
        (page,) = [page for page in paper_pages.pages(gathered(made)) if page.pairs]
        assert (len(page.pairs), page.published, page.measured) == (2, 1, 1)
        assert [pair.scene.hardware for pair in page.pairs] == ["a", "b"]


class TestWritten:
    def test_the_page_holds_every_figure_and_its_note(self, site, pages):
        page = pages["Sun et al. 2021"]
        text = (site / page.path).read_text()
        lines = table(text, "pairs-caption")[1:]
        assert [line[-2:] for line in lines] == [[SUN, "CIFAR-10; here digits"], [SUN, "–"]]
        assert [line[3] for line in lines] == ["95.0%", "96.0%"]
        assert [line[4] for line in lines] == [formats.percent(pair.ours) for pair in page.pairs]
        assert f'href="{SOTERIA}"' in text
        assert "2 published figures, all of them measured here" in text
        assert "<figure" not in text  # two pairs are no picture

    def test_three_pairs_are_drawn(self, site, pages):
        page = pages["RTAS 2021"]
        text, stem = (site / page.path).read_text(), page.path.removesuffix(".html")
        assert (
            f'<img src="figures/{stem}-light.svg" alt="Scatter plots of seconds and bytes: published by RTAS 2021'
            in text
        )
        drawing = (site / "figures" / f"{stem}-light.svg").read_text()
        for words in ("published, s", "ours, bytes", "WAN inference"):
            assert words in drawing
        assert (site / "figures" / f"{stem}-dark.svg").read_text() != drawing
        assert "cryptonets" in text
        assert "not played here" in text

    def test_the_index_has_one_line_a_paper_those_with_figures_first(self, site, pages):
        lines = table((site / "papers.html").read_text(), "papers-caption")[1:]
        assert len(lines) == len(pages)
        named = [f"{page.title} {page.link.removeprefix('https://')}".strip() for page in pages.values()]
        assert [line[0] for line in lines] == named
        told = [line[3] != "–" for line in lines]
        assert told == sorted(told, reverse=True)
        found = {line[0]: line for line in lines}
        assert found["Zhu et al. 2019 arxiv.org/abs/1906.08935"][3:] == ["3", "2"]

    def test_every_link_leads_to_a_page_of_the_board(self, site, records, pages):
        board = gathered(records)
        there = {path.name for path in site.iterdir()} | {page.path for page in (*board.pages, *board.defenses)}
        there |= {page.path for page in attack_pages.pages(board)}
        shell = {target for _, target in parsed(site / "papers.html").local}
        assert {page.path for page in pages.values()} <= shell
        for page in pages.values():
            links = parsed(site / page.path)
            assert sum(tag == "h1" for tag, _ in links.tags) == 1
            for _, target in links.local:
                name, _, anchor = target.partition("#")
                assert not name or name in there | shell or (site / name).is_file(), target
                assert name or anchor in links.ids
            assert {link for _, link in links.remote} == {link for link in (page.link,) if link}

    def test_no_paper_at_all(self, tmp_path):
        assert "No record names a paper yet" in (written([], tmp_path / "site") / "papers.html").read_text()


def test_the_same_records_give_the_same_bytes(records, tmp_path):
    few = [one for one in records if one.cell.suite != "vertical"]
    shuffled = list(few)
    random.Random(3).shuffle(shuffled)
    found = [contents_of(written(given, tmp_path / name)) for name, given in (("a", few), ("b", shuffled))]
    assert any(path.suffix == ".svg" for path in found[0])
    assert found[0] == found[1]


def test_hostile_records_stay_text(tmp_path):
    records, _ = hostile(tmp_path)
    figures = [
        {"quantity": "accuracy", "value": 0.1 * place, "source": source, "note": HOSTILE, "defense": HOSTILE}
        for place, source in enumerate((HOSTILE, f"https://a.org/{HOSTILE}", "javascript:alert(1)", "", "http://a.org"))
    ]
    where = synthetic.task("told", victims=4, published=figures)
    made = synthetic.record(where)
    evil = made.model_copy(update={"attack": made.attack.model_copy(update={"paper": f'https://a.org/"{HOSTILE}'})})
    site = written([*records, evil], tmp_path / "site")
    found = [*site.glob("paper*.html")]
    assert len(found) > 4
    for page in found:
        links = parsed(page)
        assert [attrs.get("src") for tag, attrs in links.tags if tag == "script"] == ["board.js"]
        assert not [attrs for _, attrs in links.tags if any(name.startswith("on") for name in attrs)]
        assert not [link for _, link in links.remote if not link.startswith("https://")]
        assert HOSTILE not in page.read_text()
    assert {path.parent for path in site.rglob("*") if path.is_file()} <= {site, site / "figures"}
