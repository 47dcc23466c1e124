"""Tables: every rendering shows the same digits, and no cell can break out of its form."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest

from evalkit.report.latex import to_latex
from evalkit.report.tables import Column, Estimate, Span, Table, to_csv, to_markdown, to_text

COLUMNS = (
    Column("Model", text=True),
    Column("Score", "%", digits=2, interval=True),
    Column("n"),
    Column("Latency", "s", digits=3),
)
TABLE = Table(
    "Scores of 2 models_a & b",
    COLUMNS,
    (
        ("streaming_vlm", Estimate(64.2049, 60.1, 68.3), 2500, 0.05349),
        ("full", Estimate(-1.005, None, None), 12, None),
    ),
    ("A note with 50 %.",),
    "main",
)


def digits(text: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?", text)


def test_all_four_renderings_show_the_same_digits() -> None:
    expected = ["64.20", "60.10", "68.30", "2500", "0.053", "1.00", "12"]
    for render in (to_text, to_markdown, to_latex, to_csv):
        found = digits(render(TABLE))
        assert [number for number in found if number in expected] == expected, render.__name__


def test_a_missing_number_is_a_dash_and_an_empty_csv_cell() -> None:
    assert "–" in to_text(TABLE).splitlines()[5]
    assert next(csv.reader(io.StringIO(to_csv(TABLE).splitlines()[2]))) == ["full", "-1.00", "", "", "12", ""]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_never_shows_as_one(number: float) -> None:
    table = Table("t", COLUMNS, (("m", Estimate(number, 1.0, 2.0), number, number),))
    for render in (to_text, to_markdown, to_latex, to_csv):
        shown = render(table).lower()
        assert "nan" not in shown
        assert "inf" not in shown
        assert digits(shown) == []


def test_csv_has_three_columns_for_an_interval_and_reads_back() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows[0] == ["Model", "Score (%)", "Score low", "Score high", "n", "Latency (s)"]
    assert rows[1] == ["streaming_vlm", "64.20", "60.10", "68.30", "2500", "0.053"]


def test_latex_has_booktabs_rules_and_escapes_its_specials() -> None:
    latex = to_latex(TABLE)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert latex.count(rule) == 1
    assert r"streaming\_vlm" in latex
    assert r"Scores of 2 models\_a \& b" in latex
    assert r"Score (\%)" in latex
    assert r"\label{tab:main}" in latex
    assert "$-$1.00" in latex


def test_every_latex_row_has_as_many_cells_as_the_heading() -> None:
    hostile = Table("t", COLUMNS, ((r"a & b \\ \input{x} % $y$", Estimate(1.0), 1, 1.0),))
    lines = [line for line in to_latex(hostile).splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {3}
    assert r"\textbackslash{}input\{x\}" in lines[1]


def test_markdown_cells_cannot_add_columns_links_or_html() -> None:
    table = Table("t", (Column("Model", text=True),), (("a|b <img src=x> [x](http://y) `c`\nnew",),))
    row = to_markdown(table).splitlines()[-1]
    assert row == r"| a\|b &lt;img src=x&gt; \[x\](http://y) \`c\` new |"


def test_a_terminal_sees_no_escape_sequence() -> None:
    table = Table("t", (Column("Model", text=True),), (("red\x1b[31m\u202etext\x07",),))
    text = to_text(table)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\x07" not in text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-x", "@sum", "\tx"])
def test_a_spreadsheet_does_not_evaluate_text(text: str) -> None:
    cells = list(csv.reader(io.StringIO(to_csv(Table("t", (Column("Reply", text=True),), ((text,),))))))
    assert cells[1] == [f"'{text}"]


def test_text_columns_align_left_and_numbers_right_with_wide_letters() -> None:
    table = Table("t", (Column("Model", text=True), Column("n")), (("模型", 7), ("long name", 1000)))
    lines = to_text(table).splitlines()
    assert lines[4] == "模型          7"
    assert lines[5] == "long name  1000"


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells in a table of 4 columns"):
        Table("t", COLUMNS, (("m",),))


def test_minus_zero_reads_zero() -> None:
    table = Table("t", (Column("Delta", digits=1),), ((-0.04,),))
    assert to_csv(table).splitlines()[1] == "0.0"


def test_csv_has_one_number_a_cell_and_no_cell_that_a_spreadsheet_takes_for_a_date() -> None:
    columns = (
        Column("Model", text=True),
        Column("Places", span=True),
        Column("Score", "%", 1, interval=True),
        Column("p", digits=4, least=0.0001),
    )
    rows = (("a", Span(1, 2), Estimate(50.0, 40.0, 60.0), 1.234e-7), ("b", None, Estimate(None), 0.25))
    table = Table("", columns, rows)
    assert to_csv(table).splitlines() == [
        "Model,Places from,Places to,Score (%),Score low,Score high,p",
        "a,1,2,50.0,40.0,60.0,1.2e-07",
        "b,,,,,,0.2500",
    ]
    assert table.shown()[0] == ["a", "1-2", "50.0 [40.0, 60.0]", "<0.0001"]
    assert to_markdown(table).splitlines()[2].split("|")[2:5] == [
        "    1-2 ",
        " 50.0 [40.0, 60.0] ",
        " &lt;0.0001 ",
    ]


def test_a_column_in_which_nobody_has_anything_is_shown_to_nobody_but_stays_in_csv() -> None:
    rows = (("full", Estimate(1.0), 2, None), ("", Estimate(None), 3, math.nan))
    table = Table("t", COLUMNS, rows)
    assert [column.name for column in table.without_gaps().columns] == ["Model", "Score", "n"]
    assert "Latency" not in to_text(table)
    assert "Latency" in to_csv(table)
    assert table.without_gaps().shown() == [row[:3] for row in table.shown()]


def test_a_page_turns_a_table_of_many_columns_and_few_rows() -> None:
    columns = (Column("Policy", text=True), *(Column(f"c{place}", "s", digits=1) for place in range(20)))
    table = Table("t", columns, tuple((name, *range(20)) for name in ("full", "stc")), ("A note.",))
    turned = table.for_page()
    assert [column.heading for column in turned.columns] == ["Policy", "full", "stc"]
    assert turned.shown()[3] == ["c3 (s)", "3", "3"]
    assert turned.notes == table.notes
    assert TABLE.for_page().shown() == TABLE.shown()
