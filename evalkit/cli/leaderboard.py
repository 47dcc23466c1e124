"""Keep leaderboards: add a run's row, render the tables, show what changed between two revisions.

add RUN          put a finished run into leaderboards/TASK.json (a row of the same name is replaced)
render           write leaderboards/README.md and leaderboards/index.html from the JSON files
diff             rows added, removed and changed between two files, folders or git revisions
"""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
from pathlib import Path

from evalkit.cli.compare import add_judging
from evalkit.cli.output import emit_json, note, say
from evalkit.errors import DataError

_FOLDER = Path("leaderboards")
_PATIENCE = 60.0
"""Seconds to wait while another process changes a file of the folder, which takes it a fraction of one."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="add|render|diff")
    add = actions.add_parser("add", help="put a finished run into its task's leaderboard", allow_abbrev=False)
    add.add_argument("run", type=Path, metavar="RUN", help="run folder")
    add.add_argument("--name", help="what the table calls it (default: model and checkpoint)")
    add_judging(add)
    render = actions.add_parser("render", help="write the tables from the JSON files", allow_abbrev=False)
    render.add_argument("--check", action="store_true", help="write nothing; exit 1 where they are out of date")
    diff = actions.add_parser("diff", help="show what changed", allow_abbrev=False)
    diff.add_argument("--base", required=True, metavar="REV|FILE", help="before: file, folder or git revision")
    diff.add_argument("--head", required=True, metavar="REV|FILE", help="after: file, folder or git revision")
    diff.add_argument("--format", choices=("markdown", "json"), default="markdown", help="(default %(default)s)")
    diff.add_argument("--task", help="this benchmark only")
    diff.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        help="where run folders lie, for paired differences (%(default)s)",
    )
    for action in (add, render, diff):
        action.add_argument(
            "--leaderboards", type=Path, default=_FOLDER, metavar="DIR", help="folder of the files (%(default)s)"
        )


def run(args: argparse.Namespace) -> int:
    """Do the action.

    Returns:
        0 done, 1 where ``render --check`` finds the tables out of date.

    Raises:
        DataError: A file or a run cannot be used.
        UsageError: A revision or a name that is none.
    """
    return {"add": _add, "render": _render, "diff": _diff}[args.action](args)


def _add(args: argparse.Namespace) -> int:
    from evalkit.leaderboard.entries import add_row, empty_board, row_of_run
    from evalkit.leaderboard.files import board_path, read_board, write_board
    from evalkit.records import hold_folder, read_run

    records = read_run(args.run, ticks=False)
    row = row_of_run(records, name=args.name, baseline=args.baseline, judge=args.judge)
    path = board_path(args.leaderboards, records.manifest.task)
    with hold_folder(args.leaderboards, patience=_PATIENCE):
        board = read_board(path) if path.exists() else empty_board(records.manifest.task)
        write_board(path, add_row(board, row))
    say(f"{row.entry.id}: {row.entry.metrics[row.setting.primary]:.2f} % {row.setting.primary}, written to {path}")
    if row.entry.coverage is not None and row.entry.coverage < board.coverage_floor:
        shares = f"{100 * row.entry.coverage:.1f} % is below {100 * board.coverage_floor:g} %"
        note(f"coverage {shares}: listed, not ranked")
    return 0


def _render(args: argparse.Namespace) -> int:
    from evalkit.leaderboard.files import task_names
    from evalkit.records import hold_folder

    names = task_names(args.leaderboards)
    if not names:
        raise DataError(f"no leaderboard in {args.leaderboards}: evalkit leaderboard add RUN makes one")
    if args.check:
        return _render_boards(args, names)
    with hold_folder(args.leaderboards, patience=_PATIENCE):
        return _render_boards(args, names)


def _render_boards(args: argparse.Namespace, names: list[str]) -> int:
    from evalkit.leaderboard.board_page import render_html
    from evalkit.leaderboard.files import board_path, read_board
    from evalkit.leaderboard.render import into_readme, render_markdown
    from evalkit.records import write_atomic

    boards = [read_board(board_path(args.leaderboards, name)) for name in names]
    readme, page = args.leaderboards / "README.md", args.leaderboards / "index.html"
    old = _text(readme) if readme.exists() else None
    wanted = {readme: into_readme(old, render_markdown(boards), str(readme)), page: render_html(boards)}
    stale = [path for path, text in wanted.items() if not path.exists() or _text(path) != text]
    if args.check:
        for path in stale:
            say(f"{path} is out of date: run evalkit leaderboard render")
        return 1 if stale else 0
    for path in stale:
        write_atomic(path, wanted[path])
    say(f"{readme} and {page}: {sum(len(board.entries) for board in boards)} rows of {len(boards)} benchmarks")
    return 0


def _text(path: Path) -> str:
    """Return what stands in a rendered file.

    Raises:
        DataError: It is no plain file of UTF-8 text.
    """
    from evalkit.records import read_plain

    try:
        return read_plain(path).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start})", path=path) from error


def _diff(args: argparse.Namespace) -> int:
    from evalkit.leaderboard.diff import diff_boards, find_runs_below
    from evalkit.leaderboard.diff_text import diff_to_json, diff_to_markdown
    from evalkit.leaderboard.revisions import boards_at

    base = boards_at(args.base, args.leaderboards, args.task)
    head = boards_at(args.head, args.leaderboards, args.task)
    tasks = sorted(base.keys() | head.keys())
    if not tasks:
        what = f"of {args.task} " if args.task else ""
        raise DataError(f"no leaderboard {what}at {args.base} or at {args.head}")
    find_run = find_runs_below(args.runs)
    diffs = [diff_boards(base.get(task), head.get(task), find_run=find_run) for task in tasks]
    if args.format == "json":
        emit_json(diff_to_json(diffs))
    else:
        say(diff_to_markdown(diffs))
    return 0
