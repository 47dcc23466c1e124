"""A run folder is never half-written: interrupted runs, full disks, a second writer, and folders of other runs."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Started

Call = Callable[..., tuple[int, str, str]]


def command(data: Path, out: str, *more: str) -> list[str | Path]:
    words = ["run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny", "--data", data]
    return [*words, "--set", "start_seconds=5", "--out", out, *more]


def one_line(text: str) -> str:
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


def wait_for(path: Path, lines: int, run: Started) -> None:
    while run.process.is_alive() and not (path.exists() and path.read_bytes().count(b"\n") >= lines):
        time.sleep(0.005)


def wait_for_folder(parent: Path, run: Started) -> Path:
    while run.process.is_alive() and not (parent.exists() and list(parent.iterdir())):
        time.sleep(0.005)
    (folder,) = parent.iterdir()
    return folder


def listens(run: Started) -> bool:
    """Whether a process has a handler for SIGTERM, as it has while samples run."""
    status = Path(f"/proc/{run.process.pid}/status").read_text()
    caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)  # type: ignore[index]
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.fixture(scope="module")
def finished(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the small data set."""
    from evalkit.cli.main import main

    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_DIR", "/nonexistent")
        assert main([str(word) for word in command(small_data, str(folder))]) == 0
    return folder


def copy(finished: Path, target: Path, **changes: object) -> Path:
    target.mkdir()
    for path in finished.iterdir():
        if path.is_file():
            (target / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((target / "run.json").read_text())
    (target / "run.json").write_text(json.dumps(manifest | changes))
    return target


def test_ctrl_c_ends_the_second_in_hand_and_says_how_to_resume(
    small_data: Path, tmp_path: Path, start: Callable[..., Started], evalkit: Call
) -> None:
    """The folder it chose itself is found again by the options."""
    words = command(small_data, "chosen")[:-2]
    run = start(*words)
    folder = wait_for_folder(tmp_path / "runs" / "inf-streams" / "streamingvlm", run)
    answers = folder / "answers.jsonl"
    wait_for(answers, 2, run)
    os.kill(run.process.pid or 0, signal.SIGINT)
    code, out, err = run.wait()
    assert (code, out) == (130, "")
    assert "stopping after this second" in err
    assert f"interrupted: go on with evalkit run --resume --out {folder.relative_to(tmp_path)}" in err
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    said = answers.read_text().splitlines()
    assert 2 <= len(said) < 20
    assert len((folder / "ticks.jsonl").read_text().splitlines()) == len(said)
    assert evalkit(*words, "--resume")[0] == 0
    assert answers.read_text().splitlines()[: len(said)] == said
    assert len(answers.read_text().splitlines()) == 20


def test_two_sigterms_end_the_prefill_of_a_transcript_that_would_take_minutes(
    small_data: Path, tmp_path: Path, start: Callable[..., Started]
) -> None:
    """A previous text of a megabyte: 600,000 tokens stand before the first second."""
    data = tmp_path / "long"
    shutil.copytree(small_data, data)
    (metadata,) = data.glob("eval_all_metadata.jsonl")
    row = json.loads(metadata.read_text())
    row["content"][0] = [0.0, 1.0, "word " * 200_000]
    metadata.write_text(json.dumps(row) + "\n")
    run = start(*command(data, "run"))
    while run.process.is_alive() and not listens(run):
        time.sleep(0.005)
    for _ in range(2):  # the first may be enough: it is heard between two blocks of the prefill
        if run.process.is_alive():
            os.kill(run.process.pid or 0, signal.SIGTERM)
            run.process.join(0.5)
    code, out, err = run.wait()
    assert (code, out) == (130, "")
    assert "the previous text is 600,006 tokens before match" in err
    assert "again to stop at once" in err
    assert "interrupted" in err.splitlines()[-1]
    assert (
        not (tmp_path / "run" / "answers.jsonl").exists() or not (tmp_path / "run" / "answers.jsonl").read_text()
    )
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] in ("running", "interrupted")


def test_of_two_runs_into_one_folder_the_second_is_refused_and_the_first_goes_on(
    small_data: Path, tmp_path: Path, start: Callable[..., Started], evalkit: Call
) -> None:
    first = start(*command(small_data, "run"))
    wait_for(tmp_path / "run" / "ticks.jsonl", 1, first)
    os.kill(first.process.pid or 0, signal.SIGSTOP)
    before = (tmp_path / "run" / "run.json").read_bytes()
    code, _, err = evalkit(*command(small_data, "run", "--resume"))
    assert code == 2
    assert one_line(err) == "evalkit: another process is writing into run"
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    os.kill(first.process.pid or 0, signal.SIGCONT)
    assert first.wait()[0] == 0
    assert len((tmp_path / "run" / "answers.jsonl").read_text().splitlines()) == 20


def test_of_two_runs_that_start_at_once_exactly_one_gets_the_folder(
    small_data: Path, tmp_path: Path, start: Callable[..., Started]
) -> None:
    both = [start(*command(small_data, "run", "--seed", str(seed))) for seed in (1, 2)]
    ends = sorted((run.wait() for run in both), key=lambda end: end[0])
    assert [code for code, _, _ in ends] == [0, 2]
    assert "another process is writing into run" in one_line(ends[1][2]) or "holds a run already" in ends[1][2]
    assert len((tmp_path / "run" / "answers.jsonl").read_text().splitlines()) == 20


def test_a_full_disk_is_one_line_and_what_was_written_stays_readable(
    small_data: Path, tmp_path: Path, start: Callable[..., Started], evalkit: Call
) -> None:
    code, _, err = start(*command(small_data, "run"), file_limit=6000).wait()
    assert code == 2
    kept = "what is on record is kept; lift the limit on file sizes (ulimit -f), then run again"
    assert one_line(err) == f"evalkit: run: cannot write (File too large); {kept} with --resume --out run"
    folder = tmp_path / "run"
    assert not list(folder.rglob("*.part"))
    assert json.loads((folder / "run.json").read_text())["status"] == "failed"
    ticks = (folder / "ticks.jsonl").read_bytes()
    assert ticks.endswith(b"\n"), "no half record"
    assert evalkit(*command(small_data, "run", "--resume"))[0] == 0
    assert len((folder / "answers.jsonl").read_text().splitlines()) == 20


def test_a_disk_too_full_for_run_json_leaves_an_empty_folder(
    small_data: Path, tmp_path: Path, start: Callable[..., Started]
) -> None:
    code, _, err = start(*command(small_data, "run"), file_limit=500).wait()
    assert code == 2
    again = "lift the limit on file sizes (ulimit -f), then run again with --resume --out run"
    assert one_line(err) == f"evalkit: run: cannot write (File too large); {again}"
    assert not list((tmp_path / "run").iterdir())


def test_a_disk_too_full_for_the_report_says_how_to_get_it(
    small_data: Path, tmp_path: Path, start: Callable[..., Started], evalkit: Call
) -> None:
    """The options find the folder, too: all is on record, nothing is reported."""
    words = command(small_data, "x")[:-2]
    code, _, err = start(*words, file_limit=60_000).wait()
    assert code == 2
    (folder,) = (tmp_path / "runs" / "inf-streams" / "streamingvlm").iterdir()
    here = folder.relative_to(tmp_path)
    assert one_line(err).startswith(f"evalkit: {here}: cannot write (File too large); what is on record is kept; ")
    assert err.endswith(f"then run again with --resume --out {here}\n")
    assert json.loads((folder / "run.json").read_text())["status"] == "done"
    said = (folder / "answers.jsonl").read_bytes()
    assert not (folder / "report.html").exists()
    assert evalkit(*words, "--resume")[0] == 0
    assert (folder / "report.html").exists()
    assert (folder / "answers.jsonl").read_bytes() == said


def test_a_full_disk_in_the_middle_of_a_record_loses_no_record(
    small_data: Path, finished: Path, tmp_path: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.run import recorder

    append, count = recorder.JsonlWriter.append_line, iter(range(1000))

    def full(self: object, line: bytes) -> None:
        if next(count) == 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, line)

    monkeypatch.setattr(recorder.JsonlWriter, "append_line", full)
    code, _, err = evalkit(*command(small_data, "run"))
    assert code == 2
    assert one_line(err) == (
        "evalkit: run: cannot write (No space left on device); what is on record is kept; free space, "
        "then run again with --resume --out run"
    )
    assert evalkit(*command(small_data, "run", "--resume"))[0] == 0
    texts = [
        [(row["query"], row["text"]) for row in map(json.loads, (folder / "answers.jsonl").open())]
        for folder in (tmp_path / "run", finished)
    ]
    assert texts[0] == texts[1]


def test_a_folder_with_a_run_is_not_written_over(finished: Path, small_data: Path, evalkit: Call) -> None:
    before = (finished / "run.json").read_bytes()
    code, _, err = evalkit(*command(small_data, str(finished)))
    assert code == 2
    assert "holds a run already: pass --resume" in one_line(err)
    assert (finished / "run.json").read_bytes() == before


def test_a_folder_with_other_files_is_not_written_into(small_data: Path, tmp_path: Path, evalkit: Call) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    code, _, err = evalkit(*command(small_data, "run"))
    assert code == 2
    assert "is not an empty folder" in one_line(err)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("out", ["notes.txt", "notes.txt/run"])
def test_a_run_folder_cannot_lie_in_a_file(out: str, small_data: Path, tmp_path: Path, evalkit: Call) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    code, _, err = evalkit(*command(small_data, out))
    assert code == 2
    assert "notes.txt" in one_line(err)


def test_resuming_with_other_settings_names_what_differs(finished: Path, small_data: Path, evalkit: Call) -> None:
    code, _, err = evalkit(*command(small_data, str(finished), "--resume", "--seed", "7"))
    assert code == 2
    assert "was run with other settings" in one_line(err)
    assert "seed=42 (now 7)" in err
    assert json.loads((finished / "run.json").read_text())["status"] == "done"


def test_resuming_a_finished_run_changes_no_record(finished: Path, small_data: Path, evalkit: Call) -> None:
    before = [(finished / name).read_bytes() for name in ("answers.jsonl", "ticks.jsonl")]
    code, _, _ = evalkit(*command(small_data, str(finished), "--resume"))
    assert code == 0
    assert [(finished / name).read_bytes() for name in ("answers.jsonl", "ticks.jsonl")] == before


@pytest.mark.parametrize("verb", ["run", "judge"])
def test_a_run_folder_of_a_newer_version_is_refused(
    verb: str, finished: Path, small_data: Path, tmp_path: Path, evalkit: Call
) -> None:
    newer = copy(finished, tmp_path / "newer", v=99)
    if verb == "run":
        code, _, err = evalkit(*command(small_data, str(newer), "--resume"))
    else:
        code, _, err = evalkit("judge", newer, "--against", finished, "--judge", "overlap")
    assert code == 2
    assert "newer evalkit (schema 99" in one_line(err)


def test_a_run_on_data_named_from_here_is_judged_from_elsewhere_and_has_the_same_fingerprint(
    finished: Path, small_data: Path, tmp_path: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_data.parent)
    run = tmp_path / "run"
    assert evalkit(*command(Path(small_data.name), str(run)))[0] == 0
    here, there = (json.loads((folder / "run.json").read_text()) for folder in (run, finished))
    assert here["data"]["path"] == str(small_data.resolve())
    assert here["fingerprint_digest"] == there["fingerprint_digest"]
    monkeypatch.chdir(tmp_path)
    code, _, err = evalkit("judge", run, "--against", finished, "--judge", "overlap")
    assert code == 0, err


def test_imported_outputs_of_data_named_from_here_are_judged_from_elsewhere(
    finished: Path, small_data: Path, tmp_path: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_data.parent)
    words = ("data", "import", "--task", "inf-streams", "--data", small_data.name, "--model", "old")
    code, _, err = evalkit(*words, "--out", tmp_path / "old", finished / "merged_result.jsonl")
    assert code == 0, err
    monkeypatch.chdir(tmp_path)
    code, _, err = evalkit("judge", "old", "--against", finished, "--judge", "overlap", "--allow-mismatch")
    assert code == 0, err


@pytest.mark.parametrize("again", [(), ("--resume",)], ids=["anew", "resumed"])
@pytest.mark.parametrize("left", [(), (".run.json.4711.part",)], ids=["nothing", "a part"])
def test_a_run_killed_before_run_json_was_whole_blocks_its_folder_for_nobody(
    left: tuple[str, ...], again: tuple[str, ...], small_data: Path, tmp_path: Path, evalkit: Call
) -> None:
    (tmp_path / "run").mkdir()
    for name in left:
        (tmp_path / "run" / name).write_text('{"v": 1, "task": "inf-')
    code, _, err = evalkit(*command(small_data, "run", *again))
    assert code == 0, err
    assert len((tmp_path / "run" / "answers.jsonl").read_text().splitlines()) == 20
    assert not list((tmp_path / "run").rglob("*.part"))


def test_a_part_beside_other_files_is_not_taken_for_a_run_that_was_killed(
    small_data: Path, tmp_path: Path, evalkit: Call
) -> None:
    (tmp_path / "run").mkdir()
    for name in (".run.json.4711.part", ".thesis.tex.part"):
        (tmp_path / "run" / name).write_text("precious")
    code, _, err = evalkit(*command(small_data, "run"))
    assert code == 2
    assert "is not an empty folder" in one_line(err)
    code, _, err = evalkit(*command(small_data, "run", "--resume"))
    assert code == 2
    assert "run is not a run folder" in one_line(err)
    assert len(list((tmp_path / "run").iterdir())) == 2


def test_resuming_what_is_no_run_folder_says_so(small_data: Path, tmp_path: Path, evalkit: Call) -> None:
    code, _, err = evalkit(*command(small_data, "nowhere", "--resume"))
    assert code == 2
    assert "nowhere is not a run folder" in one_line(err)
    assert not (tmp_path / "nowhere").exists()


def test_resume_finds_the_latest_unfinished_run_of_the_same_options(small_data: Path, evalkit: Call) -> None:
    words = command(small_data, "x")[:-2]
    code, _, err = evalkit(*words, "--resume")
    assert code == 2
    assert "there is no unfinished run of these options below runs/inf-streams/streamingvlm" in one_line(err)


def test_a_dry_run_tells_the_free_disk_of_where_the_run_is_to_lie(
    small_data: Path, tmp_path: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "big").mkdir()
    sizes = {tmp_path: 1, tmp_path / "big": 9}
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real._replace(free=sizes[path] * 2**30))
    for out, free in (("big/new/run", 9), ("run", 1), (tmp_path / "big", 9)):
        code, said, err = evalkit(*command(small_data, str(out), "--dry-run", "--json"))
        assert (code, err) == (0, "")
        assert json.loads(said)["free_disk_gib"] == free
    code, said, _ = evalkit(*command(small_data, "x")[:-2], "--dry-run", "--json")
    assert json.loads(said)["free_disk_gib"] == 1


@pytest.mark.parametrize(
    ("out", "more", "said"),
    [
        ("finished", (), "holds a run already"),
        ("notes.txt", (), "is not an empty folder"),
        ("nowhere", ("--resume",), "nowhere is not a run folder"),
    ],
)
def test_a_dry_run_refuses_the_folder_that_the_run_would_refuse(
    out: str, more: tuple[str, ...], said: str, finished: Path, small_data: Path, tmp_path: Path, evalkit: Call
) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    (tmp_path / "finished").symlink_to(finished)
    code, _, err = evalkit(*command(small_data, out, *more, "--dry-run"))
    assert code == 2
    assert said in one_line(err)
