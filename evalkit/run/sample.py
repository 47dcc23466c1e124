"""One sample through a model: frames second by second, replies on record, checkpoints, and questions in time."""

from __future__ import annotations

__all__ = ["Interrupted", "SampleRunner", "failed_narration"]

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import psutil

from evalkit.models.protocol import SessionRequest, StepReport, StreamingModel, StreamSession
from evalkit.parse import Parsed, parse
from evalkit.records import AnswerRecord, StageTimes, TickRecord
from evalkit.run.checkpoint import SessionCheckpoints
from evalkit.run.clips import read_clip
from evalkit.run.recorder import Recorder
from evalkit.stream import Chunk, FrameFeed, FrameSchedule, Narration, Query, StreamSample, Tick, exact_seconds
from evalkit.video import VideoFrames

_PROCESS = psutil.Process()


class Interrupted(Exception):
    """The run was asked to stop; the sample in hand is checkpointed."""


@dataclass(frozen=True)
class SampleRunner:
    """Runs samples one after the other.

    Args:
        model: Model under test.
        recorder: Where records go.
        checkpoints: Where session states go.
        seed: Seed of the run.
        checkpoint_seconds: Stream seconds between checkpoints.
        stopping: Whether the run was asked to stop.
        advanced: Told the stream seconds that have passed.
        peak_mib: Returns the peak memory since its last call, MiB.
        watch: Told each spoken second as it is put on record.
        warn: Told what of a video was lost and which look ahead was refused, as it happens.
    """

    model: StreamingModel
    recorder: Recorder
    checkpoints: SessionCheckpoints
    seed: int
    checkpoint_seconds: int
    stopping: Callable[[], bool]
    advanced: Callable[[float], None]
    peak_mib: Callable[[], float]
    warn: Callable[[str], None]
    watch: Callable[[AnswerRecord, TickRecord], None] | None = None

    def run(self, sample: StreamSample) -> None:
        """Run one sample and put everything on record.

        Raises:
            Interrupted: The run was asked to stop.
            EvalkitError: The sample failed.
        """
        preset = sample.tags.get("frames")
        if preset:
            self._run_clip(sample, preset)
            return
        schedule = FrameSchedule(sample.start, sample.end, sample.fps)
        with VideoFrames(sample.video, self.model.frame_size) as source, FrameFeed(schedule, source) as feed:
            stamps = sample.tags.get("time_stamps") != "off"
            session = self.model.open(
                SessionRequest(sample.id, sample.fps, self.seed, sample.narration, stamps, feed.seen)
            )
            try:
                self._stream(sample, session, feed)
            finally:
                for seen in feed.violations:
                    self.warn(f"{sample.id}: look ahead to {seen.asked:.3f} s refused at {seen.now:.3f} s")
                session.close()

    def _stream(self, sample: StreamSample, session: StreamSession, feed: FrameFeed) -> None:
        saved = self.checkpoints.load(sample.id)
        if saved is not None:
            tick, state = saved
            session.restore(state)
            self.advanced(float(min(feed.schedule[tick].start if tick < len(feed.schedule) else feed.schedule.end,
                                    feed.schedule.end) - feed.schedule.start))  # fmt: skip
            feed.skip_to(tick)
        queries = deque(sorted(sample.queries, key=lambda query: query.at))
        texts = deque(sample.texts)
        last_saved = feed.now
        told = 0
        for chunk in feed:
            told = self._tell_losses(sample, feed, told)
            if sample.narration is not None:
                self._speak(sample, sample.narration, session, chunk)
            else:
                self._watch(sample, session, chunk, queries, texts)
            self.advanced(float(chunk.tick.end - chunk.tick.start))
            stopping = self.stopping()
            if stopping or chunk.tick.end - last_saved >= self.checkpoint_seconds:
                self.recorder.sync()
                self.checkpoints.save(sample.id, chunk.tick.index + 1, session.state())
                last_saved = chunk.tick.end
            if stopping:
                raise Interrupted
        self._tell_losses(sample, feed, told)
        if sample.narration is not None and feed.now < exact_seconds(sample.end):
            self.recorder.answer(failed_narration(sample, float(feed.now), str(feed.losses[-1])))
        for query in queries:
            self._ask(sample, session, query)

    def _tell_losses(self, sample: StreamSample, feed: FrameFeed, told: int) -> int:
        """Warn of losses after the first ``told``, before what follows them is on record; return their number."""
        for loss in feed.losses[told:]:
            self.warn(f"{sample.id}: {loss}")
        return len(feed.losses)

    def _run_clip(self, sample: StreamSample, preset: str) -> None:
        chunk, fps = read_clip(sample, preset, self.model.frame_size)
        session = self.model.open(SessionRequest(sample.id, fps, self.seed, None, time_stamps=False))
        try:
            step = session.observe(chunk)
            self._record_tick(sample, chunk, step)
            for query in sample.queries:
                self._ask(sample, session, query)
        finally:
            session.close()
        self.advanced(sample.end - sample.start)
        if self.stopping():
            raise Interrupted

    def _speak(self, sample: StreamSample, narration: Narration, session: StreamSession, chunk: Chunk) -> None:
        spoken = session.speak(chunk)
        tick = self._record_tick(sample, chunk, spoken.step)
        answer = AnswerRecord(
            sample=sample.id,
            query=f"{sample.id}@{chunk.tick.index}",
            kind="narration",
            at=chunk.tick.end_seconds,
            start=chunk.tick.start_seconds,
            end=chunk.tick.end_seconds,
            text=spoken.text,
            gold=narration.reference_between(chunk.tick.start_seconds, chunk.tick.end_seconds) or None,
            cluster=sample.cluster,
            tags=sample.tags,
            tokens=len(spoken.ids),
            seconds=sum(spoken.step.stages.values()),
            first_token=spoken.step.first_token,
        )
        self.recorder.answer(answer)
        if self.watch is not None:
            self.watch(answer, tick)

    def _watch(
        self,
        sample: StreamSample,
        session: StreamSession,
        chunk: Chunk,
        queries: deque[Query],
        texts: deque[tuple[float, str]],
    ) -> None:
        """Show a second; ask what is asked in it when no later frame has been shown."""
        while queries and chunk.tick.index > 0 and queries[0].at <= chunk.tick.start:
            self._ask(sample, session, queries.popleft())
        for part in _parts(chunk, [query.at for query in queries]):
            shown: list[str] = []
            while texts and texts[0][0] < part.tick.end:
                shown.append(texts.popleft()[1])
            step = session.observe(part, tuple(shown))
            self._record_tick(sample, part, step)
            while queries and queries[0].at < chunk.tick.end and queries[0].at <= part.tick.end:
                self._ask(sample, session, queries.popleft())

    def _ask(self, sample: StreamSample, session: StreamSession, query: Query) -> None:
        if self.recorder.answered(sample.id, query.id):
            return
        reply = session.ask(query.prompt, query.elicitation, key=query.id)
        read = parse(query.kind, reply.text, query.choices) if query.kind != "proactive" else None
        self.recorder.answer(
            AnswerRecord(
                sample=sample.id,
                query=query.id,
                kind=query.kind,
                at=query.at,
                start=sample.start if query.visible_from is None else query.visible_from,
                end=query.at,
                text=reply.text,
                parsed=read.value if isinstance(read, Parsed) else None,
                rule=read.rule if isinstance(read, Parsed) else None,
                unparsed=None if read is None or isinstance(read, Parsed) else read.reason,
                gold=query.answer,
                choices=query.choices,
                cluster=sample.cluster,
                tags=sample.tags | query.tags,
                tokens=reply.tokens,
                seconds=reply.seconds,
                first_token=reply.first_token,
            )
        )

    def _record_tick(self, sample: StreamSample, chunk: Chunk, step: StepReport) -> TickRecord:
        stages = dict(step.stages)
        record = TickRecord(
            sample=sample.id,
            second=chunk.tick.index,
            start=chunk.tick.start_seconds,
            end=chunk.tick.end_seconds,
            frames=len(chunk.frames),
            stages=StageTimes(**stages, total=sum(stages.values())),
            tokens_in=step.tokens_in,
            kept=step.kept,
            evicted=step.evicted,
            generated=step.generated,
            cache_tokens=step.cache_tokens,
            peak_mib=self.peak_mib(),
            rss_mib=_PROCESS.memory_info().rss / 2**20,
            first_token=step.first_token,
            compressors=step.compressors,
        )
        self.recorder.tick(record)
        return record


def failed_narration(sample: StreamSample, since: float, reason: str) -> AnswerRecord:
    """Return the record that stands for what was to be narrated from media second ``since`` on."""
    return AnswerRecord(
        sample=sample.id,
        query=f"{sample.id}@failed",
        kind="narration",
        at=sample.end,
        start=since,
        end=sample.end,
        cluster=sample.cluster,
        status="failed",
        error=reason,
        tags=sample.tags,
    )


def _parts(chunk: Chunk, asked: list[float]) -> Iterator[Chunk]:
    """Cut a second where questions are asked inside it, so that each sees no frame after its time."""
    tick = chunk.tick
    inside = {exact_seconds(at) for at in asked if tick.start < exact_seconds(at) < tick.end}
    if tick.index == 0 and any(exact_seconds(at) <= tick.start for at in asked):
        inside.add(tick.start)
    edges = [*sorted(inside), tick.end]
    begin, first = tick.start, 0
    for edge in edges:
        count = sum(1 for time in chunk.times if time <= edge) if edge < tick.end else len(chunk.times)
        if count > first or edge == tick.end:
            yield _part(chunk, begin, edge, first, count)
            begin, first = edge, count


def _part(chunk: Chunk, begin: Fraction, end: Fraction, first: int, stop: int) -> Chunk:
    if (first, stop) == (0, len(chunk.times)) and (begin, end) == (chunk.tick.start, chunk.tick.end):
        return chunk
    tick = Tick(chunk.tick.index, begin, end, chunk.times[first:stop])
    return replace(
        chunk,
        tick=tick,
        frames=chunk.frames[first:stop],
        times=chunk.times[first:stop],
        shown=chunk.shown[first:stop],
        wait_seconds=chunk.wait_seconds if first == 0 else 0.0,
    )
