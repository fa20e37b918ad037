"""A board of 10,000 synthetic records: how long it takes to build, what it weighs, and when a browser shows a table.

All three tracks, three hardware profiles, pictures of four victims a cell. It takes minutes, so that it is played only
where ``FLAB_SLOW`` is set. The browser is headless chromium, which opens the pages from the file system at the width of
a desktop; a table is there when its first row has a place on the screen, counted from the start of the navigation.
"""

import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fl_attack_bench import site

sys.path.extend(str(Path(__file__).resolve().parents[2] / "tests" / name) for name in ("site", ""))
import outsourced_records
import synthetic
import vertical_records

pytestmark = pytest.mark.skipif("FLAB_SLOW" not in os.environ, reason="takes minutes; set FLAB_SLOW")
RECORDS, LOADS = 10_000, 5
NETWORKS = ("mlp", "lenet5", "convnet")
MACHINES = ("generic-cpu", "t4", "rtx-2080ti")
# When the first row of a table has a place, in ms since the navigation began.
TABLE = """
const look = () => {
  const row = document.querySelector('table tbody tr');
  if (row && row.getClientRects().length) window.firstTable = performance.now(); else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if not all(found):
        pytest.skip("chromium or chromedriver is absent")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = found[0] or ""
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1360,900"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(found[1]))
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": TABLE})
    yield driver
    driver.quit()


def made(folder: Path) -> tuple[list[Any], dict[str, Path]]:
    """10,000 records: six vertical tasks, five outsourced ones, and horizontal ones for the rest."""
    others = [
        one for i in range(6) for one in vertical_records.board(5, vertical_records.task(f"split-{i}", victims=8))
    ]
    for i in range(5):
        others += outsourced_records.board(5, outsourced_records.task(f"shared-{i}", victims=8))
    tasks = [synthetic.task(f"task-{i}", model=NETWORKS[i % 3], victims=4) for i in range(18)]
    records, pictures = synthetic.board(folder, 5, tasks, hardware=MACHINES)
    return (others + records)[:RECORDS], pictures


def test_a_large_board(benchmark: BenchmarkFixture, browser: Any, tmp_path: Path) -> None:
    records, pictures = made(tmp_path / "pictures")
    assert len(records) == RECORDS
    out = tmp_path / "site"
    benchmark.pedantic(lambda: site.build(records, pictures, out), rounds=1)
    pages = {page.name: page.stat().st_size for page in out.glob("*.html")}
    heaviest = max(pages, key=lambda name: pages[name])
    told: dict[str, Any] = {
        "megabytes": round(sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6, 1),
        "pages": len(pages),
    }
    for name in ("index.html", "horizontal.html", "vertical.html", "outsourced.html", heaviest):
        seconds = [_first_table(browser, out / name) for _ in range(LOADS)]
        told[name] = {"kB": round(pages[name] / 1e3), "first_table_seconds": round(statistics.median(seconds), 3)}
        assert max(seconds) < LOADS
    benchmark.extra_info |= told
    print(f"\n{RECORDS} records: {told}")


def _first_table(browser: Any, page: Path) -> float:
    browser.get("about:blank")
    browser.get(page.as_uri())
    ends = time.monotonic() + 60
    while (shown := browser.execute_script("return window.firstTable")) is None:
        assert time.monotonic() < ends, f"{page.name}: no table"
    return float(shown) / 1e3
