"""A minute of stream on the wall clock, from the command line: what is on record, and its virtual twin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.records import AnswerRecord, RunFolder, TickRecord, read_jsonl

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.slow
def test_a_minute_in_real_time_and_its_virtual_twin(tmp_path: Path, evalkit: Call) -> None:
    assert (
        evalkit("data", "demo", "--task", "inf-streams", "--matches", "1", "--minutes", "1", "--out", "data")[0]
        == 0
    )
    code, out, err = evalkit(
        "run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny", "--data", "data",
        "--pace", "realtime", "--out", "run", "--json",
    )  # fmt: skip
    assert code == 0, err
    run = RunFolder(tmp_path / "run")
    ticks = read_jsonl(run.ticks_path, TickRecord)[0]
    paces = [tick.pace for tick in ticks if tick.pace is not None]
    assert len(paces) == len(ticks) >= 60
    for pace in paces:
        assert pace.start is not None
        assert pace.end is not None
        assert pace.lag is not None
        assert pace.arrival <= pace.start <= pace.end
        assert pace.lag >= 0
    assert [pace.arrival for pace in paces] == pytest.approx([second + 1 for second in range(len(paces))])
    answers = read_jsonl(run.answers_path, AnswerRecord)[0]
    assert [answer.emitted for answer in answers] == [pace.end for pace in paces]
    code, out, _ = evalkit("replay", "run", "--deadline", "1", "--json")
    assert code == 0
    (found,) = json.loads(out)["models"].values()
    live = found["live"]
    print(json.dumps(live))
    assert abs(live["difference"]) <= 0.02 or live["misses"] == live["explained_misses"]
