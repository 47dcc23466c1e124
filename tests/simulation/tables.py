"""Simulated tables of coverage, false alarms and power; ``python tests/simulation/tables.py NAME`` prints one.

Scores are right or wrong. A video's chance of a right answer is drawn from a beta distribution around the true
score, so that two answers on one video correlate by the intraclass correlation (ICC).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from scipy import stats as distributions

from evalkit.stats import Clusters, Composition, headline_estimate, sign_flip_p
from evalkit.stats.one import too_uneven
from evalkit.stats.power import minimal_detectable_effect, videos_needed, videos_to_decide
from evalkit.stats.robust import ClusteredStatistic, clustered_statistic
from evalkit.stats.series import trend
from evalkit.stats.two import exact_bounds

SHARES = (0.02, 0.10, 0.50, 0.95)
CORRELATIONS = (0.1, 0.3, 0.5)
KINDS = (
    ("equal", 20),
    ("equal", 50),
    ("equal", 200),
    ("skewed", 20),
    ("skewed", 50),
    ("skewed", 200),
    ("giant", 41),
)
SMALL = (("equal", 20), ("skewed", 50), ("giant", 41))


@cache
def sizes(kind: str, videos: int) -> tuple[int, ...]:
    """Return questions per video: 14 each; 1 to 70, most below 10; or one of 1,000 beside 40 of 5."""
    if kind == "equal":
        return (14,) * videos
    if kind == "giant":
        return (1000, *(5,) * 40)
    spread = np.exp(1.2 * distributions.norm.ppf((np.arange(videos) + 0.5) / videos) + np.log(6))
    return tuple(np.clip(np.round(spread), 1, 70).astype(int).tolist())


@cache
def clusters(kind: str, videos: int) -> Clusters:
    counts = sizes(kind, videos)
    return Clusters.of(np.repeat(np.arange(len(counts)), counts), sum(counts))


def chances(rng: np.random.Generator, share: float, icc: float, count: int | tuple[int, int]) -> np.ndarray:
    concentration = 1 / icc - 1
    return rng.beta(share * concentration, (1 - share) * concentration, count)


def answers(rng: np.random.Generator, share: float, icc: float, videos: Clusters) -> np.ndarray:
    return (rng.random(videos.codes.size) < chances(rng, share, icc, videos.count)[videos.codes]).astype(float)


def old_interval(scores: np.ndarray, videos: Clusters) -> tuple[float, float]:
    """Return what was printed before: CR1 and t(C - 1), Wilson on the effective n below 10 effective answers."""
    n, count, mean = scores.size, videos.count, float(scores.mean())
    sums = videos.sums(scores - mean) / n
    se = float(np.sqrt(count / (count - 1) * sums @ sums))
    tail = float(distributions.t.ppf(0.975, count - 1))
    critical = tail if count < 40 else 1.96
    effective = float(count) if se == 0 else min(float(n), n * (mean * (1 - mean) / (n - 1)) / se**2)
    if se > 0 and effective * min(mean, 1 - mean) >= 10:
        return mean - tail * se, mean + tail * se
    square = critical**2
    centre = (mean + square / (2 * effective)) / (1 + square / effective)
    half = (
        critical / (1 + square / effective) * np.sqrt(mean * (1 - mean) / effective + square / (4 * effective**2))
    )
    return centre - half, centre + half


def coverage(kind: str, videos: int, share: float, icc: float, replicates: int) -> dict[str, float]:
    """Return how often intervals hold the true score, and how often they carry a note or are withheld."""
    by_video = clusters(kind, videos)
    counts = np.array(sizes(kind, videos))
    rng = np.random.default_rng([videos, int(100 * share), int(100 * icc)])
    concentration = 1 / icc - 1
    every = rng.beta(share * concentration, (1 - share) * concentration, (replicates, counts.size))
    right = rng.binomial(counts, every)
    before = held = given = noted = 0
    seen: dict[bytes, tuple[float | None, float | None, str]] = {}
    for row in right:
        # The first so many answers of each video are right.
        place = np.arange(by_video.codes.size) - np.repeat(np.cumsum(counts) - counts, counts)
        scores = (place < row[by_video.codes]).astype(float)
        low, high = old_interval(scores, by_video)
        before += low <= share <= high
        key = (np.sort(row) if kind == "equal" else row).tobytes()
        if key not in seen:
            found = headline_estimate(scores, by_video)
            seen[key] = found.low, found.high, found.note
        low_, high_, note = seen[key]
        noted += bool(note)
        if low_ is not None and high_ is not None:
            given += 1
            held += low_ <= share <= high_
    return {
        "before": 100 * before / replicates,
        "now": 100 * held / given if given else float("nan"),
        "noted": 100 * noted / replicates,
        "withheld": 100 * (1 - given / replicates),
    }


def false_alarms(kind: str, videos: int, share: float, icc: float, replicates: int) -> dict[str, float]:
    """Return how often two equally good models are told apart at 5 %: before, by permutation, by t."""
    by_video = clusters(kind, videos)
    rng = np.random.default_rng([2, videos, round(1000 * share), round(100 * icc)])
    counts = np.array(sizes(kind, videos))
    start = np.cumsum(counts) - counts
    right = [
        rng.random((replicates, by_video.codes.size))
        < chances(rng, share, icc, (replicates, by_video.count))[:, by_video.codes]
        for _ in range(2)
    ]
    d = right[0].astype(float) - right[1]
    shifts = np.add.reduceat(d, start, axis=1) / d.shape[1]
    values = shifts.sum(axis=1)
    residuals = shifts - values[:, None] * counts / counts.sum()
    errors = np.sqrt(by_video.count / (by_video.count - 1) * np.sum(residuals**2, axis=1))
    ratios = np.divide(np.abs(values), errors, out=np.zeros_like(values), where=errors > 0)
    old = int(np.sum(2 * distributions.t.sf(ratios, by_video.count - 1) < 0.05))
    found = [clustered_statistic(row, by_video) for row in d[: max(1, replicates // 2)]]
    told = [not too_uneven(one) and not one.without_spread and _t_p(one) < 0.05 for one in found]
    flips = sign_flip_p(shifts.T, draws=1000)
    return {
        "before": 100 * old / replicates,
        "permutation": 100 * float(np.mean(flips < 0.05)),
        "t": 100 * float(np.mean(told)),
        "t withheld": 100 * float(np.mean([bool(too_uneven(one)) for one in found])),
    }


def macro_coverage(fewest: int, icc: float, replicates: int) -> dict[str, float]:
    """Return the coverage of a mean of six tasks of which one lies on few of 60 videos."""
    rng = np.random.default_rng([3, fewest, round(100 * icc)])
    videos = Clusters.of(np.repeat(np.arange(60), 10), 600)
    tasks = np.tile([0, 1, 2, 3, 4, 0, 1, 2, 3, 4], 60)
    tasks[(videos.codes < fewest) & (np.tile(np.arange(10), 60) == 9)] = 5
    made = Composition.of_groups(tasks.tolist())
    held = given = 0
    for _ in range(replicates):
        found = headline_estimate(answers(rng, 0.6, icc, videos), videos, composition=made)
        if found.low is not None and found.high is not None:
            given += 1
            held += found.low <= 0.6 <= found.high
    return {"now": 100 * held / given if given else float("nan"), "withheld": 100 * (1 - given / replicates)}


def passes_at_the_margin(kind: str, videos: int, margin: float, replicates: int) -> dict[str, float]:
    """Return how often a loss of just the margin, whole videos broken at random, is declared to be smaller."""
    by_video = clusters(kind, videos)
    rng = np.random.default_rng([4, videos, round(1000 * margin)])
    old = passed = 0
    tail = float(distributions.t.ppf(0.95, by_video.count - 1))
    seen: dict[bytes, bool] = {}
    for _ in range(replicates):
        broken = rng.random(by_video.count) < margin
        d = -broken[by_video.codes].astype(float)
        sums = by_video.sums(d - d.mean()) / d.size
        se = float(np.sqrt(by_video.count / (by_video.count - 1) * sums @ sums))
        old += se > 0 and float(d.mean()) - tail * se > -margin
        key = (np.sort(broken) if kind == "equal" else broken).tobytes()
        if key not in seen:
            seen[key] = exact_bounds(d, by_video).low > -margin
        passed += seen[key]
    return {"before": 100 * old / replicates, "now": 100 * passed / replicates}


def power_at_the_mde(videos: int, replicates: int) -> dict[str, float]:
    """Return how often the t test finds a true difference as large as the MDE said before, and says now."""
    rng = np.random.default_rng([5, videos])
    # Video means of differences with a standard error of exactly one.
    noise = rng.normal(0, np.sqrt(videos), (replicates, videos))
    critical = float(distributions.t.ppf(0.975, videos - 1))

    def found(effect: float) -> float:
        d = noise + effect
        t = d.mean(axis=1) / (d.std(axis=1, ddof=1) / np.sqrt(videos))
        return 100 * float(np.mean(np.abs(t) > critical))

    now = minimal_detectable_effect(1.0, videos - 1)
    return {"before": found(2.8016), "now": found(now), "mde": now}


def power_of_the_plan(effect: float, replicates: int) -> dict[str, float]:
    """Return the power at the number of videos that `videos_needed` answers to a large pilot."""
    rng = np.random.default_rng([6, round(1000 * effect)])
    pilot = Clusters.of(np.repeat(np.arange(2000), 5), 10_000)

    def differences(videos: Clusters, shift: float) -> np.ndarray:
        shared = rng.normal(0, 0.2, videos.count)[videos.codes]
        return shift + shared + rng.normal(0, 0.4, videos.codes.size)

    needed = videos_needed(differences(pilot, 0.0), pilot, effect).videos
    videos = Clusters.of(np.repeat(np.arange(needed), 5), 5 * needed)
    hits = 0
    for _ in range(replicates):
        found = clustered_statistic(differences(videos, effect), videos)
        hits += _t_p(found) < 0.05
    return {"videos": needed, "power": 100 * hits / replicates}


def _t_p(found: ClusteredStatistic) -> float:
    return 2 * float(distributions.t.sf(abs(found.value) / (found.se or 1.0), found.freedom))


def power_of_the_gate(loss: float, margin: float, replicates: int) -> dict[str, float]:
    """Return how often the exact bound decides at the number of videos that `videos_to_decide` answers."""
    rng = np.random.default_rng([7, round(1000 * loss)])

    def differences(videos: int) -> np.ndarray:
        odds = [(0.1 + loss) / 2, 0.9, (0.1 - loss) / 2]
        return rng.choice([-1.0, 0.0, 1.0], 5 * videos, p=odds)

    pilot = differences(4000)
    pilot -= pilot.mean() + loss
    needed = videos_to_decide(np.clip(pilot, -1, 1), np.repeat(np.arange(4000), 5), margin) or 0
    hits = 0
    for _ in range(replicates):
        hits += exact_bounds(differences(needed), np.repeat(np.arange(needed), 5)).low > -margin
    return {"videos": needed, "decided": 100 * hits / replicates}


def growth(correlation: float, length: int, replicates: int) -> dict[str, float]:
    """Return how often the interval of a trend and the plain one of a straight line hold it, neighbours alike."""
    rng = np.random.default_rng([8, length, round(100 * correlation)])
    noise = rng.normal(size=(replicates, length))
    noise[:, 0] /= np.sqrt(1 - correlation**2)
    for place in range(1, length):
        noise[:, place] += correlation * noise[:, place - 1]
    times = np.arange(length) - (length - 1) / 2
    slopes = noise @ times / (times @ times)
    residuals = noise - noise.mean(axis=1, keepdims=True) - slopes[:, None] * times
    errors = np.sqrt(np.sum(residuals**2, axis=1) / (length - 2) / (times @ times))
    plain = np.abs(slopes) <= distributions.t.ppf(0.975, length - 2) * errors
    found = [trend(row, times) for row in noise]
    held = [one.low <= 0 <= one.high for one in found if one.low is not None and one.high is not None]
    return {"straight line": 100 * float(np.mean(plain)), "now": 100 * float(np.mean(held)) if held else np.nan}


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1f}"


def _grid(
    title: str,
    one: Callable[[str, int, float, float, int], dict[str, float]],
    columns: tuple[str, ...],
    count: int,
) -> Iterator[str]:
    yield f"{title} ({count} samples a row; lowest to highest over ICC 0.1, 0.3, 0.5)"
    yield ""
    yield "| videos | score | " + " | ".join(columns) + " |"
    yield "|---|---|" + "---|" * len(columns)
    for kind, videos in KINDS:
        for share in SHARES:
            rows = [one(kind, videos, share, icc, count) for icc in CORRELATIONS]
            spans = [sorted(row[column] for row in rows) for column in columns]
            cells = [
                _number(span[0])
                if span[0] == span[-1] or np.isnan(span[0])
                else f"{span[0]:.1f} to {span[-1]:.1f}"
                for span in spans
            ]
            yield f"| {videos} {kind} | {100 * share:g} % | " + " | ".join(cells) + " |"


def _list(title: str, rows: list[tuple[str, dict[str, float]]]) -> Iterator[str]:
    yield title
    yield ""
    yield "| setting | " + " | ".join(rows[0][1]) + " |"
    yield "|---|" + "---|" * len(rows[0][1])
    for name, row in rows:
        yield f"| {name} | " + " | ".join(_number(value) for value in row.values()) + " |"


def _table(name: str, count: int) -> Iterator[str]:
    if name == "coverage":
        return _grid("95 % intervals", coverage, ("before", "now", "noted", "withheld"), count)
    if name == "alarms":
        columns = ("before", "permutation", "t", "t withheld")
        return _grid("Equal models told apart at 5 %", false_alarms, columns, count)
    if name == "macro":
        rows = [
            (f"a task on {few} of 60, ICC {icc}", macro_coverage(few, icc, count))
            for few in (1, 2, 3, 5, 9, 10, 20)
            for icc in (0.1, 0.3)
        ]
        return _list(f"Macro averages ({count} samples)", rows)
    if name == "margin":
        rows = [
            (f"{videos} {kind}, {100 * margin:g} points", passes_at_the_margin(kind, videos, margin, count))
            for kind, videos in KINDS
            for margin in (0.02, 0.1)
        ]
        return _list(f"Whole videos broken, true loss equal to the margin: passes in % ({count} samples)", rows)
    if name == "growth":
        rows = [
            (f"{length} minutes, neighbours {rho:g}", growth(rho, length, count))
            for length in (30, 45, 60)
            for rho in (0.0, 0.5, 0.7)
        ]
        return _list(f"Trends: 95 % intervals that hold them, in % ({count} samples)", rows)
    rows = [(f"{videos} videos", power_at_the_mde(videos, 50 * count)) for videos in (3, 5, 10, 20, 50)]
    return _list(f"Power in % at the minimal detectable effect ({50 * count} samples)", rows)


def main() -> None:
    """Print one table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=("coverage", "alarms", "macro", "margin", "power", "growth"))
    parser.add_argument("--samples", type=int, default=1000, help="simulated samples a setting (default 1000)")
    args = parser.parse_args()
    for line in _table(args.name, args.samples):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
