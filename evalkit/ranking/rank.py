"""From the verdicts of several runs to strengths, length control, agreement of judges and human win rates.

`evalkit.stats` computes; this module reads records into what it takes. `evalkit.cli.rank` prints.
"""

from __future__ import annotations

__all__ = ["ContestFigures", "JudgeRanking", "RankOptions", "RankReport", "rank_runs"]

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import DataError, UsageError, suggest
from evalkit.judge import PanelAgreement, agreement_of_judges
from evalkit.leaderboard.answers import require_finished, require_verdicts
from evalkit.leaderboard.fingerprint import Mismatch, comparable, describe_mismatches
from evalkit.ranking.human_labels import HumanWinRate, LabelsByContest, assign_labels, human_win_rate, read_labels
from evalkit.records import VerdictRecord
from evalkit.report.runs import Run
from evalkit.report.speech import SpeechOfRun
from evalkit.report.verdicts import Contest, JudgedPair, contests
from evalkit.stats.bootstrap import BOOTSTRAP_DRAWS

if TYPE_CHECKING:
    from evalkit.stats import LengthControlledWinRate, PairwiseSummary, Ranking

_SCORES = {"test": 1.0, "tie": 0.5, "baseline": 0.0}


@dataclass(frozen=True, slots=True)
class RankOptions:
    """How runs are ranked.

    Args:
        judge: Whose verdicts count; every judge's, each by itself, where not given.
        anchor: The model whose strength is 0; the most frequent baseline where not given.
        human: JSONL file of human labels.
        allow_mismatch: Rank runs that are unfinished or differ in more than the model under test, and mark it.
        draws: Resamples of the intervals.
        seed: Of the resamples.
    """

    judge: str | None = None
    anchor: str | None = None
    human: Path | None = None
    allow_mismatch: bool = False
    draws: int = BOOTSTRAP_DRAWS
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ContestFigures:
    """One model against one baseline, as one judge saw them.

    Args:
        model: The model under test.
        baseline: The model it is held against.
        figures: Win rate and its interval, ties, consistency.
        length: The win rate at equal length; None where a side's run is not at hand.
        human: The win rate humans would give; None without labels on this contest.
        notes: What was left out, in words.
    """

    model: str
    baseline: str
    figures: PairwiseSummary
    length: LengthControlledWinRate | None
    human: HumanWinRate | None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data; shares lie between 0 and 1."""
        one = self.figures
        known = one.interval is not None and one.interval.low is not None
        return {
            "model": self.model,
            "baseline": self.baseline,
            "pairs": one.pairs,
            "judged_pairs": one.judged_pairs,
            "clusters": one.clusters,
            "win_rate": one.win_rate,
            "interval": [one.interval.low, one.interval.high] if one.interval is not None and known else None,
            "decided_win_rate": one.decided_win_rate,
            "tie_rate": one.tie_rate,
            "consistency": one.consistency,
            "length_controlled": None if self.length is None else asdict(self.length),
            "human": None if self.human is None else self.human.to_json(),
            "notes": [*self.notes, *one.warnings],
        }


@dataclass(frozen=True, slots=True)
class JudgeRanking:
    """All contests as one judge saw them.

    Args:
        judge: The judge, named as no LLM where it is none.
        ranking: Strengths of all models; None where no pair has a readable verdict in both orders.
        contests: Each contest by itself.
    """

    judge: str
    ranking: Ranking | None
    contests: tuple[ContestFigures, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "judge": self.judge,
            **({} if self.ranking is None else asdict(self.ranking)),
            "contests": [contest.to_json() for contest in self.contests],
        }


@dataclass(frozen=True, slots=True)
class RankReport:
    """What ``evalkit rank`` says.

    Args:
        task: Benchmark.
        rankings: One per judge.
        agreement: How far the judges agree; None where there is one, or where they share no pair.
        mismatches: Fields that should have forbidden the ranking, where that was allowed.
        notes: What a reader must know, in words.
    """

    task: str
    rankings: tuple[JudgeRanking, ...]
    agreement: PanelAgreement | None
    mismatches: tuple[Mismatch, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the object of ``evalkit rank --json``; shares and probabilities lie between 0 and 1."""
        return {
            "task": self.task,
            "rankings": [ranking.to_json() for ranking in self.rankings],
            "agreement": None if self.agreement is None else self.agreement.to_json(),
            "mismatched": bool(self.mismatches),
            "mismatches": [asdict(one) for one in self.mismatches],
            "notes": list(self.notes),
        }


def rank_runs(runs: Sequence[Run], options: RankOptions) -> RankReport:
    """Rank all models that the runs' verdicts name.

    Args:
        runs: Judged runs of one task, and runs they were judged against (for length control).
        options: Judge, anchor, human labels, resamples.

    Raises:
        DataError: No verdicts, an unfinished run, runs that differ in more than the model under test, or a file
            of labels with lines that cannot be used.
        DisconnectedModels: Two groups of models never met.
        UnboundedStrength: A group of models never lost to the rest.
        UsageError: A judge or anchor that does not occur, or two runs that the verdicts do not tell apart.
    """
    mismatches = _check_runs(runs, options.allow_mismatch)
    notes = [line for run in runs for line in run.notices()]
    if mismatches:
        notes.append(f"NOT comparable, ranked on demand: {describe_mismatches(mismatches)}")
    seen = _all_contests(runs)
    if not seen:
        folders = ", ".join(str(run.records.folder.path) for run in runs)
        raise DataError(
            f"no verdicts in {folders}: judge a run first (evalkit judge RUN --against RUN --judge ...)"
        )
    judges = list(dict.fromkeys(contest.judge for contest in seen))
    if options.judge is not None and options.judge not in judges:
        known = ", ".join(judges)
        raise UsageError(
            f"no verdicts of judge {options.judge!r}{suggest(options.judge, judges)} (judges: {known})"
        )
    chosen = [contest for contest in seen if options.judge in (None, contest.judge)]
    labels = _labels(options.human, chosen)
    speech = {run.label: SpeechOfRun.of(run.records.answers) for run in runs}
    rankings = [
        _rank([contest for contest in chosen if contest.judge == judge], labels, speech, options)
        for judge in dict.fromkeys(contest.judge for contest in chosen)
    ]
    agreement, remark = _agreement(seen, judges, options)
    notes += [
        f"NOTICE: judge {one.judge}: no pair has a readable verdict in both orders, so there is no ranking"
        for one in rankings
        if one.ranking is None
    ]
    if any(one.ranking is not None and len(one.ranking.models) == 2 for one in rankings):
        notes.append("two models only: their win rate, which evalkit judge prints too, says all there is to say")
    return RankReport(
        task=runs[0].records.manifest.task,
        rankings=tuple(rankings),
        agreement=agreement,
        mismatches=mismatches,
        notes=tuple(dict.fromkeys([*notes, *([remark] if remark else [])])),
    )


def _check_runs(runs: Sequence[Run], allow: bool) -> tuple[Mismatch, ...]:
    """Return what should forbid to rank the runs together; raise unless that is allowed."""
    found: dict[str, Mismatch] = {}
    for run in runs:
        if not allow:
            require_finished(run.records)
            require_verdicts(run.records)
    for a, b in combinations(runs, 2):
        fields = comparable(a.records.manifest.fingerprint, b.records.manifest.fingerprint)
        if fields and not allow:
            raise DataError(
                f"{a.label} and {b.label} differ in more than the model under test: "
                f"{describe_mismatches(fields)}; --allow-mismatch ranks them all the same and marks it"
            )
        found.update({one.field: one for one in reversed(fields)})
    return tuple(found[name] for name in sorted(found))


def _all_contests(runs: Sequence[Run]) -> list[Contest]:
    """Return the contests of all runs, both sides named by the labels of the runs given."""
    found = [(run, contest) for run in runs for contest in contests(run.records.verdicts, run.label)]
    bearers: defaultdict[str, set[str]] = defaultdict(set)
    for _, contest in found:
        bearers[_bare_baseline(contest)].add(contest.baseline_id)
    shared = {name for name, ids in bearers.items() if len(ids) > 1}
    return [
        Contest(run.label, _baseline_label(run, contest, runs, shared), contest.judge, contest.pairs)
        for run, contest in found
    ]


def _bare_baseline(contest: Contest) -> str:
    """Return the baseline's own name, without the id that tells it from a namesake."""
    return contest.baseline.removesuffix(f"-{contest.baseline_id}") if contest.baseline_id else contest.baseline


def _baseline_label(run: Run, contest: Contest, runs: Sequence[Run], shared: set[str]) -> str:
    """Return what a baseline is called here: as the run given that it is, else so that no other bears its name.

    Args:
        run: The run that was judged against it.
        contest: The contest it stands in.
        runs: All runs given.
        shared: Names that several baselines bear.

    Raises:
        UsageError: Two of the runs given bear its name, or only the run that was judged against it does.
    """
    id_, baseline = contest.baseline_id, _bare_baseline(contest)
    named = [other for other in runs if other.records.name == baseline and other is not run]
    namesakes = [other for other in named if other.records.manifest.fingerprint_digest.startswith(id_)]
    if not namesakes and id_ and (named or baseline in shared):
        return f"{baseline}-{id_}"
    if len(namesakes) > 1:
        names = ", ".join(other.label for other in namesakes)
        raise UsageError(
            f"{run.label} was judged against {baseline!r}, which may be any of {names}: name only one"
        )
    if not namesakes and baseline == run.records.name:
        raise UsageError(
            f"{run.records.folder.path} was judged against another run named {baseline!r}: name that run too, so "
            "that the two can be told apart"
        )
    return namesakes[0].label if namesakes else baseline


def _rank(
    seen: Sequence[Contest], labels: LabelsByContest, speech: Mapping[str, SpeechOfRun], options: RankOptions
) -> JudgeRanking:
    """Rank by the verdicts of one judge."""
    from evalkit.stats import Games, rank_models

    games = [(contest, pair) for contest in seen for pair in contest.counted()]
    figures = tuple(_figures(contest, labels, speech, options) for contest in seen)
    if not games:
        return JudgeRanking(seen[0].judge_label, None, figures)
    usual = Counter(contest.baseline for contest, _ in games).most_common(1)[0][0]
    ranking = rank_models(
        Games(
            first=[contest.model for contest, _ in games],
            second=[contest.baseline for contest, _ in games],
            scores=[_SCORES[pair.result] for _, pair in games],
            clusters=[pair.cluster for _, pair in games],
        ),
        anchor=options.anchor or usual,
        draws=options.draws,
        seed=options.seed,
    )
    return JudgeRanking(seen[0].judge_label, ranking, figures)


def _figures(
    contest: Contest, labels: LabelsByContest, speech: Mapping[str, SpeechOfRun], options: RankOptions
) -> ContestFigures:
    length, notes = _length_controlled(contest, speech, options)
    labelled = labels.get((contest.model, contest.baseline), {})
    human = human_win_rate(contest.pairs, labelled, draws=options.draws, seed=options.seed) if labelled else None
    return ContestFigures(contest.model, contest.baseline, contest.summary(), length, human, notes)


def _length_controlled(
    contest: Contest, speech: Mapping[str, SpeechOfRun], options: RankOptions
) -> tuple[LengthControlledWinRate | None, tuple[str, ...]]:
    """Return the win rate at equal length, or why there is none; windows a side did not narrate are left out."""
    from evalkit.stats import SpeechLength, length_controlled_win_rate

    missing = [name for name in (contest.model, contest.baseline) if name not in speech]
    if missing:
        return None, (f"no length control: name the run of {' and '.join(missing)} too",)
    test, baseline = speech[contest.model], speech[contest.baseline]
    rows = [
        (pair, ours, theirs)
        for pair in contest.counted()
        if (ours := _said(test, pair)) is not None and (theirs := _said(baseline, pair)) is not None
    ]
    left_out = len(contest.counted()) - len(rows)
    notes = (
        (f"{left_out} pairs left out of length control: a run has nothing of their window",) if left_out else ()
    )
    if not rows:
        return None, notes
    found = length_controlled_win_rate(
        [_SCORES[pair.result] for pair, _, _ in rows],
        SpeechLength([one[0] for _, one, _ in rows], [one[1] for _, one, _ in rows]),
        SpeechLength([one[0] for _, _, one in rows], [one[1] for _, _, one in rows]),
        [pair.cluster for pair, _, _ in rows],
        draws=options.draws,
        seed=options.seed,
    )
    return found, (*notes, *([f"length control: {found.note}"] if found.note else []))


def _said(speech: SpeechOfRun, pair: JudgedPair) -> tuple[float, float] | None:
    return speech.in_window(pair.cluster, pair.start, pair.end)


def _labels(path: Path | None, seen: Sequence[Contest]) -> LabelsByContest:
    if path is None:
        return {}
    pairs: dict[tuple[str, str], set[str]] = {}
    for contest in seen:
        pairs.setdefault((contest.model, contest.baseline), set()).update(pair.pair for pair in contest.pairs)
    return assign_labels(path, read_labels(path), pairs)


def _agreement(
    seen: Sequence[Contest], judges: Sequence[str], options: RankOptions
) -> tuple[PanelAgreement | None, str]:
    """Return how far the judges agree over all contests, or why that cannot be told."""
    if len(judges) < 2:
        return None, ""
    panel: dict[str, list[VerdictRecord]] = {judge: [] for judge in judges}
    for contest in seen:
        # The same window stands in several contests; together with its sides it is one item.
        panel[contest.judge] += [
            vote.model_copy(update={"pair": f"{contest.model}\0{contest.baseline}\0{vote.pair}"})
            for pair in contest.pairs
            for vote in pair.votes
        ]
    try:
        return agreement_of_judges(panel, draws=options.draws, seed=options.seed), ""
    except UsageError as error:
        return None, f"no agreement of judges: {error}"
