"""A judge's side of the chat client: the error it raises and the identity of who decided."""

from __future__ import annotations

from evalkit.chat import ChatClient, ChatSettings, ChatTally, Endpoint, NoReplyError, RetryPolicy
from evalkit.errors import JudgeError

__all__ = ["ChatClient", "ChatTally", "NoReplyError", "identity_of", "judge_client"]


def judge_client(
    model: str, endpoint: Endpoint, settings: ChatSettings, retry: RetryPolicy | None = None
) -> ChatClient:
    """Return a client whose errors are the judge's.

    Args:
        model: Model name, as the server knows it.
        endpoint: Server and key.
        settings: How it is asked.
        retry: How long to wait after a failure.
    """
    return ChatClient(model, endpoint, settings, retry or RetryPolicy(), whom="judge", error=JudgeError)


def identity_of(client: ChatClient, prompt: str, tally: ChatTally | None = None) -> str:
    """Return name, prompt and temperature in one line.

    Args:
        client: Who is asked.
        prompt: The prompt's name and digest.
        tally: The question it is about; what the next question would be asked with, by default.
    """
    served = tally.served if tally else ""
    left_out = tally.left_out if tally else client.left_out
    snapshot = f"served {served}; " if served not in ("", client.model) else ""
    temperature = client.settings.temperature
    asked = temperature is not None and "temperature" not in left_out
    sent = f"temperature {temperature:g}" if asked else "no temperature sent"
    return f"openai:{client.model} ({snapshot}prompt {prompt}; {sent})"
