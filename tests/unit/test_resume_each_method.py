"""Every memory and every compressor of the catalog, stopped after each second and gone on with from the disk."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sample_folders import SampleFolder, after

from evalkit.compress import PRESETS, compressor_kinds
from evalkit.models.catalog import MODELS, catalog
from evalkit.models.entry import ModelChoice
from evalkit.models.livecc import FIRST_TURN, LiveCCModel
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.local import PolicyEntry
from evalkit.stream import Narration, Query, StreamSample

SECONDS = 5
GENERATION = {"temperature": 0.9, "max_new_tokens": 6, "answer_tokens": 4}
WINDOW = {"vision_window": 3, "text_rounds": 3, "text_sink": 4, "text_window": 6}
MEMORY: dict[str, dict[str, Any]] = {  # so small that every one of them evicts, cuts, merges or retrieves
    "infinipot-v": {"frames": 3, "between": 1, "query_ratio": 0.4},
    "rekv": {"topk": 2, "n_local": 500},
    "sliding": {"vision_window": 3, "text_rounds": 3},
    "sliding-chunked": {"seconds": 3},
    "streamforest": {"quota": 512},
    "streamingvlm": WINDOW,
}
ON_LLAVA = {"rekv", "stc", "streamforest"}


@cache
def backbone(name: str) -> Any:
    return load_backbone(LoadRequest(name, device="cpu"))


def policies() -> list[str]:
    """The names of evalkit's own memories over local weights."""
    built_in = ((name, catalog(name)) for name in MODELS.names())
    return [name for name, entry in built_in if isinstance(entry, PolicyEntry) and name == entry.name]


def methods() -> list[Any]:
    """Every memory on a network that it runs on, and every compressor and preset under `full`."""
    memories = [pytest.param(name, None, id=name) for name in policies()]
    kinds = [name for name, kind in compressor_kinds().items() if kind.build.__module__.startswith("evalkit.")]
    return [*memories, *(pytest.param("full", compress, id=f"full-{compress}") for compress in (*kinds, *PRESETS))]


def model_of(name: str, compress: str | None) -> Any:
    checkpoint = "tiny-llava" if compress or name in ON_LLAVA else "tiny"
    settings = {"memory": MEMORY.get(name, {}), "generation": GENERATION}
    recipe = catalog(name).recipe(ModelChoice(checkpoint=checkpoint, compress=compress, settings=settings))
    return recipe.capabilities, recipe.over(backbone(checkpoint))


@pytest.fixture
def sample(small_data: Path) -> StreamSample:
    """Five seconds, a frame each, with a question inside and one at the end."""
    asked = tuple(
        Query(f"q{number}", at, f"What about {number}?", "open", answer="nothing")
        for number, at in enumerate((6.25, 4.0 + SECONDS))
    )
    video = small_data / "videos" / "match.mp4"
    return StreamSample("s", video, 4, 4 + SECONDS, 1, queries=asked, texts=((5.1, "a line"), (8.0, "another")))


@pytest.mark.parametrize(("name", "compress"), methods())
def test_stopped_after_every_second_it_says_and_keeps_what_the_unbroken_run_does(
    name: str, compress: str | None, sample: StreamSample, tmp_path: Path
) -> None:
    can, model = model_of(name, compress)
    if can.narrate is not None and compress is None:
        told = Narration("Say what happens.", " the ball goes wide on the left")
        narrated = dataclasses.replace(sample, queries=(), texts=(), narration=told)
        stop_and_go(model, narrated, tmp_path / "narrated")
    if can.answer:
        if name in ("rekv", "streamforest"):  # they take no text between frames
            sample = dataclasses.replace(sample, texts=())
        stop_and_go(model, sample, tmp_path / "asked")


def stop_and_go(model: Any, sample: StreamSample, folder: Path) -> None:
    """Hold a run that is stopped after every second against one that is not."""
    folder.mkdir()
    whole, broken = (SampleFolder(folder / name, model) for name in ("whole", "broken"))
    whole.go(sample)
    stops = [FIRST_TURN, *[1] * (SECONDS - FIRST_TURN)] if isinstance(model, LiveCCModel) else [1] * SECONDS
    for seconds in stops:
        assert broken.go(sample, after(seconds)) == []
        assert list(broken.run.state_path.glob("*.safetensors"))
    assert broken.go(sample) == []
    assert not whole.warnings + broken.warnings
    for name in ("answers_path", "ticks_path"):
        rows = whole.records(getattr(whole.run, name))
        assert rows
        assert broken.records(getattr(broken.run, name)) == rows
