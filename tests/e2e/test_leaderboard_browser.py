"""The leaderboard page in a real browser: laid out, sorted and filtered, at the width of a desk and of a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.leaderboard import parse_board
from evalkit.leaderboard.board_page import render_html
from evalkit.leaderboard.files import read_board
from evalkit.leaderboard.schema import Leaderboard
from tests.e2e.devtools import Browser, Tab, find_chromium
from tests.e2e.layout import check_layout

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: chromium)")
FOLDER = Path(__file__).parents[2] / "leaderboards"
MEASURED = """{"v": 1, "task": "measured", "title": "Measured", "settings": [
  {"id": "s", "title": "A setting", "primary": "total", "columns": ["total", "a", "b", "c", "d", "e", "f"]}],
 "entries": [%s]}"""
ROW = """{"id": "r%d", "name": "A model of some length, number %d", "setting": "s", "score": "strict",
  "metrics": {"total": %d.5, "a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}, "n": 1640, "coverage": 0.998,
  "clusters": 644, "se": 1.0, "low": %d, "high": %d,
  "source": {"kind": "published", "reference": "A long name (arXiv 2512.00891v2)", "where": "Table 9"}}"""


def measured() -> Leaderboard:
    """Return a board whose rows have everything: interval, n, coverage, parts, places."""
    rows = ", ".join(ROW % (k, k, 40 + 5 * k, 38 + 5 * k, 43 + 5 * k) for k in range(6))
    return parse_board(MEASURED % rows, "measured.json")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(CHROMIUM or "") as running:
        yield running


@pytest.fixture
def tab(browser: Browser, tmp_path: Path) -> Iterator[Tab]:
    boards = [*(read_board(path) for path in sorted(FOLDER.glob("*.json"))), measured()]
    (tmp_path / "index.html").write_text(render_html(boards))
    tab = browser.tab()
    tab.size(1400, 900)
    tab.open((tmp_path / "index.html").as_uri())
    yield tab
    tab.close()


@pytest.mark.parametrize("width", [1400, 420])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_hidden_behind_an_edge_and_rows_are_one_line_high(tab: Tab, width: int, dark: bool) -> None:
    tab.size(width, 900, dark=dark)
    check_layout(tab, width)
    most = 34 if width > 600 else 80  # on a phone a name may take three lines
    assert (
        tab.run(f"[...document.querySelectorAll('tbody tr')].filter((r) => r.offsetHeight > {most}).length") == 0
    )
    paper = tab.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(20, 22, 26)") is dark
    assert tab.console == []
    assert tab.outside() == []


def test_interval_coverage_and_the_drawn_row_are_seen_at_once_on_a_desk(tab: Tab) -> None:
    inside = tab.run(
        """[...document.querySelector('[data-setting="measured-s"] tbody tr').cells].slice(0, 7).every((cell) => {
          const box = cell.closest('.scroll').getBoundingClientRect(), own = cell.getBoundingClientRect();
          return own.width > 0 && own.right <= box.right + 0.5;
        })"""
    )
    assert inside
    row = tab.run("""document.querySelector('[data-setting="measured-s"] tbody tr').innerText""").split("\t")
    said = [part.strip() for part in row]
    assert said[:4] == ["1", "1", "A model of some length, number 5", "65.50 [63.00, 68.00]"]
    assert said[-9:-7] == ["1640", "99.8"]


def test_a_heading_sorts_and_the_filters_leave_what_is_wanted(tab: Tab) -> None:
    first = """document.querySelector('[data-setting="measured-s"] tbody tr td.model').textContent"""
    tab.run("""document.querySelectorAll('[data-setting="measured-s"] th button')[3].click()""")
    tab.run("""document.querySelectorAll('[data-setting="measured-s"] th button')[3].click()""")
    assert tab.run(first) == "A model of some length, number 0"
    tab.run("(() => { const s = document.querySelector('#setting'); s.value = 'measured-s';"
            "s.dispatchEvent(new Event('change')); })()")  # fmt: skip
    assert tab.run("[...document.querySelectorAll('.setting')].filter((p) => p.offsetParent).length") == 1
    assert tab.run("document.querySelector('#count').textContent").startswith("6 of ")
    tab.run("(() => { const f = document.querySelector('#find'); f.value = 'number 3';"
            "f.dispatchEvent(new Event('input')); })()")  # fmt: skip
    assert tab.run("document.querySelector('#count').textContent").startswith("1 of ")
