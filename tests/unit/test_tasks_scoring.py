"""Strict scoring over predictions, with hand-worked numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.errors import DataError
from evalkit.records import AnswerRecord, JsonlWriter, RunFolder, RunManifest
from evalkit.tasks import Prediction, Scores
from evalkit.tasks.metrics import sheet_metrics
from evalkit.tasks.replies import read_runs
from evalkit.tasks.scoring import (
    ABSENT,
    EXPECTED,
    Average,
    Scored,
    Tally,
    absent,
    average,
    duplicate_problems,
    expected_counts,
    from_records,
    make_scores,
    make_sheet,
    mark,
    percent,
    sheet_to_json,
    tally,
)
from tests.growth import LINEAR, growth


def says(id_: str, response: str | None, gold: str = "A", task: str = "X") -> Prediction:
    return Prediction(id_, task, response, gold, "choice", ("u", "v", "w", "x"), f"video-{task}")


def test_missing_and_unread_replies_are_wrong_and_counted() -> None:
    marks = mark([says("1", "A"), says("2", "B"), says("3", None), says("4", "A or B")])
    assert [(m.answered, m.correct, m.reason) for m in marks] == [
        (True, True, ""),
        (True, False, ""),
        (False, False, "missing"),
        (False, False, "no-statement"),
    ]
    assert tally(marks, {"X": 10}) == {"X": Tally(10, 2, 1)}


def test_two_equal_answers_count_once_and_two_different_ones_not_at_all() -> None:
    marks = mark([says("1", "A"), says("1", "The answer is A."), says("2", "A"), says("2", "B")])
    assert [(m.id, m.correct, m.reason) for m in marks] == [("1", True, ""), ("2", False, "contradiction")]
    problems = duplicate_problems([says("1", "A"), says("1", "A"), says("2", "A"), says("2", "B"), says("3", "A")])
    assert [(found.item, "different" in found.message) for found in problems] == [("1", False), ("2", True)]


def test_an_open_answer_is_compared_without_case() -> None:
    found = Prediction("1", "X", " Red Ball ", "red ball", "open")
    assert mark([found])[0].correct


def test_a_denominator_is_never_smaller_than_what_was_read() -> None:
    assert tally(mark([says("1", "A"), says("2", "A")]), {"X": 1}) == {"X": Tally(2, 2, 2)}


def test_averages_have_their_names_and_are_none_where_a_part_is_missing() -> None:
    counts = {"p": Tally(4, 4, 1), "q": Tally(1, 1, 1)}
    rules = (
        Average("small", "micro", ("p", "q")),
        Average("macro", "macro", ("p", "q")),
        Average("both", "weighted", ("small", "macro"), (3, 1)),
        Average("more", "micro", ("p", "r")),
        Average("all", "macro", ("both", "more")),
    )
    scores = make_scores(("p", "q", "r"), counts, rules, "all")
    assert scores.tasks == {"p": 25.0, "q": 100.0, "r": None}
    assert scores.groups == {"small": 40.0, "macro": 62.5, "both": 45.625, "more": None, "all": None}
    assert scores.total is None
    assert average(rules[3], {}, {}) is None
    assert percent(0, 0) is None


def test_expected_counts_come_from_the_data_where_it_was_given() -> None:
    tagged = Prediction("1", "X", "A", "A", "choice", tags={EXPECTED: "6"})
    assert expected_counts([tagged], {"X": 300, "Y": 5}) == {"X": 6, "Y": 5}
    assert absent(Prediction("1", "X", None, "A", "choice", tags={ABSENT: "1"}))


def sheet() -> dict[str, object]:
    marks = mark([says("1", "A"), says("2", None)])
    counts = tally(marks, {"X": 4})
    scores = make_scores(("X", "Y"), counts, (), None)
    made = make_sheet(
        task="t",
        format="f",
        source=Scored(Scores({"X": 100.0, "Y": None}, {}, None), {"X": Tally(1, 1, 1)}),
        strict=Scored(scores, counts),
        marks=marks,
    )
    rows = {(row.name, row.score): row for row in sheet_metrics(made)}
    strict = rows["X", "strict"]
    assert (strict.value, strict.n, strict.answered, strict.coverage, strict.clusters) == (25.0, 4, 1, 0.25, 1)
    assert rows["X", "official"].n == 1
    assert rows["total", "strict"].value is None
    assert rows["Y", "strict"].n == 0
    return sheet_to_json(made)


def test_a_sheet_is_json_with_counts_beside_every_score() -> None:
    found = sheet()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found)[:7] == ["task", "format", "n", "answered", "coverage", "source", "strict"]
    assert (found["n"], found["answered"], found["coverage"]) == (4, 1, 0.25)
    assert found["strict"] == {"tasks": {"X": 25.0, "Y": None}, "groups": {}, "total": None}
    assert found["problems"] == [
        {"kind": "incomplete", "message": "X: 1 of 4 questions have a readable answer", "item": "X"}
    ]


def record(**changes: object) -> AnswerRecord:
    base = {"sample": "s", "query": "q", "kind": "choice", "at": 3.0, "start": 0.0, "end": 3.0, "text": "A"}
    return AnswerRecord.model_validate({**base, "gold": "A", "tags": {"task": "X"}, **changes})


def test_the_answers_of_a_run_become_predictions_and_a_failed_one_has_no_reply() -> None:
    found = from_records([record(), record(query="r", status="failed", error="x"), record(kind="narration")])
    assert [(one.id, one.response, one.tags["at"]) for one in found] == [("q", "A", "3.0"), ("r", None, "3.0")]


@pytest.mark.parametrize("changes", [{"gold": None}, {"tags": {}}])
def test_an_answer_without_gold_or_sub_task_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(DataError, match="no gold or no sub-task"):
        from_records([record(**changes)])


def test_marking_grows_in_proportion_to_the_answers() -> None:
    replies = ("A", "The answer is B.", "C. the red one", "A man throws the ball.", "")

    def marked(count: int) -> Callable[[], object]:
        predictions = [says(str(i), replies[i % 5]) for i in range(count)]
        return lambda: tally(mark(predictions), {})

    assert growth(marked, 1000) < LINEAR


def test_a_run_folder_is_read_as_predictions(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    digest = {"options": {}, "fingerprint": {}, "fingerprint_digest": "x"}
    folder.write_manifest(RunManifest(task="t", model="m", started="2025-03-01T10:00:00Z", **digest))
    with JsonlWriter(folder.answers_path) as answers:
        for one in (record(), record(query="r", text="B")):
            answers.append(one)
    assert [(one.id, one.response) for one in read_runs("t", [folder.path]).predictions] == [
        ("q", "A"),
        ("r", "B"),
    ]
    with pytest.raises(DataError):
        read_runs("t", [tmp_path])
