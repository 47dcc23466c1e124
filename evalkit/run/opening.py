"""What stands before the first second: how long the previous texts are for the model, and what comes of that."""

from __future__ import annotations

__all__ = ["Opening", "longest_opening"]

from dataclasses import dataclass

from evalkit.models.entry import PreviousText
from evalkit.run.plan import RunPlan

_FAR_BEYOND = 4
"""So many times what the policy keeps is far beyond it."""
_LONG = 8192
"""Tokens that are long where nothing of them is dropped."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The longest previous text of a run.

    Args:
        sample: Sample it stands before.
        text: What it is for that model.
    """

    sample: str
    text: PreviousText

    def __str__(self) -> str:
        """Say it in one line, as ``--dry-run`` prints it."""
        return f"{self._size} tokens before {self.sample}, {self._fate}"

    @property
    def _size(self) -> str:
        return f"{'' if self.text.counted else 'about '}{self.text.tokens:,}"

    @property
    def _fate(self) -> str:
        kept = self.text.kept
        if kept is None:
            return "all of which stay in the context"
        if self.text.tokens <= kept:
            return "none of which is dropped"
        times = self.text.tokens / max(kept, 1)
        return (
            f"of which {kept:,} stay after the first second: prefilling all costs {times:.0f} times the tokens "
            f"and {times**2:,.0f} times the attention"
        )

    @property
    def warning(self) -> str | None:
        """What to tell before a run that spends long on it, or ``None``."""
        kept = self.text.kept
        if self.text.tokens <= (_LONG if kept is None else max(_FAR_BEYOND * kept, 1)):
            return None
        advice = (
            "--set memory.trim_opening=true prefills only those, which changes the first second and what follows"
            if kept is not None
            else "every second reads it"
        )
        return f"the previous text is {self}; {advice}"


def longest_opening(plan: RunPlan) -> Opening | None:
    """Return the longest previous text of a plan, or ``None`` where there is none or another process reads it."""
    texts = {sample.id: sample.narration.previous_text for sample in plan.samples if sample.narration is not None}
    sample = max(texts, key=lambda one: len(texts[one]), default="")
    if not texts.get(sample):
        return None
    measured = plan.model.previous_text(texts[sample])
    return None if measured is None else Opening(sample, measured)
