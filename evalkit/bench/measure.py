"""One model over a made-up stream, every second on record: what every bench of seconds is made of."""

from __future__ import annotations

__all__ = ["BenchRequest", "BenchSecond", "choice_of", "measure_stream", "models_of"]

import datetime
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from tqdm import tqdm

from evalkit.bench.frames import SyntheticFrames
from evalkit.errors import EvalkitError
from evalkit.models.backbone import Backbone
from evalkit.models.catalog import policy_recipe
from evalkit.models.entry import ModelChoice
from evalkit.models.local import PolicyRecipe
from evalkit.models.protocol import SessionRequest, StreamingModel
from evalkit.records import AnswerRecord, FailedSample, JsonlWriter, RunFolder, RunManifest, TickRecord
from evalkit.run.fingerprint import fingerprint_digest
from evalkit.run.memory import memory_readers
from evalkit.run.provenance import git_revision, host_facts, versions
from evalkit.run.sample import tick_record
from evalkit.shown import shown_on_one_line
from evalkit.stream import FrameFeed, FrameSchedule, Narration
from evalkit.timing import MemorySampler

_INSTRUCTION = "Describe what happens."
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


def choice_of(request: BenchRequest) -> ModelChoice:
    """Return the options of a model that is benched: greedy, with the number of tokens asked for."""
    generation = {"temperature": 0, "max_new_tokens": request.tokens, "exact_tokens": request.exact}
    return ModelChoice(
        checkpoint=request.checkpoint,
        device=request.device,
        dtype=request.dtype,
        attention=request.attention,
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
    # What can refuse the request comes before the folder: a refused one leaves nothing behind.
    schedule = FrameSchedule(0, request.seconds, request.fps)
    source = SyntheticFrames(model.frame_size(*request.size), request.seed)
    session = model.open(_session_request(request))
    manifest = _manifest(model, recipe, request)
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    folder.write_manifest(manifest)
    name = f"{model.name}, {request.fps:g} fps"
    with ExitStack() as held:
        ticks = held.enter_context(JsonlWriter[TickRecord](folder.ticks_path))
        answers = held.enter_context(JsonlWriter[AnswerRecord](folder.answers_path))
        feed = held.enter_context(FrameFeed(schedule, source))
        bar: tqdm[Never] = held.enter_context(
            tqdm(total=len(schedule), desc=shown_on_one_line(name), unit="s", disable=not sys.stderr.isatty())
        )
        memory = held.enter_context(MemorySampler(memory_readers(model.placement.device)))
        try:
            for chunk in feed:
                spoken = session.speak(chunk)
                record = tick_record(_SAMPLE, chunk, spoken.step, model.peak_mib(), memory=memory)
                second = BenchSecond(record, spoken.text)
                ticks.append(second.tick)
                answers.append(_answer(second))
                bar.update()
                if not goes_on(second):
                    break
        except (MemoryError, RuntimeError, EvalkitError) as error:
            reason = " ".join(str(error).split())
            manifest.failed.append(FailedSample(sample=_SAMPLE, reason=reason, error=type(error).__name__))
        finally:
            session.close()
    manifest.status = "failed" if manifest.failed else "done"
    manifest.finished = _now()
    folder.write_manifest(manifest)
    return manifest


def _answer(second: BenchSecond) -> AnswerRecord:
    tick = second.tick
    return AnswerRecord(
        sample=_SAMPLE,
        query=f"{_SAMPLE}@{tick.second}",
        kind="narration",
        at=tick.end,
        start=tick.start,
        end=tick.end,
        text=second.text,
        cluster=_SAMPLE,
        tokens=tick.generated,
        seconds=tick.stages.total,
        first_token=tick.first_token,
    )


def _session_request(request: BenchRequest) -> SessionRequest:
    narration = Narration(_INSTRUCTION, _PREVIOUS_WORD * request.previous_words)
    return SessionRequest(_SAMPLE, request.fps, request.seed, narration)


def _manifest(model: StreamingModel, recipe: PolicyRecipe, request: BenchRequest) -> RunManifest:
    fingerprint = {
        "task": "bench",
        "frames.size": "x".join(map(str, model.frame_size(*request.size))),
        "frames.fps": f"{request.fps:g}",
        "seconds": request.seconds,
        "tokens": request.tokens,
        "tokens.exact": request.exact,
        "previous_words": request.previous_words,
        "attention": request.attention,
        "seed": request.seed,
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
        planned=[_SAMPLE],
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
