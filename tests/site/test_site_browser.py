"""The pages in a real browser that reaches no network, from the file system as a reader would open them."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from test_site_board import HOSTILE, hostile

from fl_attack_bench.site import build

pytestmark = pytest.mark.browser


def visit(browser, page, fragment=""):
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(page.as_uri() + fragment)


def complaints(browser):
    return [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def column(browser, place):
    script = (
        "return [...document.querySelectorAll('#rows tbody tr')].filter(r => !r.hidden)"
        ".map(r => r.cells[arguments[0]].dataset.sort)"
    )
    return browser.execute_script(script, place)


def heads(browser):
    return browser.find_elements(By.CSS_SELECTOR, "#rows thead th")


def shown(browser):
    return browser.find_element(By.ID, "count").text


def test_every_page_loads_without_a_complaint_and_with_all_its_pictures(browser, site):
    for page in sorted(site.glob("*.html")):
        visit(browser, page)
        browser.execute_script("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
        widths = browser.execute_async_script(
            "const done = arguments[0];"
            "Promise.all([...document.images].map(i => i.decode().catch(() => 0)))"
            ".then(() => done([...document.images].map(i => i.naturalWidth)))"
        )
        assert all(widths), page.name
        assert complaints(browser) == []


def test_the_style_sheet_applies_and_pixels_stay_pixels(browser, site):
    visit(browser, next(site.glob("task-digits-mlp*.html")))
    picture = browser.find_element(By.CSS_SELECTOR, "img.pixels")
    assert picture.value_of_css_property("image-rendering") == "pixelated"
    assert picture.size["width"] >= 80


def test_sorting_by_mouse_and_by_keyboard(browser, site):
    visit(browser, site / "horizontal.html")
    place = next(i for i, head in enumerate(heads(browser)) if "MSE" in head.text)
    button = heads(browser)[place].find_element(By.TAG_NAME, "button")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    button.click()
    values = [float(value) for value in column(browser, place) if value]
    assert values == sorted(values, reverse=True)
    assert column(browser, place)[len(values) :] == [""] * (len(column(browser, place)) - len(values))
    assert heads(browser)[place].get_attribute("aria-sort") == "descending"
    button.send_keys(Keys.ENTER)
    assert [float(value) for value in column(browser, place) if value] == sorted(values)
    assert heads(browser)[place].get_attribute("aria-sort") == "ascending"
    assert f"sort={place}" in browser.current_url


def test_filters_narrow_the_table_and_live_in_the_address(browser, site):
    visit(browser, site / "horizontal.html")
    everything = len(column(browser, 0))
    Select(browser.find_element(By.NAME, "task")).select_by_visible_text("digits-mlp")
    assert set(column(browser, 1)) == {"digits-mlp"}
    browser.find_element(By.NAME, "q").send_keys("GAUSS scale=0.1")
    assert column(browser, 0) == ["gaussian_noise[scale=0.1]"]
    assert shown(browser) == f"1 of {everything} rows"
    address = browser.current_url
    visit(browser, site / "horizontal.html", "#" + address.partition("#")[2])
    assert column(browser, 0) == ["gaussian_noise[scale=0.1]"]
    browser.find_element(By.CSS_SELECTOR, "#filters [type=reset]").click()
    browser.execute_async_script("setTimeout(arguments[0], 50)")
    assert len(column(browser, 0)) == everything
    assert "#" not in browser.current_url


def test_choosing_an_attack_shows_its_own_figure(browser, site):
    visit(browser, site / "horizontal.html", "#task=digits-mlp&attack=dlg")
    head = next(head for head in heads(browser) if "MSE" in head.text)
    assert "MSE under dlg" in head.text
    place = heads(browser).index(head)
    under_dlg = [float(value) for value in column(browser, place)]
    Select(browser.find_element(By.NAME, "attack")).select_by_value("")
    worst = [float(value) for value in column(browser, place) if value]
    assert len(worst) == len(under_dlg)
    assert all(own >= least - 1e-12 for own, least in zip(under_dlg, worst, strict=True))


def test_an_address_with_nonsense_shows_everything(browser, site):
    visit(browser, site / "horizontal.html", "#task=<b>no</b>&sort=99&attack=__proto__&x=%")
    assert shown(browser).split()[0] == shown(browser).split()[2]
    assert complaints(browser) == []


def test_pareto_only(browser, site):
    visit(browser, site / "horizontal.html", "#pareto=yes")
    marks = browser.execute_script(
        "return [...document.querySelectorAll('#rows tbody tr')].filter(r => !r.hidden).map(r => r.dataset.pareto)"
    )
    assert marks
    assert set(marks) == {"yes"}


def test_every_row_opens_the_command_that_reproduces_it(browser, site):
    visit(browser, site / "horizontal.html", "#task=digits-mlp&q=undefended")
    button = next(b for b in browser.find_elements(By.CSS_SELECTOR, ".again > button") if b.is_displayed())
    button.send_keys(Keys.ENTER)
    opened = browser.find_element(By.CSS_SELECTOR, ".commands:popover-open")
    assert "flab run gradient-leakage --task digits-mlp --attack dlg --defense 'none' --seed 0" in opened.text
    opened.find_element(By.CLASS_NAME, "copy").click()
    browser.execute_async_script("setTimeout(arguments[0], 200)")
    assert opened.find_element(By.CSS_SELECTOR, "[role=status]").text
    opened.find_element(By.CLASS_NAME, "copy").send_keys(Keys.ESCAPE)
    assert not browser.find_elements(By.CSS_SELECTOR, ".commands:popover-open")


def test_downloads_are_there(browser, site):
    visit(browser, site / "horizontal.html")
    for link in browser.find_elements(By.CSS_SELECTOR, "a[download]"):
        target = site / link.get_attribute("href").rsplit("/", 1)[1]
        assert target.stat().st_size > 1000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_and_the_page_fits_a_phone(browser, site, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        visit(browser, site / "horizontal.html")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        sources = browser.execute_async_script(
            "const [image, done] = [document.querySelector('picture img'), arguments[0]];"
            "image.loading = 'eager'; image.decode().then(() => done(image.currentSrc));"
        )
        assert sources.endswith(f"-{scheme}.svg")
        assert browser.execute_script(CONTRAST) == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


# Text below the WCAG AA ratio of 4.5 against the nearest painted ground, as "selector: ratio".
CONTRAST = """
const parse = c => c.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
const bad = new Set();
for (const e of document.querySelectorAll('body *')) {
  if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || !e.checkVisibility()) continue;
  const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
  const ratio = (a + .05) / (b + .05);
  if (ratio < 4.5) bad.add(e.tagName + '.' + e.className + ': ' + ratio.toFixed(2));
}
return [...bad];
"""


def test_hostile_records_run_nothing(browser, tmp_path):
    records, folders = hostile(tmp_path)
    site = tmp_path / "site"
    build(records, folders, site, warnings=[HOSTILE], title=HOSTILE)
    for page in sorted(site.glob("*.html")):
        visit(browser, page)
        assert browser.execute_script("return window.pwned === undefined")
        assert browser.execute_script("return document.scripts.length") == 1
        assert "<script>window.pwned=1</script>" in browser.find_element(By.TAG_NAME, "body").text
        assert not browser.find_elements(By.CSS_SELECTOR, "a[href^='javascript']")
        assert complaints(browser) == []
    visit(browser, site / "horizontal.html")
    chooser = Select(browser.find_element(By.NAME, "attack"))
    chooser.select_by_index(next(i for i, o in enumerate(chooser.options) if HOSTILE[:20] in o.text))
    assert browser.execute_script("return window.pwned === undefined")
    assert HOSTILE[:20] in next(head.text for head in heads(browser) if "MSE" in head.text)
