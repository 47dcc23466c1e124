"""Chat servers: one client for judges and for served models; keys, retries, failures and usage in one place."""

from evalkit.chat.client import ChatClient, ChatTally, NoReplyError
from evalkit.chat.failures import Failure, FailureKind, one_line
from evalkit.chat.reply import ChatReply, TokenUsage
from evalkit.chat.retry import RetryPolicy
from evalkit.chat.secrets import Secrets
from evalkit.chat.settings import ChatSettings, Endpoint, check_endpoint

__all__ = [
    "ChatClient",
    "ChatReply",
    "ChatSettings",
    "ChatTally",
    "Endpoint",
    "Failure",
    "FailureKind",
    "NoReplyError",
    "RetryPolicy",
    "Secrets",
    "TokenUsage",
    "check_endpoint",
    "one_line",
]
