"""Runs side by side in one process: they take turns second by second, share each decoded video and the weights."""

from __future__ import annotations

__all__ = ["SideBySide", "Turns"]

import itertools
import sys
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from evalkit.models.entry import ModelRecipe
from evalkit.models.local import PolicyRecipe
from evalkit.models.protocol import StreamingModel
from evalkit.run.clips import OfficialClip
from evalkit.run.plan import RunPlan
from evalkit.run.reads import OwnReads
from evalkit.run.stop import StopRequest
from evalkit.run.surroundings import Surroundings
from evalkit.stream import Chunk, FrameBatch, FrameSource, StreamSample, Tick
from evalkit.video import SizeRule, VideoFrames, probe

if TYPE_CHECKING:
    from evalkit.models.backbone import Backbone

Place = tuple[int, int]
"""How far a run is; whoever is least far goes on first."""


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """A part of a video that a run waits for."""

    place: Place
    key: Hashable
    read: Callable[[], Any]
    caller: greenlet


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What was read, or the error it ended with, and the wall seconds it took."""

    value: Any
    error: Exception | None
    seconds: float


class Turns:
    """Calls that go on in turns in one thread: each works undisturbed until it wants the next part of a video.

    When all wait, the part wanted by whoever is least far is read, once, and given to all who wait for it. So
    calls that read the same keep step, and one that goes on from a later place waits there for the others.
    """

    def __init__(self) -> None:
        self._hub: greenlet | None = None
        self._waiting: list[_Wanted] = []
        self._due: deque[_Wanted] = deque()

    def run(self, calls: Iterable[Callable[[], None]]) -> None:
        """Run calls to their ends.

        Raises:
            BaseException: What a call raised; the others are unwound by a `KeyboardInterrupt` where they wait.
        """
        self._hub = getcurrent()
        try:
            for call in calls:
                greenlet(call, self._hub).switch()
            while self._waiting:
                first = min(self._waiting, key=lambda one: one.place)
                self._due.extend(one for one in self._waiting if one.key == first.key)
                self._waiting = [one for one in self._waiting if one.key != first.key]
                outcome = _read(first.read)
                while self._due:
                    self._due.popleft().caller.switch(outcome)
        finally:
            self._unwind()

    def want(self, place: Place, key: Hashable, read: Callable[[], Any]) -> _Outcome:
        """Let the other calls go on until this is due; return what was read.

        Args:
            place: How far this call is.
            key: Equal for two calls where what they read is the same.
            read: Reads it; called for one of those who wait for it.
        """
        assert self._hub is not None, "nothing runs in turns"
        self._waiting.append(_Wanted(place, key, read, getcurrent()))
        with _own_grad_mode():
            outcome: _Outcome = self._hub.switch()
        return outcome

    def _unwind(self) -> None:
        while left := [*self._due, *self._waiting]:
            self._due.clear()
            self._waiting.clear()
            for one in left:
                with suppress(KeyboardInterrupt):
                    one.caller.throw(KeyboardInterrupt)
        self._hub = None


def _own_grad_mode() -> AbstractContextManager[object]:
    """Let others work in a thread's usual mode meanwhile, and come back to one's own: torch keeps one a thread."""
    torch = sys.modules.get("torch")
    return nullcontext() if torch is None else torch.inference_mode(mode=False)


def _read(read: Callable[[], Any]) -> _Outcome:
    began = time.perf_counter()
    try:
        value, error = read(), None
    except Exception as failure:  # of a video: each sample that wanted it fails by itself
        value, error = None, failure
    return _Outcome(value, error, time.perf_counter() - began)


def _value(outcome: _Outcome) -> Any:
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


class _Decoding:
    """One pass over a video that several readers follow; what all have had is dropped.

    Args:
        batches: The frames of one tick after the other.
    """

    def __init__(self, batches: Iterator[FrameBatch]) -> None:
        self._batches = batches
        self._held: deque[FrameBatch | Exception | None] = deque()
        self._first = 0
        self._next: dict[object, int] = {}

    @property
    def begun(self) -> bool:
        """Whether frames were dropped already, so that nobody can follow from the start."""
        return self._first > 0

    @property
    def followed(self) -> bool:
        """Whether anybody still follows."""
        return bool(self._next)

    def follow(self, reader: object) -> None:
        """Keep frames for one more reader, from the start."""
        self._next[reader] = 0

    def take(self, number: int) -> FrameBatch | None:
        """Return the frames of the tick of that number, counted from the first; ``None`` past the last.

        Raises:
            VideoError: What decoding ended with.
        """
        while self._first + len(self._held) <= number:
            try:
                self._held.append(next(self._batches, None))
            except Exception as error:
                self._held.append(error)
        found = self._held[number - self._first]
        if isinstance(found, Exception):
            raise found
        return found

    def passed(self, reader: object, number: int) -> None:
        """Note that a reader has had a tick."""
        self._next[reader] = number + 1
        self._drop()

    def leave(self, reader: object) -> None:
        """Keep nothing for a reader any more; the last one ends the pass."""
        self._next.pop(reader, None)
        if self._next:
            self._drop()
            return
        self._held.clear()
        close: Any = getattr(self._batches, "close", None)
        if close is not None:
            close()

    def _drop(self) -> None:
        while self._held and self._first < min(self._next.values()):
            self._held.popleft()
            self._first += 1


class _SharedVideo:
    """The frames of a sample's seconds, decoded once for all runs that are at them; a `FrameSource`.

    Args:
        sample: The sample.
        size: From the displayed size to the frames'.
        reads: Whose it is.

    Raises:
        VideoError: The file cannot be used.
    """

    def __init__(self, sample: StreamSample, size: SizeRule, reads: _SharedReads) -> None:
        self._own = VideoFrames(sample.video, size)
        self._sample, self._reads = sample, reads

    def __enter__(self) -> _SharedVideo:
        return self

    def __exit__(self, *exc: object) -> None:
        self._own.__exit__(*exc)

    def frames(self, ticks: Iterable[Tick]) -> Iterator[FrameBatch]:
        """Yield the frames of each tick; see `FrameSource.frames`."""
        rest = iter(ticks)
        first = next(rest, None)
        if first is None:
            return
        key = (self._sample.id, self._own.size, first)
        decoding = self._reads.decoding(key, lambda: self._own.frames(itertools.chain([first], rest)))
        decoding.follow(self)
        try:
            for number in itertools.count():
                began = time.perf_counter()
                outcome = self._reads.wanted(
                    self._sample, first.index + number, (key, number), partial(decoding.take, number)
                )
                batch: FrameBatch | None = _value(outcome)
                decoding.passed(self, number)
                if batch is None:
                    return
                yield replace(batch, aside_seconds=time.perf_counter() - began - outcome.seconds)
                if batch.ended_at is not None:
                    return
        finally:
            decoding.leave(self)


class _SharedReads:
    """Reads for one of several runs; `Reads`.

    Args:
        turns: The runs.
        passes: Videos that are being decoded.
        order: Place of each sample in its run.
        meet: Lets all streams of the run come to where none has work under way, where several advance together.
    """

    def __init__(
        self,
        turns: Turns,
        passes: dict[Hashable, _Decoding],
        order: dict[str, int],
        meet: Callable[[], None] | None = None,
    ) -> None:
        self._turns, self._passes, self._order, self._meet = turns, passes, order, meet
        self._alone = OwnReads()

    def for_streams(self, meet: Callable[[], None]) -> _SharedReads:
        """Read for streams that advance together; see `Reads.for_streams`."""
        return _SharedReads(self._turns, self._passes, self._order, meet)

    def stream(self, sample: StreamSample, size: SizeRule) -> FrameSource:
        """Open the video; see `Reads.stream`."""
        return _SharedVideo(sample, size, self)

    def clip(self, sample: StreamSample, number: int, preset: str, size: SizeRule) -> OfficialClip:
        """Read a clip; see `Reads.clip`."""
        key = (sample.id, preset, _size_on(sample, size), number)
        read: OfficialClip = _value(
            self.wanted(sample, number, key, lambda: self._alone.clip(sample, number, preset, size))
        )
        return read

    def window(self, sample: StreamSample, most: int, size: SizeRule) -> Chunk:
        """Read a window; see `Reads.window`."""
        key = (sample.id, most, _size_on(sample, size))
        read: Chunk = _value(self.wanted(sample, 0, key, lambda: self._alone.window(sample, most, size)))
        return read

    def decoding(self, key: Hashable, begin: Callable[[], Iterator[FrameBatch]]) -> _Decoding:
        """Return the pass over a video that can still be followed from its start, or a new one."""
        found = self._passes.get(key)
        if found is None or found.begun or not found.followed:
            found = self._passes[key] = _Decoding(begin())
        return found

    def wanted(self, sample: StreamSample, number: int, key: Hashable, read: Callable[[], Any]) -> _Outcome:
        """Wait for a part of a sample.

        Args:
            sample: The sample.
            number: Of the second, or the question.
            key: What is read.
            read: Reads it.
        """
        order = self._order[sample.id]
        if self._meet is None:
            return self._turns.want((order, number), key, read)
        # Streams stand aside together, when no clock of a second is running in any of them; and since they advance
        # together, the second says how far the run is.
        self._meet()
        outcome = self._turns.want((number, order), key, read)
        self._meet()
        return outcome


def _size_on(sample: StreamSample, size: SizeRule) -> tuple[int, int]:
    info = probe(sample.video)
    return size(info.width, info.height)


class SideBySide:
    """Runs that go on side by side, with what they share.

    Args:
        stop: Asked to end them all.
    """

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop
        self._turns = Turns()
        self._passes: dict[Hashable, _Decoding] = {}
        self._weights: dict[Hashable, Backbone] = {}

    def run(self, calls: Iterable[Callable[[], None]]) -> None:
        """Run calls, each of which executes a run in its `surroundings`, to their ends."""
        self._turns.run(calls)

    def surroundings(self, plan: RunPlan) -> Surroundings:
        """Return what one of the runs finds around it."""
        order = {sample.id: place for place, sample in enumerate(plan.samples)}
        return Surroundings(
            reads=_SharedReads(self._turns, self._passes, order),
            make=self.make,
            listening=self.listening,
            in_turns=True,
        )

    def alone(self) -> Surroundings:
        """Return what a run finds around it that goes on when no other does: weights and the request to stop."""
        return Surroundings(make=self.make, listening=self.listening)

    def listening(self) -> nullcontext[StopRequest]:
        """Give a run a request to stop of its own, which is made when they all are to end."""
        return nullcontext(StopRequest(self._stop))

    def make(self, recipe: ModelRecipe) -> StreamingModel:
        """Make a model; policies over the same weights share one network."""
        if not isinstance(recipe, PolicyRecipe):
            return recipe.make()
        if recipe.weights not in self._weights:
            self._weights[recipe.weights] = recipe.load()
        return recipe.over(self._weights[recipe.weights])
