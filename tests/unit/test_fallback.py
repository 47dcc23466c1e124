"""What a fallback judge is asked, how it is read, and what its readings change."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.judge.chat import ChatClient
from evalkit.judge.contract import Endpoint, JudgeSettings
from evalkit.judge.fallback import (
    FALLBACK_PROMPT,
    FallbackReader,
    fallback_path,
    make_fallback_reader,
    read_said,
    unread,
)
from evalkit.parse import Parsed, Unparsed
from evalkit.stream import QueryKind
from evalkit.tasks import Prediction
from evalkit.tasks.scoring import mark
from evalkit_tasks.ovobench import task as ovobench

HERE = Endpoint("http://127.0.0.1:1/v1")
OPTIONS = ("A. the red ball", "the (blue) ball {x}", "None")


def said_by(reply: str | None, kind: QueryKind = "choice", id_: str = "1", **more: object) -> Prediction:
    return Prediction(id_, "X", reply, "A", kind, OPTIONS if kind == "choice" else (), **more)  # type: ignore[arg-type]


def test_the_judge_is_shown_kind_options_and_reply_and_asked_for_one_word() -> None:
    system, user = FALLBACK_PROMPT.messages("choice", OPTIONS, "  The crimson one, {reply}.\n")
    assert (system["role"], user["role"]) == ("system", "user")
    assert user["content"] == (
        "Kind of question: multiple choice\n"
        "Options:\nA. the red ball\nB. the (blue) ball {x}\nC. None\n"
        "Reply, between the lines:\n-----\nThe crimson one, {reply}.\n-----\n"
        "Say only the letter of the option that the reply chooses, or NONE."
    )


def test_without_options_the_letters_alone_are_named_and_other_kinds_name_none() -> None:
    assert "Options: A, B, C, D, E\n" in FALLBACK_PROMPT.messages("choice", (), "x")[1]["content"]
    for kind, wanted in (
        ("count", "in digits, or NONE."),
        ("yes-no", "Yes or No, as the reply answers, or NONE."),
    ):
        text = FALLBACK_PROMPT.messages(kind, (), "x")[1]["content"]
        assert "Options" not in text
        assert text.endswith(wanted)


def test_of_a_very_long_reply_both_ends_are_shown() -> None:
    text = FALLBACK_PROMPT.messages("count", (), "begin" + "x" * 1_000_000 + "so three")[1]["content"]
    assert len(text) < 8500
    assert "begin" in text
    assert "so three\n-----" in text


def test_half_an_escape_in_a_reply_can_still_be_sent() -> None:
    FALLBACK_PROMPT.messages("count", (), "three \ud800")[1]["content"].encode()


@pytest.mark.parametrize(
    ("kind", "said", "value"),
    [
        ("choice", "B", "B"),
        ("choice", "(b).", "B"),
        ("choice", "<think>A? no, B</think>B", "B"),
        ("choice", "C. None", "C"),
        ("choice", "NONE", None),  # though an option reads None
        ("choice", "None.", None),
        ("choice", "**none**", None),
        ("choice", "<think>hm</think>NONE", None),
        ("choice", "D", None),  # there is no such option
        ("choice", "A or B", None),
        ("choice", "", None),
        ("count", "3", "3"),
        ("count", "2 or 3", None),
        ("count", "NONE", None),
        ("yes-no", "no", "No"),
        ("yes-no", "NONE", None),
        ("yes-no", "Not sure", None),
    ],
)
def test_what_the_judge_says_goes_through_the_strict_parser(kind: str, said: str, value: str | None) -> None:
    found = read_said(kind, said, OPTIONS if kind == "choice" else ())
    assert (found.value if isinstance(found, Parsed) else None) == value
    assert value is not None or isinstance(found, Unparsed)


def test_only_unread_replies_with_text_are_put_to_the_judge() -> None:
    replies = [
        said_by("The crimson one", id_="unread"),
        said_by("A", id_="read"),
        said_by(None, id_="missing"),
        said_by(" \n", id_="empty"),
        said_by("**", id_="markup"),
        said_by("<think>A</think>", id_="only-thought"),
        said_by("several", "count", id_="count"),
        said_by("I guess so", "yes-no", id_="yes-no"),
        said_by("I guess so", "proactive", id_="poll"),
        said_by("", "open", id_="open"),
    ]
    ids = {found.id for found in replies}
    assert [found.id for found in unread(replies, ids)] == ["unread", "count", "yes-no"]
    assert [found.id for found in unread(replies, {"count", "empty"})] == ["count"]


def test_a_reading_counts_only_where_the_parser_reads_nothing_and_its_rule_says_so() -> None:
    crimson = Parsed("A", "fallback:openai:m")
    marks = mark(
        [
            said_by("The crimson one", id_="1", fallback=crimson),
            said_by("B", id_="2", fallback=crimson),
            said_by(None, id_="3", fallback=crimson),
            said_by("A", id_="4"),
            said_by("A", id_="5"),
            said_by("The crimson one", id_="5", fallback=crimson),
            said_by("B", id_="6"),
            said_by("The crimson one", id_="6", fallback=crimson),
        ]
    )
    assert [(m.answered, m.correct, m.rule, m.reason) for m in marks] == [
        (True, True, "fallback:openai:m", ""),
        (True, False, "letter", ""),
        (False, False, "", "missing"),
        (True, True, "letter", ""),
        (True, True, "fallback:openai:m", ""),
        (False, False, "", "contradiction"),
    ]


def test_a_reading_leaves_the_official_score_as_it_is() -> None:
    plain = [Prediction(f"q{n}", "EPM", "the crimson one", "A", "choice") for n in range(4)]
    helped = [
        Prediction(p.id, p.task, p.response, p.gold, p.kind, fallback=Parsed("A", "fallback:m")) for p in plain
    ]
    before, after = ovobench.score(plain, "official"), ovobench.score(helped, "official")
    assert after.source == before.source
    assert (before.answered, after.answered) == (0, 4)
    assert before.strict.tasks["EPM"] == 0
    assert (after.strict.tasks["EPM"] or 0) > 0


def test_a_key_is_of_model_prompt_temperature_kind_options_and_reply_alone() -> None:
    reader = FallbackReader(ChatClient("m", HERE))
    same = reader.key(said_by("x"))
    assert reader.key(Prediction("other", "Y", "x", "B", "choice", OPTIONS, "v9", {"a": "b"})) == same
    assert (
        FallbackReader(ChatClient("m", Endpoint("http://elsewhere/v1"), JudgeSettings(concurrency=1))).key(
            said_by("x")
        )
        == same
    )
    other = [
        reader.key(said_by("y")),
        reader.key(said_by("x", "count")),
        reader.key(Prediction("1", "X", "x", "A", "choice", OPTIONS[:2])),
        reader.key(said_by("x \ud800")),
        FallbackReader(ChatClient("n", HERE)).key(said_by("x")),
        FallbackReader(ChatClient("m", HERE, JudgeSettings(temperature=0.5))).key(said_by("x")),
    ]
    assert len({same, *other}) == 7


def test_readings_lie_in_a_run_folder_or_beside_what_is_scored(tmp_path: Path) -> None:
    run, model = tmp_path / "run", tmp_path / "results" / "model"
    run.mkdir()
    (run / "run.json").write_text("{}")
    model.mkdir(parents=True)
    file = model / "replies.json"
    file.write_text("[]")
    assert fallback_path(run) == run / "fallback.jsonl"
    assert fallback_path(model) == tmp_path / "results" / "fallback.jsonl"
    assert fallback_path(file) == model / "fallback.jsonl"


@pytest.mark.parametrize(
    ("spec", "endpoint", "says"),
    [
        ("overlap", HERE, "only a chat model can read replies; use --fallback openai:MODEL"),
        ("openai", HERE, "use --fallback openai:MODEL"),
        ("gpt-5", HERE, "use --fallback openai:MODEL"),
        ("openai:m", Endpoint(), "needs a key: set OPENAI_API_KEY"),
        ("openai:m", Endpoint("localhost:8000"), "must begin with http"),
    ],
)
def test_a_wrong_spec_is_one_line_that_says_what_to_do(spec: str, endpoint: Endpoint, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        make_fallback_reader(spec, endpoint)
    assert "\n" not in str(caught.value)


def test_a_reader_says_who_it_is_and_never_its_key() -> None:
    reader = make_fallback_reader("openai:org/m:v2", Endpoint("http://h/v1", "sk-very-secret"))
    assert reader.identity.startswith("openai:org/m:v2 (prompt fallback ")
    assert reader.rule == "fallback:openai:org/m:v2"
    assert "sk-very-secret" not in repr(reader) + reader.identity
