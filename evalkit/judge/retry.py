"""When a judge asks again: the rule is `evalkit.chat.retry`'s, named here for those who set up a judge."""

from __future__ import annotations

from evalkit.chat.retry import RetryPolicy, parse_retry_after

__all__ = ["RetryPolicy", "parse_retry_after"]
