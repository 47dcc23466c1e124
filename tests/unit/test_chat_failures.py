"""Error bodies as servers send them, and what each means."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from openai import APIStatusError

from evalkit.chat import Secrets
from evalkit.chat.failures import Failure, classify, classify_stream_error

KEY = "sk-proj-" + "K1k2" * 12
SENT = ("temperature", "max_completion_tokens", "stream_options")


def failure(status: int, body: Any, **headers: str) -> Failure:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = httpx2.Request("POST", "http://host/v1/chat/completions")
    response = httpx2.Response(status, content=content, headers=headers, request=request)
    found = classify(APIStatusError("wrapped", response=response, body=None), Secrets((KEY,)), SENT, "judge")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"error": {"message": "in words"}}, "in words"),
        ({"error": "in words"}, "in words"),
        ({"detail": "in words"}, "in words"),
        ({"message": "in words"}, "in words"),
        ({"detail": [{"loc": ["body", "n"], "msg": "too large"}]}, "body.n: too large"),
        ({"error": {"message": "upstream", "metadata": {"raw": "in words"}}}, "upstream (in words)"),
        ({"error": {"code": 7}}, '{"code": 7}'),
        (b"<html>busy</html>", "<html>busy</html>"),
        (b"", "no words"),
        (b"[" * 100_000, "[" * 199 + "…"),
    ],
)
def test_the_servers_own_words_are_the_reason(body: Any, says: str) -> None:
    assert failure(400, body).reason == f"HTTP 400 ({says})"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "The response was filtered.", "code": "content_filter"}}),
        (400, {"error": {"message": "triggered the content management policy."}}),
        (400, {"error": {"message": "m", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
        (
            400,
            {
                "error": {
                    "message": "Input data may contain inappropriate content.",
                    "code": "data_inspection_failed",
                }
            },
        ),
        (400, {"error": {"message": "Content Exists Risk"}}),
        (403, {"error": {"message": "Input was flagged", "metadata": {"flagged_input": "a fight"}}}),
        (403, {"error": "blocked by moderation"}),
        (403, {"detail": "your prompt was flagged by our safety system"}),
        (422, {"error": {"message": "x", "type": "content_policy_violation"}}),
    ],
)
def test_a_policys_refusal_is_of_the_text(status: int, body: Any) -> None:
    assert failure(status, body).kind == "moderated"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": {"message": "no key"}}, "fatal"),
        (403, {"error": {"message": "not allowed for your project"}}, "fatal"),
        (403, {"error": {"message": "Your account was flagged"}}, "fatal"),
        (404, {"error": {"message": "The model `m` does not exist"}}, "unknown"),
        (429, {"error": {"message": "slow down"}}, "again"),
        (429, {"error": {"message": "pay", "code": "insufficient_quota"}}, "fatal"),
        (500, {"error": "oops"}, "again"),
        (503, b"", "again"),
        (500, {"error": {"message": "image input is not supported - hint: provide the mmproj"}}, "refused"),
        (413, {"error": "too large"}, "refused"),
        (400, {"error": {"message": "at most 64 image(s) may be provided. (parameter=image)"}}, "refused"),
        (400, {"error": {"message": "maximum context length is 8192 tokens"}}, "too-long"),
        (400, {"error": {"message": "x", "code": "context_length_exceeded"}}, "too-long"),
    ],
)
def test_what_can_be_mended_is_told_from_what_cannot(status: int, body: Any, kind: str) -> None:
    assert failure(status, body).kind == kind


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"error": {"message": "Unsupported value", "param": "temperature"}}, "temperature"),
        ({"error": "temperature must be 1 for this model"}, "temperature"),
        ({"detail": [{"loc": ["body", "temperature"], "msg": "Extra inputs are not permitted"}]}, "temperature"),
        ({"detail": "Temperature is fixed"}, "temperature"),
        (
            {"error": {"message": "Unsupported parameter: 'max_completion_tokens' is not supported"}},
            "max_completion_tokens",
        ),
        ({"error": {"message": "Unrecognized request argument supplied: stream_options"}}, "stream_options"),
    ],
)
def test_a_parameter_the_model_does_not_take_is_found(body: Any, parameter: str) -> None:
    found = failure(400, body)
    assert (found.kind, found.parameter) == ("parameter", parameter)


def test_a_parameter_that_was_not_sent_is_not_to_blame() -> None:
    assert failure(400, {"error": {"message": "bad image", "param": "messages"}}).kind == "refused"


def test_a_wait_that_was_asked_for_is_told() -> None:
    assert failure(429, {"error": "slow down"}, **{"retry-after": "7"}).asked_wait == 7.0


@pytest.mark.parametrize("at", range(140, 205))
def test_a_key_across_the_cut_is_gone_before_the_cut(at: int) -> None:
    reason = failure(400, {"error": {"message": "y" * at + " " + KEY}}).reason
    assert not any(KEY[n : n + 8] in reason for n in range(len(KEY) - 7))
    assert len(reason) < 220


def test_an_error_in_place_of_a_reply_is_sorted_by_what_it_says() -> None:
    assert classify_stream_error({"error": {"message": "overloaded"}}).kind == "again"
    assert classify_stream_error({"error": {"code": 429, "message": "slow down"}}).kind == "again"
    assert classify_stream_error({"error": {"code": 401, "message": "no"}}).kind == "fatal"
    assert classify_stream_error({"error": {"code": 403, "message": "flagged by moderation"}}).kind == "moderated"
    assert classify_stream_error({"error": "maximum context length exceeded"}).kind == "too-long"


def test_an_error_of_the_program_is_no_failure_of_the_request() -> None:
    assert classify(ZeroDivisionError("ours"), Secrets(())) is None
