"""LLaVA-OneVision through public interfaces: pixels, features and logits equal transformers' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prefill_watch import PrefillWatch
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)

from evalkit.errors import ModelError, UsageError
from evalkit.memory import FullAttention, StreamingVLM
from evalkit.models.llava_onevision import LlavaOnevision
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.protocol import SessionRequest
from evalkit.models.session import CachedSession
from evalkit.models.settings import GenerationSettings
from evalkit.stream import Chunk, Elicitation, FrameSchedule, Narration

GREEDY = GenerationSettings(temperature=0, max_new_tokens=6, answer_tokens=4)


@pytest.fixture(scope="module")
def llava() -> Any:
    return load_backbone(LoadRequest("tiny-llava", device="cpu"))


def pictures(count: int, seed: int = 0, side: int = 384) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def seconds(count: int, fps: int = 1) -> list[Chunk]:
    return [
        Chunk(tick, pictures(fps, seed=tick.index), tick.frame_times, tick.frame_times, 0.0, 0.0)
        for tick in FrameSchedule(0, count, fps)
    ]


def test_pixels_are_those_of_the_pil_image_processor(llava: Any) -> None:
    frames = pictures(2)
    processor = LlavaOnevisionImageProcessorPil(
        image_mean=[0.5] * 3, image_std=[0.5] * 3, size={"height": 384, "width": 384}
    )
    # Two images in one request are taken whole: no tiles.
    want = processor([list(frames)], return_tensors="pt").pixel_values.flatten(0, 1)
    assert torch.equal(llava.pack(frames).pixels, want)


def test_frames_are_the_towers_square_whatever_the_video(llava: Any) -> None:
    assert llava.frame_size(1920, 1080) == llava.frame_size(120, 200) == (384, 384)
    with pytest.raises(ModelError, match="384x384 pixels, not 378x378"):
        llava.pack(pictures(1, side=378))


@torch.inference_mode()
def test_features_are_those_of_the_model_without_its_newline(llava: Any) -> None:
    packed = llava.pack(pictures(3))
    features = llava.encode(packed)
    model = llava.network.model
    want = model.get_video_features(packed.pixels[None]).pooler_output[0]
    assert packed.grid == (3, 14, 14)
    assert features.shape == (3 * 196, 64)
    torch.testing.assert_close(features, want[: len(features)], atol=1e-5, rtol=0)
    newline = want[len(features) :]  # older releases append it outside get_video_features
    torch.testing.assert_close(llava.clip_end[: len(newline)], newline, atol=0, rtol=0)
    from_tower = llava.from_tower(llava.tower(packed.pixels, output_hidden_states=True).hidden_states[-1])
    torch.testing.assert_close(from_tower, features, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_whole_clip_is_the_context_of_the_official_template_and_its_logits(llava: Any) -> None:
    watch = PrefillWatch()
    session = CachedSession(
        llava, FullAttention(), GREEDY, SessionRequest("s", 1.0, time_stamps=False, whole_clip=True), trace=watch
    )
    chunk = Chunk(FrameSchedule(0, 1, 3)[0], pictures(3), (), (), 0.0, 0.0)
    session.observe(chunk)
    session.ask("What is it?", Elicitation(), key="q")
    (trace,) = watch.traces
    text = (
        "<|im_start|>system \nYou are a helpful assistant.<|im_end|><|im_start|>user "
        + "<video>" * (3 * 196 + 1)
        + "\nWhat is it?<|im_end|><|im_start|>assistant\n"
    )
    assert trace.ids.tolist() == llava.layout.text.encode(text)
    pixels = llava.pack(chunk.frames).pixels
    own = llava.network(input_ids=torch.from_numpy(trace.ids)[None], pixel_values_videos=pixels[None])
    torch.testing.assert_close(trace.logits, own.logits[0, -1], atol=2e-4, rtol=0)
    assert trace.positions[0].tolist() == list(range(len(trace.ids)))


@torch.inference_mode()
def test_a_stream_taken_second_by_second_gives_the_logits_of_one_forward(llava: Any) -> None:
    watch = PrefillWatch()
    request = SessionRequest("s", 1.0, narration=Narration("Say what happens.", " the ball goes wide"))
    session = CachedSession(llava, FullAttention(), GREEDY, request, trace=watch)
    chunks = seconds(3)
    for chunk in chunks:
        session.speak(chunk)
    trace = watch.traces[-1]
    ids = torch.from_numpy(trace.ids)[None]
    embeddings = llava.network.get_input_embeddings()(ids)
    features = torch.cat([llava.encode(llava.pack(chunk.frames)) for chunk in chunks])
    embeddings[ids == llava.layout.tokens.vision] = features
    own = llava.network(inputs_embeds=embeddings)
    torch.testing.assert_close(trace.logits, own.logits[0, -1], atol=2e-4, rtol=0)
    assert "<|im_end|>\n" not in llava.layout.text._tokenizer.decode(trace.ids.tolist())


@torch.inference_mode()
def test_keys_moved_to_new_positions_equal_a_plain_forward_over_what_is_left(llava: Any) -> None:
    """One layer sees no other token's change: evicting and re-basing then equals starting with what is left."""
    network, tokenizer = llava.network, llava.layout.text._tokenizer
    shallow = type(network)(_one_layer(network.config)).eval()
    shallow.load_state_dict(
        {name: value for name, value in network.state_dict().items() if name in shallow.state_dict()}
    )
    from evalkit.models.text import HuggingFaceText

    backbone = LlavaOnevision(shallow, HuggingFaceText(tokenizer), name="one layer")
    watch = PrefillWatch()
    policy = StreamingVLM(vision_window=2, text_rounds=2, text_sink=2, text_window=4)
    request = SessionRequest("s", 1.0, narration=Narration("Say.", " it begins"))
    session = CachedSession(backbone, policy, GREEDY, request, trace=watch)
    chunks = seconds(5)
    for chunk in chunks:
        session.speak(chunk)
    trace = watch.traces[-1]
    ids = torch.from_numpy(trace.ids)[None]
    embeddings = shallow.get_input_embeddings()(ids)
    embeddings[ids == backbone.layout.tokens.vision] = torch.cat(
        [backbone.encode(backbone.pack(chunk.frames)) for chunk in chunks[-2:]]
    )
    own = shallow(inputs_embeds=embeddings)
    torch.testing.assert_close(trace.logits, own.logits[0, -1], atol=2e-4, rtol=0)
    assert trace.positions[0].tolist() == list(range(len(trace.ids)))


def _one_layer(config: Any) -> Any:
    import copy

    shallow = copy.deepcopy(config)
    shallow.text_config.num_hidden_layers = 1
    shallow.text_config.layer_types = shallow.text_config.layer_types[:1]
    return shallow


def test_a_saved_checkpoint_loads_from_its_folder_by_its_architecture(llava: Any, tmp_path: Path) -> None:
    llava.network.save_pretrained(tmp_path)
    llava.layout.text._tokenizer.save_pretrained(tmp_path)
    loaded = load_backbone(LoadRequest(str(tmp_path), device="cpu", dtype="float32"))
    assert isinstance(loaded, LlavaOnevision)
    packed = llava.pack(pictures(1))
    with torch.inference_mode():
        assert torch.equal(loaded.encode(packed), llava.encode(packed))


def test_an_architecture_without_a_backbone_names_those_that_have_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelError, match="'gpt2' model; evalkit runs llava_onevision, qwen2_5_vl, qwen2_vl"):
        load_backbone(LoadRequest(str(tmp_path), device="cpu"))


def test_a_tower_read_before_its_last_layer_cannot_be_wrapped(llava: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(llava.network.config, "vision_feature_layer", -2)
    with pytest.raises(UsageError, match="from layer -2"):
        _ = llava.tower


def test_the_built_in_weights_are_the_same_each_time(llava: Any) -> None:
    again = load_backbone(LoadRequest("tiny-llava", device="cpu"))
    mine, theirs = llava.network.state_dict(), again.network.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
