"""Verdicts on disk, and what is asked again."""

from __future__ import annotations

import json
import os
import resource
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.judge import Decision, Pair, Question, VerdictStore, judge_pairs, verdict_key
from evalkit.judge.store import FallbackStore, GradeStore
from evalkit.records import VerdictRecord
from evalkit.records.jsonl import JsonlWriter

PAIR = Pair("v1:0", "v1", 0.0, 100.0, "the reference", "text of test", "text of baseline")


@dataclass
class FirstSlotJudge:
    """Always chooses the first slot, counts its questions; `broken` gives no reply."""

    name: str = "first"
    broken: bool = False
    asked: list[Question] = field(default_factory=list)
    identity: str = "first (a test's judge)"
    concurrency: int = 3

    @property
    def provenance(self) -> dict[str, str | float | int | None]:
        return {"judge": self.name}

    async def decide(self, question: Question) -> Decision:
        self.asked.append(question)
        if self.broken:
            return Decision("invalid", "no-reply", self.identity, error="HTTP 500")
        return Decision("first", "letter", self.identity, reply="A")

    async def close(self) -> None:
        self.closed = True


def judged(pairs: list[Pair], judge: FirstSlotJudge, path: Path) -> list[VerdictRecord]:
    with VerdictStore(path) as store:
        return judge_pairs(pairs, judge, model_name="m", baseline_name="b", store=store)


def test_each_pair_is_asked_in_both_orders_and_the_vote_becomes_a_winner(tmp_path: Path) -> None:
    judge = FirstSlotJudge()
    ab, ba = judged([PAIR], judge, tmp_path / "verdicts.jsonl")
    assert [(q.first, q.second) for q in judge.asked] == [(PAIR.test, PAIR.baseline), (PAIR.baseline, PAIR.test)]
    assert (ab.order, ab.vote, ab.winner) == ("ab", "first", "test")
    assert (ba.order, ba.vote, ba.winner) == ("ba", "first", "baseline")
    assert (ab.pair, ab.cluster, ab.start, ab.end, ab.model_name, ab.baseline_name) == (
        "v1:0",
        "v1",
        0,
        100,
        "m",
        "b",
    )


@pytest.mark.parametrize(
    ("test", "baseline", "winner", "rule"),
    [
        ("", "speaks", "baseline", "empty-test"),
        ("speaks", " \n", "test", "empty-baseline"),
        ("", "", "tie", "empty-both"),
    ],
)
def test_an_empty_text_is_never_sent_but_decided_by_rule(
    tmp_path: Path, test: str, baseline: str, winner: str, rule: str
) -> None:
    judge = FirstSlotJudge()
    verdicts = judged([replace(PAIR, test=test, baseline=baseline)], judge, tmp_path / "verdicts.jsonl")
    assert judge.asked == []
    assert [(v.winner, v.rule, v.attempts) for v in verdicts] == [(winner, rule, 0)] * 2


def test_a_second_run_asks_nothing_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    pairs = [replace(PAIR, id=f"p{n}", test=f"text {n}" if n else "") for n in range(4)]
    first = judged(pairs, FirstSlotJudge(), path)
    before = path.read_bytes()
    again = FirstSlotJudge()
    second = judged(pairs, again, path)
    assert again.asked == []
    assert path.read_bytes() == before
    assert [v.model_copy(update={"cached": False}) for v in second] == first
    assert [v.cached for v in second] == [False] * 2 + [True] * 6  # a rule needs no record


@pytest.mark.parametrize("changed", ["test", "baseline", "reference"])
def test_a_changed_text_is_asked_again(tmp_path: Path, changed: str) -> None:
    path = tmp_path / "verdicts.jsonl"
    judged([PAIR], FirstSlotJudge(), path)
    again = FirstSlotJudge()
    judged([replace(PAIR, **{changed: "another"})], again, path)  # type: ignore[arg-type]
    assert len(again.asked) == 2


def test_another_judge_is_asked_again_and_the_order_has_a_key_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    judged([PAIR], FirstSlotJudge(), path)
    other = FirstSlotJudge(name="other")
    judged([PAIR], other, path)
    assert len(other.asked) == 2
    same = replace(PAIR, test="same", baseline="same")
    assert verdict_key({"judge": "x"}, same, "ab") != verdict_key({"judge": "x"}, same, "ba")


def test_the_same_texts_under_another_name_reuse_the_verdict(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    judged([PAIR], FirstSlotJudge(), path)
    again = FirstSlotJudge()
    ab, _ = judged([replace(PAIR, id="elsewhere", cluster="v9")], again, path)
    assert again.asked == []
    assert (ab.pair, ab.cluster, ab.cached) == ("elsewhere", "v9", True)
    assert len(path.read_text().splitlines()) == 4


def test_a_verdict_without_a_reply_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    lost = judged([PAIR], FirstSlotJudge(broken=True), path)
    assert [(v.vote, v.error) for v in lost] == [("invalid", "HTTP 500")] * 2
    again = FirstSlotJudge()
    assert [v.vote for v in judged([PAIR], again, path)] == ["first", "first"]
    assert len(again.asked) == 2


def test_a_torn_last_line_is_dropped_reported_and_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    judged([PAIR], FirstSlotJudge(), path)
    path.write_bytes(path.read_bytes()[:-30])
    with VerdictStore(path) as store:
        assert store.warnings == ["verdicts.jsonl:2: torn last line dropped"]
        again = FirstSlotJudge()
        judge_pairs([PAIR], again, model_name="m", baseline_name="b", store=store)
    assert len(again.asked) == 1
    assert [json.loads(line)["order"] for line in path.read_text().splitlines()] == ["ab", "ba"]


def test_a_broken_line_is_named_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    judged([PAIR], FirstSlotJudge(), path)
    path.write_text("<<<<<<< HEAD\n" + path.read_text())
    with pytest.raises(DataError, match=r"verdicts\.jsonl:1: not a JSON object"):
        VerdictStore(path)


def test_where_nothing_was_decided_no_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    VerdictStore(path).close()
    assert not path.exists()
    judged([PAIR], FirstSlotJudge(), path)
    VerdictStore(path).close()
    assert len(path.read_text().splitlines()) == 2


def test_another_baseline_of_a_name_is_called_by_its_id_too(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    with VerdictStore(path) as store:
        assert store.name_of_baseline("b", "one") == "b"
        judge_pairs([PAIR], FirstSlotJudge(), model_name="m", baseline_name="b", baseline_id="one", store=store)
    with VerdictStore(path) as store:
        names = [store.name_of_baseline("b", id_) for id_ in ("one", "two")]
        assert names == ["b", "b-two"]
        again = FirstSlotJudge()
        judge_pairs([PAIR], again, model_name="m", baseline_name="b-two", baseline_id="two", store=store)
    assert again.asked == []
    assert [json.loads(line)["baseline_name"] for line in path.read_text().splitlines()] == [
        "b",
        "b",
        "b-two",
        "b-two",
    ]


def test_two_runs_cannot_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    with VerdictStore(path), pytest.raises(UsageError, match="another run is writing verdicts there"):
        VerdictStore(path)
    VerdictStore(path).close()


def test_a_folder_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        VerdictStore(tmp_path / "none" / "verdicts.jsonl")


def test_a_full_disk_ends_judging_in_one_line_and_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    pairs = [replace(PAIR, id=f"p{n}", test=f"text {n}") for n in range(30)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(UsageError, match=r"cannot write .*earlier verdicts are kept") as caught:
            judged(pairs, FirstSlotJudge(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    lines = path.read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    assert kept
    again = FirstSlotJudge()
    assert len(judged(pairs, again, path)) == 60
    assert len(again.asked) == 60 - len(kept)


def test_two_pairs_with_one_id_are_refused() -> None:
    with pytest.raises(UsageError, match="occur more than once"):
        judge_pairs([PAIR, PAIR], FirstSlotJudge(), model_name="m", baseline_name="b")


def test_a_bar_is_drawn_on_stderr_only_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    judge_pairs([PAIR], FirstSlotJudge(), model_name="m", baseline_name="b")
    assert capsys.readouterr().err == ""
    judge_pairs([PAIR], FirstSlotJudge(), model_name="m", baseline_name="b", progress=True)
    shown = capsys.readouterr()
    assert "judging: 100%" in shown.err
    assert shown.out == ""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("opened", [VerdictStore, FallbackStore, GradeStore, JsonlWriter])
def test_a_pipe_in_the_place_of_records_is_refused_and_not_waited_for(tmp_path: Path, opened: Any) -> None:
    os.mkfifo(tmp_path / "verdicts.jsonl")
    with pytest.raises(DataError, match="is a pipe, not a file"):
        opened(tmp_path / "verdicts.jsonl")
