"""Turns records into the compact JSON the page reads: questions by column, narration by second, runs aligned."""

from __future__ import annotations

__all__ = ["Payload", "build_payload", "embed_json", "outcome"]

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalkit.records import AnswerRecord, TickRecord
from evalkit.report.runs import Run
from evalkit.report.verdicts import Contest, JudgedPair, contests

# Their index is what the page stores; report.js names them in the same order.
OUTCOMES = ("right", "wrong", "answered", "unparsed", "failed", "absent")
_CLOSED = ("choice", "count", "yes-no")
Json = dict[str, Any]


@dataclass(frozen=True)
class Payload:
    """What the page embeds.

    Args:
        index: Small: the names of the runs, the questions by column and the list of timelines.
        timelines: One per narrated sample, read by the page when it is opened.
    """

    index: Json
    timelines: list[Json]


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


def _questions(runs: Sequence[Run], video_of: Callable[[str, str], str | None]) -> Json:
    by_run = [
        {(answer.sample, answer.query): answer for answer in run.records.answers if answer.kind != "narration"}
        for run in runs
    ]
    keys = list(dict.fromkeys(key for answers in by_run for key in answers))
    words, options, videos = _Interned(), _Interned(), _Interned()
    columns: dict[str, list[Any]] = defaultdict(list)
    replies: list[dict[str, list[Any]]] = [defaultdict(list) for _ in runs]
    for key in keys:
        found = [answers.get(key) for answers in by_run]
        first = next(answer for answer in found if answer is not None)
        columns["query"].append(first.query)
        columns["sample"].append(words(first.sample))
        columns["cluster"].append(words(first.cluster))
        columns["video"].append(videos(video_of(first.cluster, first.sample)))
        columns["at"].append(_rounded(first.at, 3))
        columns["start"].append(_rounded(first.start, 3))
        columns["kind"].append(words(first.kind))
        columns["task"].append(words(first.tags.get("task", "")))
        columns["category"].append(words(first.tags.get("category", "")))
        columns["gold"].append(words(first.gold))
        columns["choices"].append(options(first.choices))
        columns["differs"].append(int(len({_verdict(answer) for answer in found}) > 1))
        for column, answer in zip(replies, found, strict=True):
            _add_reply(column, answer, words)
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


def _said(answer: AnswerRecord | None) -> Json | None:
    if answer is None:
        return None
    return {"x": answer.text, "n": answer.tokens}


def _by_kind(counts: Mapping[str, int]) -> dict[str, int]:
    """Add up the chat template's own tokens as ``markup``: a dozen kinds of one token each hide the rest."""
    kinds: dict[str, int] = {}
    for kind, count in counts.items():
        name = "markup" if kind == "newline" or kind.endswith(("_open", "_close")) else kind
        kinds[name] = kinds.get(name, 0) + count
    return kinds


def _memory(tick: TickRecord | None) -> Json | None:
    if tick is None:
        return None
    row: Json = {
        "c": tick.cache_tokens,
        "k": _by_kind(tick.kept),
        "t": _rounded(tick.stages.total),
        "m": _rounded(tick.peak_mib or tick.rss_mib, 1),
    }
    if tick.evicted:
        row["v"] = _by_kind(tick.evicted)
    if tick.compressors:
        row["z"] = [
            f"{report.name}: {report.tokens_in} → {report.tokens_out} tokens"
            + (f", {report.reused_share:.0%} reused" if report.reused_share is not None else "")
            for report in tick.compressors
        ]
    return row


def _windows(contest: Contest, run: int, pairs: Sequence[JudgedPair]) -> list[Json]:
    return [
        {
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
        for pair in pairs
    ]


@dataclass
class _Sample:
    """What one narrated sample has on record in each run, by start of the second."""

    cluster: str
    answers: list[dict[float, AnswerRecord]]
    ticks: list[dict[float, TickRecord]]
    failures: list[tuple[int, AnswerRecord]] = field(default_factory=list)


def _narrated(runs: Sequence[Run]) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    for place, run in enumerate(runs):
        for answer in run.records.answers:
            if answer.kind == "narration":
                if answer.sample not in samples:
                    samples[answer.sample] = _Sample(answer.cluster, [{} for _ in runs], [{} for _ in runs])
                if answer.status == "failed":
                    samples[answer.sample].failures.append((place, answer))
                else:
                    samples[answer.sample].answers[place][_second(answer.start)] = answer
    for place, run in enumerate(runs):
        for tick in run.records.ticks:
            if tick.sample in samples:
                samples[tick.sample].ticks[place][_second(tick.start)] = tick
    return samples


def _timeline(
    name: str, sample: _Sample, judged: Sequence[tuple[int, Contest]], video: str | None
) -> tuple[Json, Json]:
    """Return the timeline of a sample and its row in the list."""
    starts = sorted(set[float]().union(*sample.answers, *sample.ticks))
    # A sample that broke before its first second still has a place in the list.
    starts = starts or [_second(min(answer.start for _, answer in sample.failures))]
    references, ends = [], []
    for start in starts:
        found = [rows[start] for rows in sample.answers if start in rows]
        references.append(next((answer.gold for answer in found if answer.gold), ""))
        spans = [answer.end for answer in found] + [rows[start].end for rows in sample.ticks if start in rows]
        ends.append(_second(max(spans, default=start + 1)))
    windows = [
        window
        for place, contest in judged
        for window in _windows(
            contest,
            place,
            [
                pair
                for pair in contest.pairs
                if pair.cluster == sample.cluster and pair.start < ends[-1] and pair.end > starts[0]
            ],
        )
    ]
    texts = [[rows[start].text if start in rows else None for start in starts] for rows in sample.answers]
    timeline: Json = {
        "sample": name,
        "cluster": sample.cluster,
        "video": video,
        "start": starts,
        "end": ends,
        "reference": references,
        "runs": [
            {
                "said": [_said(answers.get(start)) for start in starts],
                "memory": [_memory(ticks.get(start)) for start in starts],
            }
            for answers, ticks in zip(sample.answers, sample.ticks, strict=True)
        ],
        "windows": windows,
        "failures": [
            {"run": place, "reason": answer.error or "no reason recorded"} for place, answer in sample.failures
        ],
    }
    row = {
        "sample": name,
        "cluster": sample.cluster,
        "seconds": len({start for rows in sample.answers for start in rows}),
        "start": starts[0],
        "end": ends[-1],
        "spoken": [sum(bool(text and text.strip()) for text in column) for column in texts],
        "wins": [[window["result"] for window in windows if window["run"] == run] for run in range(len(texts))],
        "failed": len(sample.failures),
        "differs": int(any(len(set(row)) > 1 for row in zip(*texts, strict=True))),
    }
    return timeline, row


def build_payload(runs: Sequence[Run], video_of: Callable[[str, str], str | None]) -> Payload:
    """Return what the page embeds.

    Args:
        runs: Runs of one task.
        video_of: Gives the name of the video of ``(cluster, sample)``, or ``None``.
    """
    judged = [(place, contest) for place, run in enumerate(runs) for contest in contests(run.records.verdicts)]
    pairs = [
        _timeline(name, sample, judged, video_of(sample.cluster, name)) for name, sample in _narrated(runs).items()
    ]
    index: Json = {
        "runs": [run.label for run in runs],
        "outcomes": OUTCOMES,
        "questions": _questions(runs, video_of),
        "timelines": [row for _, row in pairs],
    }
    return Payload(index, [timeline for timeline, _ in pairs])


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


def seconds_of(timelines: Iterable[Json]) -> dict[str, list[int]]:
    """Return the whole media seconds each video's timelines cover, for thumbnails."""
    seconds: dict[str, list[int]] = defaultdict(list)
    for timeline in timelines:
        name = timeline["video"] or timeline["cluster"] or timeline["sample"]
        seconds[name] += [int(start) for start in timeline["start"]]
    return {name: sorted(set(values)) for name, values in seconds.items()}
