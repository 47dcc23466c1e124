"""The published LiveCC predictions score to the published figures."""

import json
import os
from pathlib import Path

import pytest

from evalkit_tasks.videomme import task

PUBLISHED = Path(
    os.environ.get("EVALKIT_PUBLISHED_DIR", Path(__file__).parents[2] / ".." / "shared" / "published")
)
FILE = PUBLISHED / "videomme" / "LiveCC-7B-Instruct_no_subtitles.json"

pytestmark = pytest.mark.skipif(not FILE.is_file(), reason=f"{FILE} is not there")


@pytest.mark.parametrize("format", ["livecc", "official"])
def test_livecc_scores_as_published_by_both_rules(format):
    predictions, problems = task.read_predictions(format, [FILE], None)
    sheet = task.score(predictions, format)
    assert problems == []
    assert sheet.problems == ()
    assert (sheet.n, sheet.answered, sheet.coverage) == (2700, 2700, 1.0)
    for scores in (sheet.source, sheet.strict):
        groups = {name: round(value, 1) for name, value in scores.groups.items() if value is not None}
        assert groups["videomme_short"] == 74.8
        assert groups["videomme_medium"] == 63.9
        assert groups["videomme_long"] == 53.7
        assert round(scores.total, 2) == 64.11
        assert round(scores.tasks["Counting Problem"], 1) == 46.3
        assert round(scores.tasks["Information Synopsis"], 1) == 79.9
        assert groups["videomme_domain_knowledge"] == 64.7
        assert groups["videomme_sub_category_stage_play"] == 77.8


def test_a_half_of_the_published_file_has_no_total_and_counts_what_is_missing(tmp_path):
    half = tmp_path / "half.json"
    half.write_text(json.dumps(json.loads(FILE.read_text())[:450]))
    predictions, problems = task.read_predictions("livecc", [half], None)
    sheet = task.score(predictions, "livecc")
    assert sheet.source.total is sheet.strict.total is None
    assert round(sheet.source.groups["videomme_short"], 1) == 74.8
    assert sheet.source.groups["videomme_medium"] is None
    assert 0 < sheet.strict.groups["videomme_medium"] < 40
    assert sheet.n == 1800
    assert [problem.kind for problem in problems] == ["missing"]
