"""Pages of outsourced learning: overview, task page with figures and attack cards, published rows, downloads."""

import csv
import itertools
import json

import drawings
import outsourced_records as made
import pytest
import synthetic
import vertical_records
from test_site_evidence import built, table, task_page

from fl_attack_bench import score
from fl_attack_bench.score.outsourced.chance import DELTAS
from fl_attack_bench.site import filters, formats, outsourced, outsourced_curves

HERE = "task-mnist-cnn"


@pytest.fixture(scope="module")
def records():
    return made.board(2, made.task(victims=8, published=made.PUBLISHED))


@pytest.fixture(scope="module")
def site(records, tmp_path_factory):
    """An outsourced task beside a horizontal and a vertical one."""
    others = [synthetic.record(synthetic.task(victims=4)), vertical_records.record(vertical_records.task())]
    with pytest.MonkeyPatch.context() as patch:
        drawings.leave_out_methods(patch)
        return built(tmp_path_factory.mktemp("outsourced"), [*records, *others])


@pytest.fixture(scope="module")
def page(site):
    return task_page(site, HERE)


def row_of(records, defense):
    return next(row for row in score.outsourced_rows(records) if row.defense == defense)


def lines_of(page, prefix="outsourced-rows"):
    return {line[0]: line for line in table(page, prefix)[1:]}


class TestOverview:
    def test_one_line_a_row_with_its_figures_and_what_they_are_held_against(self, site, records):
        found = lines_of((site / "outsourced.html").read_text())
        ring = row_of(records, "rtas[arithmetic=ring]")
        line = found["Rtas arithmetic=ring"]
        assert line[2].startswith(formats.mse(ring.privacy.mean.value))
        assert line[2].endswith("blind guess 0.0700 rank_ matching view of third")
        assert line[3] == "0% exact 0%"
        assert line[4] == "91.9% ± 0.2 plain 91.9% 0.0 points"
        assert line[5] == "3.2 MB + 4.1 MB ahead 73×"
        lan, wan = (formats.seconds(ring.cost.training.seconds[link]) for link in ("LAN", "WAN"))
        assert line[6].startswith(f"LAN {lan} ")
        assert f"WAN {wan}" in line[6]
        assert line[9].startswith("◆ Pareto")
        assert line[9].endswith("6 of 9 attacks have no such view")
        assert found["Undefended"][3] == "100% exact 100%"

    def test_a_protocol_that_no_attack_applies_to_is_credited_with_nothing(self, site):
        line = lines_of((site / "outsourced.html").read_text())["Encrypted"]
        assert line[2] == "– no attack applies to this protocol: nothing was tested"
        assert (line[3], line[5], line[6]) == ("–", "–", "–")
        assert line[9] == "no attack applies"

    def test_where_no_attack_is_better_than_a_guess_the_row_says_so(self, site):
        assert lines_of((site / "outsourced.html").read_text())["Sharing activation=polynomial"][2] == (
            "0.0700 0.0700 to 0.0700 blind guess 0.0700 no attack beats the blind guess"
        )

    @pytest.mark.usefixtures("undrawn")
    def test_a_guess_that_is_beaten_on_some_samples_is_not_said_to_stand(self, tmp_path):
        where, got = made.task(victims=3), made.inputs(0.01, 0.2, 0.2, blind=0.07)
        found = [made.record(where, name, inputs=got) for name in ("none", "hiding")]
        text = task_page(built(tmp_path, found))
        told = "no attack beats the blind guess on 2 of 3 samples"
        assert lines_of(text)["Hiding"][1].endswith(told)
        assert table(text, "views-1")[1][1].endswith(told)

    def test_published_protocols_are_rows_of_their_own_and_carry_no_mark(self, site):
        text = (site / "outsourced.html").read_text()
        found = lines_of(text)
        assert found["cryptonets"][7:9] == ["36.8 MB", "LAN 55.2 s WAN 155 s"]
        assert found["securenn"][5:7] == ["2.83 GB", "LAN 380 ms WAN 31.6 s"]
        assert found["securenn"][9] == "published, not played here RTAS 2021, Tables 3 and 4"
        foreign = [part.split("</tr>")[0] for part in text.split('<tr class="foreign"')[1:]]
        assert len(foreign) == 2
        assert not [part for part in foreign if "pareto" in part.replace('data-pareto="no"', "")]

    def test_heads_say_which_way_is_better(self, site):
        heads = table((site / "outsourced.html").read_text(), "outsourced-rows")[0]
        assert [head[-1] for head in heads[2:9]] == ["↑", "↓", "↑", "↓", "↓", "↓", "↓"]

    def test_the_tracks_stay_out_of_each_others_pages(self, site):
        assert "mnist-cnn" not in (site / "vertical.html").read_text()
        assert "mnist-cnn" not in (site / "horizontal.html").read_text()
        text = (site / "outsourced.html").read_text()
        assert "split-digits" not in text
        assert "rank_matching" in text.split('<form id="filters"')[1].split("</form>")[0]

    def test_each_attack_s_own_figures_are_in_the_table_for_the_script(self, records):
        row = row_of(records, "rtas_fast")
        own = json.loads(filters.outsourced_attack_data(row))
        assert set(own) == {one.attack for one in row.attacks}
        strong = next(one for one in row.attacks if one.attack == "least_squares[known=1024]")
        assert own[strong.attack]["mse"]["value"] == strong.mse.mean
        assert own[strong.attack]["mse"]["note"].startswith("labels, training; blind guess 0.07")
        assert own[strong.attack]["chance"] == {"value": 1.0, "text": "100%", "note": "exact 0%"}

    def test_skipped_cells_are_no_failures(self, site):
        lines = [
            line for line in table((site / "outsourced.html").read_text(), "troubles-")[1:] if "mnist-cnn" in line[1]
        ]
        assert sorted(line[4] for line in lines) == ["timeout"]


class TestTaskPage:
    def test_what_is_learned_and_who_takes_part_stands_in_words(self, page):
        for needle in (
            "1. convolution, 4 filters of 4 × 4, stride 2, then ReLU",
            "3. dense, 10 outputs, then sigmoid",
            "100 steps, batch 32, learning rate 0.1",
            "32 samples a batch",
            "the first 8 test samples",
            "<code>owner</code> holds the features, and gets the predictions</span>",
            "<code>third</code> evaluates what is not linear, on what it is shown <small>in Rtas only</small>",
        ):
            assert needle in page

    def test_each_party_s_view(self, page, records):
        heads, *lines = table(page, "views-1")
        assert heads[1:] == [f"View of {party} ↑" for party in ("third", "labels", "compute/0", "compute/1")]
        fast = {line[0]: line for line in lines}["Rtas fast"]
        labels = next(one for one in row_of(records, "rtas_fast").views if one.party == "labels")
        assert fast[1] == "no such party"
        assert {line[0]: line for line in lines}["Rtas arithmetic=ring"][2] == "no attack applies"
        assert fast[2].startswith(formats.mse(labels.mean.value))
        assert "within 0.1: 100%, exact: 0% training; blind guess 0.0700 least_ squares [known=1024]" in fast[2]
        assert fast[3].endswith("no attack beats the blind guess")

    def test_a_view_on_which_an_attack_failed_is_not_said_to_have_none(self):
        where = made.task()
        found = [
            made.record(where, name, attack, inputs=made.inputs(0.05, 0.05, party=party))
            for name, attack, party in (
                ("none", "far", "third"),
                ("none", "near", "labels"),
                ("hiding", "far", "third"),
            )
        ]
        lost = made.record(where, "hiding", "near", status="error", reason="it broke")
        (_, cells) = outsourced.views(score.outsourced_rows([*found, lost])).lines[1]
        assert [reason for one, reason in cells if one is None] == ["no result of an attack"]
        idle = made.record(where, "hiding", "near", status="skipped", reason="it sees nothing", inputs=None)
        (_, cells) = outsourced.views(score.outsourced_rows([*found, idle])).lines[1]
        assert [reason for one, reason in cells if one is None] == ["no attack applies"]

    def test_every_attack_by_itself(self, page, records):
        heads, *lines = table(page, "grid-1")
        assert heads[1:6] == [f"least_ squares [known={known}] ↑" for known in made.KNOWN]
        one = next(one for one in row_of(records, "rtas_fast").attacks if one.attack == "one_share")
        cell = {line[0]: line for line in lines}["Rtas fast"][6]
        assert cell == (
            f"{formats.mse(one.mse.mean)} {formats.mse(one.mse.low)} to {formats.mse(one.mse.high)} "
            "blind guess 0.0700 compute/0, inference"
        )
        assert {line[0]: line for line in lines}["Encrypted"][1:] == ["no such view"] * 9

    def test_attack_cards_hold_every_variant(self, page):
        cards = [part.split("</article>")[0] for part in page.split('<article class="card">')[1:]]
        assert len(cards) == len(made.ATTACKS)
        assert "the features of some samples of the batches" in cards[0]
        lines = table(page, "card-1-1")[1:]
        assert [line[0] for line in lines] == [f"known={known}" for known in made.KNOWN]
        assert lines[-1][1] == "rtas_ fast view of labels, training"
        assert lines[-1][3:] == ["100% exact 0%", "1,024 100 public"]

    def test_the_number_of_known_samples_at_which_it_breaks(self, page):
        assert (
            "tried with 0, 16, 64, 256 and 1,024 known samples, "
            "256 are the fewest with which the mean MSE is below 0.01"
        ) in page

    def test_bytes_and_seconds_by_party(self, page, records):
        heads, *lines = table(page, "traffic-training-1")
        assert heads[2:8] == ["owner", "labels", "compute/0", "compute/1", "helper", "third"]
        line = {line[0]: line for line in lines}["Rtas arithmetic=ring"]
        assert line[1] == "3.2 MB + 4.1 MB ahead 73×"
        assert line[2] == "↑ 533 kB ↓ 533 kB ahead ↓ 4.1 MB 15 ms"
        assert line[7] == "↑ 533 kB ↓ 533 kB ahead ↑ 4.1 MB 15 ms"
        assert line[8:10] == ["60 ms + 30 ms ahead", "18"]
        assert line[11] == formats.seconds(row_of(records, "rtas[arithmetic=ring]").cost.training.network["WAN"])
        assert "Encrypted" not in {line[0] for line in lines}
        assert "Encrypted" in {line[0] for line in table(page, "traffic-inference-1")}

    def test_papers_beside_ours(self, page, records):
        found = {(line[0], line[1], line[2], line[3]): line for line in table(page, "published-1")[1:]}
        ring = row_of(records, "rtas[arithmetic=ring]").cost.training
        line = found["Seconds ↓", "training", "LAN", "rtas"]
        assert line[4] == "540 ms"
        assert line[5] == f"{formats.seconds(ring.seconds['LAN'])} rtas [arithmetic=ring]"
        assert line[6] == f"{formats.plain(ring.seconds['LAN'] / 0.54)}×"
        assert found["Bytes ↓", "training", "–", "rtas"][5].startswith("3.2 MB + 4.1 MB ahead")
        assert found["Seconds ↓", "training", "LAN", "securenn"][5:7] == ["–", "–"]
        assert found["Bytes ↓", "training", "–", "rtas"][8] == "the rows look swapped"

    def test_attacks_without_a_view_are_listed_with_their_reason(self, page, records):
        lines = table(page, "idle-1")[1:]
        assert ["none", "rank_ matching", "rank_matching has no view under none"] in lines
        # Those of one reason stand together, by number.
        known = " ".join(f"least_ squares [known={known}]" for known in made.KNOWN)
        assert ["none", known, "least_squares has no view under none"] in lines
        told = sum(len(attacks) for _, attacks, _ in outsourced.idle(score.outsourced_rows(records)))
        assert told == sum(len(row.no_view) for row in score.outsourced_rows(records))


@pytest.mark.usefixtures("tasks_drawn")
class TestFigures:
    def drawing(self, site, name):
        (found,) = (site / "figures").glob(f"{HERE}*-{name}-light.svg")
        return found.read_text()

    def test_chances_have_a_panel_a_view_and_name_their_axes(self, site):
        text = self.drawing(site, "chances")
        for needle in (
            ">over all views<",
            ">view of third<",
            ">view of compute/1<",
            "(↓ better)",
            ">1/512<",
            "error δ",
        ):
            assert needle in text

    def test_of_curves_that_lie_over_each_other_every_method_shows(self, records):
        rows = score.outsourced_rows(records)
        widths = outsourced_curves._widths(rows)
        assert widths.keys() == {row.spec.name for row in rows}
        assert all(lower - upper > 0.9 for lower, upper in itertools.pairwise(widths.values()))  # points

    def test_seconds_stand_on_logarithmic_axes_with_published_ones_hollow(self, site):
        text = self.drawing(site, "cost")
        for needle in (
            ">training step, 32 samples<",
            ">LAN<",
            ">WAN<",
            ">published<",
            "securenn, published",
            "(← better)",
        ):
            assert needle in text
        hollow = text.count("fill: none; stroke: #2a7fb8")
        assert hollow > 0
        assert hollow == sum(one.get("link") == "LAN" for one in made.PUBLISHED)

    def test_privacy_against_seconds_has_a_panel_a_stage_and_link(self, site):
        text = self.drawing(site, "tradeoff")
        for needle in (">training step, LAN<", ">inference batch, WAN<", "(↑ better)", "(← better)", ">rtas_fast<"):
            assert needle in text

    def test_error_by_known_samples(self, site):
        text = self.drawing(site, "known-0")
        for needle in (">known samples<", ">1,024<", "(↑ better)", ">rtas_fast<"):
            assert needle in text

    def test_nothing_published_is_no_hollow_mark(self, tmp_path):
        text = self.drawing(built(tmp_path, made.board(1, victims=2, protocols=made.PROTOCOLS[:2])), "cost")
        assert ">published<" not in text

    def test_without_attacks_there_is_a_cost_alone(self, tmp_path):
        site = built(tmp_path, [made.record(made.task(victims=None), name, None) for name in ("none", "hiding")])
        names = {path.name.rsplit("-", 2)[1] for path in (site / "figures").glob("task-*-light.svg")}
        assert names == {"cost"}
        assert "none: utility and cost only" in task_page(site)


class TestSweeps:
    def found(self, *labels, defense="hiding"):
        where, known = made.task(), iter((0, 8, 64, 512))
        played = [
            made.record(where, defense, label, inputs=made.inputs(0.1, 0.01 / (place + 1), known=next(known)))
            for place, label in enumerate(labels)
        ]
        return outsourced.sweeps(score.outsourced_rows(played))

    def test_variants_that_differ_in_the_number_alone(self):
        (sweep,) = self.found("fit[known=0]", "fit[known=8]", "fit[known=64]")
        assert (sweep.label, [one.known for one in sweep.closest[1]]) == ("fit", [0, 8, 64])

    def test_variants_that_differ_in_more_are_kept_apart(self):
        one, other = self.found("fit[known=0,a=1]", "fit[known=8,a=1]", "fit[known=64,a=2]", "fit[known=512,a=2]")
        assert (one.label, other.label) == ("fit[a=1]", "fit[a=2]")
        assert self.found("fit[known=0,a=1]", "fit[known=8,a=2]") == []

    def test_the_least_number_that_breaks(self):
        where = made.task()
        played = [
            made.record(where, "none", f"fit[known={known}]", inputs=made.inputs(mse, mse, known=known))
            for known, mse in ((4, 0.05), (16, 0.009), (64, 0.0001))
        ]
        (sweep,) = outsourced.sweeps(score.outsourced_rows(played))
        assert outsourced.breaking(sweep.closest[1]) == 16
        assert outsourced.breaking(sweep.closest[1][:1]) is None


def test_downloads_hold_every_row_and_every_attack(site, records):
    rows = {row.defense: row for row in score.outsourced_rows(records)}
    with (site / "outsourced.csv").open(newline="") as stream:
        lines = {line["defense"]: line for line in csv.DictReader(stream)}
    assert lines.keys() == rows.keys()
    for defense, line in lines.items():
        row = rows[defense]
        assert line["mse_mean"] == ("" if row.privacy is None else str(row.privacy.mean.value))
        assert float(line["inference_bytes_offline"]) == row.cost.inference.offline
        assert float(line["inference_seconds_WAN"]) == row.cost.inference.seconds["WAN"]
        assert (line["training_seconds_LAN"] == "") == (row.cost.training is None)
        assert float(line["plain_accuracy"]) == row.utility.plain
    fast = lines["rtas_fast"]
    assert float(fast["labels_mse_mean"]) == rows["rtas_fast"].privacy.mean.value
    assert fast["third_mse_mean"] == ""
    assert float(fast[f"chance_within_{DELTAS[-1]:.5f}"]) == 1
    with (site / "outsourced-attacks.csv").open(newline="") as stream:
        attacks = list(csv.DictReader(stream))
    assert len(attacks) == sum(len(row.attacks) + len(row.no_view) for row in rows.values())
    assert {line["no_view"] != "" for line in attacks if line["mse_mean"] == ""} == {True}
