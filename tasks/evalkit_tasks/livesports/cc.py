"""LiveSports-3K CC as a task: events narrated, judged pairwise against GPT-4o's captions, and votes scored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from evalkit.errors import DataError, UsageError, suggest
from evalkit.fetch import Source
from evalkit.judge import LIVESPORTS_PROMPT, JudgePrompt, Pair, read_votes
from evalkit.records import AnswerRecord, Metric, read_run
from evalkit.tasks import (
    CheckReport,
    DemoSize,
    Pairing,
    Prediction,
    Problem,
    Scores,
    ScoreSheet,
    TaskData,
    TaskSettings,
)
from evalkit.tasks.contract import Average, Averaging
from evalkit.tasks.layouts import object_rows
from evalkit.tasks.metrics import sheet_metrics
from evalkit.tasks.scoring import percent
from evalkit_tasks.livesports.captions import (
    Caption,
    captions_of_run,
    read_captions,
    says_nothing,
    silent_problem,
    write_captions,
)
from evalkit_tasks.livesports.events import NAME, LiveSportsCcSettings, check_events, load_events, read_events
from evalkit_tasks.sources import LIVESPORTS
from evalkit_tasks.toy_qa import make_demo

__all__ = ["LiveSportsCc"]

_EVENTS = 1702
_TOTAL = "livesports_cc_win_rate"
_TASK = "CC"
_BASELINE = "GPT-4o"


class LiveSportsCc:
    """LiveSports-3K CC (LiveCC, arXiv 2504.16030): 1,702 events of 416 videos."""

    name: ClassVar[str] = NAME
    published_at: ClassVar[Source] = LIVESPORTS
    summary: ClassVar[str] = "LiveSports-3K CC: 1,702 sports events commented, judged pairwise against GPT-4o"
    settings: ClassVar[type[TaskSettings]] = LiveSportsCcSettings
    formats: ClassVar[tuple[str, ...]] = ("official", "livecc", "captions")
    output_name: ClassVar[str] = "captions.jsonl"
    judge_prompt: ClassVar[JudgePrompt] = LIVESPORTS_PROMPT

    def load(self, data: Path, settings: TaskSettings) -> TaskData:
        """Return one sample per event; see `load_events`."""
        if not isinstance(settings, LiveSportsCcSettings):
            raise UsageError(f"{NAME} wants LiveSportsCcSettings, not {type(settings).__name__}")
        return load_events(data, settings)

    def load_windows(self, data: Path, settings: TaskSettings) -> TaskData:
        """Return the events to be shown at once, for models that speak once about each."""
        return self.load(data, settings.model_copy(update={"protocol": "clip"}))

    def make_demo(self, data: Path, size: DemoSize | None = None) -> None:
        """Write made-up events in the published layout below ``data``, with captions of a made-up baseline."""
        make_demo(NAME, data, size)

    def check(self, data: Path) -> CheckReport:
        """Look at every event and every video; see `check_events`."""
        return check_events(data)

    def read_outputs(self, path: Path) -> tuple[list[AnswerRecord], list[Problem]]:
        """Read a caption file as narration, one record an event."""
        captions, problems = read_captions(path)
        return [_record(one) for one in captions.values()], problems

    def write_outputs(self, answers: Sequence[AnswerRecord], path: Path) -> None:
        """Write a caption file as LiveCC's scripts do."""
        write_captions(captions_of_run(answers).values(), path)

    def narration_metrics(self, answers: Sequence[AnswerRecord]) -> list[Metric]:
        """Return what can be said of captions without a judge: silent events, words, words per second of event."""
        captions = list(captions_of_run(answers).values())
        return [] if not captions else [_metric(name, value, unit) for name, value, unit in _length_of(captions)]

    def pair_up(self, test: Path, baseline: Path, data: Path) -> Pairing:
        """Pair two sides event by event.

        An event about which a side says nothing is decided by rule and counted, never put to a judge.

        Args:
            test: Run folder of the model under test.
            baseline: Run folder, or caption file, of the other.
            data: Folder of the data set, for the human commentary.
        """
        events = read_events(data)
        ours, notes = captions_of_run(read_run(test, ticks=False).answers), list(events.problems)
        if baseline.is_dir():
            other = read_run(baseline, ticks=False)
            theirs, name = captions_of_run(other.answers), other.name
            digest = other.manifest.fingerprint_digest
        else:
            theirs, odd = read_captions(baseline)
            name, digest = baseline.stem, hashlib.sha256(baseline.read_bytes()).hexdigest()
            notes += odd
        unknown = [id_ for id_ in theirs if id_ not in events.rows]
        if unknown:
            message = f"{len(unknown)} captions are of no event of the data, such as {unknown[0]}"
            notes.append(Problem("unknown-id", message, item=unknown[0]))
        both = [id_ for id_ in events.rows if id_ in ours and id_ in theirs]
        for whose, side in (("the model under test", ours), (name, theirs)):
            notes += silent_problem((side[id_] for id_ in both), whose)
        pairs = tuple(
            Pair(
                id=id_,
                cluster=events.rows[id_].video_id,
                start=events.rows[id_].begin,
                end=events.rows[id_].end,
                reference=events.rows[id_].event_asr_text,
                test=_spoken(ours[id_]),
                baseline=_spoken(theirs[id_]),
            )
            for id_ in both
        )
        wanted = ours.keys() | set(read_run(test, ticks=False).manifest.planned)
        uncovered = tuple(id_ for id_ in events.rows if id_ in wanted and id_ not in both)
        lengths = _compared(both, ours, theirs, name)
        return Pairing(pairs, name, digest[:8], uncovered, (*map(str, notes), *lengths))

    def read_predictions(
        self, format: str, paths: Sequence[Path], data: Path | None
    ) -> tuple[list[Prediction], list[Problem]]:
        """Read a judge file of LiveCC (two votes an event), or a caption file, which has no score.

        Raises:
            UsageError: Unknown format, or a run, which is judged.
            DataError: The file is malformed.
        """
        if format not in self.formats:
            raise UsageError(
                f"{NAME} has no format {format!r}{suggest(format, self.formats)} (known: "
                f"{', '.join(self.formats)}); a run is judged: evalkit judge RUN --against FILE --judge "
                "openai:MODEL"
            )
        if len(paths) != 1 or paths[0].is_dir():
            raise UsageError(f"{NAME} scores one file at a time")
        if format == "captions":
            return _caption_predictions(paths[0])
        votes = read_votes(paths[0], "livecc", model=_model_of(paths[0]))
        found = [
            Prediction(
                id=pair.pair,
                task=_TASK,
                response=winner,
                gold="test",
                kind="open",
                cluster=pair.cluster,
                tags={"order": order, "model": votes.model, "baseline": votes.baseline},
            )
            for pair in votes.pairs
            for order, winner in (("ab", pair.ab), ("ba", pair.ba))
        ]
        n = len(votes.pairs)
        problems = [Problem("note", note) for note in votes.notes]
        if n != _EVENTS:
            message = f"{n:,} events are judged, {_EVENTS:,} are published; LiveCC's own script stops on others"
            problems.append(Problem("missing" if n < _EVENTS else "other-version", message, paths[0].name))
        return found, problems

    def score(self, predictions: Sequence[Prediction], format: str) -> ScoreSheet:
        """Score recorded votes: ``source`` by the published rule, ties lost; strict with ties a half."""
        if format == "captions":
            return _caption_sheet(predictions)
        if format not in ("livecc", "official"):
            raise UsageError(
                f"{NAME} is judged, not scored: evalkit judge RUN --against RUN|FILE --judge openai:MODEL"
            )
        return _vote_sheet(predictions, format)

    def metrics(self, sheet: ScoreSheet) -> list[Metric]:
        """Turn a score sheet into the rows of ``metrics.json``."""
        return sheet_metrics(sheet)


def _model_of(path: Path) -> str | None:
    """Return the model of a judge file whose name does not tell: whoever is not the published baseline."""
    if f"{_BASELINE}_" in path.name or f"_{_BASELINE}" in path.name:
        return None
    rows = (row.content for row in object_rows(path, []))
    voted = (row.get(name) for row in rows if isinstance(row, dict) for name in ("ab_winner", "ba_winner"))
    names = {name for name in voted if isinstance(name, str)} - {"tie", "invalid", _BASELINE}
    return names.pop() if len(names) == 1 else None


def _spoken(caption: Caption) -> str:
    return "" if says_nothing(caption.text) else caption.text


def _record(caption: Caption) -> AnswerRecord:
    return AnswerRecord(
        sample=caption.id,
        query=f"{caption.id}@0",
        kind="narration",
        at=caption.end,
        start=caption.begin,
        end=caption.end,
        text=caption.text.removesuffix("..."),
        cluster=caption.video,
        tags={"task": _TASK},
    )


def _metric(name: str, value: float, unit: str) -> Metric:
    return Metric(name=name, value=value, unit=unit, group="captions")


def _length_of(captions: Sequence[Caption]) -> list[tuple[str, float, str]]:
    words = [len(one.text.split()) for one in captions]
    seconds = sum(one.end - one.begin for one in captions)
    return [
        ("silent_events", float(sum(says_nothing(one.text) for one in captions)), "count"),
        ("words_per_event", fmean(words), "words"),
        ("words_per_event_second", sum(words) / seconds if seconds > 0 else 0.0, "words/s"),
    ]


def _compared(
    both: Sequence[str], ours: dict[str, Caption], theirs: dict[str, Caption], name: str
) -> tuple[str, ...]:
    """Say how long each side speaks: a baseline that says five times as much as an event holds is a confounder."""
    if not both:
        return ()
    mine, other = (fmean(len(side[id_].text.split()) for id_ in both) for side in (ours, theirs))
    return (f"length: {mine:.1f} words an event, {name} {other:.1f}; a longer side may win for its length",)


def _caption_predictions(path: Path) -> tuple[list[Prediction], list[Problem]]:
    captions, problems = read_captions(path)
    predictions = [
        Prediction(
            one.id, _TASK, one.text, "", "open", cluster=one.video, tags={"seconds": f"{one.end - one.begin}"}
        )
        for one in captions.values()
    ]
    if len(captions) != _EVENTS:
        message = f"{len(captions):,} events have a caption, {_EVENTS:,} are published"
        problems.append(Problem("missing" if len(captions) < _EVENTS else "other-version", message, path.name))
    return predictions, [*problems, *silent_problem(captions.values(), path.name)]


def _caption_sheet(predictions: Sequence[Prediction]) -> ScoreSheet:
    words = [len((one.response or "").split()) for one in predictions]
    silent = sum(says_nothing(one.response or "") for one in predictions)
    n = len(predictions)
    none = Scores({_TASK: None}, {}, None)
    note = Problem("judged", "captions have no score of their own: evalkit judge RUN --against FILE")
    facts = {
        "silent": silent,
        "mean_words": fmean(words) if words else None,
        "videos": len({p.cluster for p in predictions}),
    }
    return ScoreSheet(
        NAME, "captions", n, n - silent, (n - silent) / n if n else 0.0, none, none, (note,), facts=facts
    )


def _vote_sheet(votes: Sequence[Prediction], format: str) -> ScoreSheet:
    if not votes:
        raise DataError("no votes to score")
    by_order: dict[str, dict[str, Prediction]] = {"ab": {}, "ba": {}}
    for vote in votes:
        by_order[vote.tags["order"]][vote.id] = vote
    ids = list(by_order["ab"])
    n = len(ids)
    won = {order: {id_: side[id_].response == "test" for id_ in ids} for order, side in by_order.items()}
    ties = {order: sum(side[id_].response == "tie" for id_ in ids) for order, side in by_order.items()}
    read = [vote for vote in votes if vote.response in ("test", "baseline", "tie")]
    wins = sum(sum(side.values()) for side in won.values())
    same = sum(by_order["ab"][id_].response == by_order["ba"][id_].response for id_ in ids)
    groups: dict[str, float | None] = {
        _TOTAL: percent(wins, 2 * n),
        "as_first": percent(sum(won["ab"].values()), n),
        "as_second": percent(sum(won["ba"].values()), n),
        "consistency": percent(same, n),
        "win_rate_ties_half": percent(wins + sum(ties.values()) / 2, len(read)),
    }
    total = groups[_TOTAL]
    correct = tuple(
        (f"{id_}:{order}", side[id_].cluster, _TASK, won[order][id_])
        for id_ in ids
        for order, side in by_order.items()
    )
    facts: dict[str, Any] = {
        "total_is": _TOTAL,
        "source_rule": "LiveCC, StreamingVLM: wins in both orders over two votes an event; ties and unread lost",
        "model": votes[0].tags["model"],
        "baseline": votes[0].tags["baseline"],
        "judge": "not named in the file",
        "both_won": sum(won["ab"][id_] and won["ba"][id_] for id_ in ids),
        "both_lost": sum(
            by_order["ab"][id_].response == by_order["ba"][id_].response == "baseline" for id_ in ids
        ),
        "ties": sum(ties.values()),
        "counts": {_TASK: {"n": n, "answered": len(read) // 2, "correct": wins}},
        "source_counts": {_TASK: {"n": 2 * n, "answered": len(read), "correct": wins}},
    }
    strict = groups["win_rate_ties_half"]
    return ScoreSheet(
        task=NAME,
        format=format,
        n=n,
        answered=sum(
            all(side[id_].response in ("test", "baseline", "tie") for side in by_order.values()) for id_ in ids
        ),
        coverage=len(read) / (2 * n),
        source=Scores({_TASK: total}, groups, total),
        strict=Scores({_TASK: strict}, {_TOTAL: strict}, strict),
        correct=correct,
        averaging=Averaging((Average(_TOTAL, "micro", (_TASK,)),)),
        facts=facts,
    )
