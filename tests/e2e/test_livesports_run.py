"""LiveSports-3K CC from the command line: events narrated and shown at once, judged by a real server, scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from judge_server import JudgeServer, Reply

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("protocol", ["streaming", "clip"])
def test_events_are_commented_written_as_captions_and_judged_in_livecc_s_words(
    protocol: str, evalkit: Command, tmp_path: Path, demo_cache: Path
) -> None:
    run = tmp_path / "run"
    with (
        pytest.MonkeyPatch.context() as patch,
        JudgeServer(lambda call: Reply("Commentary B is better")) as server,
    ):
        patch.setenv("EVALKIT_CACHE", str(demo_cache))
        patch.setenv("OPENAI_API_KEY", "sk-x")
        code, _, err = evalkit(
            *("run", "--task", "livesports-cc", "--protocol", protocol, "--model", "full", "--checkpoint", "tiny"),
            *("--data", "demo", "--limit", "2", "--out", run, "--set", "generation.max_new_tokens=3"),
            *("--set", "task.fps=0.5"),
        )
        assert code == 0, err
        captions = [json.loads(line) for line in (run / "captions.jsonl").read_text().splitlines()]
        assert [(row["video_id"], row["event_id"], row["begin"]) for row in captions] == [
            ("demo_match_07", 1, 0.25), ("demo_match_07", 2, 20.25),
        ]  # fmt: skip
        assert all(row["pred"].endswith("...") for row in captions)
        baseline = demo_cache / "demo" / "livesports-cc" / "captions_baseline.jsonl"
        code, out, err = evalkit(
            "judge", run, "--against", baseline, "--judge", "openai:m", "--base-url", server.base_url, "--json"
        )
    assert code == 0, err
    figures = json.loads(out)
    assert (figures["pairs"], figures["first_slot_rate"], figures["win_rate_ties_lost"]) == (2, 0.0, 0.5)
    assert "prompt livesports-cc" in figures["judge"]
    sent = [call.body["messages"] for call in server.calls]
    assert {len(messages) for messages in sent} == {1}
    assert "words an event, captions_baseline" in err
    code, out, _ = evalkit(
        "score", "--task", "livesports-cc", "--format", "captions", run / "captions.jsonl", "--json"
    )
    assert (code, json.loads(out)["n"]) == (0, 2)
