"""Where a chat server is and how it is asked; sends nothing."""

from __future__ import annotations

__all__ = ["DEFAULT_BASE_URL", "ChatSettings", "Endpoint", "check_endpoint", "public_url"]

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from evalkit.errors import UsageError

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a chat server is; the command line fills it from the environment.

    Args:
        base_url: Base URL with its ``/v1``; ``None`` means the provider's own.
        api_key: Secret; never shown, never written.
    """

    base_url: str | None = field(default=None)
    api_key: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The address as it may be shown and written: without user, password and query."""
        return public_url(self.base_url or DEFAULT_BASE_URL)


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """How a chat server is asked.

    Args:
        temperature: Sampling temperature; ``None`` names none.
        concurrency: Requests under way at once, >= 1.
        timeout: Longest wait for one reply, seconds.
        attempts: HTTP requests spent on one reply before giving it up, >= 1.
        seed: Seed of the back-off's jitter.
        price_in: Price of a million prompt tokens, in any currency; ``None`` where unknown.
        price_out: Price of a million completion tokens.
    """

    temperature: float | None = 0.0
    concurrency: int = 64
    timeout: float = 120.0
    attempts: int = 8
    seed: int = 0
    price_in: float | None = None
    price_out: float | None = None

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.attempts < 1 or not self.timeout > 0:
            raise UsageError("a chat server is asked with concurrency and attempts >= 1 and a timeout > 0 s")
        if (self.price_in is None) != (self.price_out is None):
            raise UsageError("a cost needs two prices: name both --price-in and --price-out")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return the price of so many tokens, or ``None`` where a price is missing."""
        if self.price_in is None or self.price_out is None:
            return None
        return (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1e6


def check_endpoint(who: str, endpoint: Endpoint) -> None:
    """Refuse a server that could not be asked.

    Args:
        who: Who is asked there, for the message.
        endpoint: Server and key.

    Raises:
        UsageError: The address is none, the provider's own server is meant and there is no key, or the key holds
            what no header can carry.
    """
    if endpoint.base_url is not None:
        try:
            target = urlsplit(endpoint.base_url)
            usable = target.scheme in ("http", "https") and bool(target.hostname) and target.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise UsageError(f"{who}: the base URL must begin with http:// or https:// and name a host")
    if endpoint.base_url is None and not endpoint.api_key:
        raise UsageError(f"{who} needs a key: set OPENAI_API_KEY, or give --base-url for a server that needs none")
    key = endpoint.api_key or ""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(f"{who}: the key in OPENAI_API_KEY holds a blank or another character no key has")


def public_url(url: str) -> str:
    """Return a URL without user name, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path, "", ""))
