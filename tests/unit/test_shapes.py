"""Random checkpoints have the shapes of the published ones."""

from __future__ import annotations

import psutil
import pytest
import torch

from evalkit.errors import ModelError, UsageError
from evalkit.models.checkpoints import BUILT_IN, RANDOM
from evalkit.models.load import LoadRequest, load_network
from evalkit.models.shapes import random_network


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("random-llava-onevision-7b", 8_030_348_832),
        ("random-qwen2.5-vl-3b", 3_754_622_976),
        ("random-qwen2.5-vl-7b", 8_292_166_656),
    ],
)
def test_a_random_checkpoint_has_as_many_parameters_as_the_published_one(name: str, parameters: int) -> None:
    network, tokenizer = random_network(name, torch.device("meta"), torch.bfloat16)
    assert sum(one.numel() for one in network.parameters()) == parameters
    assert {one.dtype for one in network.parameters()} == {torch.bfloat16}
    assert {one.dtype for key, one in network.named_buffers() if "inv_freq" in key} <= {torch.float32}
    assert len(tokenizer) <= network.config.get_text_config().vocab_size
    assert torch.get_default_dtype() == torch.float32


def test_what_does_not_fit_is_refused_before_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    class Room:
        available = 2**30

    monkeypatch.setattr(psutil, "virtual_memory", Room)
    with pytest.raises(ModelError, match=r"-7b takes 30\.9 GiB in float32; 1\.0 GiB are free on cpu"):
        random_network("random-qwen2.5-vl-7b", torch.device("cpu"), torch.float32)


def test_random_checkpoints_are_built_in() -> None:
    assert set(RANDOM) < set(BUILT_IN)
    with pytest.raises(UsageError, match="attention kernel 'none-such' cannot be used"):
        load_network(LoadRequest("random-qwen2.5-vl-3b", device="cpu", dtype="bfloat16", attention="none-such"))
