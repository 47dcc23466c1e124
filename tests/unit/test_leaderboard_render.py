"""Ranks, Markdown and HTML."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evalkit.cli.main import main
from evalkit.errors import DataError
from evalkit.leaderboard.board_page import render_html, source_link
from evalkit.leaderboard.files import read_board, write_board
from evalkit.leaderboard.ranking import rank_rows
from evalkit.leaderboard.render import BEGIN, END, into_readme, render_markdown
from evalkit.leaderboard.schema import Entry, Leaderboard, PublishedSource, Setting

FOLDER = Path(__file__).parents[2] / "leaderboards"
HOSTILE = "</td><script>alert(1)</script><img src=https://evil.example/x.png>"


def entry(id_: str, total: float | None, **changes) -> Entry:
    values = {"name": id_, "setting": "s", "score": "official", "source": PublishedSource(reference="paper")}
    return Entry(id=id_, metrics={"total": total}, **{**values, **changes})


def board(*entries: Entry) -> Leaderboard:
    setting = Setting(id="s", title="A setting", primary="total", columns=("total",))
    return Leaderboard(task="t", title="T", coverage_floor=0.99, settings=(setting,), entries=entries)


def ranks(*entries: Entry) -> dict[str, int | None]:
    one = board(*entries)
    return {row.entry.id: row.rank for row in rank_rows(one, one.settings[0])}


def test_rows_are_ranked_by_the_primary_metric_and_equal_values_share_a_place():
    assert ranks(entry("a", 1.0), entry("b", 3.0), entry("c", 3.0), entry("d", 2.0)) == {
        "b": 1,
        "c": 1,
        "d": 3,
        "a": 4,
    }


def test_a_row_below_the_coverage_floor_is_listed_last_without_a_rank():
    one = board(entry("low", 99.0, coverage=0.9899), entry("full", 10.0, coverage=0.99))
    rows = rank_rows(one, one.settings[0])
    assert [(row.entry.id, row.rank) for row in rows] == [("full", 1), ("low", None)]
    assert rows[1].unranked == "coverage 98.9 % is below 99 %"


def test_a_row_of_unknown_setting_or_without_the_metric_has_no_rank():
    found = ranks(entry("a", 1.0, comparable=False, note="frames unknown"), entry("b", None), entry("c", 0.0))
    assert found == {"c": 1, "a": None, "b": None}


def test_why_a_row_is_not_ranked_stands_below_the_table():
    text = render_markdown([board(entry("a", 1.0, coverage=0.5, note="half of it"))])
    assert "a: not ranked: coverage 50.0 % is below 99 %; half of it." in text


def test_the_interval_stands_with_the_primary_metric():
    assert "50.00 [48.00, 52.00]" in render_markdown([board(entry("a", 50.0, low=48.0, high=52.0))])


def test_only_what_stands_between_the_markers_is_replaced():
    old = f"my words\n{BEGIN}\nold\n{END}\nmore words\n"
    new = into_readme(old, "tables", "README.md")
    assert new == f"my words\n{BEGIN}\n\ntables\n\n{END}\nmore words\n"
    assert into_readme(new, "tables", "README.md") == new


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_readme_without_both_markers_is_refused(text):
    with pytest.raises(DataError, match="add them"):
        into_readme(text, "tables", "README.md")


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[tuple[str, str]] = []
        self.cells: list[str] = []
        self._open = False

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._open = tag == "td" or (self._open and tag in ("span", "a"))
        self.addresses += [(tag, value) for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_data(self, data):
        if self._open:
            self.cells.append(data)

    def handle_endtag(self, tag):
        self._open = False


def page_of(*boards: Leaderboard) -> _Page:
    page = _Page()
    page.feed(render_html(boards))
    return page


def test_names_from_files_show_as_text_in_html():
    page = page_of(board(entry("a", 1.0, name=HOSTILE, note=HOSTILE)))
    assert page.tags.count("script") == 2, "colours and program"
    assert "img" not in page.tags
    assert HOSTILE in page.cells


def test_names_from_files_cannot_break_a_markdown_table():
    text = render_markdown([board(entry("a", 1.0, name="x | y\nz <b>"))])
    assert r"x \| y z &lt;b&gt;" in text


def test_the_page_asks_nobody_for_anything():
    page = page_of(*(read_board(path) for path in sorted(FOLDER.glob("*.json"))))
    assert all(address.startswith(("#", "data:,")) for tag, address in page.addresses if tag != "a")
    assert all(address.startswith(("#", "https://")) for tag, address in page.addresses if tag == "a")
    text = render_html([board(entry("a", 1.0))])
    assert "default-src 'none'" in html.unescape(text)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest", text)


def test_the_page_needs_no_javascript_for_its_cells():
    page = page_of(board(entry("a", 12.5, name="model a")))
    assert "model a" in page.cells
    assert "12.50" in page.cells


def test_the_same_files_give_the_same_bytes():
    boards = [read_board(path) for path in sorted(FOLDER.glob("*.json"))]
    assert render_html(boards) == render_html(boards)
    assert render_markdown(boards) == render_markdown(boards)


def test_the_committed_tables_are_those_of_the_committed_files(capsys):
    assert main(["leaderboard", "render", "--check", "--leaderboards", str(FOLDER)]) == 0


def test_render_writes_both_files_and_check_notices_a_change(tmp_path, capsys):
    write_board(tmp_path / "t.json", board(entry("a", 1.0)))
    command = ["leaderboard", "render", "--leaderboards", str(tmp_path)]
    assert main([*command, "--check"]) == 1
    assert main(command) == 0
    assert main([*command, "--check"]) == 0
    write_board(tmp_path / "t.json", board(entry("a", 2.0)))
    assert main([*command, "--check"]) == 1
    assert "README.md is out of date" in capsys.readouterr().out


def test_render_without_any_leaderboard_is_one_line(tmp_path, capsys):
    assert main(["leaderboard", "render", "--leaderboards", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_places_are_what_the_errors_leave_open_for_all_rows_together():
    rows = [
        entry("a", 80.0, se=1.0, clusters=50),
        entry("b", 78.0, se=1.0, clusters=50),
        entry("c", 60.0, se=1.0, clusters=50),
        entry("published", 79.0),
    ]
    one = board(*rows)
    places = {row.entry.id: row.places for row in rank_rows(one, one.settings[0])}
    # The published row has no error: it may stand anywhere, and takes a place from nobody.
    assert places == {"a": (1, 3), "b": (1, 3), "c": (3, 4), "published": None}


def test_errors_of_few_videos_leave_more_places_open():
    few = board(entry("a", 80.0, se=2.0, clusters=3), entry("b", 74.0, se=2.0, clusters=3))
    many = board(entry("a", 80.0, se=2.0, clusters=60), entry("b", 74.0, se=2.0, clusters=60))
    assert [row.places for row in rank_rows(few, few.settings[0])] == [(1, 2), (1, 2)]
    assert [row.places for row in rank_rows(many, many.settings[0])] == [(1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("source", "link"),
    [
        ({"reference": "STC (arXiv 2512.00891v2)", "where": "Table 3"}, "https://arxiv.org/abs/2512.00891v2"),
        ({"reference": "LiveCC (showlab/livecc, fdaa91e)"}, "https://github.com/showlab/livecc/tree/fdaa91e"),
        ({"reference": "somebody/something"}, ""),
        ({"reference": "arXiv 2512.00891", "url": "https://example.org/x"}, "https://example.org/x"),
    ],
)
def test_a_published_row_links_to_what_its_reference_names_and_to_nothing_guessed(source, link):
    assert source_link(PublishedSource(**source)) == link


def test_an_address_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="url"):
        PublishedSource(reference="x", url="javascript:alert(1)")


def test_every_row_is_drawn_on_the_axis_of_its_table_with_its_interval():
    text = render_html([board(entry("a", 60.0, low=50.0, high=70.0), entry("b", 80.0))])
    assert text.count("<circle") == 2
    assert text.count('class="spread"') == 1
    assert ">50 to 80<" in text
    assert 'x1="8.0" x2="97.3"' in text, "from the left end to two thirds of the axis"


def test_a_column_of_which_nothing_is_known_is_left_out_of_the_page():
    assert ">n<" not in render_html([board(entry("a", 60.0))])
    assert ">n<" in render_html([board(entry("a", 60.0, n=7))])
