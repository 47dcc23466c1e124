"""What changed between two leaderboards."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from run_folders import question_run

from evalkit.cli.main import main
from evalkit.leaderboard.diff import diff_boards, find_runs_below
from evalkit.leaderboard.diff_text import diff_to_json, diff_to_markdown
from evalkit.leaderboard.entries import add_row, empty_board, row_of_run
from evalkit.leaderboard.files import write_board
from evalkit.leaderboard.schema import Entry, Leaderboard, PublishedSource, RunSource, Setting
from evalkit.records import read_run
from tests.growth import LINEAR, growth

GOLDEN = Path(__file__).parents[1] / "golden" / "leaderboard_diff.json"
SAME = {"policy": "one"}


def entry(id_: str, total: float, **changes) -> Entry:
    values = {
        "name": id_,
        "setting": "s",
        "score": "strict",
        "n": 100,
        "coverage": 1.0,
        "low": total - 4,
        "high": total + 4,
        "fingerprint": {"task": "t", "seed": 1, "model.name": id_},
        "fingerprint_digest": f"{id_}-{total}",
        "source": RunSource(run=f"{id_}-{total:g}", model=id_),
    }
    return Entry(id=id_, metrics={"total": total}, **{**values, **changes})


def board(*entries: Entry) -> Leaderboard:
    setting = Setting(id="s", title="A setting", primary="total", columns=("total",))
    return Leaderboard(task="t", title="T", coverage_floor=0.99, settings=(setting,), entries=entries)


def published(id_: str, total: float, **changes) -> Entry:
    source = PublishedSource(reference="paper", where="Table 1")
    return entry(id_, total, fingerprint=None, fingerprint_digest=None, source=source, score="official", **changes)


def difference(base: Entry, head: Entry):
    return diff_boards(board(base), board(head)).changed[0].difference


def paired_boards(tmp_path: Path) -> tuple[Leaderboard, Leaderboard]:
    rows = []
    for name, accuracy in (("before", 0.55), ("after", 0.75)):
        folder = tmp_path / "runs" / "ovo-bench" / "full" / name
        question_run(folder, "full", accuracy=accuracy, fingerprint={**SAME, "model.revision": name})
        rows.append(row_of_run(read_run(folder)))
    base, head = (add_row(empty_board("ovo-bench"), row) for row in rows)
    return base, head


def test_added_removed_and_changed_rows_are_told_apart():
    diff = diff_boards(
        board(entry("a", 1), entry("b", 2), entry("c", 3)), board(entry("b", 2), entry("c", 4), entry("d", 5))
    )
    assert [one.id for one in diff.added] == ["d"]
    assert [one.id for one in diff.removed] == ["a"]
    assert [one.head.id for one in diff.changed] == ["c"]


def test_equal_boards_have_no_diff():
    assert diff_boards(board(entry("a", 1)), board(entry("a", 1))).empty


def test_a_new_leaderboard_adds_all_its_rows():
    assert len(diff_boards(None, board(entry("a", 1), entry("b", 1))).added) == 2


def test_without_answers_the_difference_is_plain_and_both_intervals_stand_beside_it():
    diff = diff_boards(board(entry("a", 50)), board(entry("a", 53)))
    found = diff_to_json([diff])["tasks"][0]["changed"][0]
    assert found["difference"]["kind"] == "plain"
    assert found["difference"]["value"] == 3
    assert found["difference"]["low"] is None
    assert (found["base"]["low"], found["base"]["high"]) == (46, 54)
    assert (found["head"]["low"], found["head"]["high"]) == (49, 57)


def test_with_answers_at_hand_the_difference_is_paired(tmp_path):
    base, head = paired_boards(tmp_path)
    diff = diff_boards(base, head, find_run=find_runs_below(tmp_path / "runs"))
    found = diff.changed[0].difference
    assert found.kind == "paired"
    assert found.n == 200
    assert found.clusters == 25
    assert found.low < found.value < found.high
    assert 10 < found.value < 30
    assert found.transcripts.replies == 200
    assert found.transcripts.lost + found.transcripts.gained <= found.transcripts.differing
    text = diff_to_markdown([diff])
    assert found.transcripts.sentence() in text
    assert 'under test: model.revision ("before" against "after")' in text


def test_a_run_folder_with_another_fingerprint_is_not_taken_for_the_rows(tmp_path):
    base, head = paired_boards(tmp_path)
    path = tmp_path / "runs" / "ovo-bench" / "full" / "after" / "run.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "fingerprint_digest": "0" * 64}))
    diff = diff_boards(base, head, find_run=find_runs_below(tmp_path / "runs"))
    assert diff.changed[0].difference.kind == "plain"


def test_fingerprints_that_do_not_match_are_refused_with_the_fields():
    found = difference(entry("a", 50), entry("a", 53, fingerprint={"task": "t", "seed": 2, "model.name": "x"}))
    assert found.kind == "refused"
    assert found.value is None
    assert [(one.field, one.a, one.b) for one in found.mismatches] == [("seed", 1, 2)]
    text = diff_to_markdown(
        [diff_boards(board(entry("a", 50)), board(entry("a", 53, fingerprint={"task": "t", "seed": 2})))]
    )
    assert "not comparable" in text
    assert "seed (1 against 2)" in text


@pytest.mark.parametrize(
    ("base", "head", "said"),
    [
        (published("a", 50), entry("a", 53), "published row"),
        (published("a", 50, comparable=False, note="frames unknown"), published("a", 53), "frames unknown"),
        (entry("a", 50, score="judged"), entry("a", 53), "other rules"),
        (entry("a", 50, judge="x", score="judged"), entry("a", 53, judge="y", score="judged"), "fingerprints"),
    ],
)
def test_what_cannot_be_subtracted_says_why(base, head, said):
    found = difference(base, head)
    assert found.kind == "refused"
    assert said in found.reason


def golden_boards() -> tuple[Leaderboard, Leaderboard]:
    base = board(entry("gone", 40), entry("moved", 50), entry("other", 50), published("paper", 66.18))
    head = board(
        entry("moved", 53.5),
        entry("new", 60, coverage=0.5),
        entry("other", 51, fingerprint={"task": "t", "seed": 2, "model.name": "other"}),
        published("paper", 66.2),
    )
    return base, head


def test_the_json_of_a_diff_is_the_golden_one(tmp_path, capsys):
    for name, one in zip(("base.json", "head.json"), golden_boards(), strict=True):
        write_board(tmp_path / name, one)
    words = ["--base", str(tmp_path / "base.json"), "--head", str(tmp_path / "head.json")]
    assert main(["leaderboard", "diff", *words, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_the_markdown_of_a_diff_names_every_row_and_escapes_them():
    base, head = golden_boards()
    hostile = entry("new", 1, name="<img src=x> | `x`")
    text = diff_to_markdown([diff_boards(base, board(*head.entries[:1], hostile))])
    assert "**Added**" in text
    assert "**Removed**" in text
    assert "**Changed**" in text
    assert "<img" not in text
    assert r"\| \`x\`" in text


def test_a_diff_of_nothing_says_so():
    assert "No row was added" in diff_to_markdown([diff_boards(board(), board())])


def test_a_diff_grows_in_proportion_to_the_rows():
    def diffed(count):
        base, head = (board(*(entry(f"row-{i}", 20 + i % 50 + shift) for i in range(count))) for shift in (0, 1))

        def diff():
            assert diff_to_markdown([diff_boards(base, head)]).count("row-") >= count

        return diff

    assert growth(diffed, 100) < LINEAR


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with two states of one leaderboard."""
    monkeypatch.chdir(tmp_path)
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    env = {**os.environ, **identity}

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True, env=env)

    git("init", "-q", "-b", "main")
    for total in (50, 53):
        write_board(tmp_path / "leaderboards" / "t.json", board(entry("a", total)))
        git("add", "leaderboards")
        git("commit", "-qm", f"total {total}")
    return tmp_path


def test_revisions_are_read_from_git(repository, capsys):
    assert main(["leaderboard", "diff", "--base", "HEAD~1", "--head", "HEAD", "--format", "json"]) == 0
    changed = json.loads(capsys.readouterr().out)["tasks"][0]["changed"]
    assert changed[0]["difference"]["value"] == 3


def test_a_revision_and_the_working_tree_can_be_mixed(repository, capsys):
    write_board(repository / "leaderboards" / "t.json", board(entry("a", 60)))
    assert main(["leaderboard", "diff", "--base", "main", "--head", "leaderboards", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["changed"][0]["difference"]["value"] == 7


def test_a_merge_conflict_in_a_revision_names_revision_and_line(repository, capsys):
    path = repository / "leaderboards" / "t.json"
    path.write_text("<<<<<<< ours\n" + path.read_text())
    assert main(["leaderboard", "diff", "--base", "HEAD", "--head", str(path)]) == 2
    assert "t.json:1: a merge conflict" in capsys.readouterr().err


@pytest.mark.parametrize(
    "revision", ["no-such-branch", "--output=stolen", "-h", "$(touch stolen)", "HEAD;ls", "a:b", ""]
)
def test_what_is_no_revision_is_one_line_and_runs_nothing(repository, capsys, revision):
    assert main(["leaderboard", "diff", f"--base={revision}", "--head", "HEAD"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (repository / "stolen").exists()


def test_a_task_that_is_nowhere_is_one_line(repository, capsys):
    assert main(["leaderboard", "diff", "--base", "HEAD~1", "--head", "HEAD", "--task", "other"]) == 2
    assert "no leaderboard of other" in capsys.readouterr().err
