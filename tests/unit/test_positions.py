"""Rotary positions by hand: the 3-D rule of Qwen-VL, pruned blocks, both ways to go on after a video, and 1-D."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.memory import Kind, PositionRule, Span, assign, follow


def text(tokens: int) -> Span:
    return Span("query", np.zeros(tokens, dtype=np.int64))


def video(grid: tuple[int, int, int], step: float = 1.0, rows: list[int] | None = None) -> Span:
    kept = None if rows is None else np.asarray(rows, dtype=np.int64)
    kind: Kind = "vision"
    tokens = int(np.prod(grid)) if rows is None else len(rows)
    return Span(kind, np.zeros(tokens, dtype=np.int64), 0, grid, kept, step)


def columns(positions: np.ndarray) -> list[tuple[float, ...]]:
    return [tuple(column) for column in positions.T.tolist()]


def test_text_stands_one_by_one_on_all_axes() -> None:
    positions, end = assign([text(2), text(1)], PositionRule(), start=5)
    assert columns(positions) == [(5, 5, 5), (6, 6, 6), (7, 7, 7)]
    assert end == 8
    assert positions.dtype == np.float32


@pytest.mark.parametrize("start", [0.0, 7.0, 2.5, 1 / 3])
def test_spans_of_text_in_a_row_stand_where_each_by_itself_would(start: float) -> None:
    spans = [text(3), text(0), text(4), video((2, 2, 3), step=1 / 3), text(2), text(5)]
    positions, end = assign(spans, PositionRule(), start)
    one_by_one, following = [], start
    for span in spans:
        placed, following = PositionRule().place(span, following)
        one_by_one.append(placed)
    np.testing.assert_array_equal(positions, np.concatenate(one_by_one, axis=1))
    assert end == following


def test_a_block_stands_at_time_row_and_column_and_text_goes_on_after_the_largest() -> None:
    positions, end = assign([text(2), video((1, 2, 3)), text(1)], PositionRule())
    assert columns(positions) == [
        (0, 0, 0),
        (1, 1, 1),
        (2, 2, 2),
        (2, 2, 3),
        (2, 2, 4),
        (2, 3, 2),
        (2, 3, 3),
        (2, 3, 4),
        (5, 5, 5),
    ]
    assert end == 6


def test_later_grids_stand_a_temporal_step_apart() -> None:
    positions, _ = assign([video((3, 1, 2), step=2)], PositionRule())
    assert positions[0].tolist() == [0, 0, 2, 2, 4, 4]
    assert positions[1].tolist() == [0] * 6
    assert positions[2].tolist() == [0, 1] * 3


def test_a_temporal_step_may_be_a_fraction() -> None:
    positions, end = assign([video((4, 1, 1), step=0.5)], PositionRule())
    assert positions[0].tolist() == [0, 0.5, 1, 1.5]
    assert end == 2.5


def test_tokens_of_a_pruned_block_keep_the_positions_they_have_in_the_full_grid() -> None:
    whole, end = assign([text(3), video((2, 3, 4), 2), text(2)], PositionRule())
    rows = [0, 5, 6, 11, 12, 23]
    pruned, pruned_end = assign([text(3), video((2, 3, 4), 2, rows), text(2)], PositionRule())
    kept = [0, 1, 2, *(3 + row for row in rows), 27, 28]
    assert columns(pruned) == columns(whole[:, kept])
    assert pruned_end == end


@pytest.mark.parametrize(
    ("patches", "seconds_per_grid", "published", "five"),
    [((1, 26, 46), 1.0, 26, 26), ((3, 4, 4), 1.0, 8, 5), ((60, 26, 46), 1.0, 122, 26)],
)
def test_text_starts_where_the_two_releases_of_transformers_put_it(
    patches: tuple[int, int, int], seconds_per_grid: float, published: int, five: int
) -> None:
    """Three tokens stand before the video (`<|im_start|>` and so on); sides are in patches, two to a token."""
    t, h, w = patches
    block = video((t, h // 2, w // 2), 2 * seconds_per_grid)
    for rule, start in (("max", published), ("spatial", five)):
        _, end = assign([text(3), block], PositionRule("3d", rule))  # type: ignore[arg-type]
        assert end == start, rule


def test_on_one_axis_a_block_stands_like_text_and_a_pruned_one_leaves_gaps() -> None:
    rule = PositionRule("1d")
    positions, end = assign([text(2), video((1, 2, 2)), text(1)], rule)
    assert columns(positions) == [(k, k, k) for k in range(7)]
    pruned, same = assign([text(2), video((1, 2, 2), rows=[1, 3]), text(1)], rule)
    assert pruned[0].tolist() == [0, 1, 3, 5, 6]
    assert same == end == 7


def test_generated_tokens_follow_the_last_position() -> None:
    assert columns(follow(41.5, 2)) == [(42.5,) * 3, (43.5,) * 3]


def test_nothing_has_no_positions() -> None:
    positions, end = assign([], PositionRule(), start=4)
    assert positions.shape == (3, 0)
    assert end == 4
