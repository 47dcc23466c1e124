"""The digest of uncommitted code: equal for equal changes, another for another, none for none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from evalkit.run.code_change import code_change

WHO = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")


def checkout(folder: Path) -> Path:
    """Return the package folder of a small repository with one commit."""
    package = folder / "engine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "policy.py").write_text("SINK = 4\n")
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "README.md").write_text("words\n")
    for words in (("init", "-q"), ("add", "."), (*WHO, "commit", "-q", "-m", "one")):
        subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
    return package


@pytest.fixture(autouse=True)
def _no_git_directory_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GIT_DIR", raising=False)


def test_a_clean_tree_has_no_change(tmp_path: Path) -> None:
    package = checkout(tmp_path)
    (package / "run.log").write_text("ignored")
    (tmp_path / "README.md").write_text("other words\n")
    assert code_change([package]) is None


def test_the_same_edit_agrees_and_another_does_not(tmp_path: Path) -> None:
    one, same, other = (checkout(tmp_path / name) for name in ("a", "b", "c"))
    for package, sink in ((one, 0), (same, 0), (other, 1)):
        (package / "policy.py").write_text(f"SINK = {sink}\n")
    assert code_change([one]) == code_change([same]) is not None
    assert code_change([other]) not in (None, code_change([one]))


def test_a_staged_edit_a_new_file_and_a_deleted_one_all_count(tmp_path: Path) -> None:
    edited, new, gone = (checkout(tmp_path / name) for name in ("edited", "new", "gone"))
    (edited / "policy.py").write_text("SINK = 1\n")
    subprocess.run(["git", "-C", str(edited), "add", "."], check=True)
    (new / "plugin.py").write_text("SINK = 1\n")
    (gone / "policy.py").unlink()
    digests = [code_change([package]) for package in (edited, new, gone)]
    assert None not in digests
    assert len(set(digests)) == 3


def test_undoing_the_edit_undoes_the_change(tmp_path: Path) -> None:
    package = checkout(tmp_path)
    (package / "policy.py").write_text("SINK = 1\n")
    (package / "policy.py").write_text("SINK = 4\n")
    assert code_change([package]) is None


def test_an_installed_copy_without_a_checkout_is_told_by_its_source(tmp_path: Path) -> None:
    copies = []
    for name, sink in (("a", 4), ("b", 4), ("c", 0)):
        package = tmp_path / name / "engine"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "policy.py").write_text(f"SINK = {sink}\n")
        copies.append(code_change([package]))
    assert copies[0] == copies[1] is not None
    assert copies[2] not in (None, copies[0])


def test_evalkits_own_packages_are_found() -> None:
    from evalkit.run.code_change import _package_folders

    assert [folder.name for folder in _package_folders()] == ["evalkit", "evalkit_tasks"]
    assert all((folder / "__init__.py").is_file() for folder in _package_folders())
