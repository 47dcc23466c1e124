"""Turns records into the compact JSON the page reads: questions by column, narration by second, runs aligned."""

from __future__ import annotations

__all__ = ["Block", "Payload", "build_payload", "embed", "embed_json", "outcome"]

import base64
import json
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.records import AnswerRecord, CompressorReport, TickTable, TokenCounts
from evalkit.report.latency import memory_of
from evalkit.report.naming import short_name, shown_name
from evalkit.report.runs import Run
from evalkit.report.seen import seen_by
from evalkit.report.verdicts import Contest, JudgedPair, contests

# Their index is what the page stores; report.js names them in the same order.
OUTCOMES = ("right", "wrong", "answered", "unparsed", "failed", "absent")
_CLOSED = ("choice", "count", "yes-no")
# Longer text is packed, characters: below, packing saves nothing that is felt, and a page can be read as it is.
_PLAIN = 1 << 16
Json = dict[str, Any]
Column = list[Any]


@dataclass(frozen=True)
class Block:
    """A value as it stands in the page.

    Args:
        text: JSON; where ``packed``, its zlib stream in base64, which a browser's ``DecompressionStream`` reads.
        packed: Whether it is.
    """

    text: str
    packed: bool


@dataclass(frozen=True)
class Payload:
    """What the page embeds.

    Args:
        index: The names of the runs, the questions by column and the list of timelines.
        timelines: One per narrated sample, read by the page when it is opened.
        unseen: For videos that are not at hand, the whole media seconds that their timelines cover.
    """

    index: Json
    timelines: list[Block]
    unseen: dict[str, list[int]]


def outcome(answer: AnswerRecord) -> str:
    """Return how a reply stands to its gold: one of `OUTCOMES` but ``absent``.

    ``right`` and ``wrong`` compare the parser's value with gold, for kinds with one true answer; the scores of
    the benchmark (which may weigh or excuse) are in metrics.json, not here.
    """
    if answer.status == "failed":
        return "failed"
    closed = answer.kind in _CLOSED
    if answer.unparsed is not None or (closed and answer.parsed is None):
        return "unparsed"
    if not closed or answer.gold is None or answer.parsed is None:
        return "answered"
    return "right" if _folded(answer.parsed) == _folded(answer.gold) else "wrong"


def _folded(text: str) -> str:
    text = text.strip().casefold()
    return str(int(text)) if text.isdecimal() else text


class _Interned:
    """Numbers repeated values, so that each stands in the page once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[Any, int] = {}

    def __call__(self, value: Any) -> int:
        if value not in self._places:
            self._places[value] = len(self.values)
            self.values.append(value)
        return self._places[value]


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)


def _questions(
    runs: Sequence[Run], video_of: Callable[[str, str], str | None], unseen: dict[str, set[int]]
) -> Json:
    by_run = [
        {(answer.sample, answer.query): answer for answer in run.records.answers if answer.kind != "narration"}
        for run in runs
    ]
    keys = list(dict.fromkeys(key for answers in by_run for key in answers))
    task = runs[0].records.manifest.task
    shown = [seen_by(run.records) for run in runs]
    words, options, videos = _Interned(), _Interned(), _Interned()
    columns: dict[str, list[Any]] = defaultdict(list)
    replies: list[dict[str, list[Any]]] = [defaultdict(list) for _ in runs]
    for key in keys:
        found = [answers.get(key) for answers in by_run]
        first = next(answer for answer in found if answer is not None)
        columns["query"].append(first.query)
        columns["sample"].append(words(first.sample))
        columns["cluster"].append(words(first.cluster))
        video = video_of(first.cluster, first.sample)
        columns["video"].append(videos(video))
        columns["at"].append(_rounded(first.at, 3))
        columns["start"].append(_rounded(first.start, 3))
        columns["kind"].append(words(first.kind))
        columns["task"].append(words(shown_name(first.tags.get("task", ""), task)))
        columns["category"].append(words(short_name(first.tags.get("category", ""), task)))
        columns["gold"].append(words(first.gold))
        columns["choices"].append(options(first.choices))
        columns["prompt"].append(words(first.prompt))
        columns["differs"].append(int(len({_verdict(answer) for answer in found}) > 1))
        last = next((seen[key].last for seen in shown if key in seen and seen[key].last), ())
        columns["last"].append(list(last))
        if video is None:
            unseen[first.cluster or first.sample].update(map(int, last))
        for column, answer, seen in zip(replies, found, shown, strict=True):
            _add_reply(column, answer, words)
            column["frames"].append(seen[key].frames if key in seen else None)
            column["held"].append(seen[key].held if key in seen else None)
    return {
        "n": len(keys),
        "columns": columns,
        "replies": replies,
        "words": words.values,
        "choices": options.values,
        "videos": videos.values,
    }


def _verdict(answer: AnswerRecord | None) -> tuple[str, str | None]:
    """What has to be the same for two replies to count as alike: outcome and parsed value, else the text."""
    if answer is None:
        return "absent", None
    state = outcome(answer)
    return state, answer.parsed if answer.parsed is not None or state == "failed" else answer.text


def _add_reply(column: dict[str, list[Any]], answer: AnswerRecord | None, words: _Interned) -> None:
    column["outcome"].append(OUTCOMES.index("absent" if answer is None else outcome(answer)))
    column["text"].append(answer.text if answer else None)
    column["parsed"].append(words(answer.parsed if answer else None))
    column["rule"].append(words(answer.rule if answer else None))
    column["reason"].append(words((answer.error or answer.unparsed) if answer else None))
    column["seconds"].append(_rounded(answer.seconds) if answer else None)
    column["tokens"].append(answer.tokens if answer else None)


def _second(start: float) -> float:
    return round(start, 3)


def _by_kind(counts: TokenCounts) -> dict[str, Column]:
    """Add up the chat template's own tokens as ``markup``: a dozen kinds of one token each hide the rest."""
    kinds: dict[str, NDArray[np.int64]] = {}
    for kind, column in counts.columns().items():
        name = "markup" if kind == "newline" or kind.endswith(("_open", "_close")) else kind
        kinds[name] = kinds[name] + column if name in kinds else column
    return {name: column.tolist() for name, column in kinds.items() if column.any()}


def _figures(values: NDArray[np.float64], digits: int) -> Column:
    return [_rounded(value, digits) for value in values.tolist()]


def _memory(ticks: TickTable) -> Json:
    """Return what the page shows of ticks, by column; compressors are places in ``notes``, -1 for none."""
    notes = _Interned()
    return {
        "cache": ticks.whole["cache_tokens"].tolist(),
        "kept": _by_kind(ticks.counted["kept"]),
        "evicted": _by_kind(ticks.counted["evicted"]),
        "seconds": _figures(ticks.total, 4),
        "mib": _figures(memory_of(ticks), 1),
        "compressed": [notes(_compression(reports)) if reports else -1 for reports in ticks.compressors],
        "notes": notes.values,
    }


def _compression(reports: Iterable[CompressorReport]) -> tuple[str, ...]:
    return tuple(
        f"{report.name}: {report.tokens_in} → {report.tokens_out} tokens"
        + (f", {report.reused_share:.0%} reused" if report.reused_share is not None else "")
        for report in reports
    )


def _window(run: int, contest: Contest, pair: JudgedPair) -> Json:
    return {
        "run": run,
        "baseline": contest.baseline,
        "judge": contest.judge_label,
        "start": pair.start,
        "end": pair.end,
        "result": pair.result,
        "votes": [
            {
                "order": vote.order,
                "vote": vote.vote,
                "winner": vote.winner,
                "rule": vote.rule,
                "reply": vote.reply,
                "judge": vote.judge,
                "error": vote.error,
            }
            for vote in pair.votes
        ],
    }


@dataclass
class _Sample:
    """What one narrated sample has on record in each run: answers and places of ticks by start of the second."""

    cluster: str
    answers: list[dict[float, AnswerRecord]]
    ticks: list[dict[float, int]]
    failures: list[tuple[int, AnswerRecord]] = field(default_factory=list)

    def starts(self) -> list[float]:
        """Return the seconds that any run has on record, in order."""
        starts = sorted(set[float]().union(*self.answers, *self.ticks))
        # A sample that broke before its first second still has a place in the list.
        return starts or [_second(min(answer.start for _, answer in self.failures))]


def _joined(runs: Sequence[Run]) -> dict[str, str]:
    """Return the samples that stand in one timeline, each with its name: runs that cut one video up differently.

    A whole stream and chunks of it have no sample in common, and are to be read side by side. Samples of a run
    that share seconds (events of one video) stay apart, and so do those of a run on fewer samples.
    """
    cuts: dict[str, list[dict[str, list[float]]]] = {}
    for place, run in enumerate(runs):
        for answer in run.records.answers:
            if answer.kind == "narration" and answer.cluster:
                by_run = cuts.setdefault(answer.cluster, [{} for _ in runs])
                by_run[place].setdefault(answer.sample, []).append(_second(answer.start))
    names: dict[str, str] = {}
    for by_run in cuts.values():
        ids = [set(samples) for samples in by_run if samples]
        differ = any(one - other and other - one for one in ids for other in ids)
        seconds = [[start for starts in samples.values() for start in starts] for samples in by_run]
        if differ and all(len(set(one)) == len(one) for one in seconds):
            every = set[str]().union(*ids)
            names |= dict.fromkeys(every, min(every, key=lambda name: (len(name), name)))
    return names


def _narrated(runs: Sequence[Run]) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    joined = _joined(runs)
    for place, run in enumerate(runs):
        for answer in run.records.answers:
            if answer.kind == "narration":
                name = joined.get(answer.sample, answer.sample)
                if name not in samples:
                    samples[name] = _Sample(answer.cluster, [{} for _ in runs], [{} for _ in runs])
                if answer.status == "failed":
                    samples[name].failures.append((place, answer))
                else:
                    samples[name].answers[place][_second(answer.start)] = answer
    for place, run in enumerate(runs):
        starts = run.records.ticks.start
        for sample, rows in run.records.ticks.by_sample().items():
            name = joined.get(sample, sample)
            if name in samples:
                seconds = map(_second, starts[rows].tolist())
                samples[name].ticks[place] |= dict(zip(seconds, rows.tolist(), strict=True))
    return samples


def _run_column(answers: dict[float, AnswerRecord], table: TickTable, rows: dict[float, int]) -> Json:
    """Return what one run said and remembered, each with the seconds it is of, in order."""
    spoken, ticked = sorted(answers), sorted(rows)
    return {
        "said": {
            "start": spoken,
            "text": [answers[start].text for start in spoken],
            "tokens": [answers[start].tokens for start in spoken],
            "dropped": [int(answers[start].status == "dropped") for start in spoken],
        },
        "memory": {"start": ticked, **_memory(table.where(np.array([rows[start] for start in ticked], np.int64)))},
    }


def _ends(sample: _Sample, starts: Sequence[float], tables: Sequence[TickTable]) -> list[float]:
    """Return where each second ends: the latest end on record; a second without one lasts a second."""
    ends: dict[float, float] = {}
    for rows in sample.answers:
        for start, answer in rows.items():
            ends[start] = max(ends.get(start, answer.end), answer.end)
    for places, table in zip(sample.ticks, tables, strict=True):
        for start, end in zip(places, table.end[list(places.values())].tolist(), strict=True):
            ends[start] = max(ends.get(start, end), end)
    return [_second(ends.get(start, start + 1)) for start in starts]


def _timeline(
    name: str, sample: _Sample, tables: Sequence[TickTable], windows: Sequence[Json], video: str | None
) -> Json:
    starts = sample.starts()
    answers = [[rows[start] for rows in sample.answers if start in rows] for start in starts]
    return {
        "sample": name,
        "cluster": sample.cluster,
        "video": video,
        "start": starts,
        "end": _ends(sample, starts, tables),
        "reference": [next((answer.gold for answer in found if answer.gold), "") for found in answers],
        "runs": [_run_column(*columns) for columns in zip(sample.answers, tables, sample.ticks, strict=True)],
        "windows": windows,
        "failures": [
            {"run": place, "reason": answer.error or "no reason recorded"} for place, answer in sample.failures
        ],
    }


def _timeline_row(sample: _Sample, timeline: Json) -> Json:
    """Return the row of a timeline in the list."""
    said: list[dict[float, str]] = [
        {start: answer.text for start, answer in rows.items()} for rows in sample.answers
    ]
    results: list[Counter[str]] = [Counter() for _ in said]
    for window in timeline["windows"]:
        results[window["run"]][window["result"]] += 1
    spoken = set[float]().union(*said)
    return {
        "sample": timeline["sample"],
        "cluster": sample.cluster,
        "seconds": len(spoken),
        "start": timeline["start"][0],
        "end": timeline["end"][-1],
        "spoken": [sum(bool(text.strip()) for text in texts.values()) for texts in said],
        "results": results,
        "failed": len(sample.failures),
        "differs": int(any(len({texts.get(start) for texts in said}) > 1 for start in spoken)),
    }


def _judged(runs: Sequence[Run]) -> dict[str, list[tuple[int, Contest, JudgedPair]]]:
    """Return the judged pairs of every video, each with its run and contest."""
    found: dict[str, list[tuple[int, Contest, JudgedPair]]] = defaultdict(list)
    for place, run in enumerate(runs):
        for contest in contests(run.records.verdicts):
            for pair in contest.pairs:
                found[pair.cluster].append((place, contest, pair))
    return found


def build_payload(runs: Sequence[Run], video_of: Callable[[str, str], str | None]) -> Payload:
    """Return what the page embeds.

    Args:
        runs: Runs of one task.
        video_of: Gives the name of the video of ``(cluster, sample)``, or ``None``.
    """
    judged, tables = _judged(runs), [run.records.ticks for run in runs]
    rows: list[Json] = []
    blocks: list[Block] = []
    unseen: dict[str, set[int]] = defaultdict(set)
    for name, sample in _narrated(runs).items():
        video, starts = video_of(sample.cluster, name), sample.starts()
        end = _ends(sample, starts[-1:], tables)[0]
        windows = [
            _window(place, contest, pair)
            for place, contest, pair in judged.get(sample.cluster, ())
            if pair.start < end and pair.end > starts[0]
        ]
        timeline = _timeline(name, sample, tables, windows, video)
        rows.append(_timeline_row(sample, timeline))
        blocks.append(embed(timeline))
        if video is None:
            unseen[sample.cluster or name].update(map(int, starts))
    index: Json = {
        "runs": [run.label for run in runs],
        "outcomes": OUTCOMES,
        "questions": _questions(runs, video_of, unseen),
        "timelines": rows,
    }
    return Payload(index, blocks, {name: sorted(seconds) for name, seconds in unseen.items()})


def embed(value: Any) -> Block:
    """Return a value as text for a ``<script>``: JSON, packed where it is long.

    Raises:
        ValueError: A number in it is NaN or infinite, which JSON has no word for.
    """
    text = embed_json(value)
    if len(text) <= _PLAIN:
        return Block(text, packed=False)
    return Block(base64.b64encode(zlib.compress(text.encode())).decode(), packed=True)


def embed_json(value: Any) -> str:
    """Return JSON that may stand inside ``<script>``: no character in it can end the element or open a comment.

    Raises:
        ValueError: A number in it is NaN or infinite, which JSON has no word for.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char, code in (
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(char, code)
    # A lone surrogate (a half emoji from a byte-level tokenizer) cannot be written as UTF-8.
    return text.encode("utf-8", "replace").decode()
