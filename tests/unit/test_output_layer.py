"""The output layer read for several streams at once gives what `linear` gives for each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from evalkit.models.output_layer import logits_of_rows


@pytest.mark.parametrize("vocabulary", [50, 2048, 3 * 2048, 5 * 2048 + 3, 7001])
@pytest.mark.parametrize("rows", [1, 2, 8, 9, 20])
def test_logits_of_rows_are_those_of_linear(rows: int, vocabulary: int) -> None:
    draw = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, 24, generator=draw)
    weight = torch.randn(vocabulary, 24, generator=draw)
    logits = logits_of_rows(hidden, weight)
    assert logits.is_contiguous()
    torch.testing.assert_close(logits, F.linear(hidden, weight), atol=1e-4, rtol=1e-5)


def test_a_head_that_is_more_than_a_product_is_called_as_it_is(tiny: Any) -> None:
    class Softened(torch.nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return super().forward(hidden) / 2

    from evalkit.models.decoder import TextDecoder

    head = tiny.network.lm_head
    soft = Softened(head.in_features, head.out_features, bias=False)
    soft.weight = head.weight
    decoder = TextDecoder(tiny.network.model.language_model, soft)
    hidden = torch.randn(3, head.in_features, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(decoder.logits(hidden), tiny.logits(hidden) / 2)
