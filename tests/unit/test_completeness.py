"""Records that are gone after a run is done are missed, those that stand twice are refused."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from run_folders import narration_run, question_run

from evalkit.cli.main import EXIT_USAGE, main
from evalkit.errors import DataError
from evalkit.leaderboard.answers import require_finished
from evalkit.records import RecordCounts, RunFolder, read_run
from evalkit.records.completeness import count_records, count_verdicts
from evalkit.report.runs import load_runs
from evalkit.run.recorder import Recorder

Capture = pytest.CaptureFixture[str]


def counted(path: Path) -> RunFolder:
    """Write into a run's manifest how many records it has."""
    run = read_run(path)
    manifest = run.manifest.model_copy(update={"recorded": count_records(run.answers, run.ticks)})
    run.folder.write_manifest(manifest)
    return run.folder


def keep(path: Path, lines: slice | list[int]) -> None:
    before = path.read_bytes().splitlines(keepends=True)
    kept = before[lines] if isinstance(lines, slice) else [before[index] for index in lines]
    path.write_bytes(b"".join(kept))


@pytest.fixture
def asked(tmp_path: Path) -> RunFolder:
    return counted(question_run(tmp_path / "asked", questions=20, task="ovobench"))


def test_a_whole_run_misses_nothing(asked: RunFolder) -> None:
    assert read_run(asked.path).missing == read_run(asked.path, ticks=False).missing == ()
    assert not asked.records_gone()


@pytest.mark.parametrize("lines", [slice(0), slice(10), slice(1, None), [0, 1, 2, *range(4, 20)]])
def test_samples_whose_answers_are_gone_are_named_and_no_comparison_takes_the_run(
    asked: RunFolder, lines: slice | list[int]
) -> None:
    whole = Counter(answer.sample for answer in read_run(asked.path).answers)
    keep(asked.answers_path, lines)
    run = read_run(asked.path)
    assert set(run.missing) == set(whole - Counter(answer.sample for answer in run.answers))
    assert asked.records_gone()
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


def test_of_a_run_that_was_not_counted_samples_without_any_answer_are_missed(tmp_path: Path) -> None:
    path = question_run(tmp_path / "old", questions=20)
    run = read_run(path)
    gone = run.answers[0].sample
    keep(RunFolder(path).answers_path, [k for k, answer in enumerate(run.answers) if answer.sample != gone])
    assert read_run(path).missing == (gone,)
    with pytest.raises(DataError, match=r"records of 1 of 5 samples are gone .* --resume"):
        require_finished(read_run(path))


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "asked", "other"),
        ("compare", "other", "asked"),
        ("gate", "--base", "other", "--head", "asked", "--max-drop", "5"),
        ("gate", "--base", "asked", "--head", "other", "--max-drop", "5"),
        ("power", "asked", "--effect", "2"),
        ("leaderboard", "add", "asked"),
        ("score", "asked"),
        ("report", "asked"),
    ],
)
def test_no_command_takes_a_run_whose_records_are_gone_for_a_whole_one(
    words: tuple[str, ...], asked: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    counted(question_run(tmp_path / "other", questions=20, task="ovobench", seed=1))
    keep(asked.answers_path, slice(10))
    monkeypatch.chdir(tmp_path)
    assert main(list(words)) == EXIT_USAGE
    assert re.search(r"samples? .*gone|records are gone", capsys.readouterr().err)


@pytest.mark.parametrize("command", [("rank", "judged"), ("report", "judged")])
def test_verdicts_that_are_gone_are_named(
    command: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = counted(narration_run(tmp_path / "judged", videos=2, seconds=60, window=10))
    judged = count_verdicts(read_run(folder.path).verdicts)
    folder.write_manifest(folder.read_manifest().model_copy(update={"judged": judged}))
    assert read_run(folder.path).warnings == []
    keep(folder.verdicts_path, slice(4, None))
    (warning,) = read_run(folder.path).warnings
    assert warning.startswith(f"4 of {sum(judged.values())} verdicts against ")
    main(list(command))
    said = capsys.readouterr()
    page = (folder.path / "report.html").read_text() if command[0] == "report" else ""
    assert "are gone: evalkit judge asks for them again" in said.out + said.err + page


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
