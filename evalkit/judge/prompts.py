"""Judge prompts as data: exact text, source and digest; sends nothing."""

from __future__ import annotations

__all__ = ["INF_STREAMS_PROMPT", "LIVESPORTS_PROMPT", "JudgePrompt"]

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from evalkit.errors import UsageError


@dataclass(frozen=True, slots=True)
class JudgePrompt:
    """A system text and a user template.

    Args:
        name: Short name, shown beside the judge.
        system: System message, sent as it is; none where it is empty.
        template: User message with the fields ``{reference}``, ``{A}`` (first slot) and ``{B}`` (second slot).
        source: Where the text was published.
        max_chars: Each field is stripped and cut to so many characters.
        grammar: How a reply is read: ``letter`` (A or B alone) or ``commentary`` (a sentence that names the
            better of Commentary A and Commentary B).

    Raises:
        UsageError: The template lacks one of the three fields or has another.
    """

    name: str
    system: str
    template: str
    source: str
    max_chars: int = 8000
    grammar: Literal["letter", "commentary"] = "letter"

    def __post_init__(self) -> None:
        marks = ["\x00reference", "\x00first", "\x00second"]
        try:
            filled = self.template.format(reference=marks[0], A=marks[1], B=marks[2])
        except (KeyError, IndexError, ValueError) as error:
            raise UsageError(f"judge prompt {self.name!r}: the template cannot be filled ({error})") from error
        missing = [name for name, mark in zip(("reference", "A", "B"), marks, strict=True) if mark not in filled]
        if missing:
            raise UsageError(f"judge prompt {self.name!r}: the template lacks {{{missing[0]}}}")

    @property
    def digest(self) -> str:
        """SHA-256 of everything that shapes the messages, in hex."""
        parts = json.dumps([self.system, self.template, self.max_chars], ensure_ascii=False)
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def label(self) -> str:
        """Name and beginning of the digest, as a judge's identity shows them."""
        return f"{self.name} {self.digest[:8]}"

    def messages(self, reference: str, first: str, second: str) -> list[dict[str, str]]:
        """Return the chat messages of one question.

        Args:
            reference: Reference transcript of the window.
            first: Text in slot A.
            second: Text in slot B.
        """
        user = self.template.format(reference=self._cut(reference), A=self._cut(first), B=self._cut(second))
        asked = {"role": "user", "content": user}
        return [{"role": "system", "content": self.system}, asked] if self.system else [asked]

    def _cut(self, text: str) -> str:
        return text.strip()[: self.max_chars]


INF_STREAMS_PROMPT = JudgePrompt(
    name="inf-streams",
    source="mit-han-lab/streaming-vlm, streaming_vlm/eval/model_compete/judge.py (SYS_PROMPT, USER_TEMPLATE)",
    # The leading newline, the indents and the line of four spaces are part of what the published runs sent.
    system=(
        "\n"
        "    You are a strict A/B evaluator for sports video commentary.\n"
        "\n"
        "    Rules:\n"
        "    1) You MUST output exactly one uppercase letter: “A” or “B”.\n"
        "\n"
        "    2) Evaluate in this order:\n"
        "    \n"
        "    Broadcast tone & pacing: Vary the emotion; deliver live play-by-play or brief, "
        "in-the-moment analysis. Not just scene description. Use a real-time broadcast voice that puts "
        "the audience courtside.\n"
        "\n"
        "    Consistency & accuracy: Every detail must stay synchronized with the visuals and "
        "never contradict them.\n"
        "    "
    ),
    template=(
        "Reference transcript (Provide a reference for the tone and on-screen information):\n{reference}\n\n"
        "Candidate A:\n{A}\n\n"
        "Candidate B:\n{B}\n\n"
    ),
)

LIVESPORTS_PROMPT = JudgePrompt(
    name="livesports-cc",
    source="showlab/livecc, evaluation/livesports3kcc/llm_judge.py (fdaa91e); StreamingVLM's is the same",
    system="",
    template=(
        "You are an expert in video commentary. "
        "Your task is to review two commentaries (Commentary A and Commentary B), and select the one that better "
        "aligns with the human commentary. "
        "You should consider the criteria:\n"
        "1. Semantic Alignment: The commentary should convey the same meaning, details, and key points as the "
        "human commentary.\n"
        "If the above criteria is not enough to judge, then consider:\n"
        "2. Stylistic Consistency: The commentary should maintain a tone, word choice, and structure similar to "
        "the human commentary.\n"
        "\n---Commentary A---\n{A}\n----------\n"
        "\n---Commentary B---\n{B}\n----------\n"
        "\n---Human Commentary---\n{reference}\n----------\n"
        '\nYour response should be "Commentary A is better aligned with the human commentary" or "Commentary B is '
        'better aligned with the human commentary".\n'
    ),
    max_chars=1_000_000,
    grammar="commentary",
)
