"""What a session of one's own returned, field by field: numpy's numbers become plain ones (no torch)."""

from __future__ import annotations

__all__ = ["checked_answer", "checked_spoken", "checked_step", "plain_number", "plain_text", "short"]

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, TypeVar

from evalkit.errors import ModelError
from evalkit.models.protocol import Answer, Spoken, StepReport
from evalkit.records import CallRecord, CompressorReport, HeldTokens, RetrievedBlocks
from evalkit.timing import STAGES

_T = TypeVar("_T", int, float)


def checked_answer(label: str, answer: Answer) -> Answer:
    """Return a reply with plain fields.

    Args:
        label: Who returned it, for the error.
        answer: What was returned.

    Raises:
        ModelError: A field is not of its type; times and counts must be finite and not below 0.
    """
    return replace(
        answer,
        text=plain_text(f"{label}: `text`", answer.text),
        tokens=plain_number(f"{label}: `tokens`", answer.tokens, int),
        seconds=plain_number(f"{label}: `seconds`", answer.seconds, float),
        first_token=_seconds(f"{label}: `first_token`", answer.first_token),
        stages=_numbers(f"{label}: `stages`", answer.stages, float, STAGES),
        context_tokens=plain_number(f"{label}: `context_tokens`", answer.context_tokens, int),
        call=_instance(f"{label}: `call`", answer.call, CallRecord),
        token_times=_listed(f"{label}: `token_times`", answer.token_times, float),
        retrieved=_instance(f"{label}: `retrieved`", answer.retrieved, RetrievedBlocks),
    )


def checked_spoken(label: str, spoken: Spoken) -> Spoken:
    """Return what was said in a second with plain fields.

    Args:
        label: Who returned it, for the error.
        spoken: What was returned.

    Raises:
        ModelError: As for `checked_answer`.
    """
    step: Any = spoken.step
    if not isinstance(step, StepReport):
        raise ModelError(f"{label}: `step` must be a StepReport, not {short(step)}")
    return replace(
        spoken,
        text=plain_text(f"{label}: `text`", spoken.text),
        ids=_listed(f"{label}: `ids`", spoken.ids, int),
        step=checked_step(label, step),
        call=_instance(f"{label}: `call`", spoken.call, CallRecord),
    )


def checked_step(label: str, step: StepReport) -> StepReport:
    """Return what a second cost with plain fields.

    Args:
        label: Who returned it, for the error.
        step: What was returned.

    Raises:
        ModelError: As for `checked_answer`.
    """
    reports: Any = step.compressors
    if not (isinstance(reports, Sequence) and all(isinstance(one, CompressorReport) for one in reports)):
        raise ModelError(f"{label}: `compressors` must hold CompressorReports, not {short(reports)}")
    return replace(
        step,
        stages=_numbers(f"{label}: `stages`", step.stages, float, STAGES),
        tokens_in=_numbers(f"{label}: `tokens_in`", step.tokens_in, int),
        kept=_numbers(f"{label}: `kept`", step.kept, int),
        evicted=_numbers(f"{label}: `evicted`", step.evicted, int),
        cache_tokens=plain_number(f"{label}: `cache_tokens`", step.cache_tokens, int),
        generated=plain_number(f"{label}: `generated`", step.generated, int),
        first_token=_seconds(f"{label}: `first_token`", step.first_token),
        compressors=tuple(reports),
        token_times=_listed(f"{label}: `token_times`", step.token_times, float),
        held=_instance(f"{label}: `held`", step.held, HeldTokens),
    )


def plain_text(label: str, value: Any) -> str:
    """Return text that a file can hold: a lone surrogate, which half a character leaves, becomes ``?``.

    Args:
        label: What it is, for the error.
        value: The text.

    Raises:
        ModelError: It is no text.
    """
    if not isinstance(value, str):
        raise ModelError(f"{label} must be text, not {short(value)}")
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def plain_number(label: str, value: Any, kind: type[_T]) -> _T:
    """Return a number of Python's own.

    Args:
        label: What it is, for the error.
        value: The number, which may be one of numpy's.
        kind: ``int`` for a count, ``float`` for a measure.

    Raises:
        ModelError: It is none, not finite, or below 0.
    """
    wanted = Integral if kind is int else Real
    if isinstance(value, wanted) and not isinstance(value, bool):
        number = kind(float(value)) if kind is float else kind(int(value))  # type: ignore[call-overload]
        if math.isfinite(number) and number >= 0:
            return number
    what = "a whole number" if kind is int else "a finite number"
    raise ModelError(f"{label} must be {what} from 0 on, not {short(value)}")


def short(value: Any) -> str:
    """Return what a value looks like, in at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _seconds(label: str, value: Any) -> float | None:
    return None if value is None else plain_number(label, value, float)


def _numbers(label: str, values: Any, kind: type[_T], names: Collection[str] | None = None) -> dict[Any, _T]:
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise ModelError(f"{label} must be a dictionary of numbers by name, not {short(values)}")
    odd = [] if names is None else [name for name in values if name not in names]
    if odd:
        raise ModelError(f"{label} has no {odd[0]!r}; it has {', '.join(names or ())}")
    return {name: plain_number(f"{label} of {name!r}", value, kind) for name, value in values.items()}


def _listed(label: str, values: Any, kind: type[_T]) -> tuple[_T, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ModelError(f"{label} must be a list of numbers, not {short(values)}")
    return tuple(plain_number(label, value, kind) for value in values)


def _instance(label: str, value: Any, kind: type[Any]) -> Any:
    if value is not None and not isinstance(value, kind):
        raise ModelError(f"{label} must be a {kind.__name__} or None, not {short(value)}")
    return value
