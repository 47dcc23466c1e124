"""Proactive output is polled until the first yes, then the output is asked for; a resumed run goes on there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_runs import NotingModel, answers, run_all, runner, toy_data

from evalkit.records import AnswerRecord
from evalkit.run.stop import Interrupted
from evalkit.stream import FollowUp, Query, StreamSample
from evalkit.tasks.catalog import task_named
from evalkit.tasks.planned import expect_planned, planned_counts
from evalkit.tasks.scoring import from_records


def proactive(folder: Path, **settings: Any) -> tuple[StreamSample, ...]:
    task = task_named("streamingbench")
    data = folder / "data"
    if not data.exists():
        toy_data("streamingbench", data)
    chosen: dict[str, Any] = {"tasks": ("PO",), **settings}
    return task.load(data, task.settings(**chosen)).samples


def yes_at(poll: int) -> NotingModel:
    """A model that says yes to the poll of that number and to every later one."""

    def reply(key: str, prompt: str) -> str:
        end = key.rpartition("#")[2]
        return "the goal" if end == "output" else "Yes." if int(end) >= poll else "No."

    return NotingModel(reply=reply)


def turns(records: list[AnswerRecord], sample: str) -> list[tuple[str, str, float]]:
    return [(one.query.rpartition("#")[2], one.text, one.at) for one in records if one.sample == sample]


@pytest.mark.parametrize("protocol", ["streaming", "official"])
def test_the_first_yes_ends_the_polls_and_asks_for_the_output_at_that_moment(
    protocol: str, tmp_path: Path
) -> None:
    samples = proactive(tmp_path, protocol=protocol)
    records = run_all(samples, yes_at(3), tmp_path / "run")
    for sample in samples:
        third = sample.queries[2].at
        at = [query.at for query in sample.queries]
        assert turns(records, sample.id) == [
            ("1", "No.", at[0]),
            ("2", "No.", at[1]),
            ("3", "Yes.", third),
            ("output", "the goal", third),
        ]
    output = next(one for one in records if one.query.endswith("#output"))
    assert (output.kind, output.tags["turn"], output.parsed) == ("open", "output", "the goal")
    polls = [one for one in records if one.tags["turn"] == "poll"]
    assert {(one.parsed, one.rule) for one in polls} == {("No", "word"), ("Yes", "word")}


def test_a_model_that_never_says_yes_is_polled_to_the_end_and_has_no_output(tmp_path: Path) -> None:
    samples = proactive(tmp_path)
    records = run_all(samples, yes_at(99), tmp_path / "run")
    assert len(records) == sum(len(sample.queries) for sample in samples)
    assert not any(one.query.endswith("#output") for one in records)


def test_each_official_poll_sees_its_own_clip_from_the_question_on(tmp_path: Path) -> None:
    samples = proactive(tmp_path, protocol="official", frames="fps-1")
    model = yes_at(3)
    run_all(samples[:1], model, tmp_path / "run")
    spans = [(asked.session, float(min(asked.seen)), len(asked.seen)) for asked in model.asked]
    start = samples[0].start
    # The output is asked of the clip that the poll before it saw.
    assert spans == [(0, start, 1), (1, start, 2), (2, start, 3), (2, start, 3)]


@pytest.mark.parametrize("protocol", ["streaming", "official"])
@pytest.mark.parametrize("looks", range(1, 24, 2))
def test_a_run_stopped_anywhere_ends_with_the_same_turns(protocol: str, looks: int, tmp_path: Path) -> None:
    samples = proactive(tmp_path, protocol=protocol)[:1]
    whole = run_all(samples, yes_at(3), tmp_path / "whole")
    with runner(yes_at(3), tmp_path / "broken", stop_after=looks) as (first, _):
        try:
            first.run(samples[0])
        except Interrupted:
            assert len(answers(tmp_path / "broken")) <= len(whole)
    assert run_all(samples, yes_at(3), tmp_path / "broken") == whole


@pytest.mark.parametrize("kept", range(5))
def test_a_run_killed_between_two_turns_asks_what_is_missing_and_no_more(kept: int, tmp_path: Path) -> None:
    samples = proactive(tmp_path)[:1]
    whole = run_all(samples, yes_at(3), tmp_path / "whole")
    lines = (tmp_path / "whole" / "answers.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "answers.jsonl").write_text("".join(lines[:kept]), encoding="utf-8")
    model = yes_at(3)
    assert run_all(samples, model, tmp_path / "broken") == whole
    assert len(model.asked) == len(whole) - kept


def test_both_prompts_score_and_are_told_apart(tmp_path: Path) -> None:
    task = task_named("streamingbench")
    totals = {}
    for proactive_prompt in ("gold-text", "no-gold-text"):
        samples = proactive(tmp_path, proactive=proactive_prompt)
        gold = float(samples[0].queries[0].tags["gold_time"])
        on_time = next(n for n, query in enumerate(samples[0].queries, 1) if query.at == gold)
        records = run_all(samples, yes_at(on_time), tmp_path / proactive_prompt)
        assert {one.tags["proactive"] for one in records} == {proactive_prompt}
        sheet = task.score(from_records(records), "evalkit")
        totals[proactive_prompt] = (sheet.strict.tasks["PO"], sheet.source.tasks["PO"])
        assert sheet.n == sheet.answered == len(samples)
    assert totals == {"gold-text": (100.0, 100.0), "no-gold-text": (100.0, 100.0)}


def test_a_series_of_polls_is_one_planned_question(tmp_path: Path) -> None:
    samples = proactive(tmp_path)
    assert planned_counts(samples) == {"PO": 2}
    (part,) = expect_planned(samples[:1])
    series = part.queries[0].follow_up
    assert series is not None
    assert {query.tags["expected"] for query in (*part.queries, series.query)} == {"1"}


def test_a_word_is_due_in_any_case() -> None:
    series = FollowUp("yes", Query("q#output", at=1.0, prompt="?", kind="open"))
    assert [series.due(reply) for reply in ("YES!", "Well, yes", "no", "")] == [True, True, False, False]
