"""The judge command: two judges side by side, sides that do not match, Ctrl-C, recorded votes, wrong use."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judge_server import Call as Request
from judge_server import JudgeServer, Reply
from run_folders import manifest, write_run

from evalkit.errors import DataError
from evalkit.records import AnswerRecord, RunFolder, read_run
from evalkit.run.judging import check_setting

Call = Callable[..., tuple[int, str, str]]
SHARED = Path(__file__).parents[2] / ".." / "shared"
PUBLISHED = Path(os.environ.get("EVALKIT_PUBLISHED_DIR") or SHARED / "published")
VOTES = PUBLISHED / "livesports3k" / "GPT-4o_LiveCC-7B-Base.jsonl"
needs_votes = pytest.mark.skipif(not VOTES.is_file(), reason=f"published votes are not at {VOTES}")
SAME = {"policy": "one"}


def narrated(folder: Path, data: Path, model: str, text: str, **changes: Any) -> Path:
    """Write a finished run that says the same in each of the 25 seconds of the small data set's video."""
    answers = [
        AnswerRecord(
            sample="match", query=f"match@{second}", kind="narration", at=second + 1, start=second, end=second + 1,
            text=text, cluster="match.mp4",
        )
        for second in range(25)
    ]  # fmt: skip
    values = {"fingerprint": SAME, "data": {"path": str(data)}, **changes}
    return write_run(folder, manifest("inf-streams", model, **values), answers=answers, metrics=None)


@pytest.fixture
def runs(tmp_path: Path, small_data: Path) -> tuple[Path, Path]:
    """One run repeats words of the reference, the other does not."""
    return (
        narrated(tmp_path / "test", small_data, "streamingvlm", "the ball goes wide"),
        narrated(tmp_path / "base", small_data, "full", "nothing of it"),
    )


def one_line(err: str) -> str:
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


def win_rates(folder: Path) -> dict[str, float | None]:
    metrics = read_run(folder).metrics
    assert metrics is not None
    return {metric.group: metric.value for metric in metrics.metrics if metric.name == "win_rate"}


def test_a_second_judge_costs_no_generation_and_leaves_the_first_ones_verdicts_and_metrics(
    runs: tuple[Path, Path], evalkit: Call
) -> None:
    test, base = runs
    before = (test / "answers.jsonl").read_bytes()
    assert evalkit("judge", test, "--against", base, "--judge", "overlap")[0] == 0
    kept = (test / "verdicts.jsonl").read_bytes()
    with JudgeServer(lambda call: Reply("B")) as server:
        code, out, _ = evalkit(
            "judge", test, "--against", base, "--judge", "openai:other", "--base-url", server.base_url, "--json"
        )
        assert code == 0
        asked = len(server.calls)
    found = json.loads(out)
    assert found["win_rate"] == 0.5
    assert found["usage"]["calls"] == asked == found["verdicts"]
    assert (test / "answers.jsonl").read_bytes() == before
    assert (test / "verdicts.jsonl").read_bytes().startswith(kept)
    assert win_rates(test) == {"vs full, judge overlap": 1.0, "vs full, judge openai:other": 0.5}


def test_another_baseline_leaves_the_first_ones_metrics(
    runs: tuple[Path, Path], tmp_path: Path, small_data: Path, evalkit: Call
) -> None:
    test, base = runs
    other = narrated(tmp_path / "other", small_data, "sliding", "the ball goes wide")
    for against in (base, other, base):
        assert evalkit("judge", test, "--against", against, "--judge", "overlap")[0] == 0
    assert win_rates(test) == {"vs sliding, judge overlap": 0.5, "vs full, judge overlap": 1.0}


def test_judging_again_takes_the_verdicts_on_record(runs: tuple[Path, Path], evalkit: Call) -> None:
    words = ("judge", runs[0], "--against", runs[1], "--judge", "overlap", "--json")
    first, again = (json.loads(evalkit(*words)[1]) for _ in range(2))
    assert first["usage"]["reused"] == 0
    assert again["usage"] == {**again["usage"], "calls": 0, "reused": first["verdicts"]}
    assert again["win_rate"] == first["win_rate"]
    assert again["mismatched"] is False


def test_a_torn_verdict_is_named_and_judged_anew(runs: tuple[Path, Path], evalkit: Call) -> None:
    words = ("judge", runs[0], "--against", runs[1], "--judge", "overlap")
    evalkit(*words)
    path = runs[0] / "verdicts.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    code, _, err = evalkit(*words)
    assert code == 0
    assert f"warning: verdicts.jsonl:{len(lines)}: torn last line dropped" in err
    assert len(path.read_bytes().splitlines()) == len(lines)


def test_sides_of_different_settings_are_refused_with_the_fields(
    runs: tuple[Path, Path], tmp_path: Path, small_data: Path, evalkit: Call
) -> None:
    other = narrated(tmp_path / "other", small_data, "full", "hm", fingerprint={**SAME, "fps": 8.0})
    code, out, err = evalkit("judge", runs[0], "--against", other, "--judge", "overlap", "--json")
    assert (code, out) == (2, "")
    assert "fps (2.0 against 8.0)" in one_line(err)
    assert "--allow-mismatch" in err
    assert not (runs[0] / "verdicts.jsonl").read_bytes()


def test_a_mismatch_that_was_allowed_is_marked_wherever_the_figure_stands(
    runs: tuple[Path, Path], tmp_path: Path, small_data: Path, evalkit: Call
) -> None:
    other = narrated(tmp_path / "other", small_data, "full", "hm", fingerprint={**SAME, "fps": 8.0})
    words = ("judge", runs[0], "--against", other, "--judge", "overlap", "--allow-mismatch")
    code, out, _ = evalkit(*words, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["mismatched"] is True
    assert found["mismatches"] == [{"field": "fps", "a": 2.0, "b": 8.0}]
    mark = "NOT comparable, judged on demand: fps (2.0 against 8.0)"
    assert mark in found["notes"]
    assert mark in evalkit(*words)[1]
    record = read_run(runs[0])
    assert record.metrics is not None
    assert all(mark in metric.note for metric in record.metrics.metrics if metric.group.startswith("vs "))
    assert record.manifest.warnings == [f"against full: {mark}"]
    assert mark in (runs[0] / "report.md").read_text()


@pytest.mark.parametrize("side", ["test", "base"])
def test_an_unfinished_run_is_not_judged(
    side: str, runs: tuple[Path, Path], tmp_path: Path, evalkit: Call
) -> None:
    folder = RunFolder(tmp_path / side)
    folder.write_manifest(folder.read_manifest().model_copy(update={"status": "interrupted"}))
    code, _, err = evalkit("judge", runs[0], "--against", runs[1], "--judge", "overlap")
    assert code == 2
    assert f"{side} was interrupted: finish it with --resume" in one_line(err)


def test_a_file_as_the_other_side_is_judged_with_a_word_on_what_was_not_checked(
    runs: tuple[Path, Path], tmp_path: Path, evalkit: Call
) -> None:
    items = [{"end_time": second + 1.0, "text": "hm"} for second in range(25)]
    row = {"video": "match.mp4", "chunk_start": 0, "chunk_end": 25, "items": items}
    file = tmp_path / "merged_result.jsonl"
    file.write_text(json.dumps(row) + "\n")
    code, out, err = evalkit("judge", runs[0], "--against", file, "--judge", "overlap", "--json")
    assert code == 0, err
    assert "names no settings" in err
    assert json.loads(out)["baseline"] == tmp_path.name


def test_a_run_against_itself_ties_throughout_and_is_named_as_such(runs: tuple[Path, Path], evalkit: Call) -> None:
    code, out, err = evalkit("judge", runs[0], "--against", runs[0], "--judge", "overlap", "--json")
    assert code == 0
    assert "is judged against itself" in err
    found = json.loads(out)
    assert (found["ties"], found["win_rate"]) == (found["pairs"], 0.5)


def test_ctrl_c_keeps_the_verdicts_and_says_that_judging_goes_on_from_there(
    runs: tuple[Path, Path], evalkit: Call
) -> None:
    def interrupt(call: Request) -> Reply:
        if call.number == 1:
            os.kill(os.getpid(), signal.SIGINT)
            return Reply("A", delay=30)
        return Reply("A")

    words = ("judge", runs[0], "--against", runs[1], "--judge", "openai:m", "--concurrency", "1")
    with JudgeServer(interrupt) as server:
        code, out, err = evalkit(*words, "--base-url", server.base_url)
    assert (code, out) == (130, "")
    assert "verdicts so far are kept" in err
    assert "goes on from there" in err
    assert len((runs[0] / "verdicts.jsonl").read_bytes().splitlines()) == 1
    with JudgeServer(lambda call: Reply("A")) as server:
        code, out, _ = evalkit(*words, "--base-url", server.base_url, "--json")
    assert code == 0
    assert json.loads(out)["usage"]["reused"] == 1


def test_a_run_that_could_not_be_judged_afterwards_is_refused_before_it_starts(runs: tuple[Path, Path]) -> None:
    check_setting({"fps": 2.0, "parser": "strict-3"}, runs[1])
    with pytest.raises(DataError, match=r"fps \(4.0 against 2.0\).*--allow-mismatch"):
        check_setting({"fps": 4.0, "parser": "strict-3"}, runs[1])
    check_setting({"fps": 4.0}, runs[1] / "run.json")


@needs_votes
def test_the_published_votes_give_the_published_figures_as_json(evalkit: Call) -> None:
    code, out, err = evalkit("judge", "--from-votes", VOTES, "--format", "livecc", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (found["model"], found["baseline"]) == ("LiveCC-7B-Base", "GPT-4o")
    assert (found["pairs"], found["verdicts"], found["clusters"]) == (1702, 3404, 416)
    shares = {name: round(100 * found[name], 2) for name in ("win_rate_votes", "wins_shown_first", "consistency")}
    assert shares == {"win_rate_votes": 47.21, "wins_shown_first": 64.69, "consistency": 62.69}
    assert round(100 * found["wins_shown_second"], 2) == 29.73
    assert found["interval"][0] < found["win_rate"] < found["interval"][1]


@needs_votes
def test_the_published_baseline_put_under_test_gets_the_rest(evalkit: Call) -> None:
    words = ("judge", "--from-votes", VOTES, "--format", "livecc", "--json", "--model", "GPT-4o")
    found = json.loads(evalkit(*words)[1])
    assert round(100 * found["win_rate_votes"], 2) == 52.79
    assert round(100 * found["wins_shown_first"], 2) == 70.27


def test_recorded_verdicts_of_two_judges_are_told_apart_by_name(runs: tuple[Path, Path], evalkit: Call) -> None:
    words = ("judge", runs[0], "--against", runs[1])
    evalkit(*words, "--judge", "overlap")
    with JudgeServer(lambda call: Reply("B")) as server:
        evalkit(*words, "--judge", "openai:other", "--base-url", server.base_url)
    votes = ("judge", "--from-votes", runs[0], "--format", "evalkit", "--json")
    code, _, err = evalkit(*votes)
    assert code == 2
    assert "say --judge NAME" in one_line(err)
    rates = [json.loads(evalkit(*votes, "--judge", name)[1])["win_rate"] for name in ("overlap", "openai:other")]
    assert rates == [1.0, 0.5]
    assert "did you mean 'overlap'" in one_line(evalkit(*votes, "--judge", "overlop")[2])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("test",), "needs --against"),
        (("test", "--against", "base"), "needs --judge"),
        (("--against", "base", "--judge", "overlap"), "needs RUN"),
        (("nowhere", "--against", "base", "--judge", "overlap"), "nowhere is not a run folder"),
        (("test", "--against", "nowhere", "--judge", "overlap"), "--against nowhere does not exist"),
        (
            ("test", "--against", ".", "--judge", "overlap"),
            "holds 3 runs (base, questions, test): name one of them",
        ),
        (("test", "--against", "questions", "--judge", "overlap"), "of task ovobench"),
        (("questions", "--against", "base", "--judge", "overlap"), "scored, not judged"),
        (("test", "--against", "base", "--judge", "overlop"), "did you mean 'overlap'"),
        (("test", "--against", "base", "--judge", "openai:m"), "OPENAI_API_KEY"),
        (("test", "--against", "base", "--judge", "openai:m", "--base-url", "host"), "http://"),
        (("test", "--against", "base", "--judge", "overlap", "--concurrency", "0"), "concurrency"),
        (("test", "--against", "base", "--judge", "overlap", "--timeout", "nan"), "timeout"),
        (("test", "--against", "base", "--judge", "overlap", "--price-in", "-1"), "no price of 0 or more"),
        (("test", "--against", "base", "--judge", "overlap", "--model", "x"), "belongs to --from-votes"),
        (("test", "--against", "base", "--judge", "overlap", "--format", "livecc"), "belongs to --from-votes"),
        (("test", "--from-votes", "test", "--format", "evalkit"), "leave RUN and --against out"),
        (("--from-votes", "test"), "no votes in it"),
        (("--from-votes", "", "--format", "livecc"), "no such file of votes"),
        (("--from-votes", "none", "--format", "livecc"), "no such file of votes"),
        (("--from-votes", "test", "--format", "livecc", "--judge", "x"), "does not say who judged"),
        (("--from-votes", "test", "--format", "evalkit", "--base-url", "http://h/v1"), "asks no judge"),
        (("--from-votes", "test", "--format", "evalkit"), "no votes in it"),
        (("--from-votes", "test", "--format", "livec"), "invalid choice"),
    ],
)
def test_wrong_use_is_one_line(
    words: tuple[str, ...], said: str, runs: tuple[Path, Path], tmp_path: Path, evalkit: Call
) -> None:
    write_run(tmp_path / "questions", manifest("ovobench", "full"))
    code, out, err = evalkit("judge", *words)
    assert (code, out) == (2, "")
    assert said in one_line(err)


KEY = "sk-proj-" + "Kq7v" * 13


def test_a_judge_that_says_nothing_readable_ends_with_its_summary_and_a_notice(
    runs: tuple[Path, Path], evalkit: Call
) -> None:
    test, base = runs
    with JudgeServer(lambda call: Reply("I cannot tell.")) as server:
        words = ("judge", test, "--against", base, "--judge", "openai:m", "--base-url", server.base_url)
        code, out, err = evalkit(*words, "--json")
        asked = len(server.calls)
        again = evalkit(*words)
    found = json.loads(out)
    assert code == 0
    assert (found["win_rate"], found["invalid"]) == (None, found["verdicts"])
    assert found["invalid_reasons"] == {"not-one-letter": found["verdicts"]}
    assert found["usage"]["calls"] == asked == 3 * found["verdicts"]
    assert "NOTICE: no win rate" in err
    assert again[0] == 0
    assert "NOTICE: no win rate" in again[2]
    assert not list((test / "plots").glob("winrate*"))
    assert "openai:m" in (test / "report.md").read_text()


def test_no_command_that_reads_such_a_run_ends_over_it(
    runs: tuple[Path, Path], tmp_path: Path, evalkit: Call
) -> None:
    test, base = runs
    with JudgeServer(lambda call: Reply("I cannot tell.")) as server:
        evalkit("judge", test, "--against", base, "--judge", "openai:m", "--base-url", server.base_url)
    other = tmp_path / "same"
    shutil.copytree(test, other)
    for words in (
        ("compare", test, other),
        ("rank", test),
        ("power", test),
        ("plot", test, "--kind", "winrate", "--out", tmp_path),
        ("plot", test, "--kind", "bias", "--out", tmp_path),
    ):
        code, _, err = evalkit(*words)
        assert code == 0, (words, err)
        assert "NOTICE" in err, words
    assert json.loads(evalkit("compare", test, other, "--json")[1])["figure"] is None
    assert evalkit("report", test, "--out", tmp_path / "page.html")[0] == 0
    code, out, _ = evalkit("gate", "--base", test, "--head", other, "--max-drop", "2")
    assert (code, out.startswith("gate: cannot tell")) == (4, True)


@pytest.mark.parametrize("status", [401, 403, 404, 400, 500])
def test_a_key_in_what_a_server_says_reaches_neither_screen_nor_disk(
    status: int, runs: tuple[Path, Path], evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    test, base = runs
    trouble = Reply(
        status=status, error={"message": f"{'y' * 150} \x1b]0;{KEY}\x07 {KEY}", "code": "insufficient_quota"}
    )
    with JudgeServer(lambda call: trouble) as server:
        _, out, err = evalkit(
            "judge", test, "--against", base, "--judge", "openai:m", "--base-url", server.base_url, "--json"
        )
    written = [path.read_text(errors="replace") for path in test.rglob("*") if path.is_file()]
    for text in (out, err, *written):
        assert not any(KEY[at : at + 8] in text for at in range(len(KEY) - 7))
        assert "\x1b" not in text
    assert "***" in err


def test_a_models_name_with_escape_sequences_is_shown_escaped(runs: tuple[Path, Path], evalkit: Call) -> None:
    test, base = runs
    with JudgeServer(lambda call: Reply("A", model="m\x1b[31m\x9b")) as server:
        words = ("judge", test, "--against", base, "--judge", "openai:m", "--base-url", server.base_url)
        code, out, err = evalkit(*words)
        assert code == 0
        as_json = evalkit(*words, "--json")[1]
    for text in (out, err, as_json, (test / "report.md").read_text()):
        assert not set(text) & {"\x1b", "\x9b"}
    assert "\\x1b[31m" in out
    assert "\x1b[31m\x9b" in json.loads(as_json)["judge"]
