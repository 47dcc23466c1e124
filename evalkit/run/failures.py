"""A sample that broke: which errors cost a sample and not the run, and what then stands in its denominator."""

from __future__ import annotations

__all__ = ["costs_a_sample", "put_failed", "reason_of"]

import sys
from collections.abc import Iterator

from evalkit.errors import EvalkitError
from evalkit.records import AnswerRecord
from evalkit.run.recorder import Recorder
from evalkit.run.sample import failed_narration
from evalkit.stream import StreamSample


def costs_a_sample(error: Exception) -> bool:
    """Whether an error ends its sample and not the run. torch's own is known only where torch is in use."""
    torch = sys.modules.get("torch")
    kinds = (EvalkitError, MemoryError) if torch is None else (EvalkitError, MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds)


def reason_of(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def put_failed(sample: StreamSample, reason: str, recorder: Recorder) -> None:
    """Put on record what stands for a sample that broke, and mark it as failed."""
    for record in _failed_answers(sample, reason, recorder.spoken_until(sample.id)):
        if not recorder.answered(sample.id, record.query):
            recorder.answer(record)
    recorder.finish(sample.id, "failed")


def _failed_answers(sample: StreamSample, reason: str, spoken_until: float | None) -> Iterator[AnswerRecord]:
    """Yield what stands in the denominator for a sample that broke."""
    if sample.narration is not None:
        yield failed_narration(sample, sample.start if spoken_until is None else spoken_until, reason)
    for query in sample.queries:
        yield AnswerRecord(
            sample=sample.id,
            query=query.id,
            kind=query.kind,
            at=query.at,
            start=sample.start,
            end=query.at,
            gold=query.answer,
            choices=query.choices,
            prompt=query.prompt,
            cluster=sample.cluster,
            status="failed",
            error=reason,
            tags=sample.tags | query.tags,
        )
