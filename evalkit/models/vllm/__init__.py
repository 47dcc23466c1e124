"""Models inside vLLM's in-process engine: a stream as one request that grows, and questions as one batch.

vLLM lives in an environment of its own (extra ``[vllm]``); nothing here imports it before a model is made.
"""

from evalkit.models.vllm.entry import VllmEntry, VllmRecipe, VllmSettings, in_vllm, vllm_session

__all__ = ["VllmEntry", "VllmRecipe", "VllmSettings", "in_vllm", "vllm_session"]
