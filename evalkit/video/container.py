"""Open a video file or say in one line why not; leaves its properties to probe and its frames to decode."""

from __future__ import annotations

__all__ = ["VideoError", "VideoFault", "is_placeholder", "open_video", "read_packets", "video_stream"]

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from evalkit.errors import DecodeError

VideoFault = Literal["missing", "empty", "truncated", "wrong-container", "no-video-stream", "unreadable"]

# A still picture, a text file shown as a terminal and a list of other files all open as "video".
_NO_VIDEO_FORMATS = frozenset({"image2", "tty", "hls", "concat", "dash"})
_VOP_START = b"\x00\x00\x01\xb6"
_PLACEHOLDER = _VOP_START + b"\x40\x00"


class VideoError(DecodeError):
    """A video file cannot be used.

    Args:
        reason: Which fault it is; stable, for records.
        message: One line for a person.
        path: The file.
    """

    def __init__(self, reason: VideoFault, message: str, *, path: Path) -> None:
        super().__init__(message, path=path)
        self.reason = reason


@contextmanager
def open_video(path: Path | str) -> Iterator[InputContainer]:
    """Open a local video file for reading.

    Args:
        path: The file; URLs are not opened.

    Raises:
        VideoError: The file is missing, empty, truncated, of another kind, or cannot be read; errors of
            FFmpeg inside the ``with`` block are turned into it too.
    """
    file = Path(path)
    container = _open(file)
    try:
        if container.format.name in _NO_VIDEO_FORMATS or container.format.name.endswith("_pipe"):
            raise VideoError("wrong-container", f"{file}: a {container.format.name} file, not a video", path=file)
        yield container
    except av.error.FFmpegError as error:
        raise VideoError("unreadable", f"{file}: reading failed ({error.strerror})", path=file) from error
    finally:
        container.close()


def video_stream(container: InputContainer, path: Path | str) -> VideoStream:
    """Return the first moving-picture stream; cover art does not count.

    Raises:
        VideoError: There is none.
    """
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            if stream.codec_context is None:
                raise VideoError("unreadable", f"{path}: its video codec is unknown here", path=Path(path))
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise VideoError("no-video-stream", f"{path}: no video stream in it (it holds {kinds})", path=Path(path))


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield a stream's packets, then the empty one that flushes its decoder.

    A file cut short ends where it was cut. So does one in which further streams turn up while it is read:
    PyAV then fails with IndexError, after the last packet.

    Old MPEG-4 encoders packed a B-frame into the packet of the picture after it, and a placeholder of a few
    bytes followed. The decoder holds the B-frame until then; where a file ends before that, a placeholder is
    added.
    """
    packs = stream.codec_context.name == "mpeg4"
    last: Packet[VideoStream] | None = None
    with suppress(av.error.InvalidDataError, av.error.EOFError, IndexError):
        for packet in container.demux(stream):
            if packs and not packet.size and last is not None and bytes(last).count(_VOP_START) > 1:
                yield _placeholder(stream)
            last = packet if packs else None
            yield packet


def is_placeholder(packet: Packet[VideoStream]) -> bool:
    """Whether a packet is none of the file's but was added by `read_packets`."""
    return packet.dts is None and packet.size == len(_PLACEHOLDER) and bytes(packet) == _PLACEHOLDER


def _placeholder(stream: VideoStream) -> Packet[VideoStream]:
    packet = cast("Packet[VideoStream]", Packet(_PLACEHOLDER))
    packet.stream = stream
    packet.time_base = stream.time_base or packet.time_base
    return packet


def _open(file: Path) -> InputContainer:
    try:
        if not file.exists():
            raise VideoError("missing", f"{file}: no such video file", path=file)
        if not file.is_file():
            raise VideoError("unreadable", f"{file}: not a file", path=file)
        if file.stat().st_size == 0:
            raise VideoError("empty", f"{file}: the video file has zero bytes", path=file)
        # The prefix keeps a name with a colon from being read as a protocol.
        return av.open(f"file:{file}", mode="r", metadata_errors="replace")
    except av.error.InvalidDataError:
        raise _invalid(file) from None
    except (OSError, av.error.FFmpegError) as error:
        reason = error.strerror or type(error).__name__
        raise VideoError("unreadable", f"{file}: cannot be read ({reason})", path=file) from None


def _invalid(file: Path) -> VideoError:
    with file.open("rb") as opened:
        head = opened.read(12)
    if head[4:8] in (b"ftyp", b"moov", b"mdat"):
        return VideoError(
            "truncated", f"{file}: truncated mp4 (its index, the moov box, is missing or cut)", path=file
        )
    return VideoError("wrong-container", f"{file}: not a video container that can be read", path=file)
