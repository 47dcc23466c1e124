"""Recorded votes: LiveCC's files and our own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.judge import read_votes, summarise_votes
from evalkit.records import VerdictRecord

PUBLISHED = Path(os.environ.get("EVALKIT_PUBLISHED_DIR", Path(__file__).parents[3] / "shared" / "published"))
LIVECC = PUBLISHED / "livesports3k" / "GPT-4o_LiveCC-7B-Base.jsonl"
ROWS = [("a_b_1", "mine", "mine"), ("a_b_2", "mine", "base"), ("c_1", "base", "base")]


def livecc(folder: Path, rows: Iterable[tuple[str, str, str]], name: str = "base_mine.jsonl") -> Path:
    path = folder / name
    lines = [json.dumps({"video_event_id": event, "ab_winner": ab, "ba_winner": ba}) for event, ab, ba in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def verdict(pair: str, order: str, winner: str, **more: object) -> VerdictRecord:
    fields = {
        "key": f"{pair}{order}",
        "pair": pair,
        "cluster": pair[0],
        "start": 0.0,
        "end": 1.0,
        "order": order,
        "vote": "tie" if winner == "tie" else "first",
        "winner": winner,
        "rule": "letter",
        "reply": "A",
        "attempts": 1,
        "judge": "openai:x (prompt p)",
        "model_name": "mine",
        "baseline_name": "base",
        "prompt_tokens": 10,
        "completion_tokens": 1,
        **more,
    }
    return VerdictRecord.model_validate(fields)


def verdicts(folder: Path, records: Iterable[VerdictRecord]) -> Path:
    path = folder / "verdicts.jsonl"
    path.write_text("".join(record.model_dump_json() + "\n" for record in records))
    return path


@pytest.mark.skipif(not LIVECC.exists(), reason=f"{LIVECC} is not here (EVALKIT_PUBLISHED_DIR)")
def test_the_published_votes_give_the_published_figures() -> None:
    found = summarise_votes(read_votes(LIVECC, "livecc")).to_json()
    assert (found["model"], found["baseline"]) == ("LiveCC-7B-Base", "GPT-4o")
    assert (found["pairs"], found["verdicts"]) == (1702, 3404)
    assert round(found["win_rate_votes"], 4) == 0.4721
    assert round(found["wins_shown_first"], 4) == 0.6469
    assert round(found["wins_shown_second"], 4) == 0.2973
    assert round(found["consistency"], 4) == 0.6269
    assert found["clusters"] == 416
    low, high = found["interval"]
    assert low < found["win_rate"] < high


@pytest.mark.skipif(not LIVECC.exists(), reason=f"{LIVECC} is not here (EVALKIT_PUBLISHED_DIR)")
def test_the_baseline_put_under_test_gets_the_mirrored_figures() -> None:
    mine = summarise_votes(read_votes(LIVECC, "livecc")).to_json()
    other = summarise_votes(read_votes(LIVECC, "livecc", model="GPT-4o")).to_json()
    assert (other["model"], other["baseline"]) == ("GPT-4o", "LiveCC-7B-Base")
    assert other["win_rate"] == pytest.approx(1 - mine["win_rate"])
    assert other["wins_shown_first"] == pytest.approx(1 - mine["wins_shown_second"])
    assert other["first_slot_rate"] == pytest.approx(mine["first_slot_rate"])


def test_ab_is_the_order_in_which_the_files_model_stood_first(tmp_path: Path) -> None:
    votes = read_votes(livecc(tmp_path, ROWS), "livecc")
    assert (votes.model, votes.baseline) == ("mine", "base")
    assert [(one.pair, one.cluster, one.ab, one.ba) for one in votes.pairs] == [
        ("a_b_1", "a_b", "test", "test"),
        ("a_b_2", "a_b", "test", "baseline"),
        ("c_1", "c", "baseline", "baseline"),
    ]


def test_names_with_underscores_and_a_model_without_a_vote_are_told_apart_by_the_file_name(tmp_path: Path) -> None:
    path = livecc(tmp_path, [("v_1", "big_model", "big_model")], "big_model_my_own.jsonl")
    votes = read_votes(path, "livecc")
    assert (votes.model, votes.baseline) == ("my_own", "big_model")
    path = livecc(tmp_path, [("v_1", "my_own", "my_own")], "big_model_my_own.jsonl")
    assert read_votes(path, "livecc").model == "my_own"


def test_a_file_that_names_no_baseline_needs_to_be_told_the_model(tmp_path: Path) -> None:
    path = livecc(tmp_path, ROWS, "votes.jsonl")
    with pytest.raises(UsageError, match="say --model NAME"):
        read_votes(path, "livecc")
    votes = read_votes(path, "livecc", model="mine")
    assert [one.ab for one in votes.pairs] == ["test", "test", "baseline"]
    assert votes.notes == ("the file's name does not say who stood first in 'ab'; mine is taken to",)


@pytest.mark.parametrize("name", ["base_mine.jsonl", "votes.jsonl"])
def test_a_model_the_file_does_not_know_is_refused_with_a_suggestion(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="did you mean 'mine'"):
        read_votes(livecc(tmp_path, ROWS, name), "livecc", model="mines")


def test_ties_and_invalid_votes_are_no_wins_and_ties_are_named(tmp_path: Path) -> None:
    path = livecc(tmp_path, [*ROWS, ("d_1", "tie", "mine"), ("d_2", "invalid", "mine")])
    votes = read_votes(path, "livecc")
    assert [one.ab for one in votes.pairs[3:]] == ["tie", "invalid"]
    assert votes.notes == ("1 votes are recorded as 'tie': the reply named neither side",)
    found = summarise_votes(votes).to_json()
    assert (found["invalid"], found["pairs"], found["verdicts"]) == (1, 5, 10)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{oops", "line 4: not JSON"),
        ("[1]", "line 4: not a JSON object"),
        ("<<<<<<< HEAD", "line 4: a merge conflict mark"),
        ("=======", "line 4: a merge conflict mark"),
        ('{"video_event_id": "x_1", "ab_winner": "mine"}', "line 4: no text in 'ba_winner'"),
        ('{"video_event_id": 3, "ab_winner": "mine", "ba_winner": "mine"}', "line 4: no text in 'video_event_id'"),
        ('{"video_event_id": "x_1", "ab_winner": "who", "ba_winner": "mine"}', "line 4: a winner that is neither"),
        (
            '{"video_event_id": "c_1", "ab_winner": "mine", "ba_winner": "mine"}',
            "line 4: 'c_1' was judged in line 3",
        ),
    ],
)
def test_a_malformed_line_is_named_by_its_number_and_nothing_is_computed(
    tmp_path: Path, line: str, says: str
) -> None:
    path = livecc(tmp_path, ROWS)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises((DataError, UsageError), match=says) as caught:
        read_votes(path, "livecc", model="mine")
    assert "\n" not in str(caught.value)


def test_many_malformed_lines_are_named_in_part_and_counted(tmp_path: Path) -> None:
    path = livecc(tmp_path, ROWS)
    path.write_text("x\n" * 10)
    with pytest.raises(DataError, match=r"line 1: not JSON; line 2: not JSON; line 3: not JSON; and 7 more"):
        read_votes(path, "livecc")


def test_a_missing_or_empty_file_and_an_unknown_format_say_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file of votes"):
        read_votes(tmp_path / "none.jsonl", "livecc")
    with pytest.raises(UsageError, match="did you mean 'livecc'"):
        read_votes(tmp_path / "none.jsonl", "livec")
    for form in ("livecc", "evalkit"):
        with pytest.raises(DataError, match="no votes in it"):
            read_votes(livecc(tmp_path, [], "empty.jsonl") if form == "livecc" else verdicts(tmp_path, []), form)


def test_our_own_verdicts_are_read_from_file_or_run_folder(tmp_path: Path) -> None:
    path = verdicts(
        tmp_path,
        [verdict("a1", "ab", "test"), verdict("a1", "ba", "baseline"), verdict("b1", "ab", "tie", rule="x")],
    )
    votes = read_votes(path, "evalkit")
    assert [(one.pair, one.ab, one.ba) for one in votes.pairs] == [("a1", "test", "baseline"), ("b1", "tie", None)]
    assert read_votes(tmp_path, "evalkit") == votes
    found = summarise_votes(votes).to_json()
    assert (found["pairs"], found["verdicts"], found["skipped"]) == (2, 3, 1)
    assert found["usage"]["prompt_tokens"] == 30
    assert found["judge"] == "openai:x (prompt p)"


def test_the_latest_verdict_on_a_pair_and_order_counts(tmp_path: Path) -> None:
    lost = verdict("a1", "ab", "invalid", vote="invalid", error="HTTP 500")
    votes = read_votes(verdicts(tmp_path, [lost, verdict("a1", "ab", "test")]), "evalkit")
    assert votes.pairs[0].ab == "test"


def test_the_recorded_baseline_can_be_put_under_test(tmp_path: Path) -> None:
    path = verdicts(tmp_path, [verdict("a1", "ab", "test"), verdict("a1", "ba", "invalid", vote="invalid")])
    votes = read_votes(path, "evalkit", model="base")
    assert (votes.model, votes.baseline) == ("base", "mine")
    assert (votes.pairs[0].ab, votes.pairs[0].ba) == ("invalid", "baseline")


def test_votes_of_several_judges_or_models_need_to_be_told_apart(tmp_path: Path) -> None:
    both = [verdict("a1", "ab", "test"), verdict("a1", "ab", "baseline", judge="overlap (not an LLM)")]
    path = verdicts(tmp_path, both)
    with pytest.raises(UsageError, match=r"votes of 2 judges \(openai:x, overlap\); say --judge NAME"):
        read_votes(path, "evalkit")
    assert read_votes(path, "evalkit", judge="overlap").pairs[0].ab == "baseline"
    with pytest.raises(UsageError, match="did you mean 'overlap'"):
        read_votes(path, "evalkit", judge="overlapp")
    path = verdicts(tmp_path, [verdict("a1", "ab", "test"), verdict("a1", "ab", "test", baseline_name="third")])
    with pytest.raises(UsageError, match="mine against base; mine against third"):
        read_votes(path, "evalkit")


def test_a_torn_last_line_of_our_own_is_a_note(tmp_path: Path) -> None:
    path = verdicts(tmp_path, [verdict("a1", "ab", "test"), verdict("a1", "ba", "test")])
    path.write_text(path.read_text()[:-5])
    assert read_votes(path, "evalkit").notes == ("verdicts.jsonl:2: torn last line dropped",)


def test_votes_of_which_none_names_a_model_are_all_ties(tmp_path: Path) -> None:
    ties = [(event, "tie", "tie") for event, *_ in ROWS]
    named = read_votes(livecc(tmp_path, ties, "GPT-4o_LiveCC-7B-Base.jsonl"), "livecc")
    assert (named.model, named.baseline) == ("LiveCC-7B-Base", "GPT-4o")
    nameless = read_votes(livecc(tmp_path, ties, "votes.jsonl"), "livecc")
    assert "no vote names a model" in nameless.notes
    assert {(pair.ab, pair.ba) for pair in nameless.pairs} == {("tie", "tie")}


def test_votes_that_an_editor_saved_with_a_mark_and_other_line_ends_are_read(tmp_path: Path) -> None:
    path = livecc(tmp_path, ROWS)
    plain = read_votes(path, "livecc").pairs
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_votes(path, "livecc").pairs == plain


def test_the_layout_of_votes_is_told_by_what_the_file_is(
    evalkit: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    ours = verdicts(tmp_path, [verdict("a", "ab", "test"), verdict("a", "ba", "test")])
    for path in (livecc(tmp_path, ROWS), ours, tmp_path):
        code, out, err = evalkit("judge", "--from-votes", path, "--json")
        assert (code, json.loads(out)["model"]) == (0, "mine"), err
