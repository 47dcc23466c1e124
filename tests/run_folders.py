"""Writes synthetic run folders through evalkit.records, for tests of whatever reads runs."""

from __future__ import annotations

__all__ = ["HOSTILE", "counted", "narration_run", "question_run", "write_run"]

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from evalkit.records import (
    AnswerRecord,
    FailedSample,
    JsonlWriter,
    Metric,
    MetricsFile,
    RunFolder,
    RunManifest,
    StageTimes,
    TickRecord,
    VerdictRecord,
    count_verdicts,
    read_run,
)
from evalkit.records.completeness import count_records

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>&amp;"
PHRASES = (
    "and the ball goes wide on the left",
    "number seven picks it up in midfield",
    "a long pass towards the far post",
    "he turns and looks for support",
    "the score board still says two to one",
    "",
    "what a save by the goalkeeper",
    "they slow it down now",
)
_ORDERS: tuple[Literal["ab", "ba"], ...] = ("ab", "ba")
CATEGORIES = {"OCR": "Real-time", "ACR": "Real-time", "EPM": "Backward", "ASI": "Backward", "REC": "Forward"}


def manifest(task: str, model: str, **changes: Any) -> RunManifest:
    """Return a finished run's manifest."""
    fingerprint = {
        "data": "demo-1",
        "fps": 2.0,
        "frame_size": "504x280",
        "parser": "strict-3",
        "model": model,
        "policy": model,
        "dtype": "float32",
    }
    fingerprint.update(changes.pop("fingerprint", {}))
    digest = hashlib.sha256(repr(sorted(fingerprint.items())).encode()).hexdigest()
    values: dict[str, Any] = {
        "task": task,
        "model": model,
        "status": "done",
        "started": "2025-03-01T10:00:00Z",
        "finished": "2025-03-01T10:42:00Z",
        "options": {"task": task, "model": model, "checkpoint": "tiny", "seed": 7},
        "fingerprint": fingerprint,
        "fingerprint_digest": digest,
        "versions": {"evalkit": "0.1.0", "torch": "2.13.0"},
        "git": "0123abc",
        "host": {"machine": "x86_64", "cpu": "16 cores", "device": "cpu", "memory_gib": 64},
        "seeds": {"run": fingerprint.get("seed", 7)},
        "data": {"revision": "demo-1"},
    }
    return RunManifest(**{**values, **changes})


def write_run(
    folder: Path,
    run: RunManifest,
    *,
    answers: Iterable[AnswerRecord] = (),
    ticks: Iterable[TickRecord] = (),
    verdicts: Iterable[VerdictRecord] = (),
    metrics: Iterable[Metric] | None = (),
) -> Path:
    """Write a run folder; ``metrics=None`` leaves metrics.json away."""
    folder.mkdir(parents=True)
    target = RunFolder(folder)
    target.write_manifest(run)
    files: dict[Path, Iterable[BaseModel]] = {
        target.answers_path: answers,
        target.ticks_path: ticks,
        target.verdicts_path: verdicts,
    }
    for path, records in files.items():
        with JsonlWriter[BaseModel](path) as writer:
            for record in records:
                writer.append(record)
    if metrics is not None:
        target.write_metrics(
            MetricsFile(
                task=run.task, model=run.model, fingerprint_digest=run.fingerprint_digest, metrics=tuple(metrics)
            )
        )
    return folder


def counted(path: Path) -> RunFolder:
    """Write into a run's manifest how many records and verdicts it has, as a run does when it is done."""
    run = read_run(path)
    changes = {"recorded": count_records(run.answers, run.ticks), "judged": count_verdicts(run.verdicts)}
    run.folder.write_manifest(run.manifest.model_copy(update=changes))
    return run.folder


def tick(
    sample: str, second: int, begin: float, rng: random.Random, *, bounded: bool, cap: int = 5000
) -> TickRecord:
    """Return one second of a stream whose cost is flat (``bounded``) or grows with the cache."""
    incoming, seconds = {"vision": 180, "time": 12, "assistant": 14}, second + 1
    held = min(seconds * 206, cap) if bounded else seconds * 206
    evicted = {"vision": 180, "assistant": 14} if bounded and seconds * 206 > cap else {}
    load = held / 5000
    parts = {
        "decode": 0.01,
        "preprocess": 0.012,
        "vision_encode": 0.08,
        "cache": 0.004 if bounded else 0.001,
        "prefill": 0.05 + 0.03 * load,
        "generate": (0.18 + 0.06 * load) * rng.uniform(0.9, 1.15),
        "other": 0.002,
    }
    vision = int(held * 0.85)
    return TickRecord(
        sample=sample,
        second=second,
        start=begin + second,
        end=begin + seconds,
        frames=2,
        stages=StageTimes(**parts, total=sum(parts.values())),
        tokens_in=incoming,
        kept={"system": 24, "vision": vision, "assistant": held - vision},
        evicted=evicted,
        generated=rng.randint(8, 20),
        cache_tokens=held + 24,
        peak_mib=900 + held * 0.05,
        rss_mib=1500.0,
        first_token=0.13,
    )


def verdict(
    sample: str, window: tuple[float, float], order: Literal["ab", "ba"], rng: random.Random, lead: float
) -> VerdictRecord:
    """Return one vote of a judge that leans to the first slot."""
    start, end = window
    chance = lead + (0.15 if order == "ab" else -0.15)
    draw = rng.random()
    vote: Literal["first", "second", "tie", "invalid"] = "invalid"
    winner: Literal["test", "baseline", "tie", "invalid"] = "invalid"
    if draw <= 0.99:
        winner = "test" if rng.random() < chance else "baseline"
        vote = "first" if (winner == "test") == (order == "ab") else "second"
    letter = {"first": "A", "second": "B", "invalid": f"I cannot tell {HOSTILE}"}[vote]
    return VerdictRecord(
        key=f"{sample}-{start}-{order}",
        pair=f"{sample}@{start:g}-{end:g}",
        cluster=sample,
        start=start,
        end=end,
        order=order,
        vote=vote,
        winner=winner,
        rule="letter" if vote != "invalid" else "no letter",
        reply=letter,
        attempts=1,
        judge="overlap (not an LLM)",
        model_name="test",
        baseline_name="baseline",
    )


def narration_run(
    folder: Path,
    model: str = "streamingvlm",
    *,
    videos: int = 3,
    seconds: int = 120,
    window: int = 30,
    seed: int = 0,
    judged: bool = True,
    media: dict[str, str] | None = None,
    begin: float = 10.0,
    **changes: Any,
) -> Path:
    """Write a run that narrates ``videos`` videos second by second; ``full`` grows, other models are bounded."""
    rng = random.Random(f"{seed}-{model}")
    reference = random.Random("reference")
    answers, ticks, verdicts = [], [], []
    for video in range(videos):
        sample = f"game-{video}"
        for second in range(seconds):
            start = begin + second
            text = HOSTILE if second == 3 else rng.choice(PHRASES)
            answers.append(
                AnswerRecord(
                    sample=sample, query=f"{sample}@{start:g}", kind="narration", at=start + 1, start=start,
                    end=start + 1, text=text, parsed=text, rule="ending cut", gold=reference.choice(PHRASES),
                    cluster=sample, tokens=len(text.split()), seconds=0.3,
                )
            )  # fmt: skip
            ticks.append(tick(sample, second, begin, rng, bounded=model != "full"))
        for low in range(0, seconds, window if judged else seconds + 1):
            span = (begin + low, begin + min(low + window, seconds))
            verdicts += [verdict(sample, span, order, rng, 0.62) for order in _ORDERS if judged]
    metrics = [
        Metric(
            name="win_rate",
            group="vs baseline",
            value=0.61,
            unit="share",
            n=len(verdicts) // 2,
            coverage=1.0,
            clusters=videos,
            low=0.5,
            high=0.72,
            method="cr2-logit",
            note="judge: overlap (not an LLM)",
        ),
        Metric(name="words_per_second", value=3.4, unit="words/s", n=len(ticks)),
    ]
    run = manifest(
        "inf-streams", model, planned=[f"game-{video}" for video in range(videos)], media=media or {}, **changes
    )
    return write_run(
        folder, run, answers=answers, ticks=ticks, verdicts=verdicts, metrics=metrics if judged else []
    )


def question(number: int, rng: random.Random, accuracy: float) -> AnswerRecord:
    task = list(CATEGORIES)[number % len(CATEGORIES)]
    gold = "ABCD"[number % 4]
    draw = rng.random()
    status = "failed" if draw > 0.985 else "ok"
    unparsed = "two letters in the reply" if 0.96 < draw <= 0.985 else None
    letter = gold if rng.random() < accuracy else rng.choice([other for other in "ABCD" if other != gold])
    text = HOSTILE if unparsed else f"({letter}) because it is seen at {number % 60} s"
    return AnswerRecord(
        sample=f"s{number // 4}",
        query=f"q{number}",
        kind="choice",
        at=5.0 + number % 300,
        start=0.0,
        end=5.0 + number % 300,
        text="" if status == "failed" else text,
        status="failed" if status == "failed" else "ok",
        error="the video ends at 12.0 s, before the question at 40.0 s" if status == "failed" else None,
        parsed=None if unparsed or status == "failed" else letter,
        rule=None if unparsed or status == "failed" else "bracketed letter",
        unparsed=unparsed if status == "ok" else None,
        gold=gold,
        choices=("a red ball", "a blue square", "two players", "<b>nothing</b>"),
        prompt=f"Question {number}: what is seen at {number % 60} s?\nA. a red ball ... <b>D</b>",
        cluster=f"video-{number // 8}",
        tags={"task": task, "category": CATEGORIES[task]},
        tokens=9,
        seconds=0.4,
        first_token=0.2,
    )


def question_run(
    folder: Path,
    model: str = "streamingvlm",
    *,
    questions: int = 200,
    accuracy: float = 0.65,
    seed: int = 0,
    task: str = "ovo-bench",
    scored: bool = True,
    **changes: Any,
) -> Path:
    """Write a run of multiple-choice questions, a few failed or unparsed, with strict and official scores."""
    rng = random.Random(f"{seed}-{model}")
    answers = [question(number, rng, accuracy) for number in range(questions)]
    failed = [
        FailedSample(sample=answer.sample, reason="video shorter than annotated", error=answer.error or "")
        for answer in answers
        if answer.status == "failed"
    ]
    clock = random.Random(f"clock-{seed}-{model}")
    ticks = [tick("s0", second, 0.0, clock, bounded=model != "full") for second in range(90)]
    planned = sorted({answer.sample for answer in answers})
    run = manifest(task, model, planned=planned, failed=failed, **changes)
    metrics = question_metrics(answers) if scored else None
    return write_run(folder, run, answers=answers, ticks=ticks, metrics=metrics)


def question_metrics(answers: list[AnswerRecord]) -> list[Metric]:
    """Return strict scores of all questions and of each task, and official ones two points above them."""
    strict = [_score(answers, group) for group in ("", *CATEGORIES)]
    official = {"score": "official", "low": None, "high": None}
    return strict + [one.model_copy(update={**official, "value": (one.value or 0) + 2}) for one in strict]


def _score(answers: list[AnswerRecord], group: str) -> Metric:
    part = [answer for answer in answers if not group or answer.tags["task"] == group]
    value = sum(answer.parsed == answer.gold for answer in part) / max(1, len(part))
    answered = sum(answer.parsed is not None for answer in part)
    return Metric(
        name=group or "total",
        group="tasks" if group else "",
        value=100 * value,
        unit="%",
        score="strict",
        n=len(part),
        answered=answered,
        coverage=answered / max(1, len(part)),
        clusters=len({answer.cluster for answer in part}),
        low=max(0, 100 * value - 5),
        high=min(100, 100 * value + 5),
        method="cr2-logit",
    )
