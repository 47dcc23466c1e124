"""Which videos a run saw: digests that tell a file cut short or encoded anew from the one before."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from evalkit.run.media import media_digests
from evalkit.run.provenance import git_revision
from evalkit.stream import StreamSample


@pytest.fixture
def sample(tmp_path: Path) -> StreamSample:
    path = tmp_path / "game.mp4"
    path.write_bytes(bytes(range(256)) * 16384)
    return StreamSample("game@0-9", path, 0, 9, 2, cluster="game.mp4")


def digest(sample: StreamSample) -> str:
    ((name, value),) = media_digests([sample, dataclasses.replace(sample, id="game@9-18")]).items()
    assert name == "game.mp4"
    return value


def test_the_digest_is_of_the_content_not_of_the_place(sample: StreamSample, tmp_path: Path) -> None:
    before = digest(sample)
    moved = sample.video.rename(tmp_path / "moved.mp4")
    assert digest(dataclasses.replace(sample, video=moved)) == before


@pytest.mark.parametrize("change", [slice(0, 1), slice(-1, None), slice(-9, None)])
def test_another_beginning_end_or_length_is_another_video(change: slice, sample: StreamSample) -> None:
    before, content = digest(sample), bytearray(sample.video.read_bytes())
    content[change] = b"x"
    sample.video.write_bytes(content)
    assert digest(sample) != before


def test_a_video_that_is_not_there_is_unreadable(sample: StreamSample) -> None:
    sample.video.unlink()
    assert digest(sample) == "unreadable"


def test_the_code_revision_is_of_a_checkout_that_tracks_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment inside somebody else's project has no revision of its own."""
    monkeypatch.delenv("GIT_DIR", raising=False)

    def git(*words: str) -> None:
        names = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", tmp_path, *names, *words], check=True, capture_output=True)

    assert git_revision(tmp_path / "code.py") is None
    git("init", "-q")
    (tmp_path / "evalkit").mkdir()
    file = tmp_path / "evalkit" / "code.py"
    file.write_text("1\n")
    (tmp_path / "notes.txt").write_text("mine\n")
    git("add", "notes.txt")
    git("commit", "-qm", "notes")
    assert git_revision(file) is None, "the project around it does not track the file"
    git("add", "evalkit")
    git("commit", "-qm", "code")
    clean = git_revision(file)
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "notes.txt").write_text("other\n")
    assert git_revision(file) == clean, "what is no code does not matter"
    file.write_text("2\n")
    assert git_revision(file) == f"{clean}+dirty"
