"""Models behind OpenAI-compatible servers: what is sent of a stream, and how replies come back (no torch)."""

from evalkit.models.served.entry import ServedEntry, ServedRecipe, api, gpt_4o_mini, vllm_api
from evalkit.models.served.model import ServedModel
from evalkit.models.served.session import ServedSession
from evalkit.models.served.settings import ServedSettings

__all__ = [
    "ServedEntry",
    "ServedModel",
    "ServedRecipe",
    "ServedSession",
    "ServedSettings",
    "api",
    "gpt_4o_mini",
    "vllm_api",
]
