"""WebVTT captions, read back by a strict small parser."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from evalkit.records import AnswerRecord
from evalkit.report.captions import caption_name, webvtt, write_captions
from evalkit.shown import shown_on_one_line

TIMING = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})")


def said(start: float, text: str, **changes: object) -> AnswerRecord:
    fields: dict[str, object] = {
        "sample": "game", "query": f"{start:g}", "kind": "narration", "at": start + 1, "start": start,
        "end": start + 1, "text": text, "cluster": "game.mp4",
    }  # fmt: skip
    return AnswerRecord.model_validate(fields | changes)


def parse(text: str) -> list[tuple[float, float, str]]:
    """Read a WebVTT file as the specification has it; raises AssertionError on any fault."""
    header, *blocks = text.removesuffix("\n").split("\n\n")
    assert header == "WEBVTT" or (not blocks and header == "WEBVTT")
    cues = []
    for block in blocks:
        timing, *payload = block.split("\n")
        match = TIMING.fullmatch(timing)
        assert match, timing
        numbers = [int(group) for group in match.groups()]
        start, end = (h * 3600 + m * 60 + s + ms / 1000 for h, m, s, ms in (numbers[:4], numbers[4:]))
        assert start < end
        assert len(payload) == 1
        assert payload[0]
        assert not re.search(r"[<>]|-->|&(?!(amp|lt|gt);)", payload[0])
        cues.append((start, end, html.unescape(payload[0])))
    assert [cue[0] for cue in cues] == sorted(cue[0] for cue in cues)
    return cues


def test_each_spoken_second_is_a_cue_without_its_ending() -> None:
    cues = parse(webvtt([said(1000, " They attack ..."), said(3661.5, "Goal! ...")]))
    assert cues == [(1000.0, 1001.0, "They attack"), (3661.5, 3662.5, "Goal!")]


def test_times_past_an_hour_are_written_in_hours() -> None:
    assert "02:00:01.250 --> 02:00:02.250" in webvtt([said(7201.25, "late")])


@pytest.mark.parametrize("text", ["", " ...", "...", "  ", ". . .", "\n", "…"])
def test_silent_seconds_are_no_cues(text: str) -> None:
    assert parse(webvtt([said(1, text)])) == []


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", "a --> b", "R&B &lt;", "one\n\ntwo\r\nNOTE three", "a\u2028b\x00c", "x\ud800y"],
)
def test_no_text_can_end_a_cue_or_mark_one_up(text: str) -> None:
    cues = parse(webvtt([said(1, text), said(2, "next")]))
    assert len(cues) == 2
    assert cues[1][2] == "next"
    assert cues[0][2] == shown_on_one_line(text)


def test_failed_seconds_and_answers_to_questions_are_no_cues() -> None:
    records = [said(1, "x", status="failed", error="boom"), said(2, "B", kind="choice"), said(3, "y")]
    assert [cue[2] for cue in parse(webvtt(records))] == ["y"]


def test_chunks_of_a_video_come_together_in_order(tmp_path: Path) -> None:
    records = [
        said(110, "later", sample="game@110-120"),
        said(10, "sooner", sample="game@10-20"),
        said(5, "elsewhere", sample="other", cluster="sports/other.mp4"),
    ]
    files = write_captions(tmp_path / "captions", records)
    assert [file.name for file in files] == ["game.vtt", "other.vtt"]
    assert [cue[2] for cue in parse(files[0].read_text())] == ["sooner", "later"]


def test_videos_whose_names_fall_together_keep_files_of_their_own(tmp_path: Path) -> None:
    files = write_captions(tmp_path, [said(1, "a", cluster="x/a.mp4"), said(1, "b", cluster="y/a.mkv")])
    assert [file.name for file in files] == ["a-2.vtt", "a.vtt"]
    assert {cue[2] for file in files for cue in parse(file.read_text())} == {"a", "b"}


@pytest.mark.parametrize(
    ("video", "name"),
    [("game.mp4", "game.vtt"), ("../../etc/passwd", "passwd.vtt"), ("a b&c.mp4", "a_b_c.vtt"), ("..", "video.vtt"),
     ("a\\b.mp4", "b.vtt")],
)  # fmt: skip
def test_a_caption_file_cannot_leave_its_folder(video: str, name: str) -> None:
    assert caption_name(video) == name


def test_a_run_without_narration_writes_no_captions(tmp_path: Path) -> None:
    assert write_captions(tmp_path / "captions", [said(1, "A", kind="choice")]) == []
    assert not (tmp_path / "captions").exists()
