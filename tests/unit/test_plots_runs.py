"""Plots: every kind writes its files, the same runs give the same bytes, and what is missing is said."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from evalkit.errors import UsageError
from evalkit.report import figures
from evalkit.report.figures import frontier
from evalkit.report.plots import PLOT_KINDS, draw_plot, plot_runs
from evalkit.report.runs import load_runs
from evalkit.report.tables import Estimate
from tests.run_folders import manifest, narration_run, question_run, write_run


@pytest.fixture(scope="module")
def narrated(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("narrated")
    return [narration_run(folder / model, model, seconds=90) for model in ("streamingvlm", "full")]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("asked")
    return [question_run(folder / model, model) for model in ("streamingvlm", "full")]


def runs_for(kind: str, narrated: list[Path], asked: list[Path]) -> list[Path]:
    return asked if kind in ("accuracy", "coverage", "pareto") else narrated


@pytest.fixture(scope="module")
def drawn(
    narrated: list[Path], asked: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("drawn")
    return {kind: plot_runs(runs_for(kind, narrated, asked), kind, folder) for kind in PLOT_KINDS}


@pytest.mark.parametrize("kind", PLOT_KINDS)
def test_the_same_runs_give_the_same_bytes(
    kind: str, narrated: list[Path], asked: list[Path], drawn: dict[str, list[Path]], tmp_path: Path
) -> None:
    again = plot_runs(runs_for(kind, narrated, asked), kind, tmp_path)
    assert [path.name for path in again] == [f"{kind}.{e}" for e in ("pdf", "svg", "png", "csv", "caption.txt")]
    for one, other in zip(drawn[kind], again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.parametrize("kind", PLOT_KINDS)
def test_a_figure_is_one_column_wide_dated_by_nothing_and_says_n(kind: str, drawn: dict[str, list[Path]]) -> None:
    pdf, svg, png, table, caption = drawn[kind]
    with Image.open(png) as image:
        assert image.width == round(3.35 * 300)
    assert b"CreationDate" not in pdf.read_bytes()
    assert "<dc:date>" not in svg.read_text()
    assert "n" in caption.read_text().replace(":", " ").replace("=", " ").split()
    rows = list(csv.reader(table.open()))
    assert len(rows) > 1
    assert {len(row) for row in rows} == {len(rows[0])}


def test_the_data_beside_the_accuracy_plot_are_the_metrics(drawn: dict[str, list[Path]]) -> None:
    rows = [row for row in csv.DictReader(drawn["accuracy"][3].open()) if row["Model"] == "full"]
    assert [row["Group"] for row in rows] == ["overall", "OCR", "ACR", "EPM", "ASI", "REC"]
    assert float(rows[0]["Strict low"]) == pytest.approx(float(rows[0]["Strict (%)"]) - 5)
    assert float(rows[0]["Official (%)"]) == pytest.approx(float(rows[0]["Strict (%)"]) + 2)


def test_judging_by_word_overlap_is_marked_where_its_figures_stand(drawn: dict[str, list[Path]]) -> None:
    for kind in ("winrate", "bias"):
        assert "not an LLM" in drawn[kind][4].read_text()


@pytest.mark.parametrize("kind", ["winrate", "bias"])
def test_a_run_that_was_not_judged_has_no_win_rate_to_draw(kind: str, asked: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"nothing to draw for '{kind}'.*judge the run first"):
        plot_runs(asked, kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", PLOT_KINDS)
def test_an_empty_run_has_nothing_to_draw(kind: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", manifest("inf-streams", "full"), metrics=None)
    with pytest.raises(UsageError, match=f"nothing to draw for '{kind}'"):
        plot_runs([run], kind, tmp_path / "out")


def test_scores_of_a_run_under_way_are_not_drawn(tmp_path: Path) -> None:
    run = question_run(tmp_path / "run", status="running", finished=None)
    with pytest.raises(UsageError, match=r"still running.*scores are withheld"):
        plot_runs([run], "accuracy", tmp_path / "out")


def test_win_rates_against_different_baselines_share_no_axis(narrated: list[Path], tmp_path: Path) -> None:
    other = shutil.copytree(narrated[0], tmp_path / "other")
    verdicts = other / "verdicts.jsonl"
    verdicts.write_text(verdicts.read_text().replace('"baseline_name":"baseline"', '"baseline_name":"another"'))
    with pytest.raises(UsageError, match=r"vs another.*same baseline|vs baseline.*same baseline"):
        plot_runs([narrated[1], other], "pareto", tmp_path / "out")
    assert plot_runs(narrated, "pareto", tmp_path / "out")


def test_an_unknown_kind_is_answered_with_a_suggestion(asked: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'winrate'"):
        plot_runs(asked, "winrates", tmp_path)


def test_the_frontier_holds_only_what_nothing_beats() -> None:
    assert frontier([(3, 50), (1, 40), (2, 30), (4, 50)]) == [(1, 40), (3, 50)]


_NUMBER = re.compile(r"[\d.\u2212-]*")


def beyond_the_edges(figure: Figure) -> list[str]:
    """Return the words of a figure that are cut at its edges."""
    figure.canvas.draw()
    inside = figure.bbox.padded(1.0)
    # Ticks beyond the end of an axis keep their numbers and are not drawn.
    shown = [
        text for text in figure.findobj(Text) if text.get_visible() and not _NUMBER.fullmatch(text.get_text())
    ]
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    return [
        name
        for name, box in boxes
        if box.x0 < inside.x0 or box.x1 > inside.x1 or box.y0 < inside.y0 or box.y1 > inside.y1
    ]


@pytest.mark.parametrize("kind", ["accuracy", "latency", "pareto", "coverage", "winrate", "bias"])
def test_no_word_of_a_plot_is_cut_however_long_the_names(kind: str, tmp_path: Path) -> None:
    names = ("recent-16", "streamingvlm-of-a-name-as-long-as-a-line", "a", "stc-cacher-and-pruner")
    make = narration_run if kind in ("winrate", "bias") else question_run
    runs = load_runs([make(tmp_path / name, name) for name in names])
    plot = draw_plot(runs, kind)
    assert beyond_the_edges(plot.figure) == []


def test_marks_at_the_ends_of_an_axis_are_whole_and_labels_leave_the_bars_room(tmp_path: Path) -> None:
    rows = [figures.Bar("m", "Mean of backward, real-time and forward", Estimate(100.0, 90.0, 100.0), mark=100.0)]
    figure, (axis,) = figures.new_figure(1.5)
    figures.bars(axis, rows, label="Score (%)")
    axis.set_xlim(0, 100)
    figure.canvas.draw()
    diamonds = [line for line in axis.lines if line.get_marker() == "D"]
    assert diamonds
    assert not any(line.get_clip_on() for line in diamonds)
    assert axis.get_window_extent().width > 0.55 * figure.bbox.width
    assert beyond_the_edges(figure) == []


def test_scores_that_are_all_none_start_at_none_and_a_long_label_is_folded_to_its_axis() -> None:
    zero = {name: (Estimate(cost), Estimate(0.0)) for name, cost in (("a", 1.0), ("b", 2.0))}
    figure, axes = figures.new_figure(3.0, 2)
    label = "Win rate vs sliding-chunked (%), judge overlap (not an LLM)"
    figures.points(axes[0], zero, labels=("Time (s)", label), named=False)
    assert axes[0].get_ylim()[0] == 0
    figure.canvas.draw()
    words = axes[0].yaxis.label
    assert words.get_text().split() == label.split()
    assert words.get_window_extent().height <= figure.bbox.height / 2
    assert beyond_the_edges(figure) == []
