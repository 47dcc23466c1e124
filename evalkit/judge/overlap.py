"""The built-in offline judge: which text shares more words with the reference. It is not an LLM."""

from __future__ import annotations

__all__ = ["OverlapJudge", "overlap_score", "weighted_words"]

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from evalkit.judge.contract import Decision, Provenance, Question

NUMBER_WEIGHT: Final = 3.0
NAME_WEIGHT: Final = 2.0
WORD_WEIGHT: Final = 1.0
TIE_MARGIN: Final = 0.005
_VERSION: Final = "overlap/1"

_WORD: Final = re.compile(r"\d+|[^\W\d_]+(?:['’][^\W\d_]+)*")
_SENTENCE_START: Final = re.compile(r"(?:^|[.!?…\n:])[\s\"“‘'(\[]*$")
_UP_TO_TWENTY: Final = (
    "zero one two three four five six seven eight nine ten "
    "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
)
_NUMBER_WORDS: Final = {word: str(value) for value, word in enumerate(_UP_TO_TWENTY.split())}


def weighted_words(text: str) -> tuple[Counter[str], frozenset[str]]:
    """Split a text into lower-case words and find the names among them.

    Numbers are runs of digits and the English words zero to twenty, written as digits. A name is a word that is
    capitalised somewhere other than at the start of a sentence and is nowhere written small.

    Returns:
        Count per word, and the words that are names.
    """
    counts: Counter[str] = Counter()
    capitalised: set[str] = set()
    small: set[str] = set()
    for match in _WORD.finditer(text):
        word = match.group()
        lower = word.lower().replace("’", "'")
        lower = _NUMBER_WORDS.get(lower, lower)
        counts[lower] += 1
        if word[0].islower():
            small.add(lower)
        elif word[0].isupper() and word != "I" and not word.startswith(("I'", "I’")):
            before = text[max(0, match.start() - 16) : match.start()]
            if not _SENTENCE_START.search(before):
                capitalised.add(lower)
    return counts, frozenset(capitalised - small)


def overlap_score(reference: str, candidate: str) -> float:
    """Return the weighted Dice overlap of two texts, between 0 and 1.

    With r and c the counts of a word in reference and candidate and w its weight (number 3, name of the
    reference 2, other word 1), the score is ``2 * sum(w * min(r, c)) / (sum(w * r) + sum(w * c))``: a wrong
    number costs as much as a right one gains, and talking more does not help by itself.
    """
    said, _ = weighted_words(candidate)
    wanted, names = weighted_words(reference)

    def mass(counts: Counter[str]) -> float:
        return sum(count * _weight(word, names) for word, count in sorted(counts.items()))

    whole = mass(wanted) + mass(said)
    return 2.0 * mass(wanted & said) / whole if whole else 0.0


def _weight(word: str, names: frozenset[str]) -> float:
    if word.isdecimal():
        return NUMBER_WEIGHT
    return NAME_WEIGHT if word in names else WORD_WEIGHT


@dataclass(frozen=True, slots=True)
class OverlapJudge:
    """Prefers the text with the larger weighted overlap; within ``margin`` it is a tie.

    Each text is scored by itself, so the verdict cannot depend on the order.

    Args:
        margin: Largest difference of scores that is a tie.
    """

    margin: float = TIE_MARGIN

    @property
    def identity(self) -> str:
        """Name, what it is not, weights and tie margin in one line."""
        return (
            f"overlap (not an LLM: word overlap with the reference; number {NUMBER_WEIGHT:g}, "
            f"name {NAME_WEIGHT:g}, other word {WORD_WEIGHT:g}; tie within {self.margin:g})"
        )

    @property
    def provenance(self) -> Provenance:
        """Version of the rule, weights and margin."""
        return {
            "judge": _VERSION,
            "number": NUMBER_WEIGHT,
            "name": NAME_WEIGHT,
            "word": WORD_WEIGHT,
            "margin": self.margin,
        }

    @property
    def concurrency(self) -> int:
        """One at a time: there is nothing to wait for."""
        return 1

    async def decide(self, question: Question) -> Decision:
        """Score both texts and compare."""
        first = overlap_score(question.reference, question.first)
        second = overlap_score(question.reference, question.second)
        reply = f"first {first:.6f} second {second:.6f}"
        if abs(first - second) <= self.margin:
            return Decision("tie", "overlap-within-margin", self.identity, reply)
        return Decision("first" if first > second else "second", "overlap", self.identity, reply)

    async def close(self) -> None:
        """Hold nothing open."""
