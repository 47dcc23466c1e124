"""Reads votes somebody recorded, ours or LiveCC's, and says which model is under test; computes nothing."""

from __future__ import annotations

__all__ = ["RecordedPair", "RecordedVotes", "VoteFormat", "read_votes"]

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from evalkit.errors import DataError, UsageError, suggest
from evalkit.judge.contract import judge_name
from evalkit.judge.pairs import Winner
from evalkit.records.completeness import refuse_doubled_verdicts
from evalkit.records.jsonl import read_jsonl
from evalkit.records.reading import NotJsonError, decode_json, read_lines
from evalkit.records.schema import VerdictRecord

VoteFormat = Literal["livecc", "evalkit"]

_FORMATS: Final[tuple[VoteFormat, ...]] = ("livecc", "evalkit")
_NAMED_PROBLEMS: Final = 3
_LONGEST_NAME: Final = 300
_CONFLICT_MARKS: Final = ("<<<<<<<", "=======", ">>>>>>>")
_OTHER_SIDE: Final[Mapping[Winner, Winner]] = {
    "test": "baseline",
    "baseline": "test",
    "tie": "tie",
    "invalid": "invalid",
}
# llm_judge.py of LiveCC writes `tie` where the reply named neither commentary; evalkit's own word is `invalid`.
_NO_MODEL: Final[dict[str, Winner]] = {"tie": "tie", "invalid": "invalid"}


@dataclass(frozen=True, slots=True)
class RecordedPair:
    """The votes of one pair; ``ab`` is the order in which the model under test stood first."""

    pair: str
    cluster: str
    ab: Winner | None
    ba: Winner | None

    @classmethod
    def of(cls, orders: Mapping[str, VerdictRecord], *, swapped: bool = False) -> RecordedPair:
        """Make a pair of its verdicts by order; ``swapped`` puts the recorded baseline under test."""
        ab, ba = (orders.get(order) for order in (("ba", "ab") if swapped else ("ab", "ba")))
        one = next(iter(orders.values()))
        return cls(one.pair, one.cluster, _side(ab, swapped), _side(ba, swapped))


def _side(verdict: VerdictRecord | None, swapped: bool) -> Winner | None:
    if verdict is None or not swapped:
        return verdict.winner if verdict else None
    return _OTHER_SIDE[verdict.winner]


@dataclass(frozen=True, slots=True)
class RecordedVotes:
    """A file of votes.

    Args:
        model: The model under test.
        baseline: The model it is held against.
        judge: Who judged, as far as the file says.
        pairs: The votes.
        verdicts: The records themselves (``evalkit`` format only), for tokens and cost.
        notes: What a reader of the figures should know.
    """

    model: str
    baseline: str
    judge: str
    pairs: tuple[RecordedPair, ...]
    verdicts: tuple[VerdictRecord, ...] = ()
    notes: tuple[str, ...] = ()


def read_votes(path: Path, form: str, *, model: str | None = None, judge: str | None = None) -> RecordedVotes:
    """Read a file of recorded votes.

    ``livecc``: JSON lines with ``video_event_id``, ``ab_winner`` and ``ba_winner``, as
    ``evaluation/livesports3kcc/llm_judge.py`` of LiveCC writes them into ``BASELINE_MODEL.jsonl``. Its ``ab``
    order shows the file's model first, its ``ba`` order the baseline; the video is the id without its last
    ``_`` part.

    ``evalkit``: a ``verdicts.jsonl``, or the run folder it lies in.

    Args:
        path: The file.
        form: ``livecc`` or ``evalkit``.
        model: The model under test; by default the one that is not the file's baseline.
        judge: Whose votes are read, where several judges voted (``evalkit`` format).

    Raises:
        DataError: The file is missing or empty, or lines of it are malformed (named by number).
        UsageError: The format is unknown, or which model or judge is meant cannot be told.
    """
    if form not in _FORMATS:
        raise UsageError(f"unknown vote format {form!r}{suggest(form, _FORMATS)} (known: {', '.join(_FORMATS)})")
    path = path / "verdicts.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"{path}: no such file of votes", path=path)
    return _read_livecc(path, model) if form == "livecc" else _read_evalkit(path, model, judge)


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a LiveCC file: the id, and a model's name (or ``tie``, ``invalid``) per order."""

    line: int
    event: str
    ab: str
    ba: str


def _read_livecc(path: Path, model: str | None) -> RecordedVotes:
    rows = _livecc_rows(path)
    names = Counter(name for row in rows for name in (row.ab, row.ba) if name not in _NO_MODEL)
    sides = _sides_of_file(path, names)
    test, baseline, notes = _choose_model(path, sides, set(names), model)
    strangers = [row.line for row in rows if not {row.ab, row.ba} <= {test, baseline, *_NO_MODEL}]
    if strangers:
        _refuse(path, [f"line {line}: a winner that is neither {test!r} nor {baseline!r}" for line in strangers])
    _refuse_repeated(path, [(row.line, row.event) for row in rows])
    swapped = sides is not None and test == sides[1]
    pairs = []
    for row in rows:
        first, second = (row.ba, row.ab) if swapped else (row.ab, row.ba)
        votes = [_NO_MODEL.get(name, "test" if name == test else "baseline") for name in (first, second)]
        pairs.append(RecordedPair(row.event, row.event.rpartition("_")[0] or row.event, votes[0], votes[1]))
    ties = sum(name == "tie" for row in rows for name in (row.ab, row.ba))
    if ties:
        notes = (*notes, f"{ties} votes are recorded as 'tie': the reply named neither side")
    return RecordedVotes(
        test, baseline, f"recorded votes of {path.name} (judge not named)", tuple(pairs), (), notes
    )


def _livecc_rows(path: Path) -> list[_Row]:
    rows: list[_Row] = []
    problems: list[str] = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        found = _livecc_row(number, line)
        if isinstance(found, _Row):
            rows.append(found)
        else:
            problems.append(f"line {number}: {found}")
    if problems:
        _refuse(path, problems)
    if not rows:
        raise DataError(f"{path}: no votes in it", path=path)
    return rows


def _livecc_row(number: int, line: bytes) -> _Row | str:
    """Return the row, or what is wrong with the line."""
    try:
        text = line.decode()
        if text.startswith(_CONFLICT_MARKS):
            return "a merge conflict mark; settle the conflict first"
        value = decode_json(text)
    except (UnicodeDecodeError, NotJsonError):
        return "not JSON"
    if not isinstance(value, dict):
        return "not a JSON object"
    fields = [value.get(name) for name in ("video_event_id", "ab_winner", "ba_winner")]
    for name, content in zip(("video_event_id", "ab_winner", "ba_winner"), fields, strict=True):
        if not isinstance(content, str) or not content:
            return f"no text in {name!r}"
        if len(content) > _LONGEST_NAME:
            return f"{len(content):,} characters in {name!r}, which is no name"
    event, ab, ba = (str(content) for content in fields)
    return _Row(number, event, ab, ba)


def _sides_of_file(path: Path, names: Iterable[str]) -> tuple[str, str] | None:
    """Return (model, baseline) where the name ``BASELINE_MODEL.jsonl`` and the votes agree on them."""
    stem, known = path.stem, sorted(names)
    if not known and stem.count("_") == 1 and all(halves := stem.split("_")):
        return halves[1], halves[0]  # no vote names anybody
    exact = {(model, baseline) for model in known for baseline in known if stem == f"{baseline}_{model}"}
    ends = {(stem[len(name) + 1 :], name) for name in known if stem.startswith(f"{name}_")}
    ends |= {(name, stem[: -len(name) - 1]) for name in known if stem.endswith(f"_{name}")}
    fits = exact or {sides for sides in ends if all(sides)}
    return next(iter(fits)) if len(fits) == 1 else None


def _choose_model(
    path: Path, sides: tuple[str, str] | None, names: set[str], model: str | None
) -> tuple[str, str, tuple[str, ...]]:
    """Return the model under test, its baseline and notes.

    Raises:
        UsageError: The file does not tell and the caller did not say.
    """
    if sides is not None:
        if model is None or model == sides[0]:
            return *sides, ()
        if model == sides[1]:
            return sides[1], sides[0], ()
        raise UsageError(f"{path}: no votes about {model!r}{suggest(model, sides)} (it has {', '.join(sides)})")
    if not names:
        return model or "model", "baseline", ("no vote names a model",)
    listed = ", ".join(sorted(names))
    if model is None:
        raise UsageError(
            f"{path}: cannot tell the model under test from the file's name (BASELINE_MODEL.jsonl); "
            f"say --model NAME (models: {listed})"
        )
    others = sorted(names - {model})
    if model not in names:
        raise UsageError(f"{path}: no votes about {model!r}{suggest(model, names)} (models: {listed})")
    if len(others) > 1:
        raise DataError(f"{path}: votes about more than two models ({listed})", path=path)
    note = f"the file's name does not say who stood first in 'ab'; {model} is taken to"
    return model, others[0] if others else "baseline", (note,)


def _read_evalkit(path: Path, model: str | None, judge: str | None) -> RecordedVotes:
    records, warnings = read_jsonl(path, VerdictRecord)
    if not records:
        raise DataError(f"{path}: no votes in it", path=path)
    refuse_doubled_verdicts(path, records)
    about = _of_one_match(path, records, model)
    chosen = _of_one_judge(path, about, judge)
    latest: dict[str, dict[str, VerdictRecord]] = {}
    for record in chosen:
        latest.setdefault(record.pair, {})[record.order] = record
    used = tuple(record for orders in latest.values() for record in orders.values())
    test, baseline = used[0].model_name, used[0].baseline_name
    swapped = model is not None and model == baseline
    pairs = tuple(RecordedPair.of(orders, swapped=swapped) for orders in latest.values())
    identity = Counter(record.judge for record in used).most_common(1)[0][0]
    sides = (baseline, test) if swapped else (test, baseline)
    return RecordedVotes(*sides, identity, pairs, used, tuple(warnings))


def _of_one_match(path: Path, records: Sequence[VerdictRecord], model: str | None) -> list[VerdictRecord]:
    """Return the verdicts of the one match that ``model`` picks; being under test goes before being a baseline."""
    matches = Counter((record.model_name, record.baseline_name) for record in records)
    fits = list(matches) if model is None else [sides for sides in matches if sides[0] == model]
    fits = fits or [sides for sides in matches if sides[1] == model]
    if len(fits) != 1:
        listed = "; ".join(f"{test} against {baseline}" for test, baseline in sorted(matches))
        wanted = "one model against one baseline" if model is None else f"{model!r} against one baseline"
        raise UsageError(f"{path}: wanted votes about {wanted}, has {listed}; say --model NAME or split the file")
    return [record for record in records if (record.model_name, record.baseline_name) == fits[0]]


def _of_one_judge(path: Path, records: Sequence[VerdictRecord], judge: str | None) -> list[VerdictRecord]:
    names = sorted({judge_name(record.judge) for record in records})
    if judge is None and len(names) > 1:
        raise UsageError(f"{path}: votes of {len(names)} judges ({', '.join(names)}); say --judge NAME")
    if judge is not None and judge not in names:
        raise UsageError(f"{path}: no votes of {judge!r}{suggest(judge, names)} (judges: {', '.join(names)})")
    return [record for record in records if judge is None or judge_name(record.judge) == judge]


def _refuse_repeated(path: Path, events: Sequence[tuple[int, str]]) -> None:
    seen: dict[str, int] = {}
    problems = []
    for line, event in events:
        if event in seen:
            problems.append(f"line {line}: {event!r} was judged in line {seen[event]} already")
        seen.setdefault(event, line)
    if problems:
        _refuse(path, problems)


def _refuse(path: Path, problems: Sequence[str]) -> None:
    """Raise one line that names the first bad lines and counts the others."""
    rest = len(problems) - _NAMED_PROBLEMS
    more = f"; and {rest} more" if rest > 0 else ""
    raise DataError(f"{path}: {'; '.join(problems[:_NAMED_PROBLEMS])}{more}", path=path)
