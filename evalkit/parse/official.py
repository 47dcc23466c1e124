"""The benchmarks' own rules for reading replies, faults included; they serve ``source`` scores only."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = [
    "VLMEVALKIT_PREFIXES",
    "contains_letter",
    "exact_after_strip",
    "first_character",
    "first_letter",
    "joined_digits",
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
