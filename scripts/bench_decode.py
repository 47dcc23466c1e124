"""Compare evalkit's scheduled decoding with a bare PyAV loop over the same 720p30 H.264 file.

The bare loop decodes every frame with the same thread setting and does nothing with it. Evalkit's side
decodes what a 2 fps schedule needs, converts and resizes those frames and hands them over tick by tick.
Runs alternate; the JSON on stdout holds the median of each side, in seconds, and their ratio.

    python scripts/bench_decode.py [--seconds 30] [--repeats 9] [--size 1008x560] [--b-frames 3] [--preset medium]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from evalkit.stream import FrameFeed, FrameSchedule
from evalkit.video import VideoFrames

WIDTH, HEIGHT, RATE = 1280, 720, 30


def make_file(path: Path, seconds: int, b_frames: int, preset: str = "medium") -> None:
    """Write a 720p30 H.264 file in which a textured scene pans and shapes move across it."""
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT // 8, WIDTH // 4, 3), np.uint8)
    scene = np.kron(noise, np.ones((8, 8, 1), np.uint8)) // 2 + 64
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": preset, "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.max_b_frames = b_frames
        for k in range(seconds * RATE):
            pan = (2 * k) % WIDTH
            image = np.roll(scene, -pan, axis=1)[:, :WIDTH].copy()
            for shape in range(6):
                x = (k * (3 + shape) + 200 * shape) % (WIDTH - 120)
                y = (k * (1 + shape) + 90 * shape) % (HEIGHT - 120)
                image[y : y + 120, x : x + 120] = (40 * shape, 255 - 40 * shape, (k * 5) % 256)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def bare(path: Path) -> float:
    """Decode every frame; return wall seconds."""
    began = time.perf_counter()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for _ in container.decode(stream):
            continue
    return time.perf_counter() - began


def scheduled(path: Path, seconds: int, fps: float, size: tuple[int, int]) -> float:
    """Take every tick of the schedule from a feed; return wall seconds, opening included."""
    began = time.perf_counter()
    taken = 0
    with FrameFeed(FrameSchedule(0, seconds, fps), VideoFrames(path, size)) as feed:
        for chunk in feed:
            taken += len(chunk.frames)
    if taken != round(seconds * fps):
        raise SystemExit(f"{taken} frames came, {round(seconds * fps)} were scheduled")
    return time.perf_counter() - began


def main(arguments: list[str]) -> None:
    """Make the file, time both sides alternately and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--fps", type=float, default=2.0)
    parser.add_argument("--size", default="1008x560")
    parser.add_argument("--b-frames", type=int, default=3)
    parser.add_argument("--preset", default="medium")
    options = parser.parse_args(arguments)
    width, height = (int(side) for side in options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.mp4"
        make_file(path, options.seconds, options.b_frames, options.preset)
        bare(path)
        scheduled(path, options.seconds, options.fps, (width, height))
        bare_times, own_times = [], []
        for _ in range(options.repeats):
            bare_times.append(bare(path))
            own_times.append(scheduled(path, options.seconds, options.fps, (width, height)))
        megabytes = path.stat().st_size / 1e6
    bare_median, own_median = statistics.median(bare_times), statistics.median(own_times)
    print(
        json.dumps(
            {
                "bare_seconds": round(bare_median, 4),
                "evalkit_seconds": round(own_median, 4),
                "ratio": round(own_median / bare_median, 3),
                "ratios": [round(own / one, 3) for own, one in zip(own_times, bare_times, strict=True)],
                "media_seconds": options.seconds,
                "fps": options.fps,
                "size": options.size,
                "b_frames": options.b_frames,
                "preset": options.preset,
                "file_mb": round(megabytes, 2),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
