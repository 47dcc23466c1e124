"""Records that are gone after a run is done are missed, those that stand twice are refused."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from run_folders import counted, narration_run, question_run

from evalkit.cli.main import EXIT_USAGE, main
from evalkit.errors import DataError
from evalkit.judge import VerdictStore, read_votes, summarise_verdicts
from evalkit.leaderboard.answers import require_finished
from evalkit.records import JsonlWriter, RecordCounts, RunFolder, VerdictRecord, read_run
from evalkit.report.runs import load_runs
from evalkit.run.finish import finish_run
from evalkit.run.recorder import Recorder


def keep(path: Path, lines: slice | list[int]) -> None:
    before = path.read_bytes().splitlines(keepends=True)
    kept = before[lines] if isinstance(lines, slice) else [before[index] for index in lines]
    path.write_bytes(b"".join(kept))


@pytest.fixture
def asked(tmp_path: Path) -> RunFolder:
    return counted(question_run(tmp_path / "asked", questions=20, task="ovobench"))


def test_a_whole_run_misses_nothing(asked: RunFolder) -> None:
    assert read_run(asked.path).missing == read_run(asked.path, ticks=False).missing == ()


@pytest.mark.parametrize("lines", [slice(0), slice(10), slice(1, None), [0, 1, 2, *range(4, 20)]])
def test_samples_whose_answers_are_gone_are_named_and_no_comparison_takes_the_run(
    asked: RunFolder, lines: slice | list[int]
) -> None:
    whole = Counter(answer.sample for answer in read_run(asked.path).answers)
    keep(asked.answers_path, lines)
    run = read_run(asked.path)
    assert set(run.missing) == set(whole - Counter(answer.sample for answer in run.answers))
    with pytest.raises(DataError, match=r"records of \d of 5 samples are gone .* --resume"):
        require_finished(run)


@pytest.mark.parametrize("ticks", [True, False])
def test_seconds_that_are_gone_are_missed_whether_or_not_they_are_read(asked: RunFolder, ticks: bool) -> None:
    keep(asked.ticks_path, slice(5, None))
    assert read_run(asked.path, ticks=ticks).missing == ("s0",)


@pytest.mark.parametrize("name", ["answers_path", "ticks_path"])
@pytest.mark.parametrize("ticks", [True, False])
def test_a_record_that_stands_twice_is_refused_by_name(asked: RunFolder, name: str, ticks: bool) -> None:
    path: Path = getattr(asked, name)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, lines[3]]))
    with pytest.raises(DataError, match=f"{path.name}: .* on record twice"):
        read_run(asked.path, ticks=ticks)
    with pytest.raises(DataError, match="on record twice"):
        Recorder(asked)


def test_a_report_names_what_is_gone_withholds_the_scores_and_ends_with_bad_input(
    asked: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(asked.answers_path, slice(10))
    (run,) = load_runs([asked.path])
    assert any("of 5 samples are gone" in line for line in run.notices())
    assert run.metrics == ()
    assert main(["report", str(asked.path)]) == EXIT_USAGE
    assert "records are gone" in capsys.readouterr().err


def test_a_run_that_did_not_count_its_records_says_so_and_names_what_is_known_to_be_gone(tmp_path: Path) -> None:
    folder = RunFolder(question_run(tmp_path / "old", questions=20))
    (whole,) = load_runs([folder.path])
    assert whole.records.missing == ()
    assert any("did not count its records" in line for line in whole.notices())
    keep(folder.answers_path, slice(10))
    assert read_run(folder.path).missing == read_run(folder.path, ticks=False).missing == ("s3", "s4")
    folder = RunFolder(narration_run(tmp_path / "told", videos=2, seconds=8, window=4))
    keep(folder.ticks_path, [0, 1, 2, *range(4, 16)])
    assert read_run(folder.path).missing == ("game-0",)


def test_a_run_that_is_not_done_misses_nothing(tmp_path: Path) -> None:
    folder = counted(narration_run(tmp_path / "going", videos=1, seconds=8, window=4))
    folder.write_manifest(folder.read_manifest().model_copy(update={"status": "running"}))
    keep(folder.answers_path, slice(4))
    assert read_run(folder.path).missing == ()


def test_a_finished_sample_whose_records_are_gone_is_unfinished_for_the_recorder(tmp_path: Path) -> None:
    source = read_run(question_run(tmp_path / "from", questions=3))
    answers = [one.model_copy(update={"sample": f"s{place}"}) for place, one in enumerate(source.answers)]
    folder = RunFolder(tmp_path / "run")
    with Recorder(folder) as recorder:
        for answer in answers:
            recorder.answer(answer)
            recorder.finish(answer.sample, "done")
        assert set(recorder.recorded().values()) == {RecordCounts(answers=1)}
    first, *rest = [answer.sample for answer in answers]
    keep(folder.answers_path, slice(1, None))
    with Recorder(folder) as recorder:
        assert recorder.gone == [first]
        assert recorder.status(first) is None
        assert [recorder.status(sample) for sample in rest] == ["done", "done"]
        recorder.answer(answers[0])
        recorder.finish(first, "done")
        assert set(recorder.recorded()) == {first, *rest}
    with Recorder(folder) as recorder:
        assert recorder.gone == []


DAMAGE: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "gone": lambda lines: [],
    "halved": lambda lines: lines[: len(lines) // 2],
    "one line missing": lambda lines: [*lines[:3], *lines[4:]],
    "one line twice": lambda lines: [*lines, lines[3]],
}


def spoilt(path: Path, damage: str) -> None:
    lines = DAMAGE[damage](path.read_bytes().splitlines(keepends=True))
    path.unlink() if damage == "gone" else path.write_bytes(b"".join(lines))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Two comparable runs of questions and two judged narrations."""
    base, alike = tmp_path_factory.mktemp("pairs"), {"fingerprint": {"model": "one", "policy": "one"}}
    asked = [question_run(base / f"asked-{n}", f"m{n}", questions=40, task="ovobench", **alike) for n in (0, 1)]
    told = [narration_run(base / f"told-{n}", f"m{n}", videos=2, seconds=24, window=4, **alike) for n in (0, 1)]
    for run in (*asked, *told):
        counted(run)
    return {"asked": (asked[0], asked[1]), "told": (told[0], told[1])}


WORDS = {
    "report": "report {a} --out {out}/page.html",
    "compare": "compare {a} {b} --draws 50",
    "gate": "gate --head {a} --base {b} --max-drop 5 --metric {metric}",
    "power": "power {a} {b} --effect 5",
    "rank": "rank {a} {b} --draws 50",
    "add": "leaderboard add {a} --leaderboards {out}",
}


def words_of(words: str, kind: str, a: Path, b: Path, out: Path) -> list[str]:
    metric = {"asked": "accuracy", "told": "win rate"}[kind]
    return [word.format(a=a, b=b, out=out, metric=metric) for word in words.split()]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    ("kind", "file"),
    [("asked", "answers"), ("asked", "ticks"), ("told", "answers"), ("told", "ticks"), ("told", "verdicts")],
)
def test_no_command_takes_a_run_of_which_records_are_gone_or_doubled(
    kind: str,
    file: str,
    damage: str,
    pairs: dict[str, tuple[Path, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a = tmp_path / "a"
    shutil.copytree(pairs[kind][0], a)
    for name, words in WORDS.items():
        if name == "rank" and kind == "asked":
            continue
        said = words_of(words, kind, a, pairs[kind][1], tmp_path)
        spoilt(a / f"{file}.jsonl", damage)
        assert main(said) == EXIT_USAGE, name
        assert re.search("are gone|on record twice", capsys.readouterr().err), name
        shutil.copyfile(pairs[kind][0] / f"{file}.jsonl", a / f"{file}.jsonl")


@pytest.mark.parametrize("kind", ["asked", "told"])
def test_the_same_commands_take_whole_runs(kind: str, pairs: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    for name, words in WORDS.items():
        if (name, kind) != ("rank", "asked"):
            assert main(words_of(words, kind, pairs[kind][0], pairs[kind][1], tmp_path)) != EXIT_USAGE, name


@pytest.mark.parametrize("damage", DAMAGE)
def test_scoring_and_the_clock_say_what_is_gone(
    damage: str, pairs: dict[str, tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = tmp_path / "a"
    shutil.copytree(pairs["asked"][0], a)
    spoilt(a / "answers.jsonl", damage)
    assert main(["score", "--task", "ovobench", "--format", "evalkit", str(a)]) == EXIT_USAGE
    assert re.search("are gone|on record twice|no answers on record", capsys.readouterr().err)
    shutil.copyfile(pairs["asked"][0] / "answers.jsonl", a / "answers.jsonl")
    spoilt(a / "ticks.jsonl", damage)
    assert main(["replay", str(a), "--json"]) == EXIT_USAGE
    assert re.search("are gone|on record twice", capsys.readouterr().err)


@pytest.mark.parametrize("damage", DAMAGE)
def test_verdicts_that_are_gone_are_asked_for_again_and_doubled_ones_refused(damage: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    told = read_run(narration_run(run.path, videos=2, seconds=24, window=4))
    summary = summarise_verdicts(told.verdicts)
    finished = finish_run(run.path, [summary])
    assert finished.manifest.judged == {"vs baseline, judge overlap": 24}
    assert finished.verdicts_gone == ()
    before = run.verdicts_path.read_bytes()
    spoilt(run.verdicts_path, damage)
    if damage == "one line twice":
        for read in (
            read_run,
            lambda path: VerdictStore(path / "verdicts.jsonl"),
            lambda path: read_votes(path, "evalkit"),
        ):
            with pytest.raises(DataError, match="on record twice"):
                read(run.path)
        return
    wanted = {"gone": 24, "halved": 12, "one line missing": 1}[damage]
    assert read_run(run.path).verdicts_gone == (f"{wanted} of 24 verdicts vs baseline, judge overlap, are gone",)
    other = [one.model_copy(update={"baseline_name": "another"}) for one in told.verdicts]
    with JsonlWriter[VerdictRecord](run.verdicts_path) as writer:
        for verdict in other:
            writer.append(verdict)
    left = finish_run(run.path, [summarise_verdicts(other)])
    assert left.manifest.judged == {f"vs {name}, judge overlap": 24 for name in ("baseline", "another")}
    assert len(left.verdicts_gone) == 1, "judging against another side does not make up for them"
    run.verdicts_path.write_bytes(before)
    assert read_run(run.path).verdicts_gone == ("24 of 24 verdicts vs another, judge overlap, are gone",)
