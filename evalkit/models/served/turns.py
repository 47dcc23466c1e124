"""The stream as a chat: one turn a second, what of it is sent, and in which words (pure; no torch)."""

from __future__ import annotations

__all__ = ["StreamChat", "Turn", "window_messages"]

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from evalkit.models.served.frames import content_names, frame_parts
from evalkit.models.served.settings import ServedSettings
from evalkit.stream import Narration

Message = dict[str, Any]


@dataclass(slots=True)
class Turn:
    """One second of a stream, or a part of one.

    Args:
        second: Its number.
        start: Media second it begins at.
        end: Media second it ends at.
        frames: Its frames as base64, perhaps still being encoded.
        texts: Subtitles shown in it.
        reply: What was said in it; ``None`` where nothing was asked.
        reply_ids: Its tokens without what ended it, where the server gave them.
        names: Names of its frames' parts, where they have any.
        shape: Of its frames: ``(T, H, W)``.
    """

    second: int
    start: float
    end: float
    frames: Sequence[Future[str]]
    texts: tuple[str, ...] = ()
    reply: str | None = None
    reply_ids: tuple[int, ...] = ()
    names: Sequence[str] = ()
    shape: tuple[int, int, int] = (0, 0, 0)


@dataclass(slots=True)
class StreamChat:
    """What a served model still has of a stream: the turns its schedule keeps, and words of those it let go.

    Args:
        settings: Schedule and layout.
        narration: What is asked every second, where the model narrates.
        time_stamps: Whether each second is announced by ``Time=a-bs``.
        system: System text of the protocol; ``None`` for that of the settings.
        salt: What the names of frames begin with; without it they have none.
    """

    settings: ServedSettings
    narration: Narration | None = None
    time_stamps: bool = True
    system: str | None = None
    salt: str = ""
    turns: deque[Turn] = field(default_factory=deque)
    said: str = ""

    def add(self, turn: Turn) -> int:
        """Add a turn and let go of what the schedule no longer sends; return the seconds let go."""
        before = {one.second for one in self.turns}
        self.turns.append(turn)
        while self.turns and self._is_over(self.turns[0], turn):
            gone = self.turns.popleft()
            if gone.reply:
                words = f"{self.said} {gone.reply}".strip()
                self.said = words[-self.settings.said_characters :] if self.settings.said_characters else ""
        return len(before - {one.second for one in self.turns})

    def _is_over(self, turn: Turn, newest: Turn) -> bool:
        if self.settings.schedule == "growing":
            return False
        if self.settings.schedule == "window":
            return turn.second <= newest.second - self.settings.window_seconds
        return turn.second < newest.second - newest.second % self.settings.chunk_seconds

    def opening(self) -> Iterator[Message]:
        """Yield the system message and what was said before the turns that are sent."""
        system = self.settings.system_prompt if self.system is None else self.system
        if self.narration is not None and self.narration.system is not None:
            system = self.narration.system
        if system:
            yield {"role": "system", "content": system}
        role = self.settings.previous_role
        given = self.narration.previous_text if self.narration is not None else ""
        previous = " ".join(filter(None, [given.strip(), self.said])) if self.said else given
        if role == "previous text":
            if self.narration is not None:  # StreamingVLM's layout has this turn, whether or not it holds anything
                yield {"role": role, "content": previous}
        elif previous.strip():
            yield {"role": role, "content": f"Previous text: {previous.strip()}"}

    def narration_messages(self) -> list[Message]:
        """Return the request of the newest second: a user turn for each second, the instruction in the first."""
        messages = list(self.opening())
        instruction = "" if self.narration is None else self.narration.instruction
        for turn in self.turns:
            parts = list(self._shown(turn))
            if instruction:
                parts.append({"type": "text", "text": instruction})
                instruction = ""
            messages.append({"role": "user", "content": parts})
            if turn.reply or (turn.reply is not None and self.settings.silent_turns):
                messages.append({"role": "assistant", "content": turn.reply})
        return messages

    def question_messages(self, prompt: str) -> list[Message]:
        """Return the request of a question: everything kept in one user turn, the question at its end."""
        parts = [part for turn in self.turns for part in self._shown(turn)]
        return [*self.opening(), {"role": "user", "content": [*parts, {"type": "text", "text": prompt}]}]

    def replies_sent(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield second and tokens of the replies that `narration_messages` sends, where the tokens are known."""
        return ((turn.second, turn.reply_ids) for turn in self.turns if turn.reply and turn.reply_ids)

    def _shown(self, turn: Turn) -> Iterator[dict[str, Any]]:
        if self.time_stamps:
            origin = 0.0 if self.narration is None else self.narration.time_origin
            yield {"type": "text", "text": f"Time={turn.start - origin:.1f}-{turn.end - origin:.1f}s"}
        encoded = [frame.result() for frame in turn.frames]
        if self.salt and not turn.names:
            turn.names = content_names(encoded, self.settings, self.salt)
        yield from frame_parts(encoded, self.settings, turn.names)
        for text in turn.texts:
            yield {"type": "text", "text": text}


def window_messages(system: str, text: str, frames: Sequence[str], settings: ServedSettings) -> list[Message]:
    """Return a request of one text and frames after it, as ``generate_gpt.py`` of StreamingVLM lays it out.

    Args:
        system: System message.
        text: What stands before the frames.
        frames: Frames as base64.
        settings: How the server takes them.
    """
    parts = [{"type": "text", "text": text}, *frame_parts(frames, settings)]
    return [{"role": "system", "content": system}, {"role": "user", "content": parts}]
