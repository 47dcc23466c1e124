"""The benchmarks' own rules for reading replies, faults included; they serve ``source`` scores only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

__all__ = [
    "VLMEVALKIT_PREFIXES",
    "contains_letter",
    "exact_after_strip",
    "first_character",
    "first_letter",
    "joined_digits",
    "lmms_eval_letter",
    "proactive_time",
    "starts_with_answer",
    "yes_no_contained",
]

VLMEVALKIT_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option isThe correct option is",
    "Best answer:Best option:",
    "Answer:",
    "Option:",
)
"""VLMEvalKit ``dataset/utils/videomme.py`` and ``longvideobench.py`` (e8e78f0): two commas are missing there,
so that two pairs of prefixes are glued together and never occur."""

_TRIMMED = (",", ".", "!", "?", ";", ":", "'", '"')
_MARKED = (("({})", 6), ("{}.", 5), ("{}:", 4), ("{})", 3), ("{} ", 2))
_START, _END, _PHRASE, _ANYWHERE = 10, 9, 7, 0
_PHRASES = (
    "the answer is",
    "answer is",
    "the correct answer is",
    "correct answer is",
    "the best answer is",
    "best answer is",
    "the correct option is",
    "correct option is",
    "the best option is",
    "best option is",
    "the choice is",
    "choice is",
    "the correct choice is",
    "correct choice is",
    "i choose",
    "i select",
    "i pick",
    "my answer is",
    "my choice is",
    "옵션",
    "정답은",
    "답은",
    "답:",
    "答案是",
    "答案为",
    "选",
    "答えは",
)

_DIGITS = re.compile(r"\d+")


def contains_letter(response: str | Sequence[str] | None, gold: str) -> bool:
    """OVO-Bench multiple choice: the gold letter occurs anywhere in the reply.

    A list-valued reply is compared by membership, so that ``["B."]`` never equals ``B``.
    Source: OVO-Bench ``utils/OVOBenchScore.py``, ``calculate_score_backward_realtime``.
    """
    return response is not None and gold in response


def joined_digits(response: str | None, gold: str) -> bool:
    """OVO-Bench REC: all digits of the reply, joined, equal the count (``1 to 2`` reads as 12).

    Source: OVO-Bench ``utils/OVOBenchScore.py``, ``get_score_REC``.
    """
    return response is not None and "".join(_DIGITS.findall(response)) == gold


def yes_no_contained(response: str | Sequence[str] | None, gold: str) -> bool:
    """OVO-Bench SSR and CRR: exact ``Y``/``N``, or the gold word occurs in the reply, case kept.

    Source: OVO-Bench ``utils/OVOBenchScore.py``, ``calculate_score_forward``.
    """
    return response is not None and (response == gold[:1] or gold in response)


def starts_with_answer(response: str, gold: str) -> bool:
    """OVO-Bench logit protocol: the reply's first characters equal the gold.

    Source: LiveCC ``evaluation/ovobench/distributed_evaluate_ovobench.py``, ``evaluate_ovobench_results``.
    """
    return response[: len(gold)] == gold


def first_character(response: str, gold: str) -> bool:
    """StreamingBench multiple choice: the first character, not stripped, equals the gold letter.

    Source: StreamingBench ``src/data/count.py``. The script stops on an empty reply; here it is wrong.
    """
    return response[:1] == gold


def exact_after_strip(response: str, gold: str) -> bool:
    """STC's StreamingBench scorer: the stripped reply equals the letter, so ``B.`` is wrong.

    Source: STC's copy of ``count.py``.
    """
    return response.strip() == gold


def proactive_time(asked_last: float, gold_time: float) -> bool:
    """StreamingBench proactive output: the last turn is within 2 s of the gold time.

    Source: StreamingBench ``src/data/count.py``.

    Args:
        asked_last: Media time of the last turn, seconds.
        gold_time: Media time at which the output was due, seconds.
    """
    return -2 <= asked_last - gold_time <= 2


def first_letter(reply: str, prefixes: Sequence[str], letters: str) -> str:
    """Delete the prefixes wherever they occur, then take the first option letter anywhere, even in a word.

    Args:
        reply: The model's text.
        prefixes: Deleted in this order.
        letters: Capital letters that count.

    Returns:
        The letter; empty where none occurs.
    """
    text = reply.strip()
    for prefix in prefixes:
        text = text.replace(prefix, "")
    match = re.search(f"[{letters}]", text)
    return match[0] if match else ""


def lmms_eval_letter(reply: str, letters: str) -> str:
    """Read a reply as lmms-eval does (``_task_utils/mcq_extract.py`` as of 75571cf).

    The best-marked letter wins (alone at the start, alone at the end, after a phrase, ``(A)``, ``A.``,
    ``A:``, ``A)``, ``A `` in this order), the last one among equals. Later versions of lmms-eval read
    replies differently.

    Args:
        reply: The model's text.
        letters: Capital letters that count.

    Returns:
        The letter; empty where there is none, which lmms-eval counts as wrong.
    """
    text = reply.strip()
    for mark in _TRIMMED:
        text = text.strip(mark)
    padded = f" {text} "
    found = [*_marked(padded, letters), *_after_phrases(padded, letters), *_at_the_ends(padded, letters)]
    if not found:
        found = [(_ANYWHERE, padded.rfind(letter), letter) for letter in letters if letter in padded]
    return max(found, key=lambda hit: hit[:2])[2] if found else ""


def _marked(text: str, letters: str) -> Iterator[tuple[int, int, str]]:
    for pattern, rank in _MARKED:
        for letter in letters:
            place = text.rfind(pattern.format(letter))
            if place >= 0:
                yield rank, place, letter


def _after_phrases(text: str, letters: str) -> Iterator[tuple[int, int, str]]:
    lower = text.lower()
    for phrase in _PHRASES:
        place = lower.find(phrase)
        if place < 0:
            continue
        for letter in letters:
            hit = text.find(letter, place + len(phrase))
            if hit >= 0:
                yield _PHRASE, hit, letter


def _at_the_ends(text: str, letters: str) -> Iterator[tuple[int, int, str]]:
    bare = text.strip()
    if bare[:1] and bare[0] in letters and not bare[1:2].isalpha():
        yield _START, 0, bare[0]
    if bare[-1:] and bare[-1] in letters and not bare[-2:-1].isalpha():
        yield _END, len(text) - 1, bare[-1]
