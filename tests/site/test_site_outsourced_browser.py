"""The overview of outsourced learning in a real browser: its own filters, sorting, themes, phone and desktop."""

import outsourced_records as made
import pytest
import synthetic
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select
from test_site_browser import CONTRAST, complaints, visit
from test_site_evidence import built
from test_site_vertical_browser import shown

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Beside the first track."""
    board = made.board(1, made.task(victims=8, published=made.PUBLISHED))
    return built(tmp_path_factory.mktemp("browser"), [*board, synthetic.record(synthetic.task(victims=4))])


def column(browser, place):
    return shown(browser, place, "outsourced-rows")


def choose(browser, name, value):
    form = browser.find_element(By.ID, "filters")
    Select(form.find_element(By.NAME, name)).select_by_value(value)


def test_every_page_loads_without_a_complaint(browser, site):
    for page in sorted(site.glob("*.html")):
        visit(browser, page)
        assert complaints(browser) == []


def test_an_attack_shows_its_own_figures_and_the_protocols_that_it_was_played_on(browser, site):
    visit(browser, site / "outsourced.html")
    worst = column(browser, 2)
    assert len(worst) == len(made.PROTOCOLS) + 2
    choose(browser, "attack", "least_squares[known=1024]")
    assert column(browser, 0) == ["Rtas"]
    assert column(browser, 3) == ["100%"]
    assert browser.find_element(By.ID, "count").text == f"1 of {len(worst)} rows"
    assert "#attack=least_squares" in browser.current_url
    assert "Of the attack least_squares[known=1024]" in browser.find_element(By.ID, "outsourced-rows-caption").text
    choose(browser, "attack", "")
    assert column(browser, 2) == worst


def test_published_rows_sort_and_hide_with_the_others(browser, site):
    visit(browser, site / "outsourced.html", "#sort=8&order=descending")
    assert column(browser, 0)[:2] == ["securenn", "cryptonets"]
    visit(browser, site / "outsourced.html", "#q=published")
    assert sorted(column(browser, 0)) == ["cryptonets", "securenn"]
    visit(browser, site / "outsourced.html", "#pareto=yes")
    assert "securenn" not in column(browser, 0)
    assert set(column(browser, 9)) == {"◆"}


def test_the_overview_fits_a_desktop(browser, site):
    desk = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", desk)
    try:
        visit(browser, site / "outsourced.html")
        script = "const box = document.getElementById('outsourced-rows').parentElement;"
        assert browser.execute_script(script + "return box.scrollWidth - box.clientWidth") <= 0
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_long_labels_fit_a_phone(browser, tmp_path):
    label = "hiding[arithmetic=float64,mask_std=1000.0,masks=fresh]"
    found = [
        made.record(made.task(), name, f"fit[known={known}]", inputs=made.inputs(0.1, 0.1, known=known))
        for name in ("none", label)
        for known in (1, 4)
    ]
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        visit(browser, next(built(tmp_path, found).glob("task-mnist-cnn*.html")))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_text_stands_out(browser, site, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        for page in (site / "outsourced.html", next(site.glob("task-mnist-cnn*.html"))):
            visit(browser, page)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
            assert browser.execute_script(CONTRAST) == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
