"""LaTeX tables: plain characters, at most a text width, and pdflatex takes them where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.report.latex import PACKAGES, to_latex
from evalkit.report.tables import Column, Estimate, Table

MODELS = ("full", "stc", "sliding", "sliding-chunked", "streamingvlm", "recent-16")
WORDS = "generate 59, prefill 21, vision 16, preprocess 2, decode 2"


def wide(rows: int, columns: int = 12, *, notes: int = 2) -> Table:
    """A table of numbers with intervals and a column of words, as the commands print them."""
    headings = [Column("Policy", text=True)]
    headings += [Column(f"First token {k} p50", "s", interval=k % 2 == 0) for k in range(columns)]
    headings += [Column("Stages", "%", text=True)]
    cells = [Estimate(-61.5 + k, -65.25, 70.125) if k % 2 == 0 else 12345.678 for k in range(columns)]
    body = tuple((MODELS[k % len(MODELS)], *cells, WORDS) for k in range(rows))
    said = tuple(f"Note {k}: 95 % intervals, n < 459 & more − “so to say”." for k in range(notes))
    return Table("Latency – behind the clock", tuple(headings), body, said, "clock")


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_a_cell_holds_pdflatex_sees_plain_characters(name: str, note: str) -> None:
    table = Table(note, (Column(name, text=True), Column("n")), ((name, 1),), (note,), name)
    assert to_latex(table).isascii()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("−1 ± 2 ≤ 3 µs", r"$-$1 $\pm$ 2 $\le$ 3 $\mu$s"),
        ("Müller, Łódź, naïve", r"M\"{u}ller, \L{}\'{o}d\'{z}, na\"{\i{}}ve".replace(r"\i{}", "i")),
        ("模型", "{}[U+6A21][U+578B]"),
        ("[a] *b", "{}[a] *b"),
        ("ﬁve ①", "five 1"),
        (r"\input{x} $y$ a_b^c~d", r"\textbackslash{}input\{x\} \$y\$ a\_b\textasciicircum{}c\textasciitilde{}d"),
        ("--model ''x", r"-{}-model '{}'x"),
    ],
)
def test_a_character_that_is_latexs_own_or_unknown_is_written_out(text: str, shown: str) -> None:
    table = Table("t", (Column("Model", text=True), Column("n")), ((text, 1),))
    assert f"    {shown} & 1 \\\\" in to_latex(table).splitlines()


def test_a_table_of_few_models_is_turned_and_its_words_become_a_note() -> None:
    latex = to_latex(wide(2))
    assert latex.count(r"\begin{tabular}") == 1
    assert r"     & full & stc \\" in latex
    assert r"    First token 1 p50 (s) & 12345.678 & 12345.678 \\" in latex
    assert f"Stages (\\%): full: {WORDS}; stc: {WORDS}." in latex


def test_a_table_of_many_rows_is_split_into_blocks_that_name_their_rows_and_goes_on_over_pages() -> None:
    latex = to_latex(wide(100))
    assert len(re.findall(r"    Policy & ", latex)) == latex.count(r"\begin{tabular}") > 1
    assert latex.count("(continued)") == latex.count(r"\begin{table}") - 1 > 0
    assert latex.count(r"\label{tab:clock}") == 1
    assert len(re.findall(rf"^    {MODELS[0]} & ", latex, flags=re.MULTILINE)) % 17 == 0


def test_many_notes_stand_below_the_float_where_they_can_go_over_a_page() -> None:
    assert to_latex(wide(1, notes=3)).rstrip().endswith(r"\end{table}")
    assert to_latex(wide(1, notes=30)).partition(r"\end{table}")[2].count("Note ") == 30


def test_pdflatex_takes_them_and_nothing_runs_into_the_margin(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (Debian: texlive-latex-recommended)")
    tables = [wide(rows, columns) for rows in (1, 3, 6, 60) for columns in (2, 5, 14)]
    letters = [*map(chr, range(33, 0x250)), "≠", "→", "κ", "模", "ﬁ"]
    replies = [" ".join(letters[k : k + 40]) for k in range(0, len(letters), 40)]
    columns = (Column("Reply", text=True), Column("n"))
    tables.append(Table(replies[0], columns, tuple((reply, 1) for reply in replies), tuple(replies)))
    used = "".join(rf"\usepackage{{{name}}}" for name in PACKAGES)
    body = "\n".join(map(to_latex, tables))
    source = f"\\documentclass{{article}}{used}\\begin{{document}}\n{body}\\end{{document}}"
    (tmp_path / "tables.tex").write_text(source, encoding="ascii")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "tables.log").read_text(encoding="latin-1")
    too_wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)]
    assert [points for points in too_wide if points > 3] == []
    assert "Overfull \\vbox" not in log
    assert "Float too large" not in log
    assert "Missing character" not in log
