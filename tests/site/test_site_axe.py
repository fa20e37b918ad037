"""Every kind of page under axe: no serious fault for readers with a screen reader, a keyboard, weak sight, a phone."""

import re

import outsourced_records
import pytest
import synthetic
import vertical_records
from axe_core_python.selenium import Axe
from test_site_browser import visit

from fl_attack_bench.site import build

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("axe")]
SERIOUS = ("serious", "critical")
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """A page of every kind, of a board of all tracks; one whose name ends in a digest stands for all of its kind."""
    folder = tmp_path_factory.mktemp("axe")
    made, pictures = synthetic.board(
        folder / "pictures", 1, (synthetic.task(victims=4),), [synthetic.DEFENSES[i] for i in (0, 1, 2, 6)], ("dlg",)
    )
    made += synthetic.embattled(1, defenses=synthetic.HOLDING[:2])
    made += vertical_records.board(1, defenses=vertical_records.DEFENSES[:3])
    published = outsourced_records.task(victims=4, published=outsourced_records.PUBLISHED)
    made += outsourced_records.board(1, published, protocols=outsourced_records.PROTOCOLS[:3], victims=4)
    site = build(made, pictures, folder / "site", warnings=["x.json: cut short; skipped"]).parent
    found = {}
    for page in sorted(site.glob("*.html"), key=lambda page: (-page.stat().st_size, page.name)):
        kind = re.sub(r"-.*-[0-9a-f]{10}$", "", page.stem) + ("-split" if "split" in page.stem else "")
        found.setdefault(kind + ("-cnn" if "cnn" in page.stem else ""), page)
    return found


def test_a_page_of_every_kind_is_there(kinds):
    singles = {"index", "horizontal", "vertical", "outsourced", "defenses", "attacks", "papers", "data"}
    assert singles | {"task", "task-split", "task-cnn", "defense", "attack", "paper"} <= kinds.keys()


@pytest.mark.parametrize(("scheme", "phone"), [("light", False), ("dark", False), ("light", True)])
def test_axe_finds_no_serious_fault(browser, kinds, scheme, phone):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    if phone:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        for kind, page in kinds.items():
            visit(browser, page)
            told = Axe().run(browser)
            assert told["passes"], kind
            faults = [
                (fault["id"], node["html"][:200], node["failureSummary"][:300])
                for fault in told["violations"]
                if fault["impact"] in SERIOUS
                for node in fault["nodes"]
            ]
            assert not faults, (kind, faults[:5])
            if phone:
                assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE["width"], kind
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_axe_finds_a_fault_where_there_is_one(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><html><title>x</title><body><img src='x.png'><p style='color:#ccc'>pale</p>")
    visit(browser, bad)
    faults = {fault["id"] for fault in Axe().run(browser)["violations"] if fault["impact"] in SERIOUS}
    assert {"image-alt", "color-contrast", "html-has-lang"} <= faults
