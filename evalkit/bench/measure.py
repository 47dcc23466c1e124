"""One model over made-up streams, every second on record: what every bench of seconds is made of."""

from __future__ import annotations

__all__ = ["BenchRequest", "BenchSecond", "choice_of", "measure_stream", "measure_streams", "models_of"]

import datetime
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Never

from tqdm import tqdm

from evalkit.bench.frames import SyntheticFrames
from evalkit.errors import EvalkitError
from evalkit.models.backbone import Backbone
from evalkit.models.catalog import policy_recipe
from evalkit.models.entry import DecodeStep, ModelChoice
from evalkit.models.local import PolicyRecipe
from evalkit.models.protocol import BatchingModel, SessionRequest, Spoken, StreamingModel, StreamSession
from evalkit.records import AnswerRecord, FailedSample, JsonlWriter, RunFolder, RunManifest, TickRecord
from evalkit.run.check import check_streams
from evalkit.run.fingerprint import fingerprint_digest
from evalkit.run.memory import memory_readers
from evalkit.run.provenance import git_revision, host_facts, versions
from evalkit.run.sample import tick_record
from evalkit.shown import shown_on_one_line
from evalkit.stream import Chunk, Elicitation, FrameFeed, FrameSchedule, Narration
from evalkit.timing import MemorySampler

_INSTRUCTION = "Describe what happens."
_QUESTION = "What is happening now?"
_PREVIOUS_WORD = " and"
_SAMPLE = "synthetic"


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What is measured.

    Args:
        models: Catalog names.
        checkpoint: Weights for all of them; ``None`` for each model's own.
        seconds: Length of the stream.
        size: ``(width, height)`` of the video; frames are what the backbone makes of it.
        fps: Frames per second.
        tokens: Tokens spoken per second: exactly so many, or at most where ``exact`` is off.
        previous_words: Words of previous text at the start, so that text windows are full from the first second.
        device: As for a run.
        dtype: As for a run.
        attention: As for a run.
        decode_step: As for a run.
        seed: Seed of the frames.
        exact: Whether each second speaks so many tokens whatever the model would end with.
    """

    models: tuple[str, ...]
    checkpoint: str | None
    seconds: int
    size: tuple[int, int]
    fps: float = 2.0
    tokens: int = 20
    previous_words: int = 1100
    device: str = "auto"
    dtype: str = "auto"
    attention: str = "sdpa"
    decode_step: DecodeStep = "plain"
    seed: int = 42
    exact: bool = True


@dataclass(frozen=True, slots=True)
class BenchSecond:
    """A second as it was measured.

    Args:
        tick: Its record.
        text: What was said in it.
    """

    tick: TickRecord
    text: str


GoesOn = Callable[[Sequence[BenchSecond], float], bool]
"""Told a second of all streams, and the wall seconds until the last had done it; says whether to go on."""
Turn = Callable[[StreamSession, Chunk], Spoken]
"""What a stream does with a second."""
Work = Callable[[Sequence[Callable[[], None]]], None]
"""Does what several streams have to do at the same moment."""


def choice_of(request: BenchRequest) -> ModelChoice:
    """Return the options of a model that is benched: greedy, with the number of tokens asked for."""
    generation = {"temperature": 0, "max_new_tokens": request.tokens, "exact_tokens": request.exact}
    return ModelChoice(
        checkpoint=request.checkpoint,
        device=request.device,
        dtype=request.dtype,
        attention=request.attention,
        decode_step=request.decode_step,
        settings={"generation": generation},
    )


def models_of(request: BenchRequest) -> Iterator[tuple[PolicyRecipe, StreamingModel]]:
    """Yield the models asked for, each over weights that are loaded once for all that share them.

    Raises:
        UsageError: A model or checkpoint does not exist; before anything is loaded.
    """
    choice = choice_of(request)
    loaded: dict[str, Backbone] = {}
    for recipe in [policy_recipe(name, choice) for name in request.models]:
        if recipe.checkpoint not in loaded:
            loaded.clear()
            loaded[recipe.checkpoint] = recipe.load()
        yield recipe, recipe.over(loaded[recipe.checkpoint])


def measure_stream(
    model: StreamingModel,
    recipe: PolicyRecipe,
    request: BenchRequest,
    path: Path,
    goes_on: Callable[[BenchSecond], bool] = lambda second: True,
) -> RunManifest:
    """Run one model over the made-up stream and put every second on record.

    Args:
        model: The model.
        recipe: What made it.
        request: The stream; its ``models`` play no part.
        path: Run folder that is made.
        goes_on: Told each second; the stream ends where it says so.

    Returns:
        The manifest. A model that ran out of memory leaves the seconds it managed and its reason.

    Raises:
        UsageError: No stream can be made of the request.
    """
    return _measure(_one_by_one, model, recipe, request, path, lambda seconds, took: goes_on(seconds[0]))


def measure_streams(
    model: StreamingModel, recipe: PolicyRecipe, request: BenchRequest, path: Path, goes_on: GoesOn, streams: int
) -> RunManifest:
    """Run several made-up streams through one model as one batch; seconds of all arrive at the same moment.

    Args:
        model: The model.
        recipe: What made it.
        request: Each stream; its ``models`` play no part.
        path: Run folder that is made.
        goes_on: Told each second; the streams end where it says so.
        streams: How many.

    Returns:
        The manifest; see `measure_stream`.

    Raises:
        UsageError: The model cannot advance several streams as one batch, or no stream can be made of the request.
    """
    check_streams(recipe, max(streams, 2), None)
    assert isinstance(model, BatchingModel)  # check_streams saw to it
    group, together = model.together()
    return _measure(
        lambda calls: group.run(calls, len(calls)), together, recipe, request, path, goes_on, streams=streams
    )


def _one_by_one(calls: Sequence[Callable[[], None]]) -> None:
    for call in calls:
        call()


def _measure(
    work: Work,
    model: StreamingModel,
    recipe: PolicyRecipe,
    request: BenchRequest,
    path: Path,
    goes_on: GoesOn,
    *,
    streams: int = 1,
) -> RunManifest:
    # What can refuse the request comes before the folder: a refused one leaves nothing behind.
    schedule = FrameSchedule(0, request.seconds, request.fps)
    names = [_SAMPLE] if streams == 1 else [f"{_SAMPLE}-{number}" for number in range(1, streams + 1)]
    source = SyntheticFrames(model.frame_size(*request.size), request.seed)  # many streams, one pool of pictures
    sessions = [model.open(_session_request(name, recipe, request)) for name in names]
    manifest = _manifest(model, recipe, request, names)
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    folder.write_manifest(manifest)
    narrates = recipe.capabilities.narrate is not None
    turn: Turn = _speak if narrates else partial(_watch_and_ask, tokens=request.tokens)
    title = f"{model.name}, {request.fps:g} fps" + (f", {streams} streams" if streams > 1 else "")
    with ExitStack() as held:
        ticks = held.enter_context(JsonlWriter[TickRecord](folder.ticks_path))
        answers = held.enter_context(JsonlWriter[AnswerRecord](folder.answers_path))
        bar: tqdm[Never] = held.enter_context(
            tqdm(total=len(schedule), desc=shown_on_one_line(title), unit="s", disable=not sys.stderr.isatty())
        )
        memory = held.enter_context(MemorySampler(memory_readers(model.placement.device)))
        feeds = [held.enter_context(FrameFeed(schedule, source)) for _ in names]
        try:
            for chunks in zip(*feeds, strict=True):
                said, took = _turns(work, turn, sessions, chunks)
                seconds = [
                    BenchSecond(tick_record(name, chunk, one.step, model.peak_mib(), memory=memory), one.text)
                    for name, chunk, one in zip(names, chunks, said, strict=True)
                ]
                for second in seconds:
                    ticks.append(second.tick)
                    answers.append(_answer(second, "narration" if narrates else "open"))
                bar.update()
                if not goes_on(seconds, took):
                    break
        except (MemoryError, RuntimeError, EvalkitError) as error:
            reason = " ".join(str(error).split())
            manifest.failed += [
                FailedSample(sample=name, reason=reason, error=type(error).__name__) for name in names
            ]
        finally:
            for session in sessions:
                session.close()
    manifest.status = "failed" if manifest.failed else "done"
    manifest.finished = _now()
    folder.write_manifest(manifest)
    return manifest


def _turns(
    work: Work, turn: Turn, sessions: Sequence[StreamSession], chunks: Sequence[Chunk]
) -> tuple[list[Spoken], float]:
    """Return what each stream says of its second, and the wall seconds until all have."""
    said: dict[int, Spoken] = {}

    def take(number: int) -> None:
        said[number] = turn(sessions[number], chunks[number])

    began = time.perf_counter()
    work([partial(take, number) for number in range(len(sessions))])
    return [said[number] for number in range(len(sessions))], time.perf_counter() - began


def _speak(session: StreamSession, chunk: Chunk) -> Spoken:
    return session.speak(chunk)


def _watch_and_ask(session: StreamSession, chunk: Chunk, tokens: int) -> Spoken:
    """Take in a second and answer a question about it: the turn of a model that does not narrate."""
    step = session.observe(chunk)
    answer = session.ask(_QUESTION, Elicitation(max_tokens=tokens), key=f"{chunk.tick.index}")
    before = sum(step.stages.values())
    stages = {stage: spent + answer.stages.get(stage, 0.0) for stage, spent in step.stages.items()}
    first = None if answer.first_token is None else before + answer.first_token
    times = [before + time for time in answer.token_times]
    whole = replace(step, stages=stages, generated=answer.tokens, first_token=first, token_times=times)
    return Spoken(answer.text, range(answer.tokens), whole)


def _answer(second: BenchSecond, kind: str) -> AnswerRecord:
    tick = second.tick
    return AnswerRecord(
        sample=tick.sample,
        query=f"{tick.sample}@{tick.second}",
        kind=kind,
        at=tick.end,
        start=tick.start,
        end=tick.end,
        text=second.text,
        cluster=tick.sample,
        tokens=tick.generated,
        seconds=tick.stages.total,
        first_token=tick.first_token,
    )


def _session_request(sample: str, recipe: PolicyRecipe, request: BenchRequest) -> SessionRequest:
    if recipe.capabilities.narrate is None:
        return SessionRequest(sample, request.fps, request.seed)
    narration = Narration(_INSTRUCTION, _PREVIOUS_WORD * request.previous_words)
    return SessionRequest(sample, request.fps, request.seed, narration)


def _manifest(
    model: StreamingModel, recipe: PolicyRecipe, request: BenchRequest, samples: list[str]
) -> RunManifest:
    fingerprint = {
        "task": "bench",
        "frames.size": "x".join(map(str, model.frame_size(*request.size))),
        "frames.fps": f"{request.fps:g}",
        "seconds": request.seconds,
        "tokens": request.tokens,
        "tokens.exact": request.exact,
        "previous_words": request.previous_words,
        "attention": request.attention,
        **({} if request.decode_step == "plain" else {"decode_step": request.decode_step}),
        "seed": request.seed,
        **({"streams": len(samples)} if len(samples) > 1 else {}),
        **({"turn": "question"} if recipe.capabilities.narrate is None else {}),
        "dtype": model.placement.dtype,
        "model.name": model.name,
        **recipe.identity(),
        **model.identity(),
    }
    return RunManifest(
        task="bench",
        model=model.name,
        started=_now(),
        options={"models": list(request.models), "seconds": request.seconds, "tokens": request.tokens},
        fingerprint=fingerprint,
        fingerprint_digest=fingerprint_digest(fingerprint),
        versions=versions(),
        git=git_revision(),
        host=host_facts(model.placement.device),
        seeds={"run": request.seed},
        planned=samples,
        latency="batched" if len(samples) > 1 else "alone",
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
