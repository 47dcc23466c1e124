"""How long statistics of the largest runs take; limits are generous because test machines are shared."""

import time

import numpy as np

from evalkit.stats import CompareOptions, compare_all, macro_average, mean_by_cluster


def test_a_hundred_thousand_answers_in_five_thousand_videos_take_under_four_seconds():
    rng = np.random.default_rng(0)
    videos = [f"video-{number}" for number in rng.integers(0, 5000, 100_000)]
    tasks = [f"task-{number}" for number in rng.integers(0, 12, 100_000)]
    scores = (rng.random(100_000) < 0.6).astype(float)
    started = time.perf_counter()
    mean = mean_by_cluster(scores, videos)
    macro = macro_average(scores, tasks, videos, draws=2000)
    elapsed = time.perf_counter() - started
    assert mean.clusters == macro.clusters == 5000
    assert elapsed < 4


def test_ten_runs_of_ten_thousand_answers_compare_in_under_ten_seconds():
    rng = np.random.default_rng(0)
    videos = [f"video-{number}" for number in rng.integers(0, 5000, 10_000)]
    runs = {f"run-{k}": (rng.random(10_000) < 0.6).astype(float) for k in range(10)}
    started = time.perf_counter()
    table = compare_all(runs, videos, options=CompareOptions(margin=0.01))
    elapsed = time.perf_counter() - started
    assert len(table) == 45
    assert elapsed < 10
