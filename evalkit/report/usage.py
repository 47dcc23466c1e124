"""What a run's replies have taken of a server, added up from its records."""

from __future__ import annotations

__all__ = ["ServerUsage", "usage_line", "usage_metrics", "usage_of"]

from collections.abc import Iterable
from dataclasses import dataclass

from evalkit.records import AnswerRecord, Metric


@dataclass(frozen=True, slots=True)
class ServerUsage:
    """Requests and tokens of a run, as the server counted them.

    Args:
        replies: Replies on record.
        requests: Requests sent for them, those that failed included.
        prompt_tokens: Tokens read.
        cached_tokens: Those of them that came from the server's prefix cache.
        completion_tokens: Tokens written.
        reasoning_tokens: Those of them that were hidden reasoning.
        uncounted: Replies whose tokens the server did not tell.
        cut: Replies that the token limit ended.
        retry_seconds: Spent on failed requests and on waiting after them.
        cost: Price of all tokens; ``None`` where no prices were given or not all tokens are known.
    """

    replies: int
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    uncounted: int
    cut: int
    retry_seconds: float
    cost: float | None


def usage_of(answers: Iterable[AnswerRecord]) -> ServerUsage | None:
    """Add up what the replies of a run have taken; ``None`` where no server was asked."""
    calls = [answer.call for answer in answers if answer.call is not None]
    if not calls:
        return None
    costs = [call.cost for call in calls if call.cost is not None]
    return ServerUsage(
        replies=len(calls),
        requests=sum(call.requests for call in calls),
        prompt_tokens=sum(call.prompt_tokens or 0 for call in calls),
        cached_tokens=sum(call.cached_tokens or 0 for call in calls),
        completion_tokens=sum(call.completion_tokens or 0 for call in calls),
        reasoning_tokens=sum(call.reasoning_tokens or 0 for call in calls),
        uncounted=sum(call.prompt_tokens is None or call.completion_tokens is None for call in calls),
        cut=sum(call.finish == "length" for call in calls),
        retry_seconds=sum(call.retry_seconds for call in calls),
        cost=sum(costs) if len(costs) == len(calls) else None,
    )


def usage_line(usage: ServerUsage) -> str:
    """Return the usage as one line for people."""
    again = usage.requests - usage.replies
    parts = [
        f"{usage.requests} requests" + (f" ({again} of them asked again)" if again > 0 else ""),
        f"{usage.prompt_tokens} + {usage.completion_tokens} tokens",
    ]
    parts += [f"{usage.cached_tokens} from the cache"] if usage.cached_tokens else []
    parts += [f"{usage.reasoning_tokens} of reasoning"] if usage.reasoning_tokens else []
    parts += [f"{usage.cut} replies cut off by the token limit"] if usage.cut else []
    parts += [f"{usage.uncounted} replies without counts"] if usage.uncounted else []
    parts.append("cost unknown" if usage.cost is None else f"cost {usage.cost:.4f}")
    return "server: " + ", ".join(parts)


def usage_metrics(answers: Iterable[AnswerRecord]) -> list[Metric]:
    """Return the usage as rows of ``metrics.json``; nothing where no server was asked."""
    usage = usage_of(answers)
    if usage is None:
        return []
    counts = {
        "requests": usage.requests,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cut_replies": usage.cut,
    }
    rows = [
        Metric(name=f"server_{name}", value=float(value), unit="count", n=usage.replies)
        for name, value in counts.items()
    ]
    rows.append(Metric(name="server_retry_seconds", value=usage.retry_seconds, unit="s", n=usage.replies))
    rows.append(Metric(name="server_cost", value=usage.cost, n=usage.replies))
    return rows
