"""Colours survive decoding, scaling and packing: flat ones and textures alike, within two levels."""

import av
import numpy as np
import pytest
from PIL import Image

from evalkit.stream import FrameFeed, FrameSchedule
from evalkit.video import VideoFrames

WIDTH, HEIGHT = 192, 128
BLACK, GREY, WHITE, RED = (16, 128, 128), (126, 128, 128), (235, 128, 128), (81, 90, 240)  # BT.601, limited range


def written(path, luma, u, v, full_range=False):
    """A file of one second without loss: FFV1, 4:2:0, five equal pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.color_range = 2 if full_range else 1
        for number in range(5):
            frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
            for plane, values in zip(frame.planes, (luma, u, v), strict=True):
                lines = np.zeros((plane.height, plane.line_size), np.uint8)
                lines[:, : plane.width] = values
                plane.update(lines)
            frame.pts, frame.color_range = number, 2 if full_range else 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def frames_of(path, size):
    with VideoFrames(path, size) as source, FrameFeed(FrameSchedule(0, 1, 2), source) as feed:
        return next(iter(feed)).frames


def by_definition(luma, u, v, size, full_range):
    """BT.601 in floats, every plane resized bicubically by Pillow."""
    planes = (Image.fromarray(plane.astype(np.float32)) for plane in (luma, u, v))
    y, cb, cr = (np.asarray(plane.resize(size, Image.BICUBIC)) for plane in planes)
    cb, cr = cb - 128, cr - 128
    if not full_range:
        y, cb, cr = (y - 16) * 255 / 219, cb * 255 / 224, cr * 255 / 224
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    return np.clip(rgb, 0, 255)


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (112, 56), (97, 63), (224, 140)])
@pytest.mark.parametrize(
    ("stored", "shown"), [(BLACK, (0,) * 3), (GREY, (128,) * 3), (WHITE, (255,) * 3), (RED, (255, 0, 0))]
)
def test_a_flat_colour_stays_flat_to_the_last_column(tmp_path, size, stored, shown):
    frames = frames_of(written(tmp_path / "flat.mkv", *stored), size)
    assert frames.shape == (2, size[1], size[0], 3)
    assert np.abs(frames.astype(int) - shown).max() <= 2
    assert (frames == frames[0, 0, 0]).all()


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("size", [(112, 56), (97, 63), (224, 140)])
def test_a_texture_is_that_of_a_float_reference_within_two_levels(tmp_path, size, full_range):
    row, column = np.mgrid[0:HEIGHT, 0:WIDTH]
    luma = np.rint(126 + 70 * np.sin(column / 9) * np.cos(row / 7)).astype(np.uint8)
    row, column = np.mgrid[0 : HEIGHT // 2, 0 : WIDTH // 2]
    u = np.rint(128 + 30 * np.sin(column / 11 + row / 13)).astype(np.uint8)
    v = np.rint(128 + 30 * np.cos(column / 12 - row / 10)).astype(np.uint8)
    frames = frames_of(written(tmp_path / "texture.mkv", luma, u, v, full_range), size)
    error = frames[0] - by_definition(luma, u, v, size, full_range)
    assert np.abs(error).mean() < 2
    assert abs(error.mean()) < 2
