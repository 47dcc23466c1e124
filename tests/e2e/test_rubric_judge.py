"""MLVU's generation tasks end to end: a real judge server, grades kept, resumed and in the metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from judge_server import Call, JudgeServer, Reply

from evalkit.records import AnswerRecord, RunFolder, read_jsonl

Command = Callable[..., tuple[int, str, str]]

SSC = "{'score_accuracy': 3.5, 'score_relevance': 4, 'total_score': 7.5}"
VS = "Reasoning first.\n{'score_completeness': 2, 'score_reliability': 3, 'total_score': 5}"


def judges(call: Call) -> Reply:
    return Reply(VS if "Standard Answer:" in call.user else SSC)


@pytest.fixture(scope="session")
def cache(demo_cache: Path) -> Path:
    return demo_cache


@pytest.fixture
def run(evalkit: Command, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of the generation tasks whose replies have been put into words."""
    monkeypatch.setenv("EVALKIT_CACHE", str(cache))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    code, _, err = evalkit(
        *(
            "run",
            "--task",
            "mlvu",
            "--model",
            "full",
            "--checkpoint",
            "tiny",
            "--data",
            "demo",
            "--protocol",
            "official",
        ),
        *("--set", "task.set=generation", "--set", "task.frames=vlmeval-8", "--set", "generation.answer_tokens=2"),
        *("--out", tmp_path / "run"),
    )
    assert code == 0, err
    answers = RunFolder(tmp_path / "run").answers_path
    said = read_jsonl(answers, AnswerRecord)[0]
    rows = [one.model_copy(update={"text": f"reply {n}" if n else " "}) for n, one in enumerate(said)]
    answers.write_text("".join(row.model_dump_json() + "\n" for row in rows))
    return tmp_path / "run"


def grade(evalkit: Command, run: Path, server: JudgeServer, *more: str | Path) -> dict[str, object]:
    words = ("--rubric", "--judge", "openai:m", "--base-url", server.base_url, "--json")
    code, out, err = evalkit("judge", run, *words, *more)
    assert code == 0, err
    found: dict[str, object] = json.loads(out)
    return found


def test_replies_are_graded_once_kept_and_put_into_the_metrics(evalkit: Command, run: Path) -> None:
    with JudgeServer(judges) as server:
        found = grade(evalkit, run, server)
        assert len(server.calls) == 3
        again = grade(evalkit, run, server)
        assert len(server.calls) == 3
    # Two of each task; the first reply has no text and gets 1 and 1 without a question.
    assert found["decided_by_rule"] == {"empty-reply": 1}
    tasks = found["tasks"]
    assert tasks["subPlot"]["scales"]["score_accuracy"]["mean"] == pytest.approx((1 + 3.5) / 2)  # type: ignore[index]
    assert tasks["summary"]["total"] == 5  # type: ignore[index]
    assert found["total"] == pytest.approx(((1 + 3.5 + 1 + 4) / 2 + 5) / 2)
    assert again["usage"]["reused"] == 3  # type: ignore[index]
    assert {key: again[key] for key in ("total", "tasks")} == {key: found[key] for key in ("total", "tasks")}
    asked = [call.body["messages"] for call in server.calls]
    assert [messages[0]["role"] for messages in asked] == ["system"] * 3
    assert any("Scoring Points: ['" in messages[1]["content"] for messages in asked)
    rows = {
        (row["group"], row["name"]): row["value"]
        for row in json.loads((run / "metrics.json").read_text())["metrics"]
    }
    assert rows["graded by openai:m", "total"] == found["total"]
    assert rows["graded by openai:m", "summary score_reliability"] == 3
    code, _, err = evalkit("score", "--task", "mlvu", "--format", "evalkit", run)
    assert code == 2
    assert "evalkit judge RUN --rubric" in err


def published(run: Path) -> list[dict[str, str]]:
    """The replies of a run as MLVU's code writes them."""
    said = read_jsonl(RunFolder(run).answers_path, AnswerRecord)[0]
    return [
        {"video_name": one.cluster, "Q": one.tags["question"], "A": one.gold or "", "pred": one.text}
        for one in said
    ]


def test_published_replies_are_taken_in_and_graded_as_the_run_they_came_from(
    evalkit: Command, run: Path, tmp_path: Path
) -> None:
    rows = published(run)[::-1]  # order means nothing
    files = [tmp_path / "subPlot_all.json", tmp_path / "summary_all.json"]
    for file, task in zip(files, ("scene", "video"), strict=True):
        file.write_text(json.dumps([row for row in rows if task in row["Q"]]))
    words = ("data", "import", "--task", "mlvu", "--data", "demo", "--model", "theirs")
    code, _, err = evalkit(*words, "--out", "taken", *files)
    assert code == 0, err
    with JudgeServer(judges) as server:
        ours, theirs = grade(evalkit, run, server), grade(evalkit, Path("taken"), server)
    assert theirs["total"] == ours["total"] is not None
    assert theirs["tasks"] == ours["tasks"]
    code, _, err = evalkit("judge", files[0], "--rubric", "--judge", "openai:m")
    assert code == 2
    assert f"evalkit data import {files[0]} --task TASK" in err


def test_of_published_replies_what_is_doubled_absent_or_unknown_is_named(
    evalkit: Command, run: Path, tmp_path: Path
) -> None:
    rows, file = published(run), tmp_path / "all.json"
    words = ("data", "import", "--task", "mlvu", "--data", "demo", "--model", "theirs", file, "--out")
    file.write_text(json.dumps([*rows, rows[2]]))
    code, _, err = evalkit(*words, "doubled")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "row 5 answers" in err
    assert "as row 3 of all.json does" in err
    file.write_text(json.dumps([rows[0] | {"Q": "Who?"}, rows[1] | {"A": "another"}, rows[2] | {"pred": None}, 7]))
    code, _, err = evalkit(*words, "part")
    assert code == 0, err
    for said in ("has no such question on", "the reference is not the data's", "None is no text", "not an object"):
        assert said in err
    said = read_jsonl(RunFolder(tmp_path / "part").answers_path, AnswerRecord)[0]
    assert sorted(one.status for one in said) == ["failed", "failed", "failed", "ok"]
    assert "1 of 2 questions of subPlot have no row, such as subPlot_0" in err
    with JudgeServer(judges) as server:
        found = grade(evalkit, tmp_path / "part", server)
        assert len(server.calls) == 1
    assert found["decided_by_rule"] == {"empty-reply": 3}
    file.write_text(json.dumps([rows[0] | {"video_name": "other.mp4"}]))
    code, _, err = evalkit(*words, "none")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "no row is of a question of the generation set" in err


def test_what_is_said_over_time_is_graded_and_its_area_taken(
    evalkit: Command, cache: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch, JudgeServer(lambda call: Reply("{'score': 2}")) as server:
        patch.setenv("EVALKIT_CACHE", str(cache))
        patch.setenv("OPENAI_API_KEY", "sk-x")
        code, _, err = evalkit(
            *("run", "--task", "ovo-timing", "--model", "full", "--checkpoint", "tiny", "--data", "demo"),
            *("--sample", "10", "--set", "generation.max_new_tokens=2", "--set", "task.fps=0.5"),
            *("--out", tmp_path / "timed"),
        )
        assert code == 0, err
        found = grade(evalkit, tmp_path / "timed", server)
    assert set(found["tasks"]) == {"SSR"}  # type: ignore[call-overload]
    figures = found["figures"]
    assert figures["pauc_1"] == 0.5 >= figures["pauc_0"] > 0.25  # type: ignore[index]
    rows = json.loads((tmp_path / "timed" / "metrics.json").read_text())["metrics"]
    assert {row["name"] for row in rows if row["group"] == "graded by openai:m"} >= {
        "pauc_0",
        "pauc_0.5",
        "pauc_1",
    }


def test_a_judge_that_gives_no_grades_is_asked_again_and_then_counted(evalkit: Command, run: Path) -> None:
    with JudgeServer(
        lambda call: Reply("I would say four.") if "Standard Answer:" in call.user else Reply(SSC)
    ) as server:
        found = grade(evalkit, run, server)
        assert len(server.calls) == 1 + 2 * 3
    assert found["invalid_reasons"] == {"no-dict": 2}
    assert (found["total"], found["tasks"]["summary"]["invalid"]) == (None, 2)  # type: ignore[index]
    with JudgeServer(lambda call: Reply(status=500) if call.number == 0 else judges(call)) as server:
        mended = grade(evalkit, run, server, "--draws", "2")
    assert mended["draws"] == 2
    assert len(RunFolder(run).grades_path.read_text().splitlines()) == 8


def test_a_judge_that_goes_away_leaves_what_it_gave_and_the_next_call_goes_on(evalkit: Command, run: Path) -> None:
    words = ("--rubric", "--judge", "openai:m", "--concurrency", "1", "--json")
    with JudgeServer(lambda call: judges(call) if call.number < 2 else Reply(status=401)) as server:
        code, _, err = evalkit("judge", run, *words, "--base-url", server.base_url)
    assert code != 0
    assert "Traceback" not in err
    kept = RunFolder(run).grades_path.read_text().splitlines()
    assert len(kept) == 3  # two that were given and the one decided by rule
    with JudgeServer(judges) as server:
        found = grade(evalkit, run, server)
        assert len(server.calls) == 1
    assert found["usage"]["reused"] == 2  # type: ignore[index]


def test_what_does_not_go_together_is_refused(evalkit: Command, run: Path) -> None:
    for words, said in (
        (("--rubric", "--judge", "overlap"), "only a chat model can grade"),
        (("--rubric", "--judge", "openai:m", "--against", "x"), "leave --against out"),
        (("--rubric",), "needs --judge"),
        (("--draws", "2", "--judge", "openai:m", "--against", "x"), "--draws belongs to --rubric"),
        (("--rubric", "--judge", "openai:m", "--draws", "0"), "once or more often"),
    ):
        code, _, err = evalkit("judge", run, *words)
        assert (code, said in err) == (2, True), err
