"""LiveSports-3K: published votes and captions give the published figures; events, pairs and readings of votes."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from toy_runs import NotingModel, run_all, toy_data

from evalkit.errors import DataError, UsageError
from evalkit.judge import LIVESPORTS_PROMPT, ParsedVote, parse_commentary, read_votes, summarise_votes
from evalkit.records import AnswerRecord
from evalkit.stream import FrameSchedule
from evalkit.tasks import NarrationTask, WindowedTask
from evalkit.tasks.catalog import task_named
from evalkit.tasks.metrics import sheet_metrics
from evalkit_tasks.livesports import LiveSportsCcSettings
from evalkit_tasks.livesports.captions import captions_of_run, read_captions, says_nothing
from evalkit_tasks.livesports.events import query_of, read_events

PUBLISHED = Path(
    os.environ.get("EVALKIT_PUBLISHED_DIR", Path(__file__).parents[2] / ".." / "shared" / "published")
)
FOLDER = PUBLISHED / "livesports3k"
VOTES = FOLDER / "GPT-4o_LiveCC-7B-Base.jsonl"
published = pytest.mark.skipif(not VOTES.is_file(), reason=f"{VOTES} is not there")
CC = task_named("livesports-cc")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_data("livesports-cc", tmp_path_factory.mktemp("cc") / "data", seconds=40)


@published
def test_published_votes_give_the_published_win_rate_in_any_order_of_rows(tmp_path: Path) -> None:
    rows = VOTES.read_text().splitlines()
    random.Random(0).shuffle(rows)
    shuffled = tmp_path / VOTES.name
    shuffled.write_text("\n".join(rows))
    for file in (VOTES, shuffled):
        predictions, problems = CC.read_predictions("livecc", [file], None)
        sheet = CC.score(predictions, "livecc")
        assert (problems, sheet.problems, sheet.n, sheet.answered) == ([], (), 1702, 1702)
        assert sheet.source.total == pytest.approx(47.2092, abs=5e-5)
        found = {name: round(value or 0, 2) for name, value in sheet.source.groups.items()}
        assert (found["as_first"], found["as_second"], found["consistency"]) == (64.69, 29.73, 62.69)
        assert (sheet.facts["both_won"], sheet.facts["both_lost"], sheet.facts["ties"]) == (486, 581, 0)
        row = next(row for row in sheet_metrics(sheet) if row.score == "strict" and row.name == "total")
        assert (row.low, row.high) == pytest.approx((45.0, 49.4), abs=0.06)
        assert row.clusters == 416
    assert summarise_votes(read_votes(VOTES, "livecc")).to_json()["win_rate_ties_lost"] == pytest.approx(
        0.472092, abs=5e-7
    )


@published
def test_the_judge_file_is_the_official_layout(tmp_path: Path) -> None:
    sheets = [CC.score(CC.read_predictions(name, [VOTES], None)[0], name) for name in ("official", "livecc")]
    assert sheets[0].source == sheets[1].source


@published
def test_some_of_the_votes_are_named_and_a_tie_is_lost(tmp_path: Path) -> None:
    rows = [json.loads(row) for row in VOTES.read_text().splitlines()[:100]]
    part = tmp_path / VOTES.name
    part.write_text("\n".join(map(json.dumps, rows)))
    predictions, problems = CC.read_predictions("livecc", [part], None)
    before = CC.score(predictions, "livecc")
    assert [problem.kind for problem in problems] == ["missing"]
    won = next(row for row in rows if row["ab_winner"] == "LiveCC-7B-Base")
    won["ab_winner"] = "tie"
    part.write_text("\n".join(map(json.dumps, rows)))
    after = CC.score(CC.read_predictions("livecc", [part], None)[0], "livecc")
    assert before.source.total is not None
    assert after.source.total == pytest.approx(before.source.total - 0.5)
    assert after.strict.total == pytest.approx(before.source.total - 0.25)
    twice = tmp_path / VOTES.name
    twice.write_text("\n".join(map(json.dumps, [*rows, rows[0]])))
    with pytest.raises(DataError, match="was judged in line 1 already"):
        CC.read_predictions("livecc", [twice], None)


@published
def test_a_renamed_judge_file_is_told_by_the_published_baseline(tmp_path: Path) -> None:
    renamed = tmp_path / "votes.jsonl"
    renamed.write_text(VOTES.read_text())
    predictions, problems = CC.read_predictions("livecc", [renamed], None)
    assert CC.score(predictions, "livecc").source.total == pytest.approx(47.2092, abs=5e-5)
    assert "who stood first" in problems[0].message


@published
def test_captions_that_are_only_dots_are_named_and_counted() -> None:
    predictions, problems = CC.read_predictions("captions", [FOLDER / "captions_LiveCC-7B-Base.jsonl"], None)
    sheet = CC.score(predictions, "captions")
    assert (sheet.n, sheet.facts["silent"], sheet.source.total) == (1702, 166, None)
    assert [problem.kind for problem in problems] == ["silent"]
    assert "about 166 events" in problems[0].message
    baseline = CC.score(CC.read_predictions("captions", [FOLDER / "captions_GPT-4o.jsonl"], None)[0], "captions")
    assert (round(baseline.facts["mean_words"], 1), baseline.facts["videos"]) == (323.0, 416)


@pytest.mark.parametrize(
    ("reply", "slot"),
    [
        ("Commentary A is better aligned with the human commentary", "first"),
        ('"Commentary B is better aligned with the human commentary."', "second"),
        ("**Commentary B**", "second"),
        ("Commentary B is better than Commentary A", "second"),
        ("Both are fine.\nCommentary A is better aligned with the human commentary.", "first"),
        ("<think>Commentary A</think>Commentary B", "second"),
        ("Commentary A and Commentary B are alike", None),
        ("Neither", None),
        ("", None),
    ],
)
def test_a_vote_is_the_commentary_named_as_better_and_nothing_is_guessed(reply: str, slot: str | None) -> None:
    read = parse_commentary(reply)
    assert (read.slot if isinstance(read, ParsedVote) else None) == slot


def test_the_judge_is_asked_in_livecc_s_words_without_a_system_text() -> None:
    (message,) = LIVESPORTS_PROMPT.messages("human", "ours", "theirs")
    assert message["role"] == "user"
    assert (
        "\n---Commentary A---\nours\n----------\n\n---Commentary B---\ntheirs\n----------\n" in message["content"]
    )
    assert message["content"].endswith('or "Commentary B is better aligned with the human commentary".\n')
    assert CC.judge_prompt is LIVESPORTS_PROMPT  # type: ignore[attr-defined]


def test_events_are_samples_with_livecc_s_query_and_time_from_the_event(data: Path) -> None:
    assert isinstance(CC, NarrationTask)
    assert isinstance(CC, WindowedTask)
    assert CC.check(data).problems == ()
    samples = CC.load(data, LiveSportsCcSettings()).samples
    assert [sample.id for sample in samples] == [f"demo_match_{m}_{e}" for m in ("07", "11") for e in (1, 2)]
    second = samples[1]
    assert (second.start, second.end, second.cluster) == (20.25, 30.0, "demo_match_07")
    narration = second.narration
    assert narration is not None
    assert narration.time_origin == 20.25
    title, said = second.tags["title"], read_events(data).rows[second.id].preasr_text
    assert narration.instruction == (
        "You are an expert video commentator providing real-time, insightful, and engaging commentary on visual "
        f'content.\nThis is a video titled "{title}".\nHere is previous commentary of the video:\n\n{said}\n\n'
        "Please continue to comment the video."
    )
    assert len(FrameSchedule(second.start, second.end, second.fps)) == 10
    row = read_events(data).rows[samples[0].id]
    base = query_of(row, LiveSportsCcSettings(query="base", previous_text="turn"))
    assert base == title
    turn = CC.load(data, LiveSportsCcSettings(previous_text="turn", time_stamps="file")).samples[1].narration
    assert turn is not None
    assert (turn.previous_text, turn.time_origin) == (said, 0.0)
    assert "previous commentary" not in turn.instruction


def test_seconds_are_joined_as_livecc_joins_them_and_failed_events_are_left_out() -> None:
    def second(sample: str, at: int, text: str, status: str = "ok") -> AnswerRecord:
        times = {"at": at + 1.0, "start": float(at), "end": at + 1.0}
        return AnswerRecord(
            sample=sample, query=f"{sample}@{at}", kind="narration", text=text, status=status, **times
        )  # type: ignore[arg-type]

    records = [
        second("a_b_3", 1, "and more ..."),
        second("a_b_3", 0, "A goal ..."),
        second("a_b_3", 2, " ..."),
        second("a_b_4", 0, " ..."),
        second("a_b_5", 0, "x", "failed"),
    ]
    captions = captions_of_run(records)
    assert {id_: one.text for id_, one in captions.items()} == {"a_b_3": "A goal and more...", "a_b_4": "..."}
    assert (captions["a_b_3"].video, captions["a_b_3"].event, captions["a_b_3"].end) == ("a_b", 3, 3.0)


@pytest.mark.parametrize(
    ("text", "silent"), [("...", True), ("", True), (" … ", True), ("go...", False), (".", True)]
)
def test_dots_alone_say_nothing(text: str, silent: bool) -> None:
    assert says_nothing(text) is silent


def test_captions_in_another_order_or_twice_are_matched_by_event(tmp_path: Path) -> None:
    rows = [{"video_id": "v", "event_id": e, "begin": 0.0, "end": 9.0, "pred": f"text {e}"} for e in (3, 1, 2)]
    path = tmp_path / "captions.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, {**rows[0], "pred": "other"}, {"video_id": "v"}])))
    captions, problems = read_captions(path)
    assert sorted(captions) == ["v_1", "v_2", "v_3"]
    assert captions["v_3"].text == "text 3"
    assert [problem.kind for problem in problems] == ["duplicate", "bad-row"]


def test_a_run_is_judged_not_scored() -> None:
    with pytest.raises(UsageError, match="evalkit judge RUN --against"):
        CC.read_predictions("evalkit", [Path()], None)


def test_questions_are_asked_of_their_span_by_logits_or_words(tmp_path: Path) -> None:
    task = task_named("livesports-qa")
    folder = toy_data("livesports-qa", tmp_path / "data")
    report = task.check(folder)
    assert report.problems == ()
    assert "were not seen" in report.facts["inferred"]
    model = NotingModel(reply=lambda key, prompt: "A")
    samples = task.load(folder, task.settings(protocol="official", frames="vlmeval-8")).samples
    run_all(samples[:4], model, tmp_path / "run")
    assert {asked.elicitation.options for asked in model.asked} == {("A", "B", "C", "D")}
    assert [len(asked.seen) for asked in model.asked] == [8] * 4
    assert max(model.asked[3].seen) < 12 < max(model.asked[0].seen)
    assert model.asked[0].prompt.endswith("\nPlease select the correct answer.")


def test_livecc_s_result_rows_of_questions_are_scored_with_the_ocr_group(tmp_path: Path) -> None:
    rows = [
        {
            "question_id": n,
            "video_id": f"v{n % 3}",
            "answer": "A",
            "response": said,
            "q_type": "what",
            "OCR": n % 2,
        }
        for n, said in enumerate(["A. yes", "B", "A", "The answer is A"])
    ]
    path = tmp_path / "results.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    task = task_named("livesports-qa")
    predictions, problems = task.read_predictions("livecc", [path], None)
    sheet = task.score(predictions, "livecc")
    assert (sheet.source.total, sheet.source.groups["ocr"]) == (50.0, 0.0)
    assert sheet.n == 1174
    assert [problem.kind for problem in problems] == ["other-version"]
