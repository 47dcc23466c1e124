"""Worse answers of the head never move a gate's verdict towards pass."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ovo_runs import ovo_run
from scipy import stats as distributions

from evalkit.leaderboard.gate import GateRule, run_gate
from evalkit.leaderboard.gate_rule import judge_score
from evalkit.records import read_run
from evalkit.stats import Composition

RANK = {"fail": 0, "cannot tell": 1, "pass": 2}
SCORES = st.sampled_from([0.0, 1.0, 1.0, 0.5])


@st.composite
def spoilt_heads(draw):
    """Return base, head, a head that is nowhere better, clusters, composition and margin."""
    n = draw(st.integers(4, 60))
    videos = draw(st.lists(st.integers(0, max(2, n // 3)), min_size=n, max_size=n))
    base, head = (draw(st.lists(SCORES, min_size=n, max_size=n)) for _ in range(2))
    where = draw(st.sets(st.integers(0, n - 1), min_size=1))
    worse = [draw(st.sampled_from([0.0, one / 2])) if i in where else one for i, one in enumerate(head)]
    parts = None
    if draw(st.booleans()):
        cut = draw(st.integers(1, n - 1))
        weight = draw(st.sampled_from([0.1, 0.5, 0.8]))
        parts = Composition.of({"a": range(cut), "b": range(cut, n)}, {"a": weight, "b": 1 - weight})
    return base, head, worse, videos, parts, draw(st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.4]))


@settings(max_examples=25)
@given(spoilt_heads(), st.sampled_from([0.05, 0.001]))
def test_a_worse_head_never_gets_a_better_verdict(case, error):
    base, head, worse, videos, parts, margin = case
    before = judge_score(base, head, videos, margin, composition=parts, error=error)
    after = judge_score(base, worse, videos, margin, composition=parts, error=error)
    assert RANK[after.outcome] <= RANK[before.outcome]
    if before.low is not None and before.high is not None and after.low is not None and after.high is not None:
        assert after.low <= before.low + 1e-9
        assert after.high <= before.high + 1e-9


@settings(max_examples=30)
@given(st.integers(2, 400), st.data())
def test_no_bound_is_tighter_than_the_exact_one_where_videos_are_lost_wholly_or_not_at_all(videos, data):
    broken = data.draw(st.integers(0, videos))
    head = [0.0] * broken + [1.0] * (videos - broken)
    check = judge_score([1.0] * videos, head, list(range(videos)), 0.01)
    exact = 1.0 if broken == videos else distributions.beta.ppf(0.95, broken + 1, videos - broken)
    assert check.low is not None
    assert -check.low >= exact - 1e-9


@pytest.fixture(scope="module")
def base_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ovo_run(tmp_path_factory.mktemp("base") / "run", lambda _, number: number % 4 > 0)


def spoil(base: Path, target: Path, rng: np.random.Generator, share: float) -> Path:
    """Copy a run; a share of its answers turns wrong, unreadable or failed."""
    shutil.copytree(base, target)
    path = target / "answers.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    changes = (
        {"text": "B", "parsed": "B"},
        {"text": "?", "parsed": None, "rule": None, "unparsed": "no letter"},
        {"text": "", "parsed": None, "rule": None, "status": "failed", "error": "the video broke"},
    )
    for row in rows:
        if rng.random() < share:
            row.update(changes[rng.integers(3)])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return target


def test_spoiling_a_run_step_by_step_never_betters_its_verdict(base_run, tmp_path):
    """From equal to broken: pass, cannot tell, fail, and never back, by the headline of a whole benchmark."""
    rng = np.random.default_rng(0)
    rule = GateRule(max_drop=0.1)
    head, ranks, lows = base_run, [], []
    for step in range(8):
        result = run_gate([read_run(base_run)], [read_run(head)], rule)
        ranks.append(RANK[result.outcome])
        lows.append(result.checks[0].low)
        head = spoil(head, tmp_path / str(step), rng, 0.06)
    assert ranks == sorted(ranks, reverse=True)
    assert (ranks[0], ranks[-1]) == (2, 0)
    assert lows == sorted(lows, reverse=True)
