"""LiveSports-3K's events: rows of the CC file, checked, and the samples made of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evalkit.errors import DataError
from evalkit.records import NotJsonError, decode_json
from evalkit.stream import Narration, StreamSample
from evalkit.tasks import WINDOW_FRAMES, CheckReport, Problem, TaskData, TaskSettings
from evalkit.tasks.choice import find_files
from evalkit.tasks.choice.samples import ChoiceVideos
from evalkit.tasks.rows import check_rows, digest_files, inside, probe_videos, read_rows, video_problems
from evalkit.tasks.sniff import refuse_other

__all__ = ["Events", "LiveSportsCcSettings", "check_events", "load_events", "query_of", "read_events"]

NAME: Final = "livesports-cc"
_PLACES = ("LiveSports-3K-CC.json", "LiveSports_3K_CC/test-*.parquet", "*CC*.json")
_FOLDERS = ("videos", "video", "")
_PUBLISHED = (1702, 416)
_MOST_FRAMES = 480
"""``FPS_MAX_FRAMES`` of ``live_cc_once_for_evaluation``: events above 240 s are thinned."""

_EXPERT = (
    "You are an expert video commentator providing real-time, insightful, and engaging commentary on visual "
    "content.\n"
)


class LiveSportsCcSettings(TaskSettings):
    """How LiveSports-3K CC is put to a model; the defaults are those of LiveCC's evaluation."""

    protocol: Literal["streaming", "clip"] = Field(
        "streaming", description="streaming: a narration per second; clip: one text about the whole event at once"
    )
    fps: float = Field(2.0, gt=0, le=30, description="frames per second")
    previous_text: Literal["gold", "turn", "none"] = Field(
        "gold",
        description="commentary before the event: gold: within the query (LiveCC); turn: in the turn of previous "
        "text (StreamingVLM); none",
    )
    query: Literal["instruct", "base"] = Field("instruct", description="query of instructed or of base models")
    time_stamps: Literal["event", "file"] = Field(
        "event", description="what Time=a-bs counts from: the event's start (LiveCC) or the file's (StreamingVLM)"
    )


class EventRow(BaseModel):
    """One event of the CC file; JSON texts of transcripts are decoded."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    video_id: str = Field(min_length=1)
    event_id: int = Field(ge=0)
    begin: float = Field(ge=0)
    end: float = Field(gt=0)
    video: str = Field(min_length=1)
    sport: str = Field(default="", alias="class")
    event_title: str = ""
    event_asr: list[tuple[float, float, str]]
    event_asr_text: str = Field(min_length=1)
    preasr_text: str = ""

    @model_validator(mode="before")
    @classmethod
    def _fold(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        given = dict(row)
        if isinstance(given.get("event_asr"), str):
            try:
                given["event_asr"] = decode_json(given["event_asr"])
            except NotJsonError as error:
                raise ValueError(f"event_asr is not JSON ({error})") from error
        if isinstance(given.get("event_asr"), list):
            given["event_asr"] = [tuple(word) if isinstance(word, list) else word for word in given["event_asr"]]
        given.setdefault("event_title", given.get("video_title", ""))  # as it was called until May 2025
        return given

    @field_validator("video")
    @classmethod
    def _below(cls, value: str) -> str:
        return inside(value)

    @model_validator(mode="after")
    def _in_order(self) -> EventRow:
        if self.end <= self.begin:
            raise ValueError(f"the event ends at {self.end:g} s, it begins at {self.begin:g} s")
        return self

    @property
    def id(self) -> str:
        """Key of the event, as judge files have it."""
        return f"{self.video_id}_{self.event_id}"


@dataclass(frozen=True, slots=True)
class Events:
    """The CC file, read and checked: good events by key, what was wrong, and its digest."""

    file: Path
    total: int
    rows: dict[str, EventRow]
    problems: tuple[Problem, ...]
    revision: str


def read_events(data: Path) -> Events:
    """Read and check the events.

    Raises:
        DataError: There is no file of them, or it is another benchmark's.
    """
    files = find_files(data, _PLACES)
    if not files or data.is_file():
        refuse_other(data, NAME)
    if not files:
        raise DataError(
            f"{data} has no {_PLACES[0]}; download stdKonjac/LiveSports-3K from Hugging Face and unpack its "
            "videos to videos/",
            path=data,
        )
    raw = [row for file in files for row in read_rows(file)]
    good, problems = check_rows(raw, EventRow, files[0].name)
    rows: dict[str, EventRow] = {}
    for line, row in good:
        if row.id in rows:
            message = f"event {row.id} stands in the file already; this row is left out"
            problems.append(Problem("duplicate", message, files[0].name, line, "event_id", row.id))
            continue
        rows[row.id] = row
    videos = len({row.video_id for row in rows.values()})
    if len(raw) >= _PUBLISHED[0] / 10 and (len(raw), videos) != _PUBLISHED:
        message = f"{len(raw):,} events of {videos} videos; published are 1,702 of 416 (val and test together)"
        problems.append(Problem("other-version", message, files[0].name))
    return Events(files[0], len(raw), rows, tuple(problems), digest_files(files))


def query_of(row: EventRow, settings: LiveSportsCcSettings) -> str:
    """Return the query of LiveCC's ``distributed_generate_livecc.py`` (fdaa91e).

    StreamingVLM's leaves the commentary before the event out of it and gives it as previous text.
    """
    before = row.preasr_text if settings.previous_text == "gold" else ""
    if settings.query == "base":
        return f"{'' if before else row.event_title}\n{before}".strip()
    title = f'This is a video titled "{row.event_title}".\n' if row.event_title else ""
    said = f"Here is previous commentary of the video:\n\n{before}\n\n" if before else ""
    return f"{_EXPERT}{title}{said}Please continue to comment the video."


def load_events(data: Path, settings: LiveSportsCcSettings) -> TaskData:
    """Return one sample per event, in the file's order; its cluster is the video.

    Raises:
        DataError: There is no file of events, or no good row in it.
    """
    found = read_events(data)
    if not found.rows:
        raise DataError(f"{found.file} has no usable event: {found.problems[0]}", path=found.file)
    videos = ChoiceVideos(data, _FOLDERS)
    samples = tuple(_sample(row, videos.path(row.video), settings) for row in found.rows.values())
    files = dict.fromkeys(sample.video for sample in samples)
    missing = [Problem("missing-video", f"{path} is not there", path.name) for path in files if not path.is_file()]
    facts = {"events": len(samples), "refused": found.total - len(samples), "videos": len(files)}
    return TaskData(samples, found.revision, (*found.problems, *missing), facts)


def _sample(row: EventRow, video: Path, settings: LiveSportsCcSettings) -> StreamSample:
    at_once = {WINDOW_FRAMES: str(_MOST_FRAMES)} if settings.protocol == "clip" else {}
    return StreamSample(
        id=row.id,
        video=video,
        start=row.begin,
        end=row.end,
        fps=settings.fps,
        narration=Narration(
            instruction=query_of(row, settings),
            previous_text=row.preasr_text if settings.previous_text == "turn" else "",
            reference=tuple(sorted(row.event_asr)),
            time_origin=row.begin if settings.time_stamps == "event" else 0.0,
        ),
        cluster=row.video_id,
        tags={
            "task": "CC",
            "title": row.event_title,
            "sport": row.sport,
            "protocol": settings.protocol,
            **at_once,
        },
    )


def check_events(data: Path) -> CheckReport:
    """Look at every event and every video."""
    found = read_events(data)
    videos = ChoiceVideos(data, _FOLDERS)
    opened = probe_videos(videos.path(row.video) for row in found.rows.values())
    problems = [*found.problems, *video_problems(opened)]
    for row in found.rows.values():
        length = getattr(opened[videos.path(row.video)], "duration", None)
        if length is not None and row.end > length + 1.0:
            message = f"the event ends at {row.end:g} s, its video at {length:.1f} s"
            problems.append(Problem("after-end", message, item=row.id))
    counts = {"events": len(found.rows)}
    facts = {"file": found.file.name, "rows": found.total, "sports": len({r.sport for r in found.rows.values()})}
    return CheckReport(NAME, str(data), counts, len(opened), tuple(problems), facts)


def dump_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows as a caption or event file has them, one object a line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
