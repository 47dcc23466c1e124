"""The made-up matches: events, words, pixels and the folder they lie in."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from evalkit.errors import UsageError
from evalkit_tasks.demo import DemoEvent, DemoMatch, Team, build_demo, demo_matches, make_match, transcript
from evalkit_tasks.demo.draw import FPS, frames, make_match_video
from evalkit_tasks.demo.folder import STAMP_NAME

SEEDS = range(40)


def hand_made() -> DemoMatch:
    return DemoMatch(
        seed=0,
        video="hand.mp4",
        seconds=30,
        teams=(Team("Harbour", "red", (214, 46, 46)), Team("Eastgate", "purple", (142, 60, 190))),
        clock_start=1190,
        events=(DemoEvent(1, "kick-off", 0, 5), DemoEvent(8, "goal", 1, 3), DemoEvent(15, "goal", 0, 2)),
    )


def test_a_match_is_a_pure_function_of_its_seed() -> None:
    assert make_match(3) == make_match(3)
    assert make_match(3) != make_match(4)


def test_score_clock_and_counts_follow_from_the_events() -> None:
    match = hand_made()
    assert [match.score_at(second) for second in (0, 7.9, 8, 14, 15, 29)] == [
        (0, 0), (0, 0), (0, 1), (0, 1), (1, 1), (1, 1),
    ]  # fmt: skip
    assert match.clock_at(0) == "19:50"
    assert match.clock_at(10.9) == "20:00"
    assert match.count("goal", 14) == 1
    assert match.latest(0.5) is None
    assert match.latest(14) == match.events[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_events_of_a_match_are_apart_and_within_it(seed: int) -> None:
    match = make_match(seed)
    times = [event.at for event in match.events]
    assert match.events[0].kind == "kick-off"
    assert all(5 <= later - sooner <= 7 for sooner, later in itertools.pairwise(times))
    assert times[-1] <= match.seconds - 4
    assert match.count("goal", match.seconds) >= 1
    assert match.teams[0] != match.teams[1]


def test_a_match_too_short_to_hold_events_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 20 s"):
        make_match(1, seconds=19)


@pytest.mark.parametrize("seed", SEEDS)
def test_words_follow_each_other_within_the_match_and_are_dense_enough_for_scoring(seed: int) -> None:
    match = make_match(seed)
    words = transcript(match)
    assert all(word.start < word.end for word in words)
    assert all(sooner.end <= later.start for sooner, later in itertools.pairwise(words))
    assert words[-1].end <= match.seconds
    assert len(words) / match.seconds > 2.0


@pytest.mark.parametrize("seed", SEEDS)
def test_no_goal_is_called_before_it_is_seen_nor_more_than_a_second_later(seed: int) -> None:
    match = make_match(seed)
    goals = [event.at for event in match.events if event.kind == "goal"]
    calls = [word.start for word in transcript(match) if word.word in ("Goal!", "Goal")]
    assert len(calls) == len(goals)
    assert all(goal <= call < goal + 1 for goal, call in zip(goals, calls, strict=True))


def test_the_call_of_a_goal_gives_the_new_score() -> None:
    text = " ".join(word.word for word in transcript(hand_made()))
    assert "0-1!" in text
    assert "1-1!" in text


def test_the_score_board_changes_with_the_goal_and_the_clock_only() -> None:
    match = make_match(7)
    goal = next(event.at for event in match.events if event.kind == "goal")
    board = {}
    for index, frame in enumerate(itertools.islice(frames(match), (goal + 1) * FPS)):
        if index % FPS in (0, FPS - 1):
            board[index] = frame[8:50, 8:420].copy()
    first, last, before = board[goal * FPS], board[goal * FPS + FPS - 1], board[goal * FPS - 1]
    assert np.array_equal(first, last)
    assert not np.array_equal(before, first)


def test_the_video_is_h264_with_all_its_frames(tmp_path: Path) -> None:
    match = make_match(5, seconds=20)
    make_match_video(tmp_path / match.video, match)
    with av.open(str(tmp_path / match.video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 640, 360)
        assert sum(1 for _ in container.decode(stream)) == 20 * FPS


def test_shapes_move_from_second_to_second() -> None:
    match = make_match(5, seconds=20)
    shown = list(itertools.islice(frames(match), 0, 5 * FPS, FPS))
    assert all(
        np.mean(np.any(one[60:300] != other[60:300], axis=-1)) > 0.005 for one, other in itertools.pairwise(shown)
    )


def test_the_default_matches_differ_in_name_and_events() -> None:
    one, other = demo_matches()
    assert one.video != other.video
    assert Counter(event.kind for event in one.events) != Counter(event.kind for event in other.events)


def write_one(folder: Path) -> None:
    (folder / "a.txt").write_text("a")


def test_a_demo_folder_is_built_once_and_again_when_its_generator_changes(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "demo"
    assert build_demo(folder, "v1", write_one)
    assert not build_demo(folder, "v1", write_one)
    assert build_demo(folder, "v2", write_one)
    assert json.loads((folder / STAMP_NAME).read_text())["version"] == "v2"


def test_a_damaged_demo_folder_is_built_again(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    build_demo(folder, "v1", write_one)
    (folder / "a.txt").write_text("")
    assert build_demo(folder, "v1", write_one)
    assert (folder / "a.txt").read_text() == "a"


def test_a_build_that_breaks_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    build_demo(folder, "v1", write_one)

    def breaks(fresh: Path) -> None:
        write_one(fresh)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        build_demo(folder, "v2", breaks)
    assert (folder / "a.txt").read_text() == "a"
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_files_that_no_generator_wrote_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        build_demo(tmp_path, "v1", write_one)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
