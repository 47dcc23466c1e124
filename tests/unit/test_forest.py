"""StreamForest's memory against one written from its description in NumPy, and its session on the tiny LLaVA."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from evalkit.errors import ModelError, UsageError
from evalkit.memory.events import StreamForestSettings
from evalkit.memory.forest import EventForest, frame_positions, merge_to
from evalkit.models.catalog import policy_recipe
from evalkit.models.entry import ModelChoice
from evalkit.models.protocol import SessionRequest
from evalkit.stream import Chunk, Elicitation

Floats = NDArray[np.float64]
Seconds = Callable[..., Iterator[Chunk]]
HEADS = 2
SMALL = {"short_frames": 3, "short_tokens": 8, "event_window": 2, "long_tokens": 4, "quota": 24}


def merged(tokens: Floats, count: int) -> Floats:
    """ToMe, token by token."""
    groups = [[row] for row in tokens]
    while len(groups) > count:
        rows = np.array([np.mean(group, axis=0) for group in groups])
        compared = rows.reshape(len(rows), HEADS, -1).mean(axis=1)
        unit = compared / np.linalg.norm(compared, axis=1, keepdims=True)
        even, odd = list(range(0, len(rows), 2)), list(range(1, len(rows), 2))
        best = {one: max(odd, key=lambda other, one=one: unit[one] @ unit[other]) for one in even}
        ranked = sorted(even, key=lambda one: -(unit[one] @ unit[best[one]]))
        r = min(len(rows) // 2, len(rows) - count)
        for one in ranked[:r]:
            groups[best[one]] = groups[best[one]] + groups[one]
        groups = [groups[one] for one in ranked[r:]] + [groups[one] for one in odd]
    return np.array([np.mean(group, axis=0) for group in groups])


@dataclass
class Described:
    """The memory as it is described, all frames kept in lists."""

    streaming: bool
    frames: list[Floats] = field(default_factory=list)

    def remembered(self) -> Floats:
        short: list[tuple[Floats, Floats]] = []
        events: list[tuple[Floats, float, int]] = []
        split = 0
        for number, frame in enumerate(self.frames):
            if number:
                short.append((merged(self.frames[number - 1], 8), self.frames[number - 1]))
            whole = [one for _, one in short] + [frame]
            while len(short) >= 5:
                alike = [_cosine(whole[k], whole[k + 1]) for k in range(2)]
                count = int(np.argmin(alike)) + 1
                tokens = merged(np.concatenate([one for one, _ in short[:count]]), 4 * count)
                events.append((tokens, np.mean(range(split, split + count)), 1))
                split, short, whole = split + count, short[count:], whole[count:]
            if self.streaming or number == len(self.frames) - 1:
                events = joined(events, split - 1 + len(short) + 1)
        parts = [tokens for tokens, _, _ in events] + [one for one, _ in short] + [self.frames[-1]]
        return np.concatenate(parts)


def _cosine(one: Floats, other: Floats) -> float:
    return float((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))


def joined(events: list[tuple[Floats, float, int]], until: int) -> list[tuple[Floats, float, int]]:
    while sum(len(tokens) for tokens, _, _ in events) > 24 and len(events) > 1:
        pairs = list(pairwise(events))
        most = max(one[2] + other[2] for one, other in pairs) / 2
        penalties = [
            0.4 * (1 - alike(one[0], other[0]))
            + 0.2 * (one[1] + other[1]) / 2 / until
            + 0.4 * ((one[2] + other[2]) / 2 / most + 1e-6)
            for one, other in pairs
        ]
        place = int(np.argmin(penalties))
        one, other = pairs[place]
        first, second = len(one[0]) // 4, len(other[0]) // 4
        tokens = merged(np.concatenate([one[0], other[0]]), 4 * math.ceil((first + second) / 2))
        time = (one[1] * first + other[1] * second) / (first + second)
        events = [*events[:place], (tokens, time, one[2] + other[2]), *events[place + 2 :]]
    return events


def alike(one: Floats, other: Floats) -> float:
    tokens = np.concatenate([one, other])
    compared = tokens.reshape(len(tokens), HEADS, -1).mean(axis=1)
    unit = compared / np.linalg.norm(compared, axis=1, keepdims=True)
    best = (unit[::2] @ unit[1::2].T).max(axis=1)
    wanted = 4 * math.ceil((len(one) // 4 + len(other) // 4) / 2)
    return float(np.sort(best)[::-1][: len(tokens) - wanted].mean())


def drawn(frames: int, *, side: int = 4, width: int = 16) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    scenes = torch.randn(frames // 3 + 1, side * side, width, generator=generator)
    return [scenes[k // 3] + 0.4 * torch.randn(side * side, width, generator=generator) for k in range(frames)]


@pytest.mark.parametrize("schedule", ["streaming", "released"])
def test_it_is_the_memory_that_is_described(schedule: Any) -> None:
    forest = EventForest(StreamForestSettings(**SMALL, schedule=schedule), HEADS)
    described = Described(schedule == "streaming")
    for number, frame in enumerate(drawn(40)):
        forest.add(frame)
        described.frames.append((frame + frame_positions(number, 4, 16)).double().numpy())
        if number % 6 == 0 or number > 35:
            theirs = torch.from_numpy(described.remembered()).float()
            torch.testing.assert_close(forest.remembered(), theirs, rtol=1e-4, atol=1e-5)


def test_both_schedules_split_the_same_events_and_join_other_pairs() -> None:
    forests = [
        EventForest(StreamForestSettings(**SMALL, schedule=one), HEADS) for one in ("streaming", "released")
    ]
    for frame in drawn(40):
        for forest in forests:
            forest.add(frame)
    assert forests[0].split == forests[1].split
    streaming, released = (forest.remembered() for forest in forests)
    assert streaming.shape == released.shape
    assert not torch.allclose(streaming, released)
    assert len(forests[1].events) > len(forests[0].events)


def test_positions_say_when_then_column_then_row() -> None:
    table = frame_positions(512 + 3, 5, 32)
    assert torch.equal(table, frame_positions(3, 5, 32))
    place = 2 * 5 + 4  # row 2, column 4
    for channel, value in ((0, math.sin(3)), (4, math.cos(3)), (1, math.sin(3 * 10_000 ** (-1 / 4)))):
        assert table[place, channel] == pytest.approx(value, abs=1e-6)
    assert table[place, 8] == pytest.approx(math.sin(4), abs=1e-6)
    assert table[place, 8 + 6] == pytest.approx(math.cos(4), abs=1e-6)
    assert table[place, 20] == pytest.approx(math.sin(2), abs=1e-6)


def test_a_merged_token_is_the_mean_of_all_that_went_into_it() -> None:
    tokens = drawn(1)[0]
    torch.testing.assert_close(merge_to(tokens, 16, HEADS), tokens)
    ours = merge_to(tokens, 3, HEADS)
    torch.testing.assert_close(ours, torch.from_numpy(merged(tokens.double().numpy(), 3)).float())
    one = merge_to(tokens, 1, HEADS)
    torch.testing.assert_close(one[0], tokens.mean(dim=0), rtol=1e-4, atol=1e-5)


def test_a_question_never_sees_more_than_is_promised() -> None:
    settings = StreamForestSettings(**SMALL)
    forest = EventForest(settings, HEADS)
    for frame in drawn(60):
        forest.add(frame)
        assert forest.tokens == len(forest.remembered()) <= settings.most_tokens(16)
    assert forest.tokens > settings.quota


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"quota": 511}, "memory.quota=511 is less than one event of 8 frames"),
        ({"short_frames": 0}, "memory.short_frames must be at least 1, not 0"),
        ({"long_tokens": 200}, "memory.long_tokens=200 is more than memory.short_tokens=128"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        StreamForestSettings(**settings)


@pytest.fixture(scope="module")
def llava() -> Any:
    from evalkit.models.load import LoadRequest, load_backbone

    return load_backbone(LoadRequest("tiny-llava", device="cpu"))


def forest_session(llava: Any, said: list[str] | None = None, **settings: Any) -> Any:
    choice = ModelChoice(
        checkpoint="tiny-llava", settings={"memory": settings, "generation": {"answer_tokens": 4}}
    )
    return policy_recipe("streamforest", choice).over(llava).open(SessionRequest("s", 1.0, time_stamps=False))


BRISK = {"short_frames": 2, "short_tokens": 32, "event_window": 2, "long_tokens": 16, "quota": 48}


@pytest.mark.parametrize("schedule", ["streaming", "released"])
def test_a_restored_session_goes_on_as_the_unbroken_one_and_questions_leave_no_trace(
    schedule: str, llava: Any, seconds: Seconds
) -> None:
    chunks = list(seconds(9, fps=1, size=llava.frame_size(100, 100)))
    whole, broken = (forest_session(llava, **BRISK, schedule=schedule) for _ in range(2))
    for chunk in chunks[:6]:
        step = whole.observe(chunk)
        broken.observe(chunk)
        assert step.held.active <= step.held.budget == 48 + 3 * 32 + 729
    assert step.evicted["vision"] > 0
    one = broken.ask("What is it?", Elicitation(), key="q")
    assert one.text == broken.ask("What is it?", Elicitation(), key="q").text
    resumed = forest_session(llava, **BRISK, schedule=schedule)
    resumed.restore(broken.state())
    for chunk in chunks[6:]:
        assert whole.observe(chunk).held == resumed.observe(chunk).held
    answers = [session.ask("What is it?", Elicitation(), key="q") for session in (whole, resumed)]
    assert answers[0].text == answers[1].text
    assert answers[0].context_tokens == answers[1].context_tokens
    assert answers[0].context_tokens > len(whole.forest.remembered())


def test_the_question_says_how_many_frames_of_how_many_seconds(llava: Any, seconds: Seconds) -> None:
    session = forest_session(llava)
    for chunk in seconds(2, fps=1, size=llava.frame_size(100, 100)):
        session.observe(chunk)
    assert session._told("Who scored?") == (
        "The video contains 2 frames sampled from the past 2.0 seconds ago (0.0s of the entire video) up to the "
        "present moment (2.0s of the entire video). Who scored?"
    )
    assert forest_session(llava, time_message=False)._settings.time_message is False


def test_what_it_cannot_do_is_one_line(llava: Any, tiny: Any, seconds: Seconds) -> None:
    session = forest_session(llava)
    with pytest.raises(UsageError, match="a question before the first frame"):
        session.ask("What is it?", Elicitation(), key="q")
    (chunk,) = seconds(1, fps=1, size=llava.frame_size(100, 100))
    with pytest.raises(ModelError, match="does not narrate"):
        session.speak(chunk)
    with pytest.raises(ModelError, match="leave subtitles out"):
        session.observe(chunk, ("Goal!",))
    recipe = policy_recipe("streamforest", ModelChoice(checkpoint="tiny"))
    with pytest.raises(UsageError, match="such as tiny-llava"):
        recipe.over(tiny)
    with pytest.raises(UsageError, match="takes no --compress"):
        policy_recipe("streamforest", ModelChoice(checkpoint="tiny-llava", compress="pruner"))
