"""The built-in checkpoint, packing as transformers' image processor does it, and Qwen2-VL beside Qwen2.5-VL."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from evalkit.errors import ModelError
from evalkit.memory import StreamingVLM
from evalkit.models.load import LoadRequest, checkpoint_revision, load_backbone
from evalkit.models.pack import normalise, to_patches
from evalkit.models.protocol import SessionRequest
from evalkit.models.qwen_vl import QwenVL
from evalkit.models.session import CachedSession
from evalkit.models.settings import GenerationSettings
from evalkit.models.text import HuggingFaceText
from evalkit.models.tiny import tiny_scale, tiny_tokenizer
from evalkit.models.weights import fill_parameters
from evalkit.stream import Narration


def frames_of(count: int, height: int = 84, width: int = 112) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_a_pair_of_equal_frames_is_packed_exactly_as_the_image_processor_packs_an_image() -> None:
    """The PIL processor repeats an image to fill a temporal grid: the whole output must agree to 0.0."""
    processor = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=10**8)
    frame = frames_of(1)
    want = processor(images=[frame[0]], return_tensors="pt")
    patches, grid = to_patches(normalise(np.repeat(frame, 2, axis=0)))
    assert grid == tuple(want["image_grid_thw"][0].tolist())
    assert float((patches - want["pixel_values"]).abs().max()) == 0.0


def test_a_clip_is_packed_as_its_frames_in_pairs() -> None:
    """Each half of a temporal patch is what the image processor makes of that frame alone."""
    processor = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=10**8)
    frames = frames_of(4)
    patches, (t, h, w) = to_patches(normalise(frames))
    assert (t, h, w) == (2, 6, 8)
    halves = patches.view(t, h * w, 3, 2, 14 * 14)
    for number, frame in enumerate(frames):
        alone = processor(images=[frame], return_tensors="pt")["pixel_values"].view(h * w, 3, 2, 14 * 14)[:, :, 0]
        assert float((halves[number // 2, :, :, number % 2] - alone).abs().max()) == 0.0


def test_an_odd_frame_out_is_paired_with_itself() -> None:
    frames = normalise(frames_of(3))
    patches, grid = to_patches(frames)
    filled, _ = to_patches(torch.cat([frames, frames[-1:]]))
    assert grid == (2, 6, 8)
    assert torch.equal(patches, filled)


def test_tiny_is_built_without_files_and_always_the_same() -> None:
    one = load_backbone(LoadRequest("tiny", device="cpu"))
    two = load_backbone(LoadRequest("tiny", device="cpu"))
    weights, again = one.network.state_dict(), two.network.state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert checkpoint_revision("tiny", one.network).startswith("built-in-")


def test_the_small_tokenizer_gives_back_any_text_and_knows_the_special_tokens() -> None:
    text = HuggingFaceText(tiny_tokenizer())
    for words in ("Time=0.0-1.0s", "previous text\n", " wide on the left ...", "naïve café – 七号 🏀"):
        assert text.decode(text.encode(words)) == words
    for token in ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>"):
        assert len(text.encode(token)) == 1
    assert text.decode(text.encode("a<|im_end|>")) == "a"


@pytest.mark.parametrize(("size", "tokens"), [((640, 360), 299), ((1280, 720), 720), ((1920, 1080), 720)])
def test_a_second_takes_as_many_tokens_as_streamingvlm_says(size: tuple[int, int], tokens: int, tiny: Any) -> None:
    width, height = tiny.frame_size(*size)
    assert (width // 28) * (height // 28) == tokens


def qwen2_vl() -> QwenVL:
    tokenizer = tiny_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
        },
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2},
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        video_token_id=ids("<|video_pad|>"),
        image_token_id=ids("<|image_pad|>"),
        tie_word_embeddings=False,
    )
    network = Qwen2VLForConditionalGeneration._from_config(
        config, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    fill_parameters(network, tiny_scale)
    return QwenVL(network, HuggingFaceText(tokenizer), name="tiny-qwen2-vl")


def test_qwen2_vl_streams_too_with_one_position_a_grid(seconds: Any) -> None:
    backbone = qwen2_vl()
    assert backbone.temporal_step(2.0) == backbone.temporal_step(8.0) == 1.0
    request = SessionRequest("sample", 8.0, 0, Narration("Say what happens."))
    policy = StreamingVLM(2, 2, text_sink=4, text_window=8)
    session = CachedSession(backbone, policy, GenerationSettings(max_new_tokens=4), request)
    for chunk in seconds(5, fps=8):
        spoken = session.speak(chunk)
        assert spoken.step.tokens_in["vision"] == 4 * 6, "4 grids of 2 x 3"
        assert 1 <= len(spoken.ids) <= 4


def test_qwen2_5_vl_counts_two_positions_a_second(tiny: Any) -> None:
    assert [tiny.temporal_step(fps) for fps in (1, 2, 4, 8)] == [4.0, 2.0, 1.0, 0.5]


def test_a_tokenizer_without_the_chat_tokens_is_refused(tiny: Any) -> None:
    class Letters:
        def encode(self, text: str) -> list[int]:
            return [ord(c) for c in text]

        def decode(self, ids: Any) -> str:
            return "".join(map(chr, ids))

    with pytest.raises(ModelError, match="is it a Qwen chat tokenizer"):
        QwenVL(tiny.network, Letters(), name="wrong")


@pytest.mark.parametrize("checkpoint", ["tiny", "tiny-llava"])
def test_in_bfloat16_the_weights_are_rounded_and_the_rotary_frequencies_are_not(checkpoint: str) -> None:
    exact = load_backbone(LoadRequest(checkpoint, device="cpu")).network
    rounded = load_backbone(LoadRequest(checkpoint, device="cpu", dtype="bfloat16")).network
    assert {parameter.dtype for parameter in rounded.parameters()} == {torch.bfloat16}
    want, got = dict(exact.named_buffers()), dict(rounded.named_buffers())
    frequencies = [name for name in want if "inv_freq" in name]
    assert frequencies
    assert all(torch.equal(got[name], want[name]) for name in want)
    rotary = rounded.model.language_model.rotary_emb
    dim, base = 2 * len(rotary.inv_freq), rounded.config.get_text_config().rope_parameters["rope_theta"]
    torch.testing.assert_close(rotary.inv_freq, base ** -(torch.arange(0, dim, 2) / dim))


def test_the_digest_of_a_folder_sees_a_change_anywhere_in_its_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(3 << 20))
    before = checkpoint_revision(str(tmp_path), SimpleNamespace(config=None))
    changed = bytearray(3 << 20)
    changed[5 << 18] = 1
    weights.write_bytes(changed)
    assert checkpoint_revision(str(tmp_path), SimpleNamespace(config=None)) != before
