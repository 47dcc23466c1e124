"""Judges pairs in both orders, reusing what is recorded; what the votes amount to is computed elsewhere."""

from __future__ import annotations

__all__ = ["judge_pairs", "judge_pairs_async"]

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Never

from tqdm import tqdm

from evalkit.errors import UsageError
from evalkit.judge.contract import Decision, Judge, Question, verdict_key
from evalkit.judge.pairs import ORDERS, Order, Pair, decide_by_rule, vote_for, winner_of
from evalkit.judge.pool import work_through
from evalkit.judge.store import VerdictStore
from evalkit.records.schema import VerdictRecord


@dataclass(frozen=True, slots=True)
class _Job:
    """One pair in one order, with its place in the result."""

    place: int
    pair: Pair
    order: Order
    key: str


def judge_pairs(
    pairs: Sequence[Pair],
    judge: Judge,
    *,
    model_name: str,
    baseline_name: str,
    baseline_id: str = "",
    store: VerdictStore | None = None,
    progress: bool | None = None,
) -> list[VerdictRecord]:
    """Judge every pair in both orders.

    Args:
        pairs: What is judged; ids must be unique.
        judge: Who judges.
        model_name: Name of the model under test, for the records.
        baseline_name: Name of the other.
        baseline_id: What tells it from others of that name.
        store: Where verdicts are appended as they come and found again; none keeps them in memory only.
        progress: Whether a bar is drawn on stderr; by default where stderr is a terminal.

    Returns:
        Two verdicts per pair, in the order of ``pairs``, ``ab`` before ``ba``; those taken from the store are
        marked ``cached``.

    Raises:
        JudgeError: The judge cannot go on; verdicts so far are in the store.
        UsageError: Two pairs share an id, or the store cannot be written.
        KeyboardInterrupt: Ctrl-C; verdicts so far are in the store.
    """
    return asyncio.run(
        judge_pairs_async(
            pairs,
            judge,
            model_name=model_name,
            baseline_name=baseline_name,
            baseline_id=baseline_id,
            store=store,
            progress=progress,
        )
    )


async def judge_pairs_async(
    pairs: Sequence[Pair],
    judge: Judge,
    *,
    model_name: str,
    baseline_name: str,
    baseline_id: str = "",
    store: VerdictStore | None = None,
    progress: bool | None = None,
) -> list[VerdictRecord]:
    """Do what `judge_pairs` does, inside a running event loop."""
    _check_ids(pairs)
    recorder = _Recorder(model_name, baseline_name, baseline_id, judge.identity, store)
    jobs = [
        _Job(2 * index + turn, pair, order, verdict_key(judge.provenance, pair, order))
        for index, pair in enumerate(pairs)
        for turn, order in enumerate(ORDERS)
    ]
    verdicts: dict[int, VerdictRecord] = {}
    open_jobs = []
    for job in jobs:
        known = recorder.without_judge(job)
        if known is None:
            open_jobs.append(job)
        else:
            verdicts[job.place] = known
    hidden = not sys.stderr.isatty() if progress is None else not progress
    bar: tqdm[Never] = tqdm(
        total=len(jobs), initial=len(verdicts), desc="judging", unit="verdict", file=sys.stderr, disable=hidden
    )
    with bar:
        await _ask_all(open_jobs, judge, recorder, verdicts, bar)
    return [verdicts[job.place] for job in jobs]


def _check_ids(pairs: Sequence[Pair]) -> None:
    twice = [name for name, count in Counter(pair.id for pair in pairs).items() if count > 1]
    if twice:
        raise UsageError(f"{len(twice)} pair ids occur more than once, such as {twice[0]!r}")


async def _ask_all(
    jobs: Sequence[_Job], judge: Judge, recorder: _Recorder, verdicts: dict[int, VerdictRecord], bar: tqdm[Never]
) -> None:
    """Put all jobs to the judge; the first error that ends judging cancels the rest."""

    async def work(job: _Job) -> None:
        first, second = job.pair.slots(job.order)
        decision = await judge.decide(Question(job.key, job.pair.reference, first, second))
        verdicts[job.place] = recorder.decided(job, decision)
        bar.update()

    try:
        await work_through(jobs, work, judge.concurrency)
    finally:
        await judge.close()


@dataclass(frozen=True, slots=True)
class _Recorder:
    """Makes verdict records and puts them into the store."""

    model_name: str
    baseline_name: str
    baseline_id: str
    judge: str
    store: VerdictStore | None

    def without_judge(self, job: _Job) -> VerdictRecord | None:
        """Return the verdict of a job that needs no question: decided by rule, or recorded before."""
        ruled = decide_by_rule(job.pair)
        if ruled is not None:
            decision = Decision(vote_for(ruled.winner, job.order), ruled.rule, self.judge, attempts=0)
            return self.decided(job, decision)
        found = self.store.find(job.key) if self.store else None
        if found is None:
            return None
        record = found.model_copy(
            update={
                "pair": job.pair.id,
                "cluster": job.pair.cluster,
                "start": job.pair.start,
                "end": job.pair.end,
                "model_name": self.model_name,
                "baseline_name": self.baseline_name,
                "baseline_id": self.baseline_id,
                "cached": True,
            }
        )
        self._keep(record)
        return record

    def decided(self, job: _Job, decision: Decision) -> VerdictRecord:
        """Record what was decided."""
        record = VerdictRecord(
            key=job.key,
            pair=job.pair.id,
            cluster=job.pair.cluster,
            start=job.pair.start,
            end=job.pair.end,
            order=job.order,
            vote=decision.vote,
            winner=winner_of(decision.vote, job.order),
            rule=decision.rule,
            reply=decision.reply,
            attempts=decision.attempts,
            judge=decision.judge,
            model_name=self.model_name,
            baseline_name=self.baseline_name,
            baseline_id=self.baseline_id,
            prompt_tokens=decision.prompt_tokens,
            completion_tokens=decision.completion_tokens,
            cost=decision.cost,
            seconds=decision.seconds,
            error=decision.error,
        )
        self._keep(record)
        return record

    def _keep(self, record: VerdictRecord) -> None:
        if self.store:
            self.store.append(record)
