"""A benchmark of when a model speaks: what it declares, and the samples, predictions and scores that follow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from evalkit.errors import DataError, DecodeError, UsageError
from evalkit.records import AnswerRecord, Metric, missing_text, read_run, real_number
from evalkit.tasks.benchmark import read_with_data
from evalkit.tasks.contract import (
    Average,
    Averaging,
    CheckReport,
    Fact,
    Prediction,
    Problem,
    Scores,
    ScoreSheet,
    TaskData,
    TaskSettings,
)
from evalkit.tasks.layouts import FileRow, RowError, object_rows, take_rows
from evalkit.tasks.made import DemoSize
from evalkit.tasks.metrics import sheet_metrics
from evalkit.tasks.replies import GONE, require_format
from evalkit.tasks.rows import probe_videos, video_problems
from evalkit.tasks.timed_questions import TimedData, TimedQuestion, TimedSettings, Turn, end_of, timed_sample
from evalkit.utterances import (
    Speaking,
    Utterance,
    Window,
    match,
    score_records,
    timing_counts,
    utility,
    utterances_of,
)
from evalkit.utterances.score import TimedRecord, TimingScore

__all__ = ["TimedData", "TimedQuestion", "TimedSettings", "TimedTask", "Turn"]


_DAY = 86_400.0


class TimedTask:
    """A `Task` about when a model speaks; a benchmark declares what it is and reads its questions.

    Attributes:
        name: Its name.
        summary: One line for ``evalkit list tasks``.
        tasks: Sub-tasks, in the order of its tables.
        tolerance: Seconds around a window in which an utterance still answers it.
        headline: ``f1``: mean of the sub-tasks' F1; ``recall``: share of windows answered, mean of the sub-tasks.
        source: The rule in words.
        demo: Fills an empty folder with a made-up data set of a size.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    settings: ClassVar[type[TaskSettings]] = TimedSettings
    formats: ClassVar[tuple[str, ...]] = ("times", "evalkit")
    tasks: ClassVar[tuple[str, ...]]
    tolerance: ClassVar[float]
    headline: ClassVar[Literal["f1", "recall"]]
    source: ClassVar[str]
    demo: ClassVar[Callable[[Path, DemoSize | None], None]]

    def questions(self, data: Path) -> TimedData:
        """Read the benchmark's files below a folder.

        Raises:
            DataError: They are not there or hold no usable row.
        """
        raise NotImplementedError

    def make_demo(self, data: Path, size: DemoSize | None = None) -> None:
        """Write a made-up data set in the published layout below ``data``."""
        type(self).demo(data, size)

    def load(self, data: Path, settings: TaskSettings) -> TaskData:
        """Make one sample per question, asked at its start.

        Raises:
            DataError: The files are not there or hold no usable row.
            UsageError: The settings are another benchmark's.
        """
        if not isinstance(settings, TimedSettings):
            raise UsageError(f"{self.name} wants TimedSettings, not {type(settings).__name__}")
        found = _of_a_day(self.questions(data))
        opened = probe_videos(one.video for one in found.questions if one.end is None)
        samples = tuple(
            timed_sample(one, settings, end_of(one, opened), self.tolerance) for one in found.questions
        )
        files = dict.fromkeys(one.video for one in found.questions)
        missing = [
            Problem("missing-video", f"{path} is not there", path.name)
            for path in files
            if path not in opened and not path.is_file()
        ]
        counts = {task: sum(one.task == task for one in found.questions) for task in self.tasks}
        facts = {
            "version": found.version,
            "records": len(samples),
            "speaking": settings.speaking,
            "counts": counts,
        }
        problems = (*found.problems, *missing, *video_problems(opened))
        return TaskData(samples, found.revision, problems, facts)

    def check(self, data: Path) -> CheckReport:
        """Look at every row and every video below ``data``."""
        found = _of_a_day(self.questions(data))
        opened = probe_videos(one.video for one in found.questions)
        problems = [*found.problems, *video_problems(opened)]
        for one in found.questions:
            info = opened[one.video]
            length = None if isinstance(info, DecodeError) else info.duration
            last = max((window.end for window in one.windows), default=0.0)
            if length is not None and last > length + 1.0:
                message = f"something is due at {last:g} s, the video ends at {length:.1f} s"
                problems.append(Problem("after-end", message, item=one.id))
        counts = {task: sum(one.task == task for one in found.questions) for task in self.tasks}
        facts = {"version": found.version, "golds": sum(len(one.windows) for one in found.questions)}
        return CheckReport(self.name, str(data), counts, len(opened), tuple(problems), facts)

    def read_predictions(
        self, format: str, paths: Sequence[Path], data: Path | None
    ) -> tuple[list[Prediction], list[Problem]]:
        """Read run folders (``evalkit``), or lists of times per id (``times``, needs ``data``).

        Raises:
            DataError: A file cannot be used.
            UsageError: Unknown format, no path, or no data where they are needed.
        """
        require_format(self.name, format, self.formats, paths)
        if format == "evalkit":
            return read_with_data(self._read_runs, format, paths, data)
        if data is None:
            raise UsageError(f"times of {self.name} have no gold in them; name the data folder too (--data)")
        return self._read_times(paths, data)

    def _read_runs(
        self, format: str, paths: Sequence[Path], data: Path | None
    ) -> tuple[list[Prediction], list[Problem]]:
        predictions: list[Prediction] = []
        problems: list[Problem] = []
        for path in paths:
            run = read_run(path, ticks=False)
            if run.manifest.task != self.name:
                raise DataError(f"{path} is a run of {run.manifest.task}, not {self.name}", path=path)
            if not run.answers:
                raise DataError(f"{path} has no answers on record: nothing to score", path=path)
            if run.missing:
                gone = missing_text(run.manifest, run.missing)
                problems.append(Problem(GONE, f"{gone}: they count as silent", path.name, item=run.missing[0]))
            found = self.utterance_predictions(run.answers)
            predictions += found
            lacking = set(run.manifest.planned) - {one.id for one in found}
            if lacking and data is not None:
                predictions += [one for id_, one in self._known(data).items() if id_ in lacking]
            elif lacking:
                message = f"{len(lacking)} of {len(run.manifest.planned)} planned samples have no answer"
                problems.append(Problem("partial-run", message, path.name, item=min(lacking)))
        return predictions, problems

    def _known(self, data: Path) -> dict[str, Prediction]:
        """Return the questions of the data by id, each with nothing said."""
        found = _of_a_day(self.questions(data)).questions
        opened = probe_videos(one.video for one in found if one.end is None)
        return {
            one.id: Prediction(
                one.id,
                one.task,
                None,
                json.dumps([[window.start, window.end] for window in one.windows]),
                "open",
                cluster=one.cluster,
                tags={"seconds": f"{end_of(one, opened) - one.start:g}", "speaking": "unknown"},
            )
            for one in found
        }

    def _read_times(self, paths: Sequence[Path], data: Path) -> tuple[list[Prediction], list[Problem]]:
        problems: list[Problem] = []
        rows = [row for path in paths for row in object_rows(path, problems)]
        found = take_rows(rows, _take_times, problems)
        if not found:
            raise DataError(f"{paths[0].name}: not one row of id and times", path=paths[0])
        known = self._known(data)
        said: dict[str, Prediction] = {}
        for one in found:
            if one.id not in known:
                problems.append(Problem("unknown-id", "no such question in the data; left out", item=one.id))
            elif one.id in said:
                message = "two rows for one id" + (
                    "" if said[one.id].response == one.response else " with other times: it counts as silent"
                )
                problems.append(Problem("duplicate", message, item=one.id))
                if said[one.id].response != one.response:
                    said[one.id] = known[one.id]
            else:
                said[one.id] = replace(known[one.id], response=one.response)
        missing = [id_ for id_ in known if id_ not in said]
        if missing:
            message = f"{len(missing)} of {len(known)} questions have no row; they count as silent"
            problems.append(Problem("missing", message, item=missing[0]))
        return [said.get(id_, one) for id_, one in known.items()], problems

    def utterance_predictions(self, answers: Sequence[AnswerRecord]) -> list[Prediction]:
        """Return one prediction a stream: the times at which something was said."""
        streams: dict[str, list[AnswerRecord]] = {}
        for answer in answers:
            if "windows" in answer.tags:
                streams.setdefault(answer.sample, []).append(answer)
        found = []
        for id_, records in streams.items():
            tags = records[0].tags
            speaking: Speaking = tags["speaking"]  # type: ignore[assignment]
            failed = any(record.status == "failed" for record in records)  # a dropped second is a silent one
            times = [said.at for said in utterances_of(records, speaking)]
            found.append(
                Prediction(
                    id=id_,
                    task=tags["task"],
                    response=None if failed and not times else json.dumps(times),
                    gold=tags["windows"],
                    kind="open",
                    cluster=records[0].cluster,
                    tags={"seconds": tags["seconds"], "speaking": speaking},
                )
            )
        return found

    def facts(self, answers: Sequence[AnswerRecord]) -> list[Fact]:
        """Return each window and whether it was answered, for comparisons of runs."""
        return [
            Fact(id_, f"{self.name}.answered", cluster, answered)
            for one in self.utterance_predictions(answers)
            for id_, cluster, _, answered in _answered(one, self.tolerance)
        ]

    def score(self, predictions: Sequence[Prediction], format: str) -> ScoreSheet:
        """Score times against windows; a stream that failed or is missing said nothing.

        Raises:
            UsageError: The streams spoke in different ways, which are never mixed.
        """
        ways = sorted({one.tags.get("speaking", "unknown") for one in predictions})
        if len(ways) > 1:
            raise UsageError(f"streams that speak in different ways are never mixed ({', '.join(ways)})")
        records = [_record(one, self.tolerance) for one in predictions]
        found = score_records(records)
        total = "mean_f1" if self.headline == "f1" else "mean_recall"
        value = found.total if self.headline == "f1" else _mean(found.recall.values())
        groups: dict[str, float | None] = {total: 100 * value if set(self.tasks) <= found.f1.keys() else None}
        for task in found.f1:
            groups[f"{task}_recall"] = 100 * found.recall[task]
            groups[f"{task}_precision"] = 100 * found.precision[task]
            groups[f"{task}_f1"] = 100 * found.f1[task]
        hits, golds = (sum(getattr(one, name) for one in found.counts.values()) for name in ("hits", "golds"))
        groups["windows_answered"] = 100 * hits / golds if golds else None
        own = found.f1 if self.headline == "f1" else found.recall
        by_task = {task: 100 * own[task] if task in own else None for task in self.tasks}
        scores = Scores(by_task, groups, groups[total])
        official = replace(scores, groups={**groups, **self.published_figures(predictions)})
        answered = sum(one.response is not None for one in predictions)
        marks = tuple(mark for one in predictions for mark in _answered(one, self.tolerance))
        return ScoreSheet(
            task=self.name,
            format=format,
            n=len(predictions),
            answered=answered,
            coverage=answered / len(predictions),
            source=official,
            strict=scores,
            correct=marks,
            averaging=Averaging(self._averages(total)),
            facts=self._facts(found, predictions, ways, total),
            intervals=self._intervals(found, total) if self.headline == "f1" else None,
        )

    def published_figures(self, predictions: Sequence[Prediction]) -> dict[str, float | None]:
        """Return what the benchmark's own script prints beside what is counted here, percent, by name."""
        return {}

    def _averages(self, total: str) -> tuple[Average, ...]:
        """Return which scores are means over windows; a recall is one where every record has one window."""
        whole = Average("windows_answered", "micro", self.tasks)
        if self.headline == "f1":
            return (whole,)
        own = (Average(f"{task}_recall", "micro", (task,)) for task in self.tasks)
        return (whole, Average(total, "macro", self.tasks), *own)

    def _intervals(self, found: TimingScore, total: str) -> dict[str, tuple[float, float]]:
        percent = {name: (100 * low, 100 * high) for name, (low, high) in found.intervals.items()}
        whole = {total: percent["total"]} if "total" in percent else {}
        return {
            **percent,
            **whole,
            **{f"{task}_f1": bounds for task, bounds in percent.items() if task != "total"},
        }

    def _facts(
        self, found: TimingScore, predictions: Sequence[Prediction], ways: Sequence[str], total: str
    ) -> dict[str, Any]:
        counts = {}
        for task, sums in found.counts.items():
            rows = [one for one in predictions if one.task == task]
            spoke = sum(one.response is not None for one in rows)
            counts[task] = {"n": len(rows), "answered": spoke, "correct": sums.hits}
        worth = [utility(_said(one), _windows(one)) for one in predictions]
        known = [value for value in worth if value is not None]
        return {
            "total_is": total,
            "source_rule": self.source,
            "speaking": ways[0] if ways else "",
            "tolerance": self.tolerance,
            "counts": counts,
            "source_counts": counts,
            "utility": _mean(known) if known else None,
            "timing": {
                task: {
                    "golds": sums.golds,
                    "utterances": sums.utterances,
                    "hits": sums.hits,
                    "misses": sums.misses,
                    "early": sums.early,
                    "late": sums.late,
                    "false_alarms": sums.false_alarms,
                    "false_alarms_per_hour": sums.false_alarms_per_hour,
                }
                for task, sums in found.counts.items()
            },
        }

    def metrics(self, sheet: ScoreSheet) -> list[Metric]:
        """Turn a score sheet into the rows of ``metrics.json``, counts of timing among them."""
        rows = sheet_metrics(sheet)
        for task, counts in sheet.facts["timing"].items():
            for name, value in counts.items():
                unit = "1/h" if name.endswith("per_hour") else "count"
                rows.append(Metric(name=name, value=float(value), unit=unit, group=f"timing {task}"))
        rows.append(Metric(name="utility", value=sheet.facts["utility"], unit="share", group="timing"))
        return rows


def _of_a_day(found: TimedData) -> TimedData:
    """Leave out questions whose stream would last longer than a day: their times are no times of a video."""
    kept, problems = [], list(found.problems)
    for one in found.questions:
        last = max([one.end or 0.0, *(window.end for window in one.windows)])
        if last - one.start > _DAY:
            message = f"asks to watch until {last:g} s; left out"
            problems.append(Problem("bad-row", message, field="time", item=one.id))
        else:
            kept.append(one)
    return replace(found, questions=tuple(kept), problems=tuple(problems))


def _windows(one: Prediction) -> list[Window]:
    return [Window(start, end) for start, end in json.loads(one.gold)]


def _said(one: Prediction) -> list[Utterance]:
    return [Utterance(at) for at in json.loads(one.response or "[]")]


def _record(one: Prediction, tolerance: float) -> TimedRecord:
    seconds = float(one.tags["seconds"])
    counts = timing_counts(_said(one), _windows(one), tolerance=tolerance, seconds=seconds)
    return TimedRecord(one.id, one.task, one.cluster, counts)


def _answered(one: Prediction, tolerance: float) -> list[tuple[str, str, str, bool]]:
    """Return each window of a stream, whether it was answered."""
    windows = sorted(_windows(one))
    missed = list(match(_said(one), windows, tolerance).missed)
    marks = []
    for number, window in enumerate(windows):
        lost = window in missed
        if lost:
            missed.remove(window)
        marks.append((f"{one.id}/{number}", one.cluster, one.task, not lost))
    return marks


def _mean(values: Iterable[float]) -> float:
    rows = list(values)
    return sum(rows) / len(rows)


def _take_times(row: FileRow) -> tuple[Prediction, list[Problem]]:
    id_, times = row.content.get("id"), row.content.get("times")
    id_ = str(id_) if isinstance(id_, int) and not isinstance(id_, bool) else id_
    if not isinstance(id_, str) or not id_:
        raise RowError("id", f"{id_!r:.40} is no id")
    if not isinstance(times, list) or any(real_number(time) is None for time in times):
        raise RowError("times", "must be a list of media seconds", id_)
    return Prediction(id_, "", json.dumps(sorted(float(time) for time in times)), "", "open"), []
