"""The overview of feature-partitioned learning in a real browser: its own filters, sorting, address, themes, phone."""

import pytest
import synthetic
import vertical_records as made
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select
from test_site_board import HOSTILE
from test_site_browser import CONTRAST, complaints, visit
from test_site_evidence import built

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Both tracks."""
    few = [made.DEFENSES[place] for place in (0, 2, 9)]
    where = synthetic.task(victims=4)
    horizontal = [synthetic.record(where, defense) for defense in synthetic.DEFENSES[:3]]
    return built(tmp_path_factory.mktemp("browser"), [*made.board(1, defenses=few), *horizontal])


def shown(browser, place, table="vertical-rows"):
    """The texts of a column's visible cells."""
    script = (
        "return [...document.getElementById(arguments[0]).tBodies[0].rows].filter(r => !r.hidden)"
        ".map(r => r.cells[arguments[1]].innerText.split(/\\s+/)[0])"
    )
    return browser.execute_script(script, table, place)


def choose(browser, name, value):
    form = browser.find_element(By.ID, "filters")
    Select(form.find_element(By.NAME, name)).select_by_value(value)


def test_every_page_loads_without_a_complaint(browser, site):
    for page in sorted(site.glob("*.html")):
        visit(browser, page)
        assert complaints(browser) == []


def test_an_attack_shows_its_own_figures_and_none_of_other_kinds(browser, site):
    visit(browser, site / "vertical.html")
    worst = shown(browser, 2)
    choose(browser, "attack", "replacement[gamma=1]")
    assert [float(text.rstrip("%")) < 60 for text in shown(browser, 2)] == [True] * 3
    assert shown(browser, 3) == shown(browser, 4) == ["–"] * 3
    assert "#attack=replacement" in browser.current_url
    caption = browser.find_element(By.ID, "vertical-rows-caption")
    assert "Of the attack replacement[gamma=1], mean over seeds" in caption.text
    choose(browser, "attack", "sign")
    assert browser.find_element(By.ID, "count").text == "2 of 3 rows"
    choose(browser, "attack", "")
    assert "the worst that counts" in caption.text
    assert shown(browser, 2) == worst


def test_a_view_is_kept_in_the_address(browser, site):
    visit(browser, site / "vertical.html", "#q=gaussian&sort=2&order=descending")
    assert shown(browser, 0) == ["Gaussian"]
    assert browser.find_element(By.ID, "count").text == "1 of 3 rows"
    reset = browser.find_element(By.CSS_SELECTOR, "#filters [type=reset]")
    browser.execute_script("arguments[0].click()", reset)  # below the window, to which the page scrolls smoothly
    browser.execute_async_script("setTimeout(arguments[0], 50)")
    values = [float(text.rstrip("%")) for text in shown(browser, 2)]
    assert values == sorted(values, reverse=True)
    assert len(values) == 3
    assert "q=" not in browser.current_url
    assert "sort=2" in browser.current_url


def test_filters_work_where_there_are_several_datasets(browser, tmp_path):
    """A form's field named `dataset` hides the form's own property of that name."""
    tasks = (made.task(), made.task("other", dataset="npz:other"))
    site = built(tmp_path, [made.record(where, attacked=made.learned(0.9, 0.9)) for where in tasks])
    visit(browser, site / "vertical.html", "#dataset=npz:other")
    assert browser.find_element(By.ID, "count").text == "1 of 2 rows"
    choose(browser, "dataset", "digits")
    assert shown(browser, 1) == ["split-digits"]


def test_the_overview_fits_a_desktop(browser, site):
    desk = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", desk)
    try:
        visit(browser, site / "vertical.html")
        script = "const box = document.getElementById('vertical-rows').parentElement;"
        assert browser.execute_script(script + "return box.scrollWidth <= box.clientWidth")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_pareto_only(browser, site):
    visit(browser, site / "vertical.html", "#pareto=yes")
    standing = shown(browser, 8)
    assert standing
    assert set(standing) == {"◆"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_text_stands_out(browser, site, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        for page in (site / "vertical.html", next(site.glob("task-split-digits*.html"))):
            visit(browser, page)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
            assert browser.execute_script(CONTRAST) == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_hostile_attack_can_be_chosen_and_runs_nothing(browser, tmp_path):
    where = made.task()
    for label in (HOSTILE, "__proto__"):
        found = [made.record(where, name, label, attacked=made.learned(0.9, 0.9)) for name in ("none", "noise")]
        (tmp_path / label[:3]).mkdir()
        visit(browser, built(tmp_path / label[:3], found) / "vertical.html")
        chooser = Select(browser.find_element(By.CSS_SELECTOR, "#filters [name=attack]"))
        chooser.select_by_index(1)
        assert shown(browser, 2) == ["90.0%"] * 2
        assert browser.execute_script("return window.pwned === undefined")
        assert complaints(browser) == []
