"""What a narration run says of itself beside its win rate."""

import pytest

from evalkit.records import AnswerRecord
from evalkit.run.finish import coverage_metrics


def narrated(second: int, text: str, status: str = "ok") -> AnswerRecord:
    return AnswerRecord(
        sample="match", query=f"match@{second}", kind="narration", at=second + 1, start=second, end=second + 1,
        text=text, status=status, cluster="match",
    )  # fmt: skip


def test_a_second_without_a_word_is_silent_whatever_marks_it_holds():
    answers = [narrated(0, "Blue scores, 2 - 1"), narrated(1, "..."), narrated(2, ""), narrated(3, "", "failed")]
    metrics = {metric.name: metric for metric in coverage_metrics(answers)}
    assert metrics["coverage"].value == pytest.approx(3 / 4)
    assert metrics["silent_seconds"].value == pytest.approx(2 / 3)
    assert metrics["words_per_second"].value == pytest.approx(4 / 3)
    assert "dropped_seconds" not in metrics


def test_a_second_that_was_dropped_is_not_answered_and_no_silence_of_the_model():
    answers = [
        narrated(0, "Blue scores"),
        narrated(1, "..."),
        narrated(2, "", "dropped"),
        narrated(3, "", "dropped"),
    ]
    metrics = {metric.name: metric for metric in coverage_metrics(answers)}
    assert (metrics["coverage"].value, metrics["coverage"].answered, metrics["coverage"].n) == (0.5, 2, 4)
    assert metrics["silent_seconds"].value == 0.5
    assert metrics["dropped_seconds"].value == 0.5
