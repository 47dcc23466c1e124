"""Grades on a rubric: strict reading of the judge's dict, and figures of hand-worked grades."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import DataError, UsageError
from evalkit.judge import Grades, Rubric, Scale, parse_grades, read_human_grades, summarise_grades
from evalkit.records import GradeRecord
from evalkit_tasks.mlvu.generation import RUBRICS

SCALES = (Scale("completeness", 1, 5), Scale("reliability", 1, 5, whole=False))
RUBRIC = Rubric("r", "", "{answer} {pred}", ("answer", "pred"), SCALES, "here")


@pytest.mark.parametrize(
    "reply",
    [
        "{'completeness': 4, 'reliability': 3.5, 'total_score': 7.5}",
        'First I look.\n```json\n{"completeness": 4, "reliability": "3.5"}\n```',
        "completeness: 1. {'completeness': 1, 'reliability': 1}\nNo:\n{'completeness': 4, 'reliability': 3.5,}",
        "{'completeness': 4, 'reliability': 3.5, 'total_score': 4 + 3.5}",
        "<think>{'completeness': 1, 'reliability': 1}</think>{completeness: 4, reliability: 3.5}",
    ],
)
def test_the_last_dict_with_every_scale_is_read(reply: str) -> None:
    assert parse_grades(reply, SCALES) == Grades({"completeness": 4.0, "reliability": 3.5})


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        ("completeness 4, reliability 3", "no-dict"),
        ("{'completeness': 4}", "missing-reliability"),
        ("{'completeness': 4, 'completeness': 5, 'reliability': 3}", "twice-completeness"),
        ("{'completeness': 4.5, 'reliability': 3}", "not-whole-completeness"),
        ("{'completeness': 6, 'reliability': 3}", "out-of-range-completeness"),
        ("{'completeness': 0, 'reliability': 3}", "out-of-range-completeness"),
        ("{'completeness': '4/5', 'reliability': 3}", "not-a-number-completeness"),
        ("{'completeness': score_comp, 'reliability': 3}", "not-a-number-completeness"),
        ("{'completeness': 4, 'reliability': 3} then {}", "missing-completeness"),
        ("<think>{'completeness': 4, 'reliability': 3}", "unclosed-think"),
        ("{'completeness': nan, 'reliability': 3}", "not-a-number-completeness"),
        ("{" * 5000, "no-dict"),
    ],
)
def test_anything_else_is_no_grade_and_says_why(reply: str, reason: str) -> None:
    assert getattr(parse_grades(reply, SCALES), "reason", None) == reason


@pytest.mark.parametrize("reply", ["3", " 3.\n", "**3**", "<think>1 or 2?</think>\n3", "{'score': 3}"])
def test_where_one_thing_is_graded_a_number_alone_is_its_grade(reply: str) -> None:
    assert parse_grades(reply, [Scale("score", 1, 3)]) == Grades({"score": 3.0})


@pytest.mark.parametrize(
    ("reply", "reason"),
    [("4", "out-of-range-score"), ("2.5", "not-whole-score"), ("3 of 3", "no-dict"), ("Score: 3", "no-dict")],
)
def test_a_number_among_words_or_out_of_range_is_no_grade(reply: str, reason: str) -> None:
    assert getattr(parse_grades(reply, [Scale("score", 1, 3)]), "reason", None) == reason
    assert getattr(parse_grades("3", SCALES), "reason", None) == "no-dict"


@given(st.text(max_size=300))
def test_whatever_a_judge_says_grades_are_in_their_range(reply: str) -> None:
    found = parse_grades(reply + "{'completeness': " + reply + ", 'reliability': 2}", SCALES)
    if isinstance(found, Grades):
        assert all(scale.low <= found.values[scale.name] <= scale.high for scale in SCALES)


def test_a_rubric_that_cannot_be_filled_is_refused() -> None:
    with pytest.raises(UsageError, match=r"lacks \{pred\}"):
        Rubric("r", "", "{answer}", ("answer", "pred"), SCALES, "here")
    with pytest.raises(UsageError, match="cannot be filled"):
        Rubric("r", "", "{answer} {other}", ("answer",), SCALES, "here")
    assert RUBRIC.digest != Rubric("r", "", "{answer} {pred}", ("answer", "pred"), SCALES[:1], "here").digest


SHEET = Path(os.environ.get("EVALKIT_PUBLISHED_DIR", Path(__file__).parents[2] / ".." / "shared" / "published"))


@pytest.mark.skipif(
    not (SHEET.parent / "reference" / "protocols-2.md").is_file(), reason="the protocol sheet is not there"
)
def test_mlvus_judge_texts_are_those_of_the_sheet_word_for_word() -> None:
    sheet = (SHEET.parent / "reference" / "protocols-2.md").read_text(encoding="utf-8")
    ssc, vs = re.findall(r"```\n(##TASK DESCRIPTION:.*?)\n```", sheet, flags=re.DOTALL)
    assert (RUBRICS["subPlot"].system, RUBRICS["summary"].system) == (ssc, vs)
    for name in RUBRICS:
        assert RUBRICS[name].template in sheet


def grade(
    item: str, task: str, values: tuple[float, float] | None, *, draw: int = 0, video: str = ""
) -> GradeRecord:
    given_ = {} if values is None else dict(zip(("completeness", "reliability"), values, strict=True))
    return GradeRecord(
        key=f"{item}/{draw}", item=item, task=task, cluster=video or item, draw=draw, rubric="r", grades=given_,
        invalid=None if values else "no-dict", judge="openai:m (r)", attempts=1, prompt_tokens=10,
    )  # fmt: skip


def test_totals_are_sums_of_scale_means_and_their_mean_over_sub_tasks() -> None:
    records = [
        grade("s1", "ssc", (4, 2)),
        grade("s2", "ssc", (2, 1)),
        grade("s3", "ssc", None),
        grade("v1", "vs", (5, 5)),
    ]
    found = summarise_grades(records, {"ssc": RUBRIC, "vs": RUBRIC})
    assert found.tasks["ssc"].scales["completeness"].mean == 3
    assert found.tasks["ssc"].total == pytest.approx(4.5)
    assert (found.tasks["ssc"].items, found.tasks["ssc"].invalid) == (3, 1)
    assert found.total == pytest.approx((4.5 + 10) / 2)
    assert found.invalid == {"no-dict": 1}
    assert found.usage.calls == 4
    json.dumps(found.to_json())
    assert summarise_grades(records[:3], {"ssc": RUBRIC, "vs": RUBRIC}).total is None


def test_draws_of_one_reply_are_averaged_first_and_their_spread_is_told() -> None:
    records = [
        grade("s1", "ssc", (4, 2)),
        grade("s1", "ssc", (2, 2), draw=1),
        grade("s2", "ssc", (5, 5)),
        grade("s2", "ssc", None, draw=1),
    ]
    found = summarise_grades(records, {"ssc": RUBRIC})
    assert found.tasks["ssc"].scales["completeness"].mean == pytest.approx(4.0)
    assert found.tasks["ssc"].scales["completeness"].spread == pytest.approx(2**0.5)
    assert (found.tasks["ssc"].invalid, found.draws) == (0, 2)


def test_the_interval_is_by_video() -> None:
    apart = [grade(f"s{n}", "ssc", (1 + n % 5, 3)) for n in range(30)]
    together = [grade(f"s{n}", "ssc", (1 + n % 5, 3), video=f"v{n % 5}") for n in range(30)]
    narrow = summarise_grades(apart, {"ssc": RUBRIC}).tasks["ssc"].scales["completeness"]
    wide = summarise_grades(together, {"ssc": RUBRIC}).tasks["ssc"].scales["completeness"]
    assert (wide.high or 0) - (wide.low or 0) > (narrow.high or 0) - (narrow.low or 0) > 0


def test_agreement_with_people_is_by_scale_and_odd_labels_are_named(tmp_path: Path) -> None:
    records = [grade(f"s{n}", "ssc", (1 + n % 5, 3)) for n in range(10)]
    path = tmp_path / "labels.jsonl"
    rows = [{"item": f"s{n}", "grades": {"completeness": 1 + n % 5}} for n in range(8)]
    rows[0]["grades"] = {"completeness": 3}
    path.write_text("\n".join(map(json.dumps, rows)))
    found = summarise_grades(records, {"ssc": RUBRIC}, human=read_human_grades(path)).human
    assert set(found) == {"completeness"}
    assert found["completeness"]["items"] == 8
    assert found["completeness"]["mean_difference"] == pytest.approx(-0.25)
    assert 0.5 < found["completeness"]["alpha"]["coefficient"] < 1
    for text, said in (('{"item": "a"}', ":1: grades"), ("not json", ":1: line"), ("", "no human grades")):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            read_human_grades(path)
    path.write_text("\n".join([json.dumps(rows[0])] * 2))
    with pytest.raises(DataError, match="has grades already"):
        read_human_grades(path)
