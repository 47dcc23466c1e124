"""The made-up matches: what each second shows, the words, the pixels and the folder they lie in."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import DataError, UsageError
from evalkit.tasks import DemoSize, folder_settings, write_folder_settings
from evalkit_tasks.demo import (
    POINTS,
    STREAM_RATES,
    VENUES,
    WORDS,
    DemoMatch,
    Moment,
    Rates,
    build_demo,
    demo_matches,
    line,
    make_match,
    transcript,
)
from evalkit_tasks.demo.draw import CELL, FPS, frames, make_match_video
from evalkit_tasks.demo.folder import STAMP_NAME
from evalkit_tasks.demo.raster import picture

seeds = st.integers(0, 10_000)


def hand_made() -> DemoMatch:
    shown = [
        Moment(0, "card", 0, 0, (0, 0), None),
        Moment(1, "board", 0, 0, (0, 4), None),
        Moment(2, "play", 1, 2, (0, 4), None),
        Moment(3, "goal", 1, 0, (0, 0), 1),
        Moment(4, "foul", 0, 1, (0, 0), 1),
        Moment(5, "clock", 0, 0, (0, 0), 1),
        Moment(6, "replay", 0, 0, (0, 0), 1),
        Moment(7, "house", 0, 0, (0, 0), 1),
    ]
    return DemoMatch(0, VENUES.index("Eastgate"), tuple(shown))


def test_every_second_says_what_follows_from_the_picture_and_from_what_was_said() -> None:
    match = hand_made()
    assert [" ".join(line(match, moment)) for moment in match.moments] == [
        "here Eastgate",
        "board 0 -4",
        "blue right",
        "goal Blue 0 -0",
        "foul red middle",
        "score 0 -0",
        "last Blue",
        "here Eastgate",
    ]


def test_score_counts_and_the_latest_of_a_kind_follow_from_the_seconds() -> None:
    match = hand_made()
    assert [match.score_at(second) for second in (0, 1.5, 3, 99)] == [(0, 0), (0, 4), (0, 0), (0, 0)]
    assert [match.count("goal", second) for second in (2, 3)] == [0, 1]
    assert match.latest("foul", 3) is None
    assert match.latest("foul", 7) == match.moments[4]


@given(seeds)
def test_a_match_is_a_pure_function_of_its_seed_and_a_longer_one_goes_on(seed: int) -> None:
    short, long = make_match(seed, 30), make_match(seed, 90)
    assert short == make_match(seed, 30)
    assert long.moments[:30] == short.moments
    assert long != make_match(seed + 1, 90)


@given(seeds)
def test_the_score_changes_by_goals_and_boards_alone_and_the_scorer_by_goals(seed: int) -> None:
    for before, now in itertools.pairwise(make_match(seed, 200).moments):
        red, blue = before.score
        added = ((red + 1) % POINTS, blue) if now.side == 0 else (red, (blue + 1) % POINTS)
        if now.kind == "goal":
            assert (now.score, now.scorer) == (added, now.side)
        else:
            assert now.scorer == before.scorer
            assert now.score == before.score or now.kind == "board"


@given(seeds)
def test_the_score_and_a_goal_come_within_the_seconds_that_the_rates_allow(seed: int) -> None:
    moments = make_match(seed, 200).moments
    for kinds, within in (
        ({"goal", "clock", "board"}, STREAM_RATES.score_within),
        ({"goal"}, STREAM_RATES.goal_within),
    ):
        told = [1, *(moment.at for moment in moments if moment.kind in kinds)]
        assert max(later - sooner for sooner, later in itertools.pairwise(told)) <= within


def test_seconds_come_at_the_rates_that_were_asked_for() -> None:
    counts = Counter(moment.kind for seed in range(20) for moment in make_match(seed, 600).moments)
    for kind, share in STREAM_RATES.shares.items():
        least = share - 0.02 if kind in ("clock", "goal") else share - 0.01
        assert least <= counts[kind] / counts.total() <= share + (0.06 if kind in ("clock", "goal") else 0.01)
    boards = Rates({"board": 1.0}, correction=1.0)
    shown = [moment.score for moment in make_match(1, 400, boards).moments if moment.kind == "board"]
    assert len(set(shown)) == POINTS**2


def test_a_match_too_short_to_hold_events_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 20 s"):
        make_match(1, 19)


@given(seeds)
def test_words_fill_the_match_are_known_and_dense_enough_for_scoring(seed: int) -> None:
    match = make_match(seed, 60)
    words = list(transcript(match))
    assert all(word.start < word.end for word in words)
    assert all(sooner.end <= later.start for sooner, later in itertools.pairwise(words))
    assert words[-1].end == match.seconds
    assert {word.word for word in words} <= set(WORDS)
    assert len(words) / match.seconds >= 2.0


def test_no_word_tells_what_only_a_later_second_shows() -> None:
    match = make_match(3, 60)
    by_second = Counter(int(word.start) for word in transcript(match))
    assert [by_second[moment.at] for moment in match.moments] == [len(line(match, m)) for m in match.moments]


def test_different_words_have_different_pictures_and_the_venue_shows_at_the_opening_alone() -> None:
    seen: dict[bytes, set[str]] = {}
    for seed in range(60):
        match = make_match(seed, 120)
        for moment in match.moments:
            words = line(match, moment)
            told = " ".join(words[:2] if moment.kind == "goal" else words)
            if moment.kind in ("clock", "replay", "house"):
                told = words[0] + "?"
            seen.setdefault(picture(match, moment).tobytes(), set()).add(told)
    assert all(len(told) == 1 for told in seen.values())
    assert len(seen) > 60


def test_a_frame_is_the_picture_of_its_second_in_cells() -> None:
    match = hand_made()
    shown = list(frames(match))
    assert len(shown) == match.seconds * FPS
    for moment in match.moments:
        cells = shown[moment.at * FPS].reshape(16, CELL, 32, CELL, 3)
        assert np.array_equal(cells[:, 0, :, 0], picture(match, moment))
        assert np.array_equal(cells, np.broadcast_to(cells[:, :1, :, :1], cells.shape))


def test_the_video_is_h264_and_its_cells_survive_encoding(tmp_path: Path) -> None:
    match = make_match(5, 20)
    make_match_video(tmp_path / match.video, match)
    with av.open(str(tmp_path / match.video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 448, 224)
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == 20 * FPS
    for moment in match.moments:
        cells = decoded[moment.at * FPS].reshape(16, CELL, 32, CELL, 3).mean(axis=(1, 3))
        assert np.abs(cells - picture(match, moment)).mean() < 6


def test_the_default_matches_differ_in_name_venue_and_events() -> None:
    one, other = demo_matches()
    assert one.video != other.video
    assert one.venue != other.venue
    assert [moment.kind for moment in one.moments] != [moment.kind for moment in other.moments]


def test_matches_of_a_size_are_as_many_and_as_long_and_the_first_eight_at_eight_venues() -> None:
    matches = demo_matches(DemoSize(9, 40, seed=4))
    assert [match.seconds for match in matches] == [40] * 9
    assert len({match.venue for match in matches[:8]}) == 8
    assert len({match.seed for match in (*matches, *demo_matches(DemoSize(9, 40, seed=5)))}) == 18


@pytest.mark.parametrize(
    ("changes", "message"), [((0, 60, 0), "matches"), ((1, 19, 0), "seconds"), ((1, 60, -1), "seed")]
)
def test_a_size_out_of_range_is_refused(changes: tuple[int, int, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DemoSize(*changes)


def test_a_folder_brings_its_own_settings_and_a_damaged_file_of_them_is_named(tmp_path: Path) -> None:
    assert folder_settings(tmp_path) == {}
    write_folder_settings(tmp_path, {"start_seconds": 0})
    assert folder_settings(tmp_path) == {"start_seconds": 0}
    (tmp_path / "evalkit.json").write_text("[1]")
    with pytest.raises(DataError, match=r"evalkit\.json is damaged"):
        folder_settings(tmp_path)


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
