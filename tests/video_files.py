"""Small video files with known content for tests: each picture carries its own number, readable after resizing."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

_FORMATS = {".h265": "hevc", ".m2v": "mpeg2video"}
_RATE_ONLY = frozenset({".avi", ".h264", ".h265", ".gif", ".mpg", ".vob"})
_PIXELS = {"gif": "rgb8", "mjpeg": "yuvj420p"}
BITS = 12
ROWS, COLUMNS = 3, 4


def numbered(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A picture (height, width, 3) showing a number below 4096 as 3 x 4 black or white blocks."""
    bits = np.array([(number >> k) & 1 for k in range(BITS)], np.uint8).reshape(ROWS, COLUMNS)
    rows = np.arange(height) * ROWS // height
    columns = np.arange(width) * COLUMNS // width
    image = bits[rows][:, columns] * 160 + 48
    return np.repeat(image[:, :, None], 3, axis=2).astype(np.uint8)


def number_in(frame: np.ndarray) -> int:
    """The number that `numbered` drew, from the middles of the blocks."""
    height, width = frame.shape[:2]
    rows = ((np.arange(ROWS) + 0.5) * height / ROWS).astype(int)
    columns = ((np.arange(COLUMNS) + 0.5) * width / COLUMNS).astype(int)
    bits = frame[rows][:, columns].mean(axis=2).reshape(-1) > 128
    return int(sum(1 << k for k, bit in enumerate(bits) if bit))


def make_video(
    path: Path,
    *,
    frames: int = 60,
    fps: Fraction | int = 30,
    size: tuple[int, int] = (96, 64),
    codec: str = "libx264",
    gop: int = 12,
    b_frames: int = 2,
    times: Sequence[Fraction] | None = None,
    offset: Fraction | int = 0,
    rotation: int = 0,
    audio: bool = False,
    more_audio: Fraction | int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video whose picture k shows the number k.

    Args:
        path: File to write; its suffix chooses the container.
        frames: Number of pictures.
        fps: Rate of the pictures (nominal where `times` are given).
        size: Width and height.
        codec: Encoder.
        gop: Key frame distance.
        b_frames: Consecutive B-frames.
        times: Seconds at which each picture appears (variable frame rate), instead of k / fps.
        offset: Seconds added to every time stamp: a start time other than 0.
        rotation: Counterclockwise degrees in the display matrix.
        audio: Whether to add a silent AAC track.
        more_audio: Seconds by which that track outlasts the pictures.
        options: Further encoder options.
    """
    # Encoders and containers that keep only a rate take no finer time base.
    base = 1 / Fraction(fps) if codec.startswith("mpeg") or path.suffix in _RATE_ONLY else Fraction(1, 30000)
    fixed = {"sc_threshold": "0"} if codec == "libx264" else {"x265-params": "log-level=none"}
    with av.open(str(path), "w", format=_FORMATS.get(path.suffix)) as container:
        given = {**(fixed if codec.startswith("libx26") else {}), **(options or {})}
        stream = container.add_stream(codec, rate=Fraction(fps), options=given)
        stream.width, stream.height = size
        stream.pix_fmt = _PIXELS.get(codec, "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p")
        stream.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = base
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=8000, layout="mono") if audio else None
        for k in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered(k, *size), format="rgb24").reformat(format=stream.pix_fmt)
            at = (times[k] if times is not None else Fraction(k) / fps) + offset
            frame.pts, frame.time_base = round(at / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _silence(container, sound, Fraction(frames) / fps + more_audio)
    return path


def _silence(container: av.container.OutputContainer, stream: av.AudioStream, seconds: Fraction) -> None:
    for k in range(int(seconds * 8000) // 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate, frame.pts, frame.time_base = 8000, k * 1024, Fraction(1, 8000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def damage_frames(path: Path, first: int, last: int) -> Path:
    """Overwrite the coded data of pictures first..last (in coded order) with noise, leaving the index whole."""
    spans: list[tuple[int, int]] = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.size and packet.pos is not None:
                spans.append((packet.pos, packet.size))
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(0)
    for at, size in spans[first : last + 1]:
        data[at : at + size] = noise.bytes(size)
    path.write_bytes(bytes(data))
    return path


def index_first(path: Path) -> Path:
    """Rewrite an mp4 with its index (moov) before the data, as for streaming."""
    target = path.with_name(f"faststart-{path.name}")
    with av.open(str(path)) as source, av.open(str(target), "w", options={"movflags": "faststart"}) as copy:
        stream = source.streams.video[0]
        out = copy.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = out
                copy.mux(packet)
    target.replace(path)
    return path
