"""A small board that the tests share, and a browser that has no network."""

import shutil

import drawings
import pytest
import synthetic

from fl_attack_bench.site import build


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    """Records and pictures of three tasks: a sound one, one without training, and one that no attack breaks."""
    tasks = (
        synthetic.task(victims=4),
        synthetic.task("still-life", victims=4, trains=False),
        synthetic.task("wide-convnet", model="convnet", victims=4),
    )
    chosen = [synthetic.DEFENSES[place] for place in (0, 2, 3, 6)]
    folder = tmp_path_factory.mktemp("pictures")
    return synthetic.board(folder, 2, tasks, chosen, ("dlg", "idlg"))


@pytest.fixture(scope="session")
def site(material, tmp_path_factory):
    """The built board of `material`, with one record that failed."""
    records, pictures = material
    failed = synthetic.record(
        synthetic.task(victims=4), synthetic.DEFENSES[7], "dlg", 0, "out_of_memory", "asked for 9 GiB of 8"
    )
    out = tmp_path_factory.mktemp("board") / "site"
    build([*records, failed], pictures, out, warnings=["runs/half.json: cut short; skipped"])
    return out


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless chromium; skipped where it or its driver is absent."""
    found = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if not all(found.values()):
        pytest.skip("chromium or chromedriver is absent")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = found["chromium"]
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
        "--window-size=1360,900",
        # Every name resolves to nothing: the page must live without a network.
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(found["chromedriver"]))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture
def undrawn(monkeypatch):
    """Pages without their figures."""
    drawings.leave_out(monkeypatch)


@pytest.fixture
def tasks_drawn(monkeypatch):
    """Of the figures those of tracks and tasks alone."""
    drawings.leave_out_methods(monkeypatch)
