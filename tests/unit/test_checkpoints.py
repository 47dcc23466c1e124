"""A checkpoint is loaded whole or refused in one line: weights are never drawn at random in its stead."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evalkit.errors import ModelError
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.tiny import tiny_qwen


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    network, tokenizer = tiny_qwen()
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tensors(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    return lambda path: save_file(change(load_file(path)), path, metadata={"format": "pt"})


QUERY = "model.language_model.layers.0.self_attn.q_proj.weight"


def test_a_saved_checkpoint_is_loaded_to_the_last_weight(saved: Path) -> None:
    loaded, built = load_backbone(LoadRequest(str(saved), device="cpu")).network, tiny_qwen()[0]
    want = dict(built.named_parameters())
    assert all(torch.equal(parameter, want[name]) for name, parameter in loaded.named_parameters())


def test_weights_that_are_tied_are_not_missed(saved: Path, tmp_path: Path) -> None:
    """The 3B checkpoints of Qwen hold no head of their own."""
    folder = shutil.copytree(saved, tmp_path / "tied")
    config = json.loads((folder / "config.json").read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps(config))
    tensors(lambda all_: {name: value for name, value in all_.items() if "lm_head" not in name})(
        folder / "model.safetensors"
    )
    network = load_backbone(LoadRequest(str(folder), device="cpu")).network
    assert torch.equal(network.lm_head.weight, network.model.language_model.embed_tokens.weight)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (tensors(lambda all_: dict(list(all_.items())[::2])), "lacks 34 of its weights, such as"),
        (tensors(lambda _: {"foreign": torch.zeros(2)}), "lacks 69 of its weights"),
        (tensors(lambda all_: all_ | {QUERY: torch.zeros(3, 3)}), f"lacks 1 of its weights, such as {QUERY}"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "cannot be loaded"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "cannot be loaded"),
        (lambda path: path.with_name("tokenizer.json").unlink(), "its tokenizer is missing or damaged: "),
        (lambda path: path.with_name("tokenizer.json").write_text("{"), "its tokenizer is missing or damaged: "),
    ],
    ids=["half", "foreign", "shape", "cut", "pointer", "wordless", "words-cut"],
)
def test_damaged_weights_are_refused_in_one_line(
    saved: Path, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    folder = shutil.copytree(saved, tmp_path / "spoilt")
    spoil(folder / "model.safetensors")
    with pytest.raises(ModelError, match=said) as caught:
        load_backbone(LoadRequest(str(folder), device="cpu"))
    assert "\n" not in str(caught.value)
