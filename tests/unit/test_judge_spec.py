"""From a spec on the command line to a judge."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from evalkit.errors import UsageError
from evalkit.judge import ChatJudge, Endpoint, JudgeSettings, OverlapJudge, judge_names, make_judge

KEY = "sk-very-secret"


def test_overlap_needs_neither_key_nor_model() -> None:
    assert isinstance(make_judge("overlap"), OverlapJudge)


def test_openai_takes_the_model_behind_the_colon_even_with_colons_in_it() -> None:
    judge = make_judge("openai:org/model:v2", Endpoint(api_key=KEY))
    assert isinstance(judge, ChatJudge)
    assert judge.model == "org/model:v2"
    assert judge.identity.startswith("openai:org/model:v2 (prompt inf-streams ")


def test_a_server_of_ones_own_needs_no_key() -> None:
    assert isinstance(make_judge("openai:m", Endpoint("http://localhost:8000/v1")), ChatJudge)


@pytest.mark.parametrize(
    ("spec", "endpoint", "says"),
    [
        ("openai:gpt-5", Endpoint(), "needs a key: set OPENAI_API_KEY"),
        ("openai:gpt-5", Endpoint(api_key=""), "needs a key"),
        ("openai", Endpoint(api_key=KEY), "needs a model: --judge openai:MODEL"),
        ("openai:", Endpoint(api_key=KEY), "needs a model"),
        ("openai:m", Endpoint("localhost:8000"), "must begin with http"),
        ("opnai:gpt-5", Endpoint(), "did you mean 'openai'"),
        ("overlap:x", Endpoint(), "takes nothing behind a colon"),
        ("", Endpoint(), "unknown judge ''"),
    ],
)
def test_a_wrong_spec_is_one_line_that_says_what_to_do(spec: str, endpoint: Endpoint, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        make_judge(spec, endpoint)
    assert "\n" not in str(caught.value)


def test_a_key_is_shown_nowhere() -> None:
    endpoint = Endpoint("http://h/v1", KEY)
    judge = make_judge("openai:m", endpoint)
    assert KEY not in repr(endpoint) + repr(judge) + judge.identity + str(dict(judge.provenance))


def test_a_plug_in_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("coin", "evalkit.judge.spec:_overlap", "evalkit.judges")
    monkeypatch.setattr("evalkit.registry.entry_points", lambda group: [entry])
    assert judge_names() == ["coin", "openai", "overlap"]
    assert make_judge("coin").identity == OverlapJudge().identity


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"attempts": 0}, {"reasks": -1}, {"timeout": 0.0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        JudgeSettings(**wrong)


@pytest.mark.parametrize("value", ["math:pi", "evalkit_no_such_module:judge"])
def test_a_package_that_gives_no_judge_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("coin", value, "evalkit.judges")
    monkeypatch.setattr("evalkit.registry.entry_points", lambda group: [entry])
    with pytest.raises(UsageError, match="judge 'coin'"):
        make_judge("coin")
