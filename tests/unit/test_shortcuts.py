"""Shortcut baselines show a question the frames they name and keep nothing of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.memory import Blind, FullAttention, MemoryPolicy, RecentFrames, ShuffledFrames
from evalkit.models.backbone import Backbone
from evalkit.models.cached import CachedModel
from evalkit.models.catalog import catalog
from evalkit.models.protocol import SessionRequest
from evalkit.models.settings import GenerationSettings
from evalkit.models.views import ViewedSession
from evalkit.run.options import RunOptions
from evalkit.run.plan import make_plan
from evalkit.stream import Chunk, Elicitation

Seconds = Callable[..., Iterator[Chunk]]
LETTERS = Elicitation(options=tuple("ABCD"))


def model(tiny: Backbone, policy: MemoryPolicy) -> CachedModel:
    return CachedModel("m", tiny, policy, GenerationSettings(temperature=0, answer_tokens=6), "r")


class Encoded:
    """Counts and keeps the frames that are packed for the encoder."""

    def __init__(self, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames: list[np.ndarray[Any, Any]] = []
        pack = backbone.pack

        def noted(frames: Any) -> Any:
            self.frames += list(frames)
            return pack(frames)

        monkeypatch.setattr(backbone, "pack", noted)


@pytest.fixture
def encoded(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> Encoded:
    return Encoded(tiny, monkeypatch)


def ask(tiny: Backbone, policy: MemoryPolicy, chunks: list[Chunk], texts: tuple[str, ...] = ()) -> str:
    session = model(tiny, policy).open(SessionRequest("s", 2.0))
    for chunk in chunks:
        session.observe(chunk, texts)
    return session.ask("Who scores?", Elicitation(), key="q").text


@given(count=st.integers(0, 200), frames=st.integers(1, 50))
def test_recent_frames_are_the_newest_in_order(count: int, frames: int) -> None:
    shown = RecentFrames(frames=frames).show(count)
    assert shown == tuple(range(count))[-frames:]


@given(count=st.integers(0, 200), seed=st.integers(0, 5))
def test_shuffling_shows_every_frame_once_and_the_same_way_again(count: int, seed: int) -> None:
    view = ShuffledFrames(order_seed=seed)
    assert sorted(view.show(count)) == list(range(count))
    assert view.show(count) == ShuffledFrames(order_seed=seed).show(count)


def test_shuffling_changes_the_order_and_another_seed_another_one() -> None:
    assert ShuffledFrames().show(30) != tuple(range(30))
    assert ShuffledFrames().show(30) != ShuffledFrames(order_seed=1).show(30)


def test_blind_encodes_nothing_and_answers_as_if_there_were_no_video(
    tiny: Backbone, seconds: Seconds, encoded: Encoded
) -> None:
    seen = ask(tiny, Blind(), list(seconds(5)))
    assert encoded.frames == []
    assert seen == ask(tiny, FullAttention(), [])


@pytest.mark.parametrize("frames", [1, 3, 4, 16])
def test_recent_frames_answer_as_if_the_stream_had_begun_with_them(
    frames: int, tiny: Backbone, seconds: Seconds, encoded: Encoded
) -> None:
    chunks = list(seconds(6))
    seen = ask(tiny, RecentFrames(frames=frames), chunks)
    newest = [frame for chunk in chunks for frame in chunk.frames][-frames:]
    assert len(encoded.frames) == len(newest)
    assert all(np.array_equal(one, other) for one, other in zip(encoded.frames, newest, strict=True))
    if frames == 4:
        assert seen == ask(tiny, FullAttention(), chunks[-2:])


def test_shuffled_shows_the_frames_in_the_drawn_order_under_the_same_time_stamps(
    tiny: Backbone, seconds: Seconds, encoded: Encoded
) -> None:
    chunks = list(seconds(4))
    ask(tiny, ShuffledFrames(), chunks)
    frames = [frame for chunk in chunks for frame in chunk.frames]
    order = ShuffledFrames().show(len(frames))
    assert all(np.array_equal(one, frames[n]) for one, n in zip(encoded.frames, order, strict=True))


def test_subtitles_stay_where_frames_go(tiny: Backbone, seconds: Seconds) -> None:
    chunks = list(seconds(3))
    told, silent = (ask(tiny, Blind(), chunks, texts) for texts in (("a goal by number five",), ()))
    assert told != silent


def test_an_answer_counts_the_encoding_it_needed(tiny: Backbone, seconds: Seconds) -> None:
    session = model(tiny, RecentFrames()).open(SessionRequest("s", 2.0))
    steps = [session.observe(chunk) for chunk in seconds(3)]
    assert all(step.stages.get("vision_encode", 0.0) == 0.0 for step in steps)
    answer = session.ask("Who?", LETTERS, key="q")
    assert answer.text in "ABCD"
    assert answer.stages["vision_encode"] > 0
    assert answer.seconds == pytest.approx(sum(answer.stages.values()), rel=0.02)
    assert answer.first_token is not None
    assert answer.first_token <= answer.seconds


@pytest.mark.parametrize("policy", [Blind(), RecentFrames(frames=3), ShuffledFrames()])
def test_a_restored_session_answers_as_the_one_that_was_saved(
    policy: MemoryPolicy, tiny: Backbone, seconds: Seconds
) -> None:
    under = model(tiny, policy)
    first, second = (under.open(SessionRequest("s", 2.0)) for _ in range(2))
    for chunk in seconds(4):
        first.observe(chunk, ("said",))
    second.restore(first.state())
    for session in (first, second):
        session.observe(list(seconds(5))[-1])
    one, other = (session.ask("Who?", Elicitation(), key="q").text for session in (first, second))
    assert one == other


def test_only_the_frames_that_may_be_shown_are_kept(tiny: Backbone, seconds: Seconds) -> None:
    for policy, kept in ((Blind(), 0), (RecentFrames(frames=3), 3), (ShuffledFrames(), 12)):
        session = model(tiny, policy).open(SessionRequest("s", 2.0))
        assert isinstance(session, ViewedSession)
        for chunk in seconds(6):
            session.observe(chunk)
        tensors: dict[str, torch.Tensor] = session.state()["tensors"]
        assert sum(len(frames) for frames in tensors.values()) == kept


@pytest.mark.parametrize(
    ("name", "frames"), [("last-frame", 1), ("recent-4", 4), ("recent-8", 8), ("recent-16", 16)]
)
def test_the_catalog_names_the_recent_baselines_and_any_number_can_be_set(name: str, frames: int) -> None:
    entry = catalog(name)
    assert entry.memory(**entry.memory_defaults) == RecentFrames(frames=frames)
    assert catalog("blind").memory() == Blind()
    assert catalog("shuffled").memory() == ShuffledFrames()


def test_a_baseline_of_no_frames_is_blind_and_a_negative_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="use model blind"):
        RecentFrames(frames=0)
    with pytest.raises(UsageError, match="order_seed"):
        ShuffledFrames(order_seed=-1)


def test_a_baseline_does_not_narrate(small_data: Any, tiny: Backbone, seconds: Seconds) -> None:
    options = RunOptions(task="inf-streams", model="blind", data=str(small_data), settings={"start_seconds": 5})
    with pytest.raises(UsageError, match="model blind answers questions only, and task inf-streams narrates"):
        make_plan(options)
    with pytest.raises(UsageError, match="does not narrate"):
        model(tiny, Blind()).open(SessionRequest("s", 2.0)).speak(next(seconds(1)))
