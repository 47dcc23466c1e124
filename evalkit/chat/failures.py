"""Sorts what goes wrong with a chat request: ask again or otherwise, give this text up, or give the server up."""

from __future__ import annotations

__all__ = ["Failure", "FailureKind", "classify", "classify_stream_error", "one_line"]

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from evalkit.chat.retry import parse_retry_after
from evalkit.chat.secrets import Secrets

FailureKind = Literal["again", "parameter", "moderated", "too-long", "refused", "unknown", "fatal"]

_AGAIN: Final = frozenset({408, 409, 425, 429})
_OF_THE_TEXT: Final = frozenset({400, 413, 422})
_NEVER_CONNECTED: Final = frozenset({"ConnectError", "ConnectTimeout", "UnsupportedProtocol", "ProxyError"})
_TRANSPORTS: Final = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "anyio", "ssl"})

_MODERATION_CODES: Final = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "moderation_blocked",
        "invalid_prompt",
        "data_inspection_failed",
    }
)
# Codes and words as OpenAI, Azure, OpenRouter and others send them; the words must speak of what was sent, since
# "your account was flagged" is no matter of one text.
_MODERATION_WORDS: Final = re.compile(
    r"moderation|content[ _](?:management )?(?:policy|filter)|content exists risk|inappropriate content"
    r"|(?:input|prompt|text|message|image|request|output)\S* (?:was |were |has been |is |got )?flagged",
    re.IGNORECASE,
)
_TOO_LONG: Final = re.compile(
    r"context[ _](?:length|window)|maximum (?:prompt|context|input) length|too many (?:input )?tokens"
    r"|prompt is too long|parameter=input_tokens",
    re.IGNORECASE,
)
_NO_IMAGES: Final = re.compile(r"image input is not supported|\bmmproj\b", re.IGNORECASE)
"""llama.cpp's words for a model without a projector, sent as a 500 that no other try changes."""
_NOT_TAKEN: Final = re.compile(
    r"unsupported|not supported|does ?n[o']t support|unrecogni[sz]ed|unknown|unexpected|not permitted|not allowed"
    r"|extra (?:inputs|fields)|cannot be|invalid|deprecated",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failed request means.

    Args:
        kind: ``again``: another try may help. ``parameter``: the model does not take a parameter, named in
            ``parameter``. ``moderated``: the server's policy refuses this text. ``too-long``: the prompt does not
            fit the model's context. ``refused``: this request was refused for another reason. ``unknown``: the
            server has no such model or path. ``fatal``: no request can be answered.
        reason: One line for people, free of secrets.
        asked_wait: Seconds the server asked us to wait, where it did.
        reached: Whether a server was there.
        parameter: Name of the parameter.
    """

    kind: FailureKind
    reason: str
    asked_wait: float | None = None
    reached: bool = True
    parameter: str = ""


def one_line(text: str, longest: int = 200) -> str:
    """Return text on one line, cut to ``longest`` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


def classify(
    error: Exception, secrets: Secrets, sent: Collection[str] = (), whom: str = "model"
) -> Failure | None:
    """Say what an exception of a chat request means; ``None`` where it is no failure of the request.

    A reply cut short, a body that is no JSON, a reset connection, a time-out, 408, 409, 425, 429 and every 5xx are
    worth another try; 401, 403, 404 and an exhausted quota are not worth 2,000 of them.

    Args:
        error: What was raised.
        secrets: What must not be in the reason.
        sent: Names of the request's parameters.
        whom: Who is asked, in one word, for messages.
    """
    from openai import APIConnectionError, APIError, APIResponseValidationError, APIStatusError, APITimeoutError

    if isinstance(error, APIStatusError):
        body = secrets.clean_json(_body_of(error.response.content))
        wait = parse_retry_after(error.response.headers)
        return _of_status(error.status_code, _Said.of(body), wait, sent, whom)
    if isinstance(error, APITimeoutError | TimeoutError):
        return Failure("again", "no reply in time", reached=not _never_connected(error))
    if isinstance(error, APIConnectionError):
        cause = error.__cause__ or error
        text = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        text = secrets.clean(f"connection failed ({text})")
        return Failure("again", one_line(text), reached=not _never_connected(error))
    if isinstance(error, APIResponseValidationError | json.JSONDecodeError | UnicodeDecodeError):
        return Failure("again", "the reply's body is cut or is no chat completion")
    if isinstance(error, APIError):
        return classify_stream_error(secrets.clean_json({"error": error.body}), sent, whom)
    if isinstance(error, UnicodeEncodeError):
        return Failure("refused", "the text holds half a character (a lone surrogate), which no request can carry")
    if type(error).__module__.partition(".")[0] in _TRANSPORTS or isinstance(error, OSError):
        return Failure("again", f"connection failed ({type(error).__name__})")
    return None


def classify_stream_error(body: Any, sent: Collection[str] = (), whom: str = "model") -> Failure:
    """Say what an error means that came where a reply was awaited, in a stream or under status 200.

    Args:
        body: The cleaned JSON.
        sent: As for `classify`.
        whom: As for `classify`.
    """
    said = _Said.of(body)
    status = int(said.code) if said.code.isdigit() and len(said.code) == 3 else 0
    if status >= 400 or said.is_moderation or said.is_too_long:
        return _of_status(status or 400, said, None, sent, whom)
    return Failure("again", f"an error in place of a reply ({one_line(said.words)})")


def _never_connected(error: Exception) -> bool:
    return type(error.__cause__).__name__ in _NEVER_CONNECTED


def _body_of(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class _Said:
    """A server's error body, read: its words, and what it names."""

    words: str
    code: str = ""
    type: str = ""
    param: str = ""
    flagged: bool = False

    @classmethod
    def of(cls, body: Any) -> _Said:
        """Read ``{"error": {...}}``, ``{"error": "words"}``, ``{"detail": ...}``, ``{"message": ...}`` or text."""
        inner = body
        if isinstance(body, dict):
            inner = next((body[name] for name in ("error", "detail", "message") if body.get(name)), body)
        if not isinstance(inner, dict):
            return cls(_words(inner), param=_places(inner))
        metadata = inner.get("metadata")
        more = metadata if isinstance(metadata, dict) else {}
        words = next((inner[name] for name in ("message", "detail", "msg") if inner.get(name)), inner)
        raw = more.get("raw")
        return cls(
            words=_words(words) + (f" ({_words(raw)})" if raw else ""),
            code=str(inner.get("code") or ""),
            type=str(inner.get("type") or ""),
            param=str(inner.get("param") or "") or _places(words),
            flagged="flagged_input" in more or (inner.get("innererror") is not None and _filtered(inner)),
        )

    @property
    def is_moderation(self) -> bool:
        """Whether the server's policy refuses what was sent."""
        named = {self.code, self.type} & _MODERATION_CODES
        return self.flagged or bool(named) or bool(_MODERATION_WORDS.search(self.words))

    @property
    def is_too_long(self) -> bool:
        """Whether the prompt does not fit the model's context."""
        return self.code == "context_length_exceeded" or bool(_TOO_LONG.search(self.words))


def _filtered(error: Mapping[str, Any]) -> bool:
    return "content_filter" in str(error["innererror"]) or "ResponsibleAI" in str(error["innererror"])


def _words(value: Any) -> str:
    """Return what a server said as text: words, or a list of ``{"loc": [...], "msg": "words"}``."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(_words(item) for item in value)
    if isinstance(value, dict) and isinstance(value.get("msg"), str):
        where = ".".join(str(part) for part in value["loc"]) if isinstance(value.get("loc"), list) else ""
        return f"{where}: {value['msg']}" if where else str(value["msg"])
    return json.dumps(value, ensure_ascii=False)


def _places(value: Any) -> str:
    """Return the parameter a list of ``{"loc": ["body", "temperature"], ...}`` speaks of."""
    first = value[0] if isinstance(value, list) and value else None
    loc = first.get("loc") if isinstance(first, dict) else None
    return str(loc[1]) if isinstance(loc, list) and len(loc) > 1 and loc[0] == "body" else ""


def _of_status(status: int, said: _Said, wait: float | None, sent: Collection[str], whom: str) -> Failure:
    words = one_line(said.words) or "no words"
    reason = f"HTTP {status} ({words})"
    if "insufficient_quota" in (said.code, said.type):
        return Failure("fatal", f"the {whom}'s quota is used up ({words})")
    if status in (400, 403, 422, 451) and said.is_moderation:
        return Failure("moderated", reason)
    if status == 401:
        return Failure("fatal", f"the {whom}'s key was refused ({words})")
    if status == 403:
        return Failure("fatal", f"the key may not use this {whom} ({words})")
    if status == 404:
        return Failure("unknown", f"the server knows no such model or path ({words})")
    if status >= 500 and _NO_IMAGES.search(said.words):
        return Failure("refused", reason)
    if status in _AGAIN or status >= 500:
        return Failure("again", reason, wait)
    if status in _OF_THE_TEXT:
        parameter = _parameter(said, sent)
        if parameter:
            return Failure("parameter", reason, parameter=parameter)
        if said.is_too_long:
            return Failure("too-long", reason)
    return Failure("refused", reason)


def _parameter(said: _Said, sent: Collection[str]) -> str:
    """Return the parameter of the request that the server does not take, or an empty text."""
    if said.param in sent:
        return said.param
    if "temperature" in sent and "temperature" in said.words.lower():
        return "temperature"
    if not _NOT_TAKEN.search(said.words):
        return ""
    named = [name for name in sent if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said.words)]
    return min(named, key=said.words.index) if named else ""
