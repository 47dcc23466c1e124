"""Two small requests that tell whether a server looks at images: more pixels must make a longer prompt (pure)."""

from __future__ import annotations

__all__ = ["probe_messages", "sees_images"]

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from evalkit.models.served.frames import encode_frame, frame_parts
from evalkit.models.served.settings import ServedSettings

_QUESTION = "How many pictures do you see? Answer with a number."


def probe_messages(settings: ServedSettings) -> Iterator[list[dict[str, Any]]]:
    """Yield two requests of one question: about one small frame, and about two larger ones that differ.

    Args:
        settings: How the server takes frames.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (2, 336, 336, 3), dtype=np.uint8)
    for frames in (pixels[:1, :56, :56], pixels):
        encoded = [encode_frame(np.ascontiguousarray(frame), settings) for frame in frames]
        parts = [*frame_parts(encoded, settings), {"type": "text", "text": _QUESTION}]
        yield [{"role": "user", "content": parts}]


def sees_images(prompt_tokens: Sequence[int | None]) -> bool:
    """Say whether the prompts took different numbers of tokens; a server that does not count is believed."""
    small, large = prompt_tokens
    return small is None or large is None or small != large
