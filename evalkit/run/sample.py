"""One sample through a model: frames second by second, replies on record, checkpoints, and questions in time."""

from __future__ import annotations

__all__ = ["SampleRunner", "failed_narration", "tick_record"]

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial

import psutil

from evalkit.errors import DataError
from evalkit.models.protocol import (
    ForkingSession,
    RecallingSession,
    SessionRequest,
    StepReport,
    StreamingModel,
    StreamSession,
)
from evalkit.parse import Parsed, parse
from evalkit.records import AnswerRecord, PacedTick, StageTimes, TickRecord
from evalkit.run.checkpoint import Checkpoints
from evalkit.run.pace import Pace, PacedStream
from evalkit.run.reads import OwnReads, Reads
from evalkit.run.recorder import Records
from evalkit.run.stop import Interrupted
from evalkit.stream import Chunk, FrameFeed, FrameSchedule, Narration, Query, StreamSample, Tick, exact_seconds
from evalkit.tasks import WINDOW_FRAMES
from evalkit.timing import MemorySampler

_PROCESS = psutil.Process()


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
        heartbeat: Called between the parts of long work; it raises to give it up.
        watch: Told each spoken second as it is put on record.
        warn: Told what of a video was lost and which look ahead was refused, as it happens.
        memory: What samples memory, ``None`` where nothing does.
        gather: Makes calls at once, ``None`` where no streams advance together.
        reads: Who reads the videos.
        pace: How seconds arrive; ``None`` where each comes as soon as the one before is done.
    """

    model: StreamingModel
    recorder: Records
    checkpoints: Checkpoints
    seed: int
    checkpoint_seconds: int
    stopping: Callable[[], bool]
    advanced: Callable[[float], None]
    warn: Callable[[str], None]
    heartbeat: Callable[[], None] | None = None
    watch: Callable[[AnswerRecord, TickRecord], None] | None = None
    pace: Pace | None = None
    memory: MemorySampler | None = None
    gather: Callable[[Sequence[Callable[[], None]]], object] | None = None
    reads: Reads = field(default_factory=OwnReads)

    def run(self, sample: StreamSample) -> None:
        """Run one sample and put everything on record.

        Raises:
            Interrupted: The run was asked to stop.
            EvalkitError: The sample failed.
        """
        _check_spans(sample)
        preset = sample.tags.get("frames")
        if preset:
            self._run_clip(sample, preset)
            return
        if WINDOW_FRAMES in sample.tags:
            self._run_window(sample, int(sample.tags[WINDOW_FRAMES]))
            return
        schedule = FrameSchedule(sample.start, sample.end, sample.fps)
        with self.reads.stream(sample, self.model.frame_size) as source, FrameFeed(schedule, source) as feed:
            stamps = sample.tags.get("time_stamps") != "off"
            session = self.model.open(
                SessionRequest(
                    sample.id,
                    sample.fps,
                    self.seed,
                    sample.narration,
                    stamps,
                    feed.seen,
                    heartbeat=self.heartbeat,
                    system=sample.system,
                    warn=lambda said: self.warn(f"{sample.id}: {said}"),
                )
            )
            try:
                self._stream(sample, session, feed)
            finally:
                for seen in feed.violations:
                    self.warn(f"{sample.id}: look ahead to {seen.asked:.3f} s refused at {seen.now:.3f} s")
                session.close()

    def _stream(self, sample: StreamSample, session: StreamSession, feed: FrameFeed) -> None:
        resumed = self._go_back(sample, session, feed)
        queries = deque(sorted(sample.queries, key=lambda query: query.at))
        texts = deque(row for row in sample.texts if not resumed or exact_seconds(row[0]) >= feed.now)
        last_saved = feed.now
        told = 0
        clock = self._clock(sample, feed)
        for chunk in feed if clock is None else clock:
            told = self._tell_losses(sample, feed, told)
            if sample.narration is not None:
                self._speak(sample, sample.narration, session, chunk, clock)
            else:
                self._watch(sample, session, chunk, (queries, texts), clock)
            self.advanced(float(chunk.tick.end - chunk.tick.start))
            stopping = self.stopping()
            if stopping or chunk.tick.end - last_saved >= self.checkpoint_seconds:
                self._save(sample, chunk.tick.index + 1, session)
                last_saved = chunk.tick.end
            if stopping:
                raise Interrupted
        self._tell_losses(sample, feed, told)
        if sample.narration is not None and feed.now < exact_seconds(sample.end):
            self.recorder.answer(failed_narration(sample, float(feed.now), str(feed.losses[-1])))
        self._ask_all(sample, session, list(queries), clock)

    def _clock(self, sample: StreamSample, feed: FrameFeed) -> PacedStream | None:
        """Return the sample's seconds as they arrive, ``None`` where the run is not paced."""
        if self.pace is None:
            return None
        if feed.now > feed.schedule.start:
            self.warn(
                f"{sample.id}: resumed at {float(feed.now):g} s, where its clock began anew without a backlog"
            )
        return PacedStream(
            feed, self.pace, lambda tick, paced: self._record_dropped(sample, tick, paced), self.warn
        )

    def _record_dropped(self, sample: StreamSample, tick: Tick, paced: PacedTick) -> None:
        """Put a second on record that the overload rule dropped: nothing was seen and nothing said."""
        self.recorder.tick(
            TickRecord(
                sample=sample.id,
                second=tick.index,
                start=tick.start_seconds,
                end=tick.end_seconds,
                frames=len(tick.frame_times),
                stages=StageTimes(),
                pace=paced,
            )
        )
        if sample.narration is not None:
            nothing = _spoken(sample, sample.narration, tick)
            self.recorder.answer(nothing.model_copy(update={"status": "dropped"}))
        self.advanced(float(tick.end - tick.start))

    def _save(self, sample: StreamSample, tick: int, session: StreamSession) -> None:
        """Save a session, if it can be saved, with the records of what it has seen."""
        self.recorder.sync()
        state = session.state()
        if state is not None:
            self.checkpoints.save(sample.id, tick, state)

    def _go_back(self, sample: StreamSample, session: StreamSession, feed: FrameFeed) -> bool:
        """Go back to the sample's checkpoint, if it has one, and return whether it had."""
        try:
            saved = self.checkpoints.load(sample.id)
        except DataError as error:
            self.warn(f"{sample.id} starts anew: {error}")
            return False
        if saved is None:
            return False
        tick, state = saved
        session.restore(state)
        feed.skip_to(tick)
        self.advanced(float(feed.now - feed.schedule.start))
        return True

    def _tell_losses(self, sample: StreamSample, feed: FrameFeed, told: int) -> int:
        """Warn of losses after the first ``told``, before what follows them is on record; return their number."""
        for loss in feed.losses[told:]:
            self.warn(f"{sample.id}: {loss}")
        return len(feed.losses)

    def _run_clip(self, sample: StreamSample, preset: str) -> None:
        """Show each question its own clip, in one prefill."""
        for number, query in enumerate(sample.queries):
            if self._settled(sample, query):
                continue
            clip = self.reads.clip(sample, number, preset, self.model.frame_size)
            session = self.model.open(
                SessionRequest(
                    sample.id,
                    clip.fps,
                    self.seed,
                    time_stamps=False,
                    whole_clip=True,
                    heartbeat=self.heartbeat,
                    system=sample.system,
                    warn=lambda said: self.warn(f"{sample.id}: {said}"),
                )
            )
            try:
                for part, texts in clip.parts(sample.texts):
                    self._record_tick(sample, part, session.observe(part, texts))
                self._ask(sample, session, query)
            finally:
                session.close()
            if self.stopping():
                raise Interrupted
        self.advanced(sample.end - sample.start)

    def _run_window(self, sample: StreamSample, most: int) -> None:
        """Show a scoring window at once and have one text said about it."""
        if sample.narration is not None and not self.recorder.answered(sample.id, f"{sample.id}@0"):
            chunk = self.reads.window(sample, most, self.model.frame_size)
            session = self.model.open(SessionRequest(sample.id, sample.fps, self.seed, sample.narration, False))
            try:
                self._speak(sample, sample.narration, session, chunk)
            finally:
                session.close()
        self.advanced(sample.end - sample.start)

    def _speak(
        self,
        sample: StreamSample,
        narration: Narration,
        session: StreamSession,
        chunk: Chunk,
        clock: PacedStream | None = None,
    ) -> None:
        known = self.recorder.reply(sample.id, f"{sample.id}@{chunk.tick.index}")
        if known is not None and isinstance(session, RecallingSession):
            session.recall(chunk, known)
            return
        spoken = session.speak(chunk)
        tick = self._record_tick(sample, chunk, spoken.step, clock)
        answer = _spoken(sample, narration, chunk.tick).model_copy(
            update={
                "text": spoken.text,
                "tokens": len(spoken.ids),
                "seconds": sum(spoken.step.stages.values()),
                "first_token": spoken.step.first_token,
                "call": spoken.call,
                "emitted": None if tick.pace is None else tick.pace.end,
            }
        )
        self.recorder.answer(answer)
        if self.watch is not None:
            self.watch(answer, tick)

    def _watch(
        self,
        sample: StreamSample,
        session: StreamSession,
        chunk: Chunk,
        waiting: tuple[deque[Query], deque[tuple[float, str]]],
        clock: PacedStream | None,
    ) -> None:
        """Show a second; ask what of the waiting queries is asked in it when no later frame has been shown."""
        queries, texts = waiting
        if chunk.tick.index > 0:
            self._ask_due(sample, session, queries, chunk.tick.start, clock)
        observed = False
        for part in _parts(chunk, [query.at for query in queries]):
            shown: list[str] = []
            while texts and exact_seconds(texts[0][0]) < part.tick.end:
                shown.append(texts.popleft()[1])
            last = part.tick.end == chunk.tick.end
            if len(part.frames) or shown or (last and not observed):
                # Two subtitles in a row would run into each other without a line end.
                step = session.observe(part, ("\n".join(shown),) if shown else ())
                self._record_tick(sample, part, step, clock)
                observed = True
            if not last:
                self._ask_due(sample, session, queries, part.tick.end, clock)

    def _ask_due(
        self,
        sample: StreamSample,
        session: StreamSession,
        queries: deque[Query],
        now: Fraction,
        clock: PacedStream | None,
    ) -> None:
        """Ask what is to be asked by media time ``now``."""
        due: list[Query] = []
        while queries and exact_seconds(queries[0].at) <= now:
            due.append(queries.popleft())
        self._ask_all(sample, session, due, clock)

    def _ask_all(
        self, sample: StreamSample, session: StreamSession, due: Sequence[Query], clock: PacedStream | None
    ) -> None:
        """Ask queries of one moment: each by itself, or all at once where streams advance together."""
        together: list[Query] = []
        if self.gather is not None and isinstance(session, ForkingSession):
            # What a series goes on with depends on the reply before.
            together = [query for query in due if query.follow_up is None and not self._settled(sample, query)]
        if self.gather is not None and len(together) > 1 and isinstance(session, ForkingSession):
            self.gather([partial(self._ask, sample, session.fork(), query, clock) for query in together])
        for query in due:  # what is on record by now is passed over
            self._ask(sample, session, query, clock)

    def _settled(self, sample: StreamSample, query: Query) -> bool:
        """Whether nothing is left to ask: the reply is on record, or that of the query that ends the series."""
        series = query.follow_up
        if series is not None and self.recorder.answered(sample.id, series.query.id):
            return True
        reply = self.recorder.reply(sample.id, query.id)
        return reply is not None and not (series is not None and series.due(reply))

    def _ask(
        self, sample: StreamSample, session: StreamSession, query: Query, clock: PacedStream | None = None
    ) -> None:
        """Ask a query and what follows from its reply, as far as that is not on record."""
        if self._settled(sample, query):
            return
        reply = self.recorder.reply(sample.id, query.id)
        if reply is None:
            reply = self._put(sample, session, query, clock)
        if query.follow_up is not None and query.follow_up.due(reply):
            self._put(sample, session, query.follow_up.query, clock)

    def _put(self, sample: StreamSample, session: StreamSession, query: Query, clock: PacedStream | None) -> str:
        """Put one query and its reply on record; return the reply."""
        reply = session.ask(query.prompt, query.elicitation, key=query.id)
        read = parse(query.kind, reply.text, query.choices)
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
                unparsed=None if isinstance(read, Parsed) else read.reason,
                gold=query.answer,
                choices=query.choices,
                prompt=query.prompt,
                cluster=sample.cluster,
                tags=sample.tags | query.tags,
                tokens=reply.tokens,
                seconds=reply.seconds,
                first_token=reply.first_token,
                token_times=_microseconds(reply.token_times),
                stages={name: round(spent, 6) for name, spent in reply.stages.items() if spent},
                retrieved=reply.retrieved,
                call=reply.call,
                emitted=None if clock is None else clock.elapsed(),
            )
        )
        return reply.text

    def _record_tick(
        self, sample: StreamSample, chunk: Chunk, step: StepReport, clock: PacedStream | None = None
    ) -> TickRecord:
        pace = None if clock is None else clock.record(chunk.tick, step.first_token)
        record = tick_record(sample.id, chunk, step, self.model.peak_mib(), pace, self.memory)
        self.recorder.tick(record)
        return record


def tick_record(
    sample: str,
    chunk: Chunk,
    step: StepReport,
    peak_mib: float,
    pace: PacedTick | None = None,
    memory: MemorySampler | None = None,
) -> TickRecord:
    """Return the record of a second.

    Args:
        sample: Sample id.
        chunk: What was shown.
        step: What it cost and left.
        peak_mib: Peak memory of the second.
        pace: When it came and was done, in a paced run.
        memory: What sampled memory meanwhile.
    """
    stages = dict(step.stages)
    total = sum(stages.values())
    sampled = {} if memory is None else memory.highest(total)
    if step.held is not None and step.held.stored:
        sampled = sampled | {"stored": step.held.stored_mib}
    return TickRecord(
        sample=sample,
        second=chunk.tick.index,
        start=chunk.tick.start_seconds,
        end=chunk.tick.end_seconds,
        frames=len(chunk.frames),
        stages=StageTimes(**stages, total=total),
        tokens_in=step.tokens_in,
        kept=step.kept,
        evicted=step.evicted,
        generated=step.generated,
        cache_tokens=step.cache_tokens,
        peak_mib=peak_mib,
        rss_mib=_PROCESS.memory_info().rss / 2**20,
        first_token=step.first_token,
        token_times=_microseconds(step.token_times),
        compressors=step.compressors,
        memory={name: round(mib, 3) for name, mib in sampled.items()},
        held=step.held,
        pace=pace,
    )


def _microseconds(times: Sequence[float]) -> list[float]:
    """Round seconds to microseconds: finer is no measurement, and twice as long on disk."""
    return [round(time, 6) for time in times]


def _spoken(sample: StreamSample, narration: Narration, tick: Tick) -> AnswerRecord:
    """Return the record of a second in which nothing was said yet."""
    return AnswerRecord(
        sample=sample.id,
        query=f"{sample.id}@{tick.index}",
        kind="narration",
        at=tick.end_seconds,
        start=tick.start_seconds,
        end=tick.end_seconds,
        gold=narration.reference_between(tick.start_seconds, tick.end_seconds) or None,
        cluster=sample.cluster,
        tags=sample.tags,
    )


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


def _check_spans(sample: StreamSample) -> None:
    """Refuse a question that may see less than its stream shows.

    Raises:
        DataError: A visible span begins after the sample does.
    """
    for query in sample.queries:
        if query.visible_from is not None and query.visible_from > sample.start:
            raise DataError(
                f"{query.id} may see the video from {query.visible_from:g} s on, its stream begins at "
                f"{sample.start:g} s: it needs a sample of its own",
                sample=sample.id,
            )


def _parts(chunk: Chunk, asked: list[float]) -> Iterator[Chunk]:
    """Cut a second where questions are asked inside it, so that each sees no frame after its time.

    A part may be empty, where nothing new is on screen between two questions.
    """
    tick = chunk.tick
    inside = {exact_seconds(at) for at in asked if tick.start < exact_seconds(at) < tick.end}
    if tick.index == 0 and any(exact_seconds(at) <= tick.start for at in asked):
        inside.add(tick.start)
    begin, first = tick.start, 0
    for edge in [*sorted(inside), tick.end]:
        count = sum(1 for time in chunk.times if time <= edge) if edge < tick.end else len(chunk.times)
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
