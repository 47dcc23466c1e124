"""Human labels on judged pairs: read from a file, matched to contests, and the win rate they give with a judge."""

from __future__ import annotations

__all__ = ["HumanLabel", "HumanWinRate", "LabelsByContest", "assign_labels", "human_win_rate", "read_labels"]

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from evalkit.errors import DataError
from evalkit.report.verdicts import JudgedPair

if TYPE_CHECKING:
    from evalkit.stats import Agreement, Estimate

Winner = Literal["test", "baseline", "tie"]
LabelsByContest = Mapping[tuple[str, str], Mapping[str, Winner]]
"""By model and baseline, the winner of each labelled pair."""

_SCORES = {"test": 1.0, "tie": 0.5, "baseline": 0.0}
_NAMED_PROBLEMS = 3


class HumanLabel(BaseModel):
    """One line of a file of labels.

    ``model`` and ``baseline`` are needed only where a pair (a window) was judged in several contests.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pair: str
    winner: Winner
    model: str | None = None
    baseline: str | None = None


@dataclass(frozen=True, slots=True)
class HumanWinRate:
    """The win rate humans would give, from all verdicts and a few labels.

    Args:
        estimate: Win rate with its interval clustered by video.
        labels: Labelled pairs used.
        unused: Labelled pairs without a readable verdict in both orders, left out.
        agreement: Cohen's kappa between the judge and the labels.
    """

    estimate: Estimate
    labels: int
    unused: int
    agreement: Agreement | None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        known = self.estimate.low is not None and self.estimate.high is not None
        return {
            "win_rate": self.estimate.value,
            "interval": [self.estimate.low, self.estimate.high] if known else None,
            "interval_method": self.estimate.method,
            "labels": self.labels,
            "unused": self.unused,
            "kappa": None if self.agreement is None else asdict(self.agreement),
            "note": self.estimate.note,
        }


def read_labels(path: Path) -> list[tuple[int, HumanLabel]]:
    """Read a JSONL file of labels, each with its line number.

    Raises:
        DataError: The file is missing or empty, or a line is no label; lines are named by number.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file of human labels", path=path)
    labels: list[tuple[int, HumanLabel]] = []
    problems: list[str] = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            labels.append((number, HumanLabel.model_validate_json(line)))
        except ValidationError as error:
            problems.append(f"line {number}: {_complaint(error)}")
    _refuse(path, problems)
    if not labels:
        raise DataError(f"{path}: no labels in it", path=path)
    return labels


def _complaint(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return "not JSON"
    field = ".".join(map(str, first["loc"]))
    return f"field {field!r}: {first['msg']}" if field else "not a JSON object"


def assign_labels(
    path: Path, labels: Sequence[tuple[int, HumanLabel]], pairs: Mapping[tuple[str, str], set[str]]
) -> LabelsByContest:
    """Match labels to contests.

    Args:
        path: The file, for messages.
        labels: Line number and label.
        pairs: By model and baseline, the pairs that were judged.

    Raises:
        DataError: A pair nobody judged, labelled twice, or of several contests without saying which; the lines
            are named by number.
    """
    found: dict[tuple[str, str], dict[str, Winner]] = {}
    lines: dict[tuple[tuple[str, str], str], int] = {}
    problems = []
    for number, label in labels:
        fits = [
            sides
            for sides, judged in pairs.items()
            if label.pair in judged and label.model in (None, sides[0]) and label.baseline in (None, sides[1])
        ]
        if len(fits) != 1:
            problems.append(f"line {number}: {_misfit(label, fits)}")
            continue
        before = lines.setdefault((fits[0], label.pair), number)
        if before != number:
            problems.append(f"line {number}: pair {label.pair!r} is labelled in line {before} already")
            continue
        found.setdefault(fits[0], {})[label.pair] = label.winner
    _refuse(path, problems)
    return found


def _misfit(label: HumanLabel, fits: Sequence[tuple[str, str]]) -> str:
    if fits:
        listed = ", ".join(f"{model} against {baseline}" for model, baseline in fits)
        return f'pair {label.pair!r} was judged in {len(fits)} contests ({listed}); add "model" and "baseline"'
    sides = [
        f"{name} {value!r}" for name, value in (("model", label.model), ("baseline", label.baseline)) if value
    ]
    return f"pair {label.pair!r} was never judged" + (f" with {' and '.join(sides)}" if sides else "")


def _refuse(path: Path, problems: Sequence[str]) -> None:
    """Raise one line that names the first bad lines and counts the others, if there are any."""
    if problems:
        rest = len(problems) - _NAMED_PROBLEMS
        more = f"; and {rest} more" if rest > 0 else ""
        raise DataError(f"{path}: {'; '.join(problems[:_NAMED_PROBLEMS])}{more}", path=path)


def human_win_rate(
    pairs: Sequence[JudgedPair], labels: Mapping[str, Winner], *, draws: int, seed: int
) -> HumanWinRate | None:
    """Return the win rate humans would give in one contest, by prediction-powered inference.

    Where every pair is labelled it is the labels' own mean: the judge adds nothing.

    Args:
        pairs: All pairs of the contest.
        labels: Winner by labelled pair.
        draws: Resamples of the interval of kappa.
        seed: Of the resamples.

    Returns:
        None where no labelled pair has a readable verdict in both orders.
    """
    from evalkit.stats import cohen_kappa, mean_by_cluster, prediction_powered_win_rate

    readable = [pair for pair in pairs if pair.result in _SCORES]
    both = [pair for pair in readable if pair.pair in labels]
    if not both:
        return None
    videos = [pair.cluster for pair in readable]
    human = [_SCORES[labels[pair.pair]] if pair.pair in labels else math.nan for pair in readable]
    if len(both) == len(readable):
        estimate = mean_by_cluster(human, videos)
    else:
        estimate = prediction_powered_win_rate([_SCORES[pair.result] for pair in readable], human, videos)
    kappa = cohen_kappa(
        [pair.result for pair in both],
        [labels[pair.pair] for pair in both],
        [pair.cluster for pair in both],
        draws=draws,
        seed=seed,
    )
    return HumanWinRate(estimate, len(both), len(labels) - len(both), kappa)
