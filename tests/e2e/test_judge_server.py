"""The chat judge against a real HTTP server that answers, stalls, refuses and hangs up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from judge_server import Call, JudgeServer, Reply, Script

from evalkit.errors import JudgeError, UsageError
from evalkit.judge import (
    INF_STREAMS_PROMPT,
    ChatJudge,
    Endpoint,
    JudgeSettings,
    Pair,
    VerdictStore,
    judge_pairs,
    summarise_verdicts,
)
from evalkit.judge.retry import RetryPolicy
from evalkit.records import VerdictRecord

KEY = "sk-very-secret"
QUICK = RetryPolicy(first=0.01, longest=0.02)


def pairs(count: int) -> list[Pair]:
    return [
        Pair(f"p{n}", f"v{n % 3}", 0.0, 100.0, f"reference {n}", f"test {n}", f"baseline {n}")
        for n in range(count)
    ]


def judge_for(server: JudgeServer, retry: RetryPolicy = QUICK, **settings: float) -> ChatJudge:
    return ChatJudge(
        "m",
        Endpoint(server.base_url, KEY),
        settings=JudgeSettings(**settings),  # type: ignore[arg-type]
        retry=retry,
    )


def run(judge: ChatJudge, count: int = 1, store: VerdictStore | None = None) -> list[VerdictRecord]:
    return judge_pairs(pairs(count), judge, model_name="mine", baseline_name="base", store=store)


def once(first: Reply, then: Reply | None = None) -> Script:
    """Misbehave on the first call only."""
    return lambda call: first if call.number == 0 else (then or Reply())


def prefers(word: str) -> Script:
    """A judge with a taste: the candidate that contains the word, whatever its slot."""
    return lambda call: Reply("A" if word in call.user.split("Candidate B:")[0].split("Candidate A:")[1] else "B")


def test_both_orders_are_asked_with_the_published_prompt_and_a_temperature_of_0() -> None:
    with JudgeServer(prefers("test")) as server:
        verdicts = run(judge_for(server, concurrency=1))
    assert [v.winner for v in verdicts] == ["test", "test"]
    assert [v.vote for v in verdicts] == ["first", "second"]
    bodies = [call.body for call in server.calls]
    assert [body["temperature"] for body in bodies] == [0.0, 0.0]
    assert bodies[0]["messages"] == INF_STREAMS_PROMPT.messages("reference 0", "test 0", "baseline 0")
    assert bodies[1]["messages"] == INF_STREAMS_PROMPT.messages("reference 0", "baseline 0", "test 0")
    assert server.calls[0].path == "/v1/chat/completions"
    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"


def test_tokens_are_counted_and_priced() -> None:
    with JudgeServer() as server:
        found = summarise_verdicts(run(judge_for(server, price_in=2.0, price_out=10.0), 5)).to_json()
    assert found["usage"] == {
        "calls": 10,
        "prompt_tokens": 1000,
        "completion_tokens": 20,
        "cost": pytest.approx((1000 * 2.0 + 20 * 10.0) / 1e6),
        "reused": 0,
    }
    assert found["first_slot_rate"] == 1.0
    assert found["judge"].startswith("openai:m (prompt inf-streams ")


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(status=429),
        Reply(status=500),
        Reply(status=503, raw=b"<html>busy</html>"),
        Reply(cut=40),
        Reply(cut=0),
        Reply(reset=True),
        Reply(raw=b'{"choices": [{"mess'),
        Reply(raw=b"<html>a proxy says hello</html>"),
        Reply(raw=b'{"choices": []}'),
        Reply(raw=b"[]"),
        Reply(raw=b"[" * 100_000),
        Reply(delay=0.5),
    ],
    ids=[
        "429",
        "500",
        "html-503",
        "cut",
        "no-body",
        "reset",
        "cut-json",
        "html-200",
        "no-choices",
        "list",
        "nested",
        "slow",
    ],
)
def test_a_passing_trouble_costs_one_more_attempt_and_no_vote(trouble: Reply) -> None:
    with JudgeServer(once(trouble)) as server:
        verdicts = run(judge_for(server, concurrency=1, timeout=0.25))
    assert [(v.vote, v.error) for v in verdicts] == [("first", None)] * 2
    assert [v.attempts for v in verdicts] == [2, 1]


@pytest.mark.parametrize("usage", [None, [], "100", {}, {"prompt_tokens": "1", "completion_tokens": 1.5}])
def test_a_vote_counts_whatever_the_server_says_of_its_tokens(usage: object) -> None:
    with JudgeServer(lambda call: Reply(usage=usage)) as server:
        verdicts = run(judge_for(server, price_in=2.0, price_out=10.0))
    assert [(v.vote, v.attempts, v.prompt_tokens, v.cost) for v in verdicts] == [("first", 1, 0, None)] * 2


def test_one_price_alone_is_no_cost() -> None:
    with pytest.raises(UsageError, match="--price-in and --price-out"):
        JudgeSettings(price_in=2.0)


@pytest.mark.parametrize("header", [("Retry-After", "1"), ("retry-after-ms", "1000")])
def test_a_retry_after_is_honoured(header: tuple[str, str]) -> None:
    with JudgeServer(once(Reply(status=429, headers=(header,)))) as server:
        began = time.perf_counter()
        run(judge_for(server, concurrency=1))
        assert time.perf_counter() - began >= 1.0


def test_a_reply_that_is_no_vote_is_asked_twice_more_and_then_counts_as_invalid() -> None:
    with JudgeServer(lambda call: Reply("Both have their merits.")) as server:
        verdicts = run(judge_for(server))
    assert [(v.vote, v.winner, v.rule, v.attempts) for v in verdicts] == [
        ("invalid", "invalid", "not-one-letter", 3)
    ] * 2
    assert verdicts[0].reply == "Both have their merits."
    assert len(server.calls) == 6
    assert summarise_verdicts(verdicts).to_json()["invalid"] == 2


@pytest.mark.parametrize("garbage", ["", None, "C", "<think>A"])
def test_a_second_answer_that_is_a_vote_counts(garbage: str | None) -> None:
    with JudgeServer(once(Reply(garbage), Reply("**B**"))) as server:
        verdicts = run(judge_for(server, concurrency=1))
    assert [(v.vote, v.rule, v.attempts) for v in verdicts] == [("second", "bold", 2), ("second", "bold", 1)]


def test_a_model_that_takes_no_temperature_is_asked_without_and_the_verdict_says_so() -> None:
    def script(call: Call) -> Reply:
        if "temperature" in call.body:
            return Reply(status=400, error={"message": "Unsupported value: 'temperature'", "param": "temperature"})
        return Reply()

    with JudgeServer(script) as server:
        verdicts = run(judge_for(server, concurrency=1), 3)
    assert len(server.calls) == 7  # learnt once
    assert {(v.vote, v.rule) for v in verdicts} == {("first", "letter, without-temperature")}
    assert all("no temperature sent" in v.judge for v in verdicts)


def test_the_dated_snapshot_that_answered_is_on_record() -> None:
    with JudgeServer(lambda call: Reply(model="m-2026-01-31")) as server:
        verdicts = run(judge_for(server))
    assert verdicts[0].judge.startswith("openai:m (served m-2026-01-31; prompt inf-streams ")


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (Reply(status=401, error={"message": f"Incorrect API key {KEY}"}), r"key was refused \(.*\*\*\*"),
        (Reply(status=403), "the key may not use this judge"),
        (
            Reply(status=404, error={"message": "The model `m` does not exist"}),
            "no such model or path .*does not exist",
        ),
        (Reply(status=429, error={"code": "insufficient_quota"}), "quota is used up"),
    ],
)
def test_what_no_retry_can_mend_ends_judging_at_once_in_one_line(trouble: Reply, says: str) -> None:
    with JudgeServer(lambda call: trouble) as server:
        with pytest.raises(JudgeError, match=says) as caught:
            run(judge_for(server), 1000)
        assert len(server.calls) <= 64
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_server_that_is_not_there_ends_judging_at_the_first_call() -> None:
    with JudgeServer() as server:
        gone = server.base_url
    with pytest.raises(JudgeError, match=r"cannot be reached: .*check --base-url") as caught:
        judge_pairs(
            pairs(1000), ChatJudge("m", Endpoint(gone)), model_name="mine", baseline_name="base", store=None
        )
    assert "\n" not in str(caught.value)


def test_a_server_that_fails_for_good_is_given_up_after_twenty_questions() -> None:
    with JudgeServer(lambda call: Reply(status=500)) as server:
        with pytest.raises(JudgeError, match="20 questions in a row got no reply, the last: HTTP 500"):
            run(judge_for(server, attempts=2, concurrency=4), 1000)
        assert len(server.calls) <= 2 * (20 + 4)


def test_a_question_that_gets_no_reply_is_an_invalid_verdict_with_its_reason_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    def script(call: Call) -> Reply:
        return Reply(status=400, error={"message": "too long"}) if "reference 1\n" in call.user else Reply()

    path = tmp_path / "verdicts.jsonl"
    with JudgeServer(script) as server:
        with VerdictStore(path) as store:
            verdicts = run(judge_for(server), 3, store)
        assert [v.error for v in verdicts[2:4]] == ["HTTP 400 (too long)"] * 2
        assert [v.vote for v in verdicts] == ["first"] * 2 + ["invalid"] * 2 + ["first"] * 2
        before = len(server.calls)
        with VerdictStore(path) as store:
            run(judge_for(server), 3, store)
        assert len(server.calls) == before + 2  # only what got no reply is asked again


def test_verdicts_are_reused_from_another_server_with_another_number_at_once(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    with JudgeServer() as server, VerdictStore(path) as store:
        first = run(judge_for(server, concurrency=2), 4, store)
    with JudgeServer() as other, VerdictStore(path) as store:
        again = run(judge_for(other, concurrency=5), 4, store)
        assert other.calls == []
    assert [(v.key, v.winner) for v in again] == [(v.key, v.winner) for v in first]
    with JudgeServer() as warmer, VerdictStore(path) as store:
        run(judge_for(warmer, temperature=0.7), 4, store)
        assert len(warmer.calls) == 8


def test_64_questions_are_under_way_at_once_and_connections_are_kept() -> None:
    with JudgeServer(lambda call: Reply(hold=64 if call.number else 0)) as server:
        run(judge_for(server), 96)
    assert server.most_at_once == 64
    assert len(server.calls) == 192
    assert server.connections <= 96


def test_a_server_without_a_key_gets_a_placeholder() -> None:
    with JudgeServer() as server:
        judge = ChatJudge("m", Endpoint(server.base_url))
        assert len(run(judge)) == 2
    assert server.calls[0].headers["authorization"] == "Bearer no-key-needed"


@pytest.mark.parametrize(
    "echo",
    [
        lambda key: Reply(f"Your key is {key}"),
        lambda key: Reply(model=f"m-{key}"),
        lambda key: Reply(
            message={"content": [{"type": "text", "text": key[:30]}, {"type": "text", "text": "!"}]}
        ),
        lambda key: Reply(message={"content": None, "refusal": f"not with {key[9:]}"}),
        lambda key: Reply(status=400, error={"message": "y" * 150 + " " + key}),
        lambda key: Reply(status=500, raw=f"<html>{key}</html>".encode()),
        lambda key: Reply(raw=json.dumps({"error": {"message": f"bad {key}"}}).encode()),
    ],
    ids=["text", "model", "parts", "refusal", "400-across-the-cut", "html-500", "error-in-200"],
)
def test_a_key_that_a_server_sends_back_is_in_no_verdict(echo: Callable[[str], Reply], tmp_path: Path) -> None:
    key = "sk-proj-" + "Kq7v" * 13
    with JudgeServer(lambda call: echo(call.headers["authorization"].removeprefix("Bearer "))) as server:
        judge = ChatJudge(
            "m", Endpoint(server.base_url, key), settings=JudgeSettings(attempts=2, reasks=0), retry=QUICK
        )
        with VerdictStore(tmp_path / "verdicts.jsonl") as store:
            verdicts = run(judge, 1, store)
    written = (tmp_path / "verdicts.jsonl").read_text()
    assert len(verdicts) == 2
    assert "***" in written
    assert not any(key[at : at + 8] in written for at in range(len(key) - 7))


@pytest.mark.parametrize(
    ("reply", "rule", "attempts", "raw"),
    [
        (Reply(message={"role": "assistant"}, finish="content_filter"), "content-filter", 1, ""),
        (Reply(message={"role": "assistant", "reasoning": "First,"}, finish="length"), "length", 3, ""),
        (Reply(message={"content": None, "refusal": "I will not."}), "refusal", 3, "I will not."),
    ],
    ids=["filtered", "all-reasoning", "refusal"],
)
def test_a_reply_without_text_is_no_vote_for_its_own_reason_and_its_tokens_count(
    reply: Reply, rule: str, attempts: int, raw: str
) -> None:
    with JudgeServer(lambda call: reply) as server:
        verdicts = run(judge_for(server))
    assert [(v.vote, v.rule, v.error, v.reply) for v in verdicts] == [("invalid", rule, None, raw)] * 2
    assert [(v.attempts, v.prompt_tokens) for v in verdicts] == [(attempts, 100 * attempts)] * 2


def test_a_vote_in_parts_counts_and_the_parts_are_kept() -> None:
    parts = [{"type": "thinking", "thinking": "B is dull"}, {"type": "text", "text": "A"}]
    with JudgeServer(lambda call: Reply(message={"content": parts})) as server:
        verdicts = run(judge_for(server))
    assert [(v.vote, json.loads(v.reply)) for v in verdicts] == [("first", parts)] * 2


@pytest.mark.parametrize("status", [400, 403])
def test_texts_a_policy_refuses_are_invalid_however_many_in_a_row_and_the_others_are_judged(status: int) -> None:
    def script(call: Call) -> Reply:
        if "reference 39" in call.user:
            return Reply()
        return Reply(status=status, error={"message": "Input was flagged by moderation", "code": "content_filter"})

    with JudgeServer(script) as server:
        verdicts = run(judge_for(server, concurrency=4), 40)
    assert [v.vote for v in verdicts] == ["invalid"] * 78 + ["first"] * 2
    assert {v.rule for v in verdicts[:78]} == {"moderated"}
    assert {v.error for v in verdicts[:78]} == {f"HTTP {status} (Input was flagged by moderation)"}
    assert len(server.calls) == 80


def test_a_model_the_server_does_not_have_is_named_with_those_it_has() -> None:
    missing = Reply(status=404, error={"message": "The model `m` does not exist"})
    with (
        JudgeServer(lambda call: missing, models=("m-large", "other")) as server,
        pytest.raises(JudgeError, match=r"it has: m-large, other$"),
    ):
        run(judge_for(server))


@pytest.mark.parametrize(
    "refusal",
    [
        Reply(status=400, raw=b'{"error": "temperature does not apply"}'),
        Reply(status=422, raw=b'{"detail": [{"loc": ["body", "temperature"], "msg": "Extra inputs"}]}'),
    ],
    ids=["words", "detail"],
)
def test_a_temperature_refused_in_other_words_is_learnt_by_one_request(refusal: Reply) -> None:
    with JudgeServer(lambda call: refusal if "temperature" in call.body else Reply()) as server:
        found = summarise_verdicts(run(judge_for(server), 16)).to_json()
    assert found["usage"]["calls"] == len(server.calls) == 33
    assert "no temperature sent" in found["judge"]


def test_a_rough_server_changes_no_verdict() -> None:
    rough = [Reply(status=429), Reply(status=500), Reply(cut=30), Reply(reset=True), Reply("hm"), Reply(raw=b"{")]

    def script(call: Call) -> Reply:
        return rough[call.number // 3 % len(rough)] if call.number % 3 == 0 else prefers("test")(call)

    with JudgeServer(prefers("test")) as server:
        smooth = run(judge_for(server), 60)
    with JudgeServer(script) as server:
        bumpy = run(judge_for(server, reasks=6), 60)  # no question meets "hm" so often
    assert [(v.pair, v.order, v.winner) for v in bumpy] == [(v.pair, v.order, v.winner) for v in smooth]
    assert sum(v.attempts for v in bumpy) == len(server.calls) > 120


def test_ctrl_c_keeps_every_verdict_that_came_and_the_next_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    program = dedent(
        """
        import sys
        from pathlib import Path
        from evalkit.judge import ChatJudge, Endpoint, JudgeSettings, Pair, VerdictStore, judge_pairs
        judge = ChatJudge("m", Endpoint(sys.argv[1], "sk-very-secret"), settings=JudgeSettings(concurrency=4))
        pairs = [Pair(f"p{n}", f"v{n % 3}", 0.0, 100.0, f"reference {n}", f"test {n}", f"baseline {n}")
                 for n in range(500)]
        try:
            with VerdictStore(Path(sys.argv[2])) as store:
                judge_pairs(pairs, judge, model_name="mine", baseline_name="base", store=store)
        except KeyboardInterrupt:
            sys.exit(42)
        """
    )
    with JudgeServer(lambda call: Reply(delay=0.02)) as server:
        root = Path(__file__).parents[2]
        process = subprocess.Popen(
            [sys.executable, "-c", program, server.base_url, str(path)],
            cwd=root,
            env={**os.environ, "PYTHONPATH": "."},
        )
        _wait_for(lambda: len(server.calls) > 40)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 42
        kept = path.read_bytes()
        assert kept.endswith(b"\n")
        lines = kept.count(b"\n")
        assert lines >= 30
        asked = len(server.calls)
        with VerdictStore(path) as store:
            assert len(run(judge_for(server), 500, store)) == 1000
        assert len(server.calls) - asked == 1000 - lines
    assert path.read_bytes().startswith(kept)


def _wait_for(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(3000):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("waited 30 s in vain")
