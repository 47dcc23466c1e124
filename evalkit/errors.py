"""Errors named by who must act; the command line turns each into one line and an exit code."""

from __future__ import annotations

__all__ = [
    "CausalityError",
    "DataError",
    "DecodeError",
    "EvalkitError",
    "JudgeError",
    "ModelError",
    "NothingCountedError",
    "ServerError",
    "UsageError",
    "suggest",
]

import difflib
from collections.abc import Iterable


class EvalkitError(Exception):
    """Base of every error evalkit raises on purpose; its text is one line that says what to do."""


class UsageError(EvalkitError):
    """The command line, a configuration or a call is wrong (exit code 2)."""


class DataError(EvalkitError):
    """A benchmark's files are missing or malformed.

    Args:
        message: What is wrong and what to do.
        sample: Id of the sample concerned, where one is.
        path: File concerned, where one is.
    """

    def __init__(self, message: str, *, sample: str | None = None, path: object | None = None) -> None:
        super().__init__(message)
        self.sample = sample
        self.path = None if path is None else str(path)


class DecodeError(DataError):
    """A video cannot be opened or decoded; fails its samples, not the run."""


class ModelError(EvalkitError):
    """A checkpoint cannot be loaded or a model failed on a sample."""


class ServerError(ModelError):
    """A served model gave no reply although it was asked again and again; ``--resume`` asks once more."""


class JudgeError(EvalkitError):
    """The judge cannot be reached or refuses for good."""


class NothingCountedError(EvalkitError):
    """Everything asked for is on record and nothing of it counts, so a figure has no denominator.

    That is a finding, no wrong use: the command line shows it as a notice and goes on (exit code 0).
    """


class CausalityError(EvalkitError):
    """A model asked for frames later than the current media time."""


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known word, or an empty string.

    Args:
        word: What the user wrote.
        known: The words that exist.
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
