"""Rank models by the verdicts of several judged runs, clustered by video.

Strengths by Bradley-Terry (Davidson's model where more than 10 % of the pairs are ties) and the win probability
against an anchor, with intervals by resampled videos. Each contest stands beside it with its plain win rate and,
where the runs of both sides are given, the win rate at equal length. Of several judges it says how far they agree.
With --human, the win rate humans would give, from all verdicts and a few labels: JSON lines with "pair", "winner"
(test, baseline or tie) and, where one window was judged in several contests, "model" and "baseline".
"""

from __future__ import annotations

__all__ = ["configure", "rank_tables", "run"]

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.cli.compare import points
from evalkit.cli.output import TABLE_FORMATS, emit_json, note, say_tables
from evalkit.errors import UsageError
from evalkit.shown import videos_of

if TYPE_CHECKING:
    from evalkit.judge import PanelAgreement
    from evalkit.ranking.rank import JudgeRanking, RankReport
    from evalkit.report.tables import Cell, Estimate, Span, Table
    from evalkit.stats import RankedModel, Ranking

# Where `evalkit.stats.ranking` holds a strength that has no bound.
_NO_BOUND = 12.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="judged runs, and runs they were held to"
    )
    parser.add_argument("--judge", metavar="NAME", help="whose verdicts count (default: each judge's by itself)")
    parser.add_argument("--anchor", metavar="MODEL", help="model of strength 0 (default: the usual baseline)")
    parser.add_argument("--human", type=Path, metavar="FILE", help="JSONL of human labels on judged pairs")
    parser.add_argument(
        "--margin",
        type=points,
        metavar="POINTS",
        help="also test that a model wins against the anchor in no fewer than 50 %% less this, all models at once",
    )
    parser.add_argument("--draws", type=int, default=2000, help="resamples of videos (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the resamples (default %(default)s)")
    parser.add_argument(
        "--allow-mismatch", action="store_true", help="rank what should not be compared, and mark the result"
    )
    parser.add_argument(
        "--format", choices=TABLE_FORMATS, default="text", help="of the tables (default %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(args: argparse.Namespace) -> int:
    """Rank the runs and print the tables.

    Raises:
        UsageError: No finite ranking exists, or a judge, an anchor or an option does not fit.
        DataError: A run or the labels cannot be used, or runs differ in more than the model under test.
    """
    if args.draws < 1 or args.seed < 0:
        raise UsageError("--draws is 1 or more, --seed 0 or more")
    from evalkit.ranking.rank import RankOptions, rank_runs
    from evalkit.report.runs import load_runs

    options = RankOptions(args.judge, args.anchor, args.human, args.allow_mismatch, args.draws, args.seed)
    report = rank_runs(load_runs(args.runs, ticks=False), options)
    if args.json:
        emit_json(report.to_json())
        return 0
    margin = None if args.margin is None else args.margin / 100
    say_tables(rank_tables(report, margin), args.format)
    for line in report.notes:
        note(f"note: {line}")
    return 0


def rank_tables(report: RankReport, margin: float | None = None) -> list[Table]:
    """Return strengths and contests of each judge, human win rates, and the agreement of the judges.

    Args:
        report: The ranking.
        margin: Of non-inferiority against the anchor, a share of pairs; None leaves the column out.
    """
    found: list[Table] = []
    for ranking in report.rankings:
        if ranking.ranking is not None:
            found.append(_strengths(report, ranking, ranking.ranking, margin))
        found.append(_contests(report, ranking))
        if any(contest.human for contest in ranking.contests):
            found.append(_humans(report, ranking))
    return found if report.agreement is None else [*found, _agreement(report, report.agreement)]


def _points(value: float | None, low: float | None, high: float | None) -> Estimate:
    from evalkit.report.tables import Estimate

    return Estimate(*(None if part is None else 100 * part for part in (value, low, high)))


def _mark(report: RankReport) -> str:
    return "; NOT comparable runs" if report.mismatches else ""


def _places(model: RankedModel) -> Span | None:
    """Return the places that the data leave open, such as 1-3."""
    from evalkit.report.tables import Span

    return None if model.place is None else Span(model.place.best, model.place.worst)


def _no_worse(model: RankedModel, margin: float) -> tuple[Cell, Cell]:
    """Return whether a model is no worse than the anchor, and the bound of its wins that says so, percent."""
    if model.win_bound is None:
        return None, None
    return "shown" if model.win_bound > 0.5 - margin else "not shown", 100 * model.win_bound


def _strengths(report: RankReport, ranking: JudgeRanking, found: Ranking, margin: float | None) -> Table:
    from evalkit.report.tables import Column, Estimate, Table

    chances = {one.model: one for one in found.probabilities if one.against == found.anchor}
    rows: list[tuple[Cell, ...]] = []
    for place, model in enumerate(found.models, start=1):
        chance = chances.get(model.name)
        rows.append(
            (
                place,
                _places(model),
                model.name,
                _points(chance.probability, chance.low, chance.high) if chance else Estimate(None),
                Estimate(model.strength, *((model.low, model.high) if chance else (None, None))),
                model.games,
                *(() if margin is None else _no_worse(model, margin)),
            )
        )
    # Of two models it is their win rate; of more it is fitted to all contests at once.
    wins = f"Wins against {found.anchor}" + (", fitted" if len(found.models) > 2 else "")
    method = "Bradley-Terry, a tie half a win" if found.method == "bradley-terry" else "Davidson, ties modelled"
    notes = [
        f"{method} ({100 * found.tie_rate:.1f} % ties); n = {found.games} pairs on {videos_of(found.clusters)}; "
        f"95 % intervals by resampled videos; strength in log odds, 0 for {found.anchor}.",
        "Places: those the data leave open, for all models at once (95 %)"
        + ("; so is the bound of no worse." if margin is not None else "."),
    ]
    if any(abs(end) >= _NO_BOUND for one in found.models for end in (one.low or 0.0, one.high or 0.0)):
        notes.append(f"An end of {_NO_BOUND:g} or -{_NO_BOUND:g} stands for a strength without bound.")
    return Table(
        caption=f"{report.task}: strengths, judged by {ranking.judge}{_mark(report)}",
        columns=(
            Column("Rank"),
            Column("Places", span=True),
            Column("Model", text=True),
            Column(wins, "%", 2, interval=True),
            Column("Strength", digits=3, interval=True),
            Column("Pairs"),
            *(
                []
                if margin is None
                else [Column(f"No worse by {100 * margin:g} points", text=True), Column("Bound", "%", 2)]
            ),
        ),
        rows=tuple(rows),
        notes=(*notes, *([f"{found.note}."] if found.note else [])),
        label=f"rank-{report.task}",
    )


def _contests(report: RankReport, ranking: JudgeRanking) -> Table:
    from evalkit.report.tables import Column, Estimate, Table

    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    for contest in ranking.contests:
        one, length = contest.figures, contest.length
        interval = one.interval
        rows.append(
            (
                contest.model,
                contest.baseline,
                _points(one.win_rate, *((interval.low, interval.high) if interval else (None, None))),
                _points(length.win_rate, length.low, length.high) if length else Estimate(None),
                length.words_effect if length else None,
                length.silence_effect if length else None,
                None if one.tie_rate is None else 100 * one.tie_rate,
                one.judged_pairs,
                one.clusters,
            )
        )
        name = f"{contest.model} against {contest.baseline}"
        known = [interval.note] if interval and interval.note else []
        notes += [f"{name}: {line}." for line in (*known, *contest.notes, *one.warnings)]
    return Table(
        caption=f"{report.task}: contests, judged by {ranking.judge}{_mark(report)}",
        columns=(
            Column("Model", text=True),
            Column("Against", text=True),
            Column("Win rate", "%", 2, interval=True),
            Column("At equal length", "%", 2, interval=True),
            Column("Effect of words", "log odds", 2),
            Column("Effect of silence", "log odds", 2),
            Column("Ties", "%", 1),
            Column("Pairs"),
            Column("Videos"),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
        label=f"contests-{report.task}",
    )


def _humans(report: RankReport, ranking: JudgeRanking) -> Table:
    from evalkit.report.tables import Column, Table

    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    for contest in ranking.contests:
        human = contest.human
        if human is None:
            continue
        one, rate = contest.figures, human.estimate
        kappa = human.agreement
        rows.append(
            (
                contest.model,
                contest.baseline,
                None if one.win_rate is None else 100 * one.win_rate,
                _points(rate.value, rate.low, rate.high),
                human.labels,
                rate.n,
                kappa.coefficient if kappa else None,
            )
        )
        unused = f"{human.unused} labels on pairs without a readable verdict left out" if human.unused else ""
        lines = [line for line in (rate.note, unused) if line]
        notes += [f"{contest.model} against {contest.baseline}: {line}." for line in lines]
    return Table(
        caption=f"{report.task}: win rate humans would give, with judge {ranking.judge}{_mark(report)}",
        columns=(
            Column("Model", text=True),
            Column("Against", text=True),
            Column("Judge alone", "%", 2),
            Column("Humans", "%", 2, interval=True),
            Column("Labels"),
            Column("Pairs"),
            Column("Kappa judge-human", digits=3),
        ),
        rows=tuple(rows),
        notes=(*notes, "Honest if the labelled pairs were drawn at random (prediction-powered inference)."),
        label=f"human-{report.task}",
    )


def _agreement(report: RankReport, panel: PanelAgreement) -> Table:
    from evalkit.report.tables import Column, Estimate, Table

    rows: list[tuple[Cell, ...]] = []
    for name, figures in (("Cohen's kappa", panel.kappa), ("Gwet's AC1", panel.ac1)):
        for two, found in figures.items():
            estimate = Estimate(found.coefficient, found.low, found.high)
            rows.append((" / ".join(two), name, estimate, 100 * found.observed, found.n, found.clusters))
    alpha = panel.alpha
    estimate = Estimate(alpha.coefficient, alpha.low, alpha.high)
    rows.append((" / ".join(panel.judges), "Krippendorff's alpha", estimate, None, alpha.n, alpha.clusters))
    every = [*panel.kappa.values(), *panel.ac1.values(), alpha]
    return Table(
        caption=f"{report.task}: agreement of the judges beyond chance{_mark(report)}",
        columns=(
            Column("Judges", text=True),
            Column("Figure", text=True),
            Column("Value", digits=3, interval=True),
            Column("Same verdict", "%", 1),
            Column("Verdicts"),
            Column("Videos"),
        ),
        rows=tuple(rows),
        notes=tuple(f"{text}." for text in dict.fromkeys(one.note for one in every if one.note)),
        label=f"agreement-{report.task}",
    )
