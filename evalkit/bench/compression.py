"""What compression costs and saves in a session: stage times, feature error and answers beside no compression."""

from __future__ import annotations

__all__ = [
    "CompressionRequest",
    "CompressionResult",
    "SecondResult",
    "SpecResult",
    "compare_compression",
    "compression_json",
]

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Never

import torch
from tqdm import tqdm

from evalkit.bench.frames import DriftingFrames
from evalkit.compress import CompressionSpec, parse_compression
from evalkit.errors import UsageError
from evalkit.models.backbone import Backbone, Features
from evalkit.models.cached import CachedModel
from evalkit.models.catalog import policy_recipe
from evalkit.models.entry import ModelChoice
from evalkit.models.local import PolicyRecipe
from evalkit.models.protocol import SessionRequest, StreamSession
from evalkit.models.settings import GenerationSettings
from evalkit.records import CompressorReport
from evalkit.stream import Chunk, Elicitation, FrameFeed, FrameSchedule
from evalkit.video import VideoFrames

NONE = "none"
_QUESTION = "What is happening now?"
_WARM_UP_SECONDS = 2
_STAGES = ("vision_encode", "compress", "prefill")


@dataclass(frozen=True, slots=True)
class CompressionRequest:
    """What is compared.

    Args:
        specs: What ``--compress`` would say, one text each.
        model: Catalog name; its memory policy serves all of them.
        checkpoint: Weights; ``None`` for the model's own.
        seconds: Length of the stream.
        size: ``(width, height)`` of the made-up video; frames are what the backbone makes of it.
        fps: Frames per second.
        tokens: Most tokens of the answer asked for after every second, decoded greedily.
        device: As for a run.
        dtype: As for a run.
        attention: As for a run.
        seed: Seed of the made-up video.
        video: A video file to stream instead.
        repeats: Passes over the stream, >= 1; times are medians over them.
    """

    specs: tuple[str, ...]
    model: str = "full"
    checkpoint: str | None = None
    seconds: int = 32
    size: tuple[int, int] = (504, 280)
    fps: float = 1.0
    tokens: int = 20
    device: str = "auto"
    dtype: str = "auto"
    attention: str = "sdpa"
    seed: int = 42
    video: Path | None = None
    repeats: int = 3


@dataclass(frozen=True, slots=True)
class SecondResult:
    """One second of the stream under one specification.

    Args:
        stages: Wall seconds of vision encode, compress and prefill, of the second and the question after it.
        relative_error: ``|with - without| / |without|`` over the features that enter the language model,
            against the same tokens without compression; ``None`` in a second without frames.
        equal_tokens: Share of the answer's tokens that stand at their place in the answer without compression.
        same_answer: Whether both answers are equal.
        reports: What each compressor did.
    """

    stages: dict[str, float]
    relative_error: float | None
    equal_tokens: float
    same_answer: bool
    reports: tuple[CompressorReport, ...]


@dataclass(frozen=True, slots=True)
class SpecResult:
    """All seconds under one specification.

    Args:
        name: As it was asked for.
        canonical: With every setting.
        seconds: In stream order.
    """

    name: str
    canonical: str
    seconds: tuple[SecondResult, ...]

    def spent(self, *stages: str) -> float:
        """Return the wall seconds spent in some stages over the stream."""
        return sum(second.stages[stage] for second in self.seconds for stage in stages)

    @property
    def errors(self) -> tuple[float, ...]:
        """Relative errors of the seconds that had frames."""
        return tuple(s.relative_error for s in self.seconds if s.relative_error is not None)

    def share(self, field: str) -> float | None:
        """Return the mean ``kept`` or ``reused`` share of the compressors that have one, by tokens."""
        pairs = [
            (r.reused_share, r.tokens_in) if field == "reused" else (r.tokens_out / r.tokens_in, r.tokens_in)
            for second in self.seconds
            for r in second.reports
            if r.tokens_in and (r.reused_share is not None) == (field == "reused")
        ]
        total = sum(count for _, count in pairs)
        return sum((share or 0.0) * count for share, count in pairs) / total if total else None


@dataclass(frozen=True, slots=True)
class CompressionResult:
    """A comparison: every specification on the same stream, ``none`` among them.

    Args:
        checkpoint: Weights it ran on.
        device: Where.
        baseline: Without compression.
        specs: With it, in the order asked for.
    """

    checkpoint: str
    device: str
    baseline: SpecResult
    specs: tuple[SpecResult, ...]

    def saved(self, result: SpecResult, *stages: str) -> float:
        """Return the share of the baseline's time in some stages that a specification saves."""
        return 1.0 - result.spent(*stages) / max(self.baseline.spent(*stages), 1e-12)


@dataclass(slots=True)
class _Lane:
    """One specification's session and what it gave."""

    name: str
    spec: CompressionSpec
    session: StreamSession
    features: list[Features] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    reports: tuple[CompressorReport, ...] = ()
    answer: tuple[int, ...] = ()

    def advance(self, chunk: Chunk, encode: Any) -> None:
        """Take in a second and answer the question."""
        self.features.clear()
        step = self.session.observe(chunk)
        reply = self.session.ask(_QUESTION, Elicitation(), key=str(chunk.tick.index))
        self.stages = {stage: step.stages[stage] + reply.stages[stage] for stage in _STAGES}  # type: ignore[index]
        self.reports = step.compressors
        self.answer = tuple(encode(reply.text))


def compare_compression(request: CompressionRequest) -> CompressionResult:
    """Run every specification and none over one stream, second by second in turn.

    All meet the same load of the machine, because each second is done by all before the next begins; who is
    first changes from second to second. A short stream beforehand warms up.

    Raises:
        UsageError: A specification cannot be read or does not fit the model, or one is given twice.
    """
    named = {text: parse_compression(text) for text in (NONE, *request.specs)}
    if len(named) != len(request.specs) + 1:
        raise UsageError("--compress compares different specifications with none: give each once, none not at all")
    recipes = {text: _recipe(request, text) for text in named}
    backbone = recipes[NONE].load()
    with torch.inference_mode():
        models = {text: recipe.over(backbone) for text, recipe in recipes.items()}
        _run(request, models, named, min(_WARM_UP_SECONDS, request.seconds))
        passes = [_run(request, models, named, request.seconds) for _ in range(request.repeats)]
    seconds = {name: _medians([(one[name], one[NONE]) for one in passes]) for name in named}
    results = {name: SpecResult(name, spec.canonical(), seconds[name]) for name, spec in named.items()}
    baseline = results.pop(NONE)
    return CompressionResult(recipes[NONE].checkpoint, str(backbone.device), baseline, tuple(results.values()))


def _recipe(request: CompressionRequest, compress: str) -> PolicyRecipe:
    """Return the model under one specification, its answers decoded greedily.

    Raises:
        UsageError: The model is asked nothing, or does not go with the specification.
    """
    choice = ModelChoice(
        checkpoint=request.checkpoint,
        compress=compress,
        device=request.device,
        dtype=request.dtype,
        attention=request.attention,
    )
    recipe = policy_recipe(request.model, choice)
    if not recipe.capabilities.answer:
        raise UsageError(
            f"--compress asks after every second, and {request.model} answers nothing: choose another"
        )
    return replace(recipe, generation=GenerationSettings(temperature=0, answer_tokens=request.tokens))


def _medians(passes: Sequence[tuple[list[SecondResult], list[SecondResult]]]) -> tuple[SecondResult, ...]:
    """Return the seconds with the times of several passes, each a pair of a specification's and the baseline's.

    A time is the baseline's median times the median ratio of the pairs, which were taken back to back: a machine
    that slows down in between moves both.
    """
    found = []
    for index, second in enumerate(passes[0][0]):
        stages = {}
        for stage in _STAGES:
            mine = [one[index].stages[stage] for one, _ in passes]
            base = [one[index].stages[stage] for _, one in passes]
            stages[stage] = statistics.median(mine)
            if min(base) > 0:
                ratio = statistics.median(a / b for a, b in zip(mine, base, strict=True))
                stages[stage] = statistics.median(base) * ratio
        found.append(replace(second, stages=stages))
    return tuple(found)


def _run(
    request: CompressionRequest,
    models: dict[str, CachedModel],
    named: dict[str, CompressionSpec],
    seconds: int,
) -> dict[str, list[SecondResult]]:
    backbone = models[NONE].backbone
    session_request = SessionRequest("bench", request.fps, request.seed)
    lanes: list[_Lane] = []
    for name, spec in named.items():
        held: list[Features] = []
        lanes.append(_Lane(name, spec, models[name].open(session_request, held.append), held))
    results: dict[str, list[SecondResult]] = {name: [] for name in named}
    schedule = FrameSchedule(0, seconds, request.fps)
    bar: tqdm[Never] = tqdm(total=len(schedule), desc="compression", unit="s", disable=not sys.stderr.isatty())
    with _source(request, backbone) as source, FrameFeed(schedule, source) as feed, bar:
        for chunk in feed:
            first = chunk.tick.index % len(lanes)
            for lane in (*lanes[first:], *lanes[:first]):
                lane.advance(chunk, backbone.layout.text.encode)
            for lane in lanes:
                results[lane.name].append(_second(lane, lanes[0]))
            bar.update()
    for lane in lanes:
        lane.session.close()
    return results


def _source(request: CompressionRequest, backbone: Backbone) -> DriftingFrames | VideoFrames:
    if request.video is not None:
        return VideoFrames(request.video, backbone.frame_size)
    size = backbone.frame_size(*request.size)
    return DriftingFrames(size, request.seed, max(1, round(request.seconds * request.fps / 2)))


def _second(lane: _Lane, baseline: _Lane) -> SecondResult:
    mine, theirs = lane.answer, baseline.answer
    longest = max(len(mine), len(theirs))
    equal = sum(a == b for a, b in zip(mine, theirs, strict=False))
    error = None
    if lane.features:
        error = _relative_error(lane.features[0], baseline.features[0])
    return SecondResult(lane.stages, error, equal / longest if longest else 1.0, mine == theirs, lane.reports)


def _relative_error(mine: Features, full: Features) -> float:
    tokens = full.tokens
    if mine.rows is not None:
        tokens = tokens.index_select(0, torch.from_numpy(mine.rows).to(tokens.device))
    distance = torch.linalg.vector_norm(mine.tokens.float() - tokens.float())
    return float(distance / torch.linalg.vector_norm(tokens.float()).clamp_min(1e-30))


def compression_json(result: CompressionResult) -> dict[str, Any]:
    """Return a comparison as plain values: seconds, shares between 0 and 1."""
    return {
        "checkpoint": result.checkpoint,
        "device": result.device,
        "seconds": len(result.baseline.seconds),
        NONE: {"stages": _stages(result.baseline)},
        "specs": {spec.name: _spec_json(result, spec) for spec in result.specs},
    }


def _stages(spec: SpecResult) -> dict[str, float]:
    return {stage: spec.spent(stage) for stage in _STAGES}


def _spec_json(result: CompressionResult, spec: SpecResult) -> dict[str, Any]:
    errors = spec.errors
    return {
        "canonical": spec.canonical,
        "stages": _stages(spec),
        "saved": {
            "vision_encode": result.saved(spec, "vision_encode"),
            "prefill": result.saved(spec, "prefill"),
            "all": result.saved(spec, *_STAGES),
        },
        "compress_over_prefill_saved": _ratio(
            spec.spent("compress"), result.baseline.spent("prefill") - spec.spent("prefill")
        ),
        "relative_error": statistics.fmean(errors) if errors else None,
        "relative_error_by_second": [second.relative_error for second in spec.seconds],
        "equal_tokens": statistics.fmean(second.equal_tokens for second in spec.seconds),
        "same_answers": statistics.fmean(second.same_answer for second in spec.seconds),
        "kept_share": spec.share("kept"),
        "reused_share": spec.share("reused"),
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
