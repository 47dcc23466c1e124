"""A judge of another package: what it lacks is said by name when it is made, what it decides is looked at."""

from __future__ import annotations

__all__ = ["PluggedJudge"]

import inspect
from typing import Any, Final

from evalkit.errors import JudgeError, UsageError
from evalkit.judge.contract import Decision, Judge, Provenance, Question

_VOTES: Final = ("first", "second", "tie", "invalid")
_WANTED: Final = (
    ("identity", "a text", lambda value: isinstance(value, str) and bool(value.strip())),
    ("provenance", "a mapping", lambda value: hasattr(value, "items")),
    ("concurrency", "a whole number from 1 on", lambda value: isinstance(value, int) and value >= 1),
    ("decide", "an async method", inspect.iscoroutinefunction),
    ("close", "an async method", inspect.iscoroutinefunction),
)
"""What a judge has, what that is, and whether it is."""


class PluggedJudge:
    """A judge of another package.

    Args:
        name: The name it is registered under.
        judge: What its factory made.

    Raises:
        UsageError: It lacks a part of `Judge`; the text names every part.
    """

    def __init__(self, name: str, judge: Any) -> None:
        lacking = [f"{part} ({what})" for part, what, fits in _WANTED if not fits(getattr(judge, part, None))]
        if lacking:
            made = f"{type(judge).__module__}.{type(judge).__qualname__}"
            raise UsageError(f"judge {name!r} ({made}) lacks {'; '.join(lacking)}: see docs/adding-a-judge.md")
        self._name, self._judge = name, judge

    @property
    def identity(self) -> str:
        """One line naming the judge."""
        return str(self._judge.identity)

    @property
    def provenance(self) -> Provenance:
        """Everything that can change a vote."""
        found: Provenance = self._judge.provenance
        return found

    @property
    def concurrency(self) -> int:
        """Questions that may be under way at once."""
        return int(self._judge.concurrency)

    async def decide(self, question: Question) -> Decision:
        """Decide one question.

        Raises:
            JudgeError: What came back is no decision, or its vote is none.
        """
        decision = await self._judge.decide(question)
        if not isinstance(decision, Decision):
            raise JudgeError(
                f"judge {self._name!r}: decide() returned {type(decision).__name__}, not evalkit.judge.Decision"
            )
        if decision.vote not in _VOTES:
            raise JudgeError(f"judge {self._name!r}: the vote {decision.vote!r} is none of {', '.join(_VOTES)}")
        return decision

    async def close(self) -> None:
        """Let go of connections."""
        await self._judge.close()


_: type[Judge] = PluggedJudge
