"""The leaderboards as they stand in a file, a folder or a git revision; git is called without a shell."""

from __future__ import annotations

__all__ = ["boards_at"]

import shutil
import subprocess
from pathlib import Path

from evalkit.errors import DataError, UsageError
from evalkit.leaderboard.files import board_path, parse_board, read_board, task_names
from evalkit.leaderboard.schema import Leaderboard

_SECONDS = 30


def boards_at(place: str, folder: Path, task: str | None) -> dict[str, Leaderboard]:
    """Return the leaderboards at a place, by task.

    Args:
        place: A leaderboard file, a folder of them, or a git revision of the repository around `folder`.
        folder: Where the leaderboards lie in the repository.
        task: Only this one; it may be missing at the place, then the result is empty.

    Raises:
        UsageError: The place is none of these.
        DataError: A file there is no leaderboard.
    """
    path = Path(place)
    if path.is_file():
        board = read_board(path)
        return {board.task: board} if task in (None, board.task) else {}
    if place and path.is_dir():
        if not task_names(path):
            raise UsageError(f"{place!r} is a folder without leaderboards")
        names = task_names(path) if task is None else [task]
        return {name: read_board(board_path(path, name)) for name in names if board_path(path, name).exists()}
    return _at_revision(place, folder, task)


def _git(folder: Path, *words: str) -> str | None:
    """Return git's output, or None where git says no."""
    program = shutil.which("git")
    if program is None:
        raise UsageError("git is not installed: name leaderboard files instead of revisions")
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and revisions cannot be options (--end-of-options)
            [program, "-C", str(folder), *words], capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"git did not answer within {_SECONDS} s") from error
    return done.stdout.decode("utf-8", errors="replace") if done.returncode == 0 else None


def _at_revision(revision: str, folder: Path, task: str | None) -> dict[str, Leaderboard]:
    around = folder.resolve().parent
    commit = None
    if around.is_dir() and revision and "\0" not in revision and ":" not in revision:
        commit = _git(around, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise UsageError(f"{revision!r} is neither a leaderboard file nor a git revision here")
    commit = commit.strip()
    listed = _git(around, "ls-tree", "--name-only", "-z", commit, "--", f"{folder.name}/")
    names = [Path(line).stem for line in (listed or "").split("\0") if line.endswith(".json")]
    boards = {}
    for name in sorted(names):
        if task not in (None, name):
            continue
        text = _git(around, "show", f"{commit}:./{folder.name}/{name}.json")
        if text is None:
            raise DataError(f"git cannot show {folder.name}/{name}.json of {revision}")
        boards[name] = parse_board(text, f"{revision}:{folder.name}/{name}.json")
    return boards
