"""Strict scores carry intervals by video, echoed options are read exactly, hidden gold is no score."""

from __future__ import annotations

import json
import random

import pytest

from evalkit.parse import Parsed, parse
from evalkit.records import AnswerRecord, Metric
from evalkit.stats import macro_average, mean_by_cluster, nested_weights
from evalkit.tasks import Prediction, SubmissionTask
from evalkit.tasks.catalog import task_named
from evalkit.tasks.contract import Average
from evalkit.tasks.metrics import cells_of, sheet_metrics
from evalkit.tasks.scoring import EXPECTED, from_records
from evalkit_tasks.ovobench import AVERAGES
from evalkit_tasks.ovobench.published import BACKWARD, FORWARD, REALTIME, TASKS


def replies(seed: int = 0, *, each: int = 12, expected: int | None = None) -> list[Prediction]:
    """Answers to every sub-task of OVO-Bench on ten videos, right two times in three."""
    draw = random.Random(seed)
    tags = {} if expected is None else {EXPECTED: str(expected)}
    return [
        Prediction(
            f"{task}{number}",
            task,
            "A" if draw.random() < 2 / 3 else "B",
            "A",
            "choice",
            ("x", "y"),
            cluster=f"v{draw.randrange(10)}",
            tags={EXPECTED: str(each)} | tags,
        )
        for task in TASKS
        for number in range(each)
    ]


def strict(predictions: list[Prediction]) -> dict[str, Metric]:
    sheet = task_named("ovobench").score(predictions, "evalkit")
    return {row.name: row for row in sheet_metrics(sheet) if row.score == "strict"}


def test_a_sub_task_has_the_interval_of_its_mean_clustered_by_video() -> None:
    found = replies()
    row = strict(found)["EPM"]
    mine = [one for one in found if one.task == "EPM"]
    wanted = mean_by_cluster([one.response == "A" for one in mine], [one.cluster for one in mine])
    assert (row.low, row.high) == pytest.approx((100 * (wanted.low or 0), 100 * (wanted.high or 0)))
    assert (row.method, row.n, row.answered, row.clusters) == (
        wanted.method, 12, 12, len({one.cluster for one in mine}),
    )  # fmt: skip


def test_the_total_has_the_interval_of_a_mean_of_means_with_videos_resampled() -> None:
    found = replies()
    row = strict(found)["total"]
    groups = nested_weights({"b": BACKWARD, "r": REALTIME, "f": FORWARD})
    wanted = macro_average(
        [one.response == "A" for one in found],
        [one.task for one in found],
        [one.cluster for one in found],
        weights=groups,
    )
    assert row.value == pytest.approx(100 * wanted.value)
    assert (row.low, row.high) == pytest.approx((100 * (wanted.low or 0), 100 * (wanted.high or 0)))
    assert (row.n, row.clusters, row.method) == (len(found), 10, wanted.method)
    assert strict(found)["ovo_avg_brf"].low == row.low


def test_groups_say_how_many_questions_they_are_made_of() -> None:
    rows = strict([*replies()])
    assert (rows["forward"].n, rows["forward"].answered, rows["forward"].coverage) == (36, 36, 1.0)
    assert (rows["ovo_avg_br"].n, rows["ovo_micro_3035"].n) == (108, 144)
    assert rows["ovo_micro_3035"].method == "cr2-logit"


def test_there_is_no_interval_where_questions_without_a_record_count_as_wrong() -> None:
    row = strict(replies(expected=20))["EPM"]
    assert row.n == 20
    assert row.low is None
    assert "no interval" in row.note


def test_nested_averages_become_one_weighted_mean_over_sub_tasks() -> None:
    cells = {next(iter(cell.labels)): cell.weight for cell in cells_of("ovo_avg_brf", AVERAGES)}
    assert cells["EPM"] == pytest.approx(1 / 9)
    assert cells["OCR"] == pytest.approx(1 / 18)
    assert sum(cells.values()) == pytest.approx(1)
    weighted = (
        Average("real", "micro", ("OP", "CR")),
        Average("all", "weighted", ("real", "PO"), (3, 1)),
    )
    assert [(set(cell.labels), cell.weight) for cell in cells_of("all", weighted)] == [
        ({"OP", "CR"}, 0.75),
        ({"PO"}, 0.25),
    ]


@pytest.mark.parametrize("task", ["ovobench", "streamingbench", "longvideobench", "videomme"])
def test_a_benchmark_without_answers_has_no_interval(task: str) -> None:
    rows = task_named(task).metrics(task_named(task).score([], "evalkit"))
    assert rows
    assert all(row.low is None and not row.n for row in rows)


OPTIONS = ("A. Gene activation by Vitamin D.", "B. The answer is C", "C. yes or no", "D. B")


@pytest.mark.parametrize(
    ("reply", "letter", "rule"),
    [
        (OPTIONS[0], "A", "verbatim-option"),
        (f" {OPTIONS[1]}\n", "B", "verbatim-option"),
        (OPTIONS[2], "C", "verbatim-option"),
        (OPTIONS[3], "D", "verbatim-option"),
        ("C", "C", "letter"),
        ("The answer is C", "C", "statement"),
    ],
)
def test_an_option_repeated_word_for_word_is_read_as_its_letter(reply: str, letter: str, rule: str) -> None:
    assert parse("choice", reply, OPTIONS) == Parsed(letter, rule)


def test_a_letter_stays_a_letter_where_options_are_letters() -> None:
    assert parse("choice", "B", ("B", "A", "D", "C")) == Parsed("B", "letter")


def test_of_two_equal_options_neither_is_meant_by_repeating_it() -> None:
    assert not isinstance(parse("choice", "a red ball", ("a red ball", "a red ball")), Parsed)


def test_answers_without_gold_are_no_score_but_a_submission() -> None:
    record = AnswerRecord(
        sample="s", query="q", kind="choice", at=1.0, start=0.0, end=1.0, text="B", tags={"task": "E3E"}
    )
    task = task_named("longvideobench")
    predictions = from_records([record], hidden_gold=True)
    sheet = task.score(predictions, "evalkit")
    assert (sheet.strict.total, sheet.source.total, sheet.n, sheet.answered) == (None, None, 1, 1)
    assert [problem.kind for problem in sheet.problems] == ["hidden-gold"]
    assert all(row.value is None for row in task.metrics(sheet))
    assert isinstance(task, SubmissionTask)
    assert json.loads(*task.submissions(predictions).values()) == {"q": "B"}
