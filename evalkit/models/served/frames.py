"""Frames on their way to a server: JPEG or PNG as data URLs, encoded beside the waiting (no torch)."""

from __future__ import annotations

__all__ = ["FrameEncoder", "content_names", "encode_frame", "frame_parts"]

import base64
import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evalkit.models.served.settings import ServedSettings

_ENCODING_THREADS: Final = 2


def encode_frame(frame: NDArray[np.uint8], settings: ServedSettings) -> str:
    """Return one frame as base64.

    Args:
        frame: uint8 RGB, ``(H, W, 3)``.
        settings: Format and quality.
    """
    buffer = io.BytesIO()
    image = Image.fromarray(frame)
    if settings.image_format == "jpeg":
        image.save(buffer, "JPEG", quality=settings.jpeg_quality)
    else:
        image.save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


class FrameEncoder:
    """Encodes frames on threads of its own, so that the pixels are let go of while a reply is waited for.

    Args:
        settings: Format and quality.
    """

    def __init__(self, settings: ServedSettings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(_ENCODING_THREADS, thread_name_prefix="evalkit-jpeg")

    def encode(self, frames: NDArray[np.uint8]) -> list[Future[str]]:
        """Begin to encode frames.

        Args:
            frames: uint8 RGB, ``(T, H, W, 3)``.
        """
        return [self._pool.submit(encode_frame, frame, self._settings) for frame in frames]

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def frame_parts(
    encoded: Sequence[str], settings: ServedSettings, names: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return frames as content parts of a message.

    Args:
        encoded: Frames as base64.
        settings: How the server takes them.
        names: Names of the parts, by which vLLM finds again what it has seen; none by default.
    """
    kind = settings.image_format
    if settings.frames_as == "video":
        # vLLM decodes the frames one by one whatever the type says, so PNG goes under it too.
        url = f"data:video/jpeg;base64,{','.join(encoded)}"
        parts = [{"type": "video_url", "video_url": {"url": url}}] if encoded else []
    else:
        detail = {} if settings.image_detail is None else {"detail": settings.image_detail}
        urls = (f"data:image/{kind};base64,{one}" for one in encoded)
        parts = [{"type": "image_url", "image_url": {"url": url, **detail}} for url in urls]
    return [{**part, "uuid": name} for part, name in zip(parts, names, strict=True)] if names else parts


def content_names(encoded: Sequence[str], settings: ServedSettings, salt: str) -> list[str]:
    """Return a name for each part that `frame_parts` makes: a digest of its bytes.

    vLLM trusts a name: another picture under a known one gets the answer of the picture it knows, and the same
    picture under another frame rate the positions of the first. So all that makes a difference goes into it.

    Args:
        encoded: Frames as base64.
        settings: How the server takes them.
        salt: What else the server makes of them depends on: the run, the frame rate.
    """
    contents = [",".join(encoded)] if settings.frames_as == "video" and encoded else encoded
    prefix = f"{salt}\0{settings.frames_as}\0"
    return [hashlib.sha256(f"{prefix}{content}".encode()).hexdigest()[:32] for content in contents]
