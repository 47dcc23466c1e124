"""Scores of several runs: a column for each model, each score with its own coverage, names instead of ids."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.records import Metric
from evalkit.report.naming import labels_of, short_name, shown_name
from evalkit.report.runs import Run, load_runs
from evalkit.report.summary import group_tables, score_tables
from evalkit_tasks.longvideobench.annotations import CATEGORIES
from evalkit_tasks.mlvu.task import DEV, OPEN, TEST
from evalkit_tasks.ovobench.published import TASKS as OVO
from evalkit_tasks.streamingbench.published import TASKS as SB
from tests.run_folders import manifest, question, write_run


def metric(
    name: str, score: str, value: float | None, n: int | None, answered: int, group: str = "tasks"
) -> Metric:
    coverage = answered / n if n else None
    return Metric.model_validate(
        {"name": name, "group": group, "value": value, "unit": "%", "score": score, "n": n, "answered": answered,
         "coverage": coverage, "clusters": 2}
    )  # fmt: skip


def runs(folder: Path) -> list[Run]:
    import random

    made = []
    for model, answered in (("full", 10), ("stc", 7)):
        metrics = [
            metric("total", "strict", 50.0, 10, answered, ""),
            metric("total", "official", 100.0, 5, 5, ""),
            metric("EPM", "strict", 50.0, 10, answered),
            metric("EPM", "official", 100.0, 5, 5),
            metric("OCR", "strict", None, 0, 0),
            metric("OCR", "official", None, 0, 0),
        ]
        answers = [question(k, random.Random(k), 0.5) for k in range(10)]
        made.append(write_run(folder / model, manifest("ovobench", model), answers=answers, metrics=metrics))
    return load_runs(made)


def test_each_score_has_its_own_coverage_and_a_column_for_each_model(tmp_path: Path) -> None:
    strict, official = group_tables(runs(tmp_path))
    heads = [column.heading for column in strict.columns]
    assert heads == ["Task", "full (%)", "stc (%)", "Coverage full (%)", "Coverage stc (%)", "n", "Videos"]
    assert strict.shown() == [["Episodic memory (EPM)", "50.00", "50.00", "100.00", "70.00", "10", "2"]]
    assert [column.heading for column in official.columns][3:] == ["Coverage (%)", "n", "Videos"]
    assert official.shown() == [["Episodic memory (EPM)", "100.00", "100.00", "100.00", "5", "2"]]


def test_a_sub_task_without_questions_has_no_row_and_a_single_run_one_column_of_values(tmp_path: Path) -> None:
    first = runs(tmp_path)[0]
    assert not any("OCR" in row[0] for table in group_tables([first]) for row in table.shown())
    (table,) = score_tables([first])
    assert [column.heading for column in table.columns][:3] == ["Figure", "Score", "Value (%)"]
    assert [row[1] for row in table.rows] == ["strict", "official"]


@pytest.mark.parametrize(
    ("task", "names"),
    [("ovobench", OVO), ("streamingbench", SB), ("longvideobench", CATEGORIES), ("mlvu", (*DEV, *TEST, *OPEN))],
)
def test_every_sub_task_of_a_benchmark_has_a_name(task: str, names: tuple[str, ...]) -> None:
    assert set(names) <= labels_of(task).keys()


def test_what_has_no_name_is_shown_as_it_is_and_a_task_that_is_not_installed_names_nothing() -> None:
    assert shown_name("EPM", "ovobench") == "Episodic memory (EPM)"
    assert shown_name("EPM", "somebodys-bench") == "EPM"
    assert short_name("my_bench_overall", "my-bench") == "Overall"
