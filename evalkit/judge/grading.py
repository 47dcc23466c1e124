"""Grades replies on a rubric by a chat model: several draws, stored, resumed, paid for once."""

from __future__ import annotations

__all__ = ["EMPTY_REPLY", "GradeItem", "RubricJudge", "grade_items", "make_rubric_judge"]

import asyncio
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from evalkit.chat import ChatClient, ChatReply, ChatTally, NoReplyError, check_endpoint
from evalkit.errors import UsageError
from evalkit.judge.chat import identity_of, judge_client
from evalkit.judge.contract import Endpoint, JudgeSettings
from evalkit.judge.pool import Bar, work_under_bar
from evalkit.judge.rubric import GRADE_GRAMMAR, Grades, Rubric, Ungraded, parse_grades
from evalkit.judge.store import GradeStore
from evalkit.records.schema import GradeRecord

EMPTY_REPLY: Final = "empty-reply"
"""Rule by which a reply without text gets the lowest grades, without a judge."""


@dataclass(frozen=True, slots=True)
class GradeItem:
    """One reply to grade.

    Args:
        id: Unique among the items graded together.
        task: Sub-task.
        cluster: Video id.
        rubric: What is asked about it.
        values: Text of each of the rubric's fields.
        reply: The reply itself, which is never sent where it is empty.
    """

    id: str
    task: str
    cluster: str
    rubric: Rubric
    values: Mapping[str, str]
    reply: str


@dataclass(frozen=True, slots=True)
class RubricJudge:
    """Asks a chat model for grades.

    Transport failures are tried again with back-off; a reply that holds no grades is asked again
    ``settings.reasks`` times and then counts as invalid.

    Args:
        client: Model, server and how it is asked.
    """

    client: ChatClient

    @property
    def name(self) -> str:
        """Who grades, without details."""
        return f"openai:{self.client.model}"

    def key(self, item: GradeItem, draw: int) -> str:
        """Return the SHA-256 (hex) under which a grade is reused.

        It covers model, rubric, reading rule and temperature, the fields and the number of the draw; not the
        item's id, nor the server's address.
        """
        judge = ["openai", self.client.model, item.rubric.digest, GRADE_GRAMMAR, self.client.settings.temperature]
        content = [*judge, [item.values[name] for name in item.rubric.fields], draw]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()

    async def grade(self, item: GradeItem, draw: int, reasks: int) -> GradeRecord:
        """Ask until there are grades, or the tries are spent.

        Raises:
            JudgeError: No further reply can be graded either.
        """
        began, tally, key = time.perf_counter(), ChatTally(), self.key(item, draw)
        jitter = random.Random(f"{self.client.settings.seed}:{key}")
        messages = item.rubric.messages(item.values)
        said, error = "", None
        found: Grades | Ungraded = Ungraded("empty")
        try:
            for _ in range(1 + reasks):
                reply = await self.client.reply(messages, tally, jitter)
                said, found = reply.raw or reply.text or reply.refusal, _grades_in(reply, item.rubric)
                if isinstance(found, Grades) or reply.lack == "content_filter":
                    break
        except NoReplyError as lost:
            found, error = Ungraded("moderated" if lost.kind == "moderated" else "no-reply"), str(lost)
        return _record(
            item,
            draw,
            key,
            found,
            judge=identity_of(self.client, item.rubric.label, tally),
            reply=said,
            attempts=tally.attempts,
            prompt_tokens=tally.prompt_tokens,
            completion_tokens=tally.completion_tokens,
            cost=tally.cost(self.client.settings),
            seconds=time.perf_counter() - began,
            error=error,
        )


def _grades_in(reply: ChatReply, rubric: Rubric) -> Grades | Ungraded:
    return Ungraded(reply.lack.replace("_", "-")) if reply.lack else parse_grades(reply.text, rubric.scales)


def _record(
    item: GradeItem, draw: int, key: str, found: Grades | Ungraded, **more: str | float | None
) -> GradeRecord:
    graded = isinstance(found, Grades)
    return GradeRecord.model_validate(
        {
            "key": key,
            "item": item.id,
            "task": item.task,
            "cluster": item.cluster,
            "draw": draw,
            "rubric": item.rubric.label,
            "grades": dict(found.values) if isinstance(found, Grades) else {},
            "invalid": None if graded else found.reason,  # type: ignore[union-attr]
            **more,
        }
    )


def make_rubric_judge(spec: str, endpoint: Endpoint, settings: JudgeSettings) -> RubricJudge:
    """Make the judge a spec names.

    Args:
        spec: ``openai:MODEL``.
        endpoint: Server and key.
        settings: How it is asked.

    Raises:
        UsageError: It is no chat model, or lacks its model or key.
    """
    name, _, model = spec.strip().partition(":")
    if name != "openai" or not model:
        raise UsageError(f"--judge {spec!r}: only a chat model can grade on a rubric; use --judge openai:MODEL")
    check_endpoint(f"judge 'openai:{model}'", endpoint)
    return RubricJudge(judge_client(model, endpoint, settings))


def grade_items(
    items: Sequence[GradeItem],
    judge: RubricJudge,
    store: GradeStore,
    *,
    draws: int = 1,
    reasks: int = 2,
    progress: bool | None = None,
) -> list[GradeRecord]:
    """Grade every item so many times.

    Args:
        items: What is graded; ids must be unique.
        judge: Who grades.
        store: Where grades are appended as they come and found again.
        draws: Grades an item gets, >= 1.
        reasks: Further questions after a reply without grades.
        progress: Whether a bar is drawn on stderr; by default where stderr is a terminal.

    Returns:
        The records, items in order, draws in order; those taken from the store are marked ``cached``.

    Raises:
        JudgeError: The judge cannot go on; grades so far are in the store.
        UsageError: Two items share an id, or fewer than one draw.
    """
    if draws < 1:
        raise UsageError(f"an item is graded once or more often, not {draws} times")
    twice = [id_ for id_, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        raise UsageError(f"{len(twice)} item ids occur more than once, such as {twice[0]!r}")
    jobs = [(item, draw) for item in items for draw in range(draws)]
    found: dict[tuple[str, int], GradeRecord] = {}
    for item, draw in jobs:
        known = _without_judge(item, draw, judge, store)
        if known is not None:
            store.append(known)
            found[item.id, draw] = known
    missing = [job for job in jobs if (job[0].id, job[1]) not in found]
    asyncio.run(_ask_all(missing, judge, store, found, reasks, progress))
    return [found[item.id, draw] for item, draw in jobs]


def _without_judge(item: GradeItem, draw: int, judge: RubricJudge, store: GradeStore) -> GradeRecord | None:
    """Return the grades of an item that needs no question: of an empty reply, or recorded before."""
    key = judge.key(item, draw)
    if not item.reply.strip():
        lowest = Grades({scale.name: scale.low for scale in item.rubric.scales})
        who = identity_of(judge.client, item.rubric.label)
        return _record(item, draw, key, lowest, judge=who, rule=EMPTY_REPLY, reply="", attempts=0)
    known = store.find(key)
    if known is None:
        return None
    update = {"item": item.id, "task": item.task, "cluster": item.cluster, "cached": True}
    return known.model_copy(update=update)


async def _ask_all(
    jobs: Sequence[tuple[GradeItem, int]],
    judge: RubricJudge,
    store: GradeStore,
    found: dict[tuple[str, int], GradeRecord],
    reasks: int,
    progress: bool | None,
) -> None:
    async def work(job: tuple[GradeItem, int]) -> None:
        item, draw = job
        record = await judge.grade(item, draw, reasks)
        store.append(record)
        found[item.id, draw] = record

    bar = Bar("grading", "grade", len(found), progress)
    await work_under_bar(jobs, work, judge.client.settings.concurrency, bar, judge.client.close)
