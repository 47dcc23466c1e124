"""That statistics of large runs cost in proportion to their answers; `scripts/bench_scale.py` has the seconds."""

import numpy as np

from evalkit.stats import CompareOptions, compare_all, macro_average, mean_by_cluster
from tests.growth import LINEAR, growth


def test_means_grow_in_proportion_to_answers_and_videos():
    def averaged(count):
        rng = np.random.default_rng(0)
        videos = [f"video-{number}" for number in rng.integers(0, count // 20, count)]
        tasks = [f"task-{number}" for number in rng.integers(0, 12, count)]
        scores = (rng.random(count) < 0.6).astype(float)

        def average():
            mean = mean_by_cluster(scores, videos)
            assert mean.clusters == macro_average(scores, tasks, videos).clusters

        return average

    assert growth(averaged, 5000) < LINEAR


def test_comparing_four_runs_grows_in_proportion_to_the_answers():
    def compared(count):
        rng = np.random.default_rng(0)
        videos = [f"video-{number}" for number in rng.integers(0, count // 2, count)]
        runs = {f"run-{k}": (rng.random(count) < 0.6).astype(float) for k in range(4)}

        def compare():
            assert len(compare_all(runs, videos, options=CompareOptions(margin=0.01))) == 6

        return compare

    assert growth(compared, 200) < LINEAR
