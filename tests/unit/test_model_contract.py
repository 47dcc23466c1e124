"""What a run asks of a model before and while it runs: what it can, how many streams, how it ends the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import write_data
from own_models import Counter, CounterStream, ManyStreams, Stepper

from evalkit.errors import ModelError, UsageError
from evalkit.memory import SlidingWindow
from evalkit.models import Capabilities, ModelChoice, SessionRequest, StopRun
from evalkit.models.catalog import catalog
from evalkit.models.own import OwnEntry
from evalkit.models.settings import GenerationSettings
from evalkit.records import RunFolder
from evalkit.run import RunOptions, make_plan
from evalkit.run.check import check_concurrency, check_fit
from evalkit.run.runner import RunResult, execute
from evalkit.settings import describe_settings
from evalkit.stream import Elicitation, Narration, Query, StreamSample

Call = Callable[..., tuple[int, str, str]]


def question(**given: Any) -> StreamSample:
    tags = given.pop("tags", {})
    return StreamSample("s", Path("v.mp4"), 0, 9, 1, queries=(Query("q", 3, "?", "choice", **given),), tags=tags)


NARRATED = StreamSample("s", Path("v.mp4"), 0, 9, 1, narration=Narration("Describe."))
LOGITS = question(elicitation=Elicitation(options=("A", "B")))
CLIP = question(tags={"frames": "uniform-64"})


@pytest.mark.parametrize(
    ("can", "sample", "said"),
    [
        (Capabilities(narrate=None), NARRATED, "model m answers questions only, and task t narrates"),
        (Capabilities(answer=False), question(), "model m narrates only, and task t asks questions"),
        (
            Capabilities(options=False, why="its server gives no logprobs"),
            LOGITS,
            r"model m cannot compare options by logits \(its server gives no logprobs\); choose another",
        ),
        (
            Capabilities(whole_clip=False),
            CLIP,
            "model m takes no finished clip at once; choose another --protocol",
        ),
    ],
)
def test_what_a_model_cannot_do_is_refused(can: Capabilities, sample: StreamSample, said: str) -> None:
    recipe = OwnEntry(Counter, "m", "", can).recipe(ModelChoice())
    with pytest.raises(UsageError, match=said):
        check_fit(recipe, "t", [sample])
    check_fit(OwnEntry(Counter, "m", "", Capabilities()).recipe(ModelChoice()), "t", [sample])


def test_more_samples_at_once_than_a_model_has_streams_are_refused() -> None:
    recipe = catalog("streamingvlm").recipe(ModelChoice())
    check_concurrency(recipe, None)
    check_concurrency(recipe, 1)
    with pytest.raises(UsageError, match="model streamingvlm runs 1 stream at once: leave --concurrency out"):
        check_concurrency(recipe, 2)


def test_a_setting_is_listed_with_type_default_and_meaning_also_where_a_base_class_explains_it() -> None:
    lines = describe_settings(
        {"memory": SlidingWindow, "generation": GenerationSettings}, {"memory": {"text_sink": 9}}
    )
    found = {line.key: (line.kind, line.default, line.meaning) for line in lines}
    assert found["memory.vision_window"] == ("int", "16", "Seconds of vision kept.")
    assert found["memory.text_sink"][:2] == ("int or none", "9")
    assert found["memory.positions"][:2] == ("contiguous or native", "contiguous")
    assert found["memory.reuse_vision"][2].endswith("as the original does.")
    assert found["generation.temperature"] == ("float", "0.9", "Sampling temperature; 0 decodes greedily.")


def test_a_model_is_listed_with_what_it_can_and_every_setting(evalkit: Call) -> None:
    code, out, _ = evalkit("list", "models", "blind")
    assert code == 0
    can = (
        "answer questions, compare options by logits, take a whole clip, several streams as one batch (--streams)"
    )
    assert f"can: {can}\n" in out
    assert "generation.top_k               int    50     Sample among the k likeliest tokens; 0 for all." in out
    code, out, _ = evalkit("list", "models", "streamingvlm", "--json")
    listed = json.loads(out)
    assert listed["capabilities"]["narrate"] == "seconds"
    assert {
        "key": "memory.text_rounds",
        "kind": "int",
        "default": "16",
        "meaning": "Answers kept in their turns.",
    } in (listed["settings"])
    assert evalkit("list", "tasks", "blind")[0] == 2


def plan_of(model: Any, data: Path, out: Path, **options: Any) -> Any:
    settings = {"task.start_seconds": 2, **options.pop("settings", {})}
    given = RunOptions(task="inf-streams", model="own", data=str(data), out=str(out), settings=settings, **options)
    return make_plan(given, OwnEntry.of(model, "own"))


def run(model: Any, data: Path, out: Path, **options: Any) -> tuple[RunResult, list[str]]:
    notes: list[str] = []
    return execute(plan_of(model, data, out, **options), notes.append), notes


@pytest.fixture(scope="module")
def three_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("three") / "set", videos=("a", "b", "c"), seconds=12, start=2)


def spoken(folder: RunFolder) -> set[tuple[str, str]]:
    rows = map(json.loads, folder.answers_path.read_text(encoding="utf-8").splitlines())
    return {(row["query"], row["text"]) for row in rows}


def test_samples_run_at_once_leave_the_records_of_samples_run_in_turn(three_videos: Path, tmp_path: Path) -> None:
    alone, _ = run(Counter(), three_videos, tmp_path / "alone")
    at_once, _ = run(ManyStreams(), three_videos, tmp_path / "at-once", concurrency=3)
    assert spoken(alone.folder) == spoken(at_once.folder)
    assert len(spoken(alone.folder)) == 30
    assert (alone.manifest.latency, at_once.manifest.latency) == ("alone", "loaded")
    assert alone.manifest.status == at_once.manifest.status == "done"


class _Stopping(CounterStream):
    def speak(self, chunk: Any) -> str:
        if chunk.tick.index == 4:
            raise StopRun("the money is spent: raise the limit, then --resume")
        return str(super().speak(chunk))


class Spent(Counter):
    capabilities = Capabilities(streams=None)

    def open(self, request: SessionRequest) -> CounterStream:
        return _Stopping(request) if request.sample.startswith("b") else CounterStream(request)


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_session_can_end_the_run_in_good_order_and_the_run_goes_on(
    at_once: int, three_videos: Path, tmp_path: Path
) -> None:
    whole, _ = run(Counter(), three_videos, tmp_path / "whole")
    stopped, notes = run(Spent(), three_videos, tmp_path / "run", concurrency=at_once)
    assert stopped.interrupted
    assert stopped.manifest.status == "interrupted"
    assert notes == ["warning: the money is spent: raise the limit, then --resume"]
    assert len(spoken(stopped.folder)) < 30
    # The class is part of the fingerprint: what goes on must be the same one.
    again = type("Spent", (Counter,), {"__module__": Spent.__module__, "__qualname__": "Spent"})()
    again.capabilities = Spent.capabilities
    resumed, _ = run(again, three_videos, tmp_path / "run", resume=True)
    assert resumed.manifest.status == "done"
    assert spoken(resumed.folder) == spoken(whole.folder)


def test_a_model_is_closed_once_after_its_last_sample(three_videos: Path, tmp_path: Path) -> None:
    model = Counter()
    run(model, three_videos, tmp_path / "run")
    assert model.closed == 1


def test_settings_of_ones_own_model_are_typed_and_part_of_the_fingerprint(
    three_videos: Path, tmp_path: Path
) -> None:
    result, _ = run(Stepper, three_videos, tmp_path / "run", settings={"model.step": 3}, limit=1)
    assert result.manifest.fingerprint["model.step"] == 3
    assert result.manifest.fingerprint["model.class"] == "own_models:Stepper"
    assert result.manifest.fingerprint["model.kind"] == "own"
    assert result.manifest.host["device"] == "cpu"
    with pytest.raises(UsageError, match=r"setting model\.step: Input should be greater than or equal to 1"):
        plan_of(Stepper, three_videos, tmp_path / "other", settings={"step": 0})
    with pytest.raises(UsageError, match=r"is one of your own and .*; leave --attention, --compress out"):
        plan_of(Stepper, three_videos, tmp_path / "other", compress="stc", attention="eager")


def test_weights_are_looked_at_before_anything_loads(tmp_path: Path) -> None:
    def recipe(folder: Path) -> Any:
        return catalog("full").recipe(ModelChoice(checkpoint=str(folder)))

    with pytest.raises(ModelError, match="holds no transformers model"):
        recipe(tmp_path).check()
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="is a 'bert' model; evalkit runs llava_onevision, qwen2_5_vl, qwen2_vl"):
        recipe(tmp_path).check()
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_vl"}')
    recipe(tmp_path).check()
