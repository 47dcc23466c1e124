"""Sorts what goes wrong with a chat request: try again, give this text up, or give the judge up."""

from __future__ import annotations

__all__ = ["Failure", "classify", "one_line"]

import json
from dataclasses import dataclass
from typing import Final, Literal

from openai import APIConnectionError, APIResponseValidationError, APIStatusError, APITimeoutError

from evalkit.judge.retry import parse_retry_after

Kind = Literal["again", "temperature", "refused", "fatal"]

_FATAL: Final = {
    401: "the judge's key was refused",
    403: "the key may not use this judge",
    404: "the server knows no such model or path",
}
_AGAIN: Final = frozenset({408, 409, 425, 429})
_NEVER_CONNECTED: Final = frozenset({"ConnectError", "ConnectTimeout", "UnsupportedProtocol", "ProxyError"})
_TRANSPORTS: Final = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "anyio", "ssl"})


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failed request means.

    Args:
        kind: ``again``: another try may help. ``temperature``: the model takes no temperature. ``refused``: this
            text was refused, others may pass. ``fatal``: no question can be answered.
        reason: One line for people.
        asked_wait: Seconds the server asked us to wait, where it did.
        reached: Whether a server was there.
    """

    kind: Kind
    reason: str
    asked_wait: float | None = None
    reached: bool = True


def one_line(text: str, longest: int = 200) -> str:
    """Return text on one line, cut to ``longest`` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


def classify(error: Exception) -> Failure | None:
    """Say what an exception of a chat request means; ``None`` where it is no failure of the request.

    A reply cut short, a body that is no JSON, a reset connection, a time-out, 408, 409, 425, 429 and every 5xx are
    worth another try; 401, 403, 404 and an exhausted quota are not worth 2,000 of them.
    """
    if isinstance(error, APIStatusError):
        return _of_status(error)
    if isinstance(error, APITimeoutError | TimeoutError):
        return Failure("again", "no reply in time", reached=not _never_connected(error))
    if isinstance(error, APIConnectionError):
        cause = error.__cause__ or error
        text = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        return Failure("again", one_line(f"connection failed ({text})"), reached=not _never_connected(error))
    if isinstance(error, APIResponseValidationError | json.JSONDecodeError | UnicodeDecodeError):
        return Failure("again", "the reply's body is cut or is no chat completion")
    if type(error).__module__.partition(".")[0] in _TRANSPORTS or isinstance(error, OSError):
        return Failure("again", one_line(f"connection failed ({type(error).__name__})"))
    return None


def _never_connected(error: Exception) -> bool:
    return type(error.__cause__).__name__ in _NEVER_CONNECTED


def _of_status(error: APIStatusError) -> Failure:
    status = error.status_code
    said = one_line(_said(error))
    if status in _FATAL:
        return Failure("fatal", f"{_FATAL[status]} ({said})")
    if "insufficient_quota" in (error.code, error.type):
        return Failure("fatal", f"the judge's quota is used up ({said})")
    if status in (400, 422) and (error.param == "temperature" or "temperature" in said.lower()):
        return Failure("temperature", said)
    if status in _AGAIN or status >= 500:
        return Failure("again", f"HTTP {status} ({said})", parse_retry_after(error.response.headers))
    return Failure("refused", f"HTTP {status} ({said})")


def _said(error: APIStatusError) -> str:
    """Return the server's own words where it sent some, without the client's wrapping."""
    body = error.body
    words = body.get("message") if isinstance(body, dict) else None
    return words if isinstance(words, str) and words else error.message
