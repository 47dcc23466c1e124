"""Whether a memory that sees tensors kept to its budget, from a run's records alone (no torch)."""

from __future__ import annotations

__all__ = ["check_budget"]

from collections.abc import Iterable, Iterator

from evalkit.records import AnswerRecord, TickRecord


def check_budget(ticks: Iterable[TickRecord], answers: Iterable[AnswerRecord]) -> Iterator[str]:
    """Yield one line for every second or question in which a memory did not do what its settings claim.

    Args:
        ticks: The run's seconds; each that had frames has to say what the memory holds.
        answers: Its questions; one that retrieved has to have got some blocks, and no more than were asked for.
    """
    for tick in ticks:
        where = f"{tick.sample} second {tick.second}"
        if tick.held is None:
            if tick.frames:
                yield f"{where}: nothing says what the memory holds"
        elif tick.held.active > tick.held.budget:
            yield f"{where}: {tick.held.active} tokens stand, {tick.held.budget} claimed"
    for answer in answers:
        found = answer.retrieved
        if found is not None and not 1 <= min(found.blocks) <= max(found.blocks) <= found.most:
            got = f"{min(found.blocks)} to {max(found.blocks)} blocks retrieved in a layer"
            yield f"{answer.sample} {answer.query}: {got}, at most {found.most} claimed"
