"""What a benchmark asks of a stream: a video, a span of it, and what is asked when."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["Elicitation", "FollowUp", "Narration", "Query", "QueryKind", "StreamSample"]

QueryKind = Literal["choice", "count", "yes-no", "open", "proactive"]


@dataclass(frozen=True, slots=True)
class Elicitation:
    """How a reply to a question is drawn out.

    Args:
        options: Where set, the reply is the option with the largest logit; nothing is generated.
        lead: Text before an option when its token is looked up (a newline or a space: tokenizers differ).
        prefix: Text put into the assistant's mouth.
        max_tokens: Most tokens generated; ``None`` for the model's default.
    """

    options: tuple[str, ...] = ()
    lead: str = "\n"
    prefix: str = ""
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What is asked at the same moment once a reply holds a word; queries that share it form a series.

    When its query has been asked, the rest of the series is asked no more.

    Args:
        word: The word, in any case, that a reply must hold.
        query: What is asked then; its ``id`` is the same throughout a series.
    """

    word: str
    query: Query

    def due(self, reply: str) -> bool:
        """Say whether a reply calls for the query."""
        return self.word.casefold() in reply.casefold()


@dataclass(frozen=True, slots=True)
class Query:
    """One question put to a stream.

    Args:
        id: Unique within the task.
        at: Media time of the question, seconds; nothing later may be seen.
        prompt: The full text put to the model, as the protocol has it.
        kind: Which parser reads the reply.
        choices: Option texts in letter order (``choice`` only).
        answer: Gold: a letter, a number in digits, ``Yes``/``No`` or text; ``None`` where it is hidden.
        visible_from: Start of the visible span, seconds; ``None`` means the sample's start.
        tags: Groups the scorer needs (``task``, ``category``, ``duration`` ...).
        elicitation: How the reply is drawn out.
        follow_up: Set where the query is one of a series that a reply ends.
    """

    id: str
    at: float
    prompt: str
    kind: QueryKind
    choices: tuple[str, ...] = ()
    answer: str | None = None
    visible_from: float | None = None
    tags: dict[str, str] = field(default_factory=dict)
    elicitation: Elicitation = Elicitation()
    follow_up: FollowUp | None = None


@dataclass(frozen=True, slots=True)
class Narration:
    """A request to speak every second.

    Args:
        instruction: Text of the first turn.
        previous_text: What was said before the stream starts.
        reference: ``(start, end, text)`` rows of the reference transcript, seconds.
        system: System message of the protocol; ``None`` leaves the model its own.
        time_origin: Media second that the stamps ``Time=a-bs`` count from.
    """

    instruction: str
    previous_text: str = ""
    reference: tuple[tuple[float, float, str], ...] = ()
    system: str | None = None
    time_origin: float = 0.0

    def reference_between(self, start: float, end: float) -> str:
        """Return the reference words that begin in ``[start, end)``; the rows must be in order of time."""
        first = bisect_left(self.reference, start, key=lambda row: row[0])
        stop = bisect_left(self.reference, end, key=lambda row: row[0])
        return " ".join(row[2].strip() for row in self.reference[first:stop])


@dataclass(frozen=True, slots=True)
class StreamSample:
    """One stream through a model: the unit that runs, fails and resumes.

    Args:
        id: Unique within the run.
        video: Path of the video file.
        start: First media second shown.
        end: Media second at which the stream ends, > ``start``.
        fps: Frames shown per second.
        queries: Questions, in order of ``at``.
        narration: Set where the model speaks every second.
        cluster: Video id; samples of one video are not independent.
        tags: Task name, duration bucket and the like.
        texts: ``(seconds, text)`` of subtitles, in order; each enters the stream with the frames of its time.
        system: System text of the protocol where questions are asked; ``None`` leaves the model its own.
    """

    id: str
    video: Path
    start: float
    end: float
    fps: float
    queries: tuple[Query, ...] = ()
    narration: Narration | None = None
    cluster: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    texts: tuple[tuple[float, str], ...] = ()
    system: str | None = None
