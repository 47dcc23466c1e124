import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.video import STREAMINGVLM_LIMITS, PixelLimits, smart_resize, streamingvlm_size, vision_tokens


@pytest.mark.parametrize(
    ("source", "size", "tokens"),
    [
        ((640, 360), (644, 364), 299),
        ((1280, 720), (1008, 560), 720),
        ((1920, 1080), (1008, 560), 720),
        ((3840, 2160), (1008, 560), 720),
        ((360, 640), (364, 644), 299),
    ],
)
def test_streamingvlm_sees_a_source_at_the_papers_size_and_tokens_a_second(source, size, tokens):
    assert streamingvlm_size(*source) == size
    assert vision_tokens(*size, frames=2) == tokens
    assert vision_tokens(*size, frames=8) == 4 * tokens


def test_an_odd_frame_fills_its_temporal_patch():
    assert vision_tokens(56, 56, frames=3) == 2 * vision_tokens(56, 56, frames=2) == 8


def test_the_budget_of_all_frames_is_shared_but_leaves_the_least():
    tight = PixelLimits(min_pixels=100 * 784, max_pixels=768 * 784, total_pixels=24576 * 784, frames=480)
    assert tight.frame_pixels == 105 * 784
    assert STREAMINGVLM_LIMITS.frame_pixels == 768 * 784


@pytest.mark.parametrize("budget", [10_000, 50_000, 200_000, 1_000_000])
def test_a_budget_holds_below_the_usual_least_and_above_the_usual_most(budget):
    limits = STREAMINGVLM_LIMITS.within(budget)
    assert limits.frame_pixels == budget
    width, height = streamingvlm_size(1920, 1080, limits)
    assert 0.6 * budget < width * height <= budget


@given(st.integers(28, 4000), st.integers(28, 4000))
def test_sides_are_multiples_and_pixels_within_the_limits(height, width):
    low, high = 100 * 784, 768 * 784
    rows, columns = smart_resize(height, width, min_pixels=low, max_pixels=high)
    assert rows % 28 == columns % 28 == 0
    # A very long picture cannot be cut below one row, nor one in the middle band be touched.
    assert rows * columns <= high or min(rows, columns) == 28
    assert rows * columns >= low or height * width >= low


def test_small_pictures_are_enlarged_and_rounded_up():
    assert smart_resize(64, 96, min_pixels=100 * 784, max_pixels=768 * 784) == (252, 364)


def test_halves_round_to_the_even_multiple_as_in_the_original():
    assert smart_resize(42, 70, min_pixels=1, max_pixels=10**9) == (56, 56)


@pytest.mark.parametrize("sides", [(0, 100), (10, 2001)])
def test_a_picture_without_a_sensible_shape_is_wrong_use(sides):
    with pytest.raises(UsageError, match="cannot resize"):
        smart_resize(*sides, min_pixels=1, max_pixels=10**6)
