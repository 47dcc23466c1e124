"""Records that are gone after a run is done are missed, those that stand twice are refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from run_folders import narration_run, question_run

from evalkit.cli.main import EXIT_USAGE, main
from evalkit.errors import DataError
from evalkit.leaderboard.answers import require_finished
from evalkit.records import RecordCounts, RunFolder, read_run
from evalkit.records.completeness import count_records
from evalkit.report.runs import load_runs
from evalkit.run.recorder import Recorder


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


def test_a_run_that_is_not_done_or_was_not_counted_misses_nothing(tmp_path: Path) -> None:
    path = question_run(tmp_path / "old", questions=20)
    keep(RunFolder(path).answers_path, slice(10))
    assert read_run(path).missing == ()
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
