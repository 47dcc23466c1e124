"""How much a run said in a window: words per second and share of silent seconds, from its answers on record."""

from __future__ import annotations

__all__ = ["SpeechOfRun", "count_words"]

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.records import AnswerRecord


def count_words(text: str) -> int:
    """Return the number of words: runs of non-blanks with a letter or digit in them, so ``...`` is none."""
    return sum(any(char.isalnum() for char in part) for part in text.split())


@dataclass(frozen=True, slots=True, eq=False)
class _Seconds:
    """The narrated seconds of one video, n of them in order of their ends, as sums over the first k.

    Args:
        ends: Shape ``(n,)``, whole media seconds at which they end.
        words: Shape ``(n + 1,)``.
        silent: Shape ``(n + 1,)``, seconds without a word.
        duration: Shape ``(n + 1,)``, media seconds.
    """

    ends: NDArray[np.int64]
    words: NDArray[np.float64]
    silent: NDArray[np.float64]
    duration: NDArray[np.float64]

    @classmethod
    def of(cls, answers: Iterable[AnswerRecord]) -> _Seconds:
        ordered = sorted(answers, key=lambda answer: answer.end)
        words = [count_words(answer.text) for answer in ordered]

        def sums(values: Iterable[float]) -> NDArray[np.float64]:
            return np.concatenate([[0.0], np.cumsum(np.fromiter(values, dtype=np.float64))])

        return cls(
            ends=np.array([int(answer.end) for answer in ordered], dtype=np.int64),
            words=sums(words),
            silent=sums(not count for count in words),
            duration=sums(answer.end - answer.start for answer in ordered),
        )


@dataclass(frozen=True, slots=True)
class SpeechOfRun:
    """What a run narrated, by video."""

    videos: Mapping[str, _Seconds]

    @classmethod
    def of(cls, answers: Iterable[AnswerRecord]) -> SpeechOfRun:
        """Collect the narrated seconds; failed ones said nothing and are no silence either, dropped ones are."""
        found: dict[str, list[AnswerRecord]] = defaultdict(list)
        for answer in answers:
            if answer.kind == "narration" and answer.status != "failed":
                found[answer.cluster].append(answer)
        return cls({video: _Seconds.of(seconds) for video, seconds in found.items()})

    def in_window(self, video: str, start: float, end: float) -> tuple[float, float] | None:
        """Return words per second and share of silent seconds in a window, or None where nothing was narrated.

        Args:
            video: The video's name, as verdicts name their cluster.
            start: Start of the window, media seconds; a second belongs to it where ``start < int(its end) <= end``
                (``extract_commentary`` of StreamingVLM's ``score_segments.py``).
            end: End of the window.
        """
        seconds = self.videos.get(video)
        if seconds is None:
            return None
        first, last = (int(np.searchsorted(seconds.ends, edge, side="right")) for edge in (start, end))
        duration = float(seconds.duration[last] - seconds.duration[first])
        if last == first or duration <= 0:
            return None
        words = float(seconds.words[last] - seconds.words[first])
        return words / duration, float(seconds.silent[last] - seconds.silent[first]) / (last - first)
