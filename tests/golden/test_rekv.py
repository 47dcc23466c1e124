"""ReKV's released code on a tiny LLaVA-OneVision, repeated: blocks and ids exactly, logits to rounding."""

from __future__ import annotations

import inspect
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

from evalkit.compress import CacherSettings, Pruner, PrunerSettings, parse_compression
from evalkit.memory import rekv
from evalkit.models.llava_onevision import LlavaOnevision
from evalkit.models.vision import VisionSide
from evalkit.models.weights import fill_parameters
from evalkit.timing import StageClock
from tests.golden.streamingvlm_model import IM_END, TraceText, end_row

FOLDER = Path(os.environ.get("EVALKIT_GOLDEN_DIR", "../shared/golden")) / "rekv"
FILES = sorted(FOLDER.glob("*.npz"))


def scale(name: str, shape: tuple[int, ...]) -> float:
    if len(shape) == 1:
        return -1.0 if "norm" in name and name.endswith(".weight") else 0.02
    if "embed_tokens" in name:
        return 1.0
    if "lm_head" in name:
        return 3 / np.sqrt(shape[-1])
    if "position_embedding" in name:
        return 0.5
    return 1 / np.sqrt(np.prod(shape[1:]))


def network_of(meta: dict[str, Any]) -> LlavaOnevisionForConditionalGeneration:
    model = meta["model"]
    config = LlavaOnevisionConfig(
        text_config={
            "model_type": "qwen2",
            "vocab_size": 151936,
            "hidden_size": model["hidden"],
            "intermediate_size": model["inter"],
            "num_hidden_layers": model["layers"],
            "num_attention_heads": model["heads"],
            "num_key_value_heads": model["kv"],
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            "tie_word_embeddings": False,
            "eos_token_id": IM_END,
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": model["vhidden"],
            "intermediate_size": model["vinter"],
            "num_hidden_layers": model["vdepth"],
            "num_attention_heads": model["vheads"],
            "image_size": model["image"],
            "patch_size": 14,
            "vision_use_head": False,
        },
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_token_index=151646,
        video_token_index=151647,
        tie_word_embeddings=False,
    )
    network = LlavaOnevisionForConditionalGeneration._from_config(config, dtype=torch.float32).eval()
    fill_parameters(network, scale)
    end_row(network, meta["seed"], meta["eos_scale"])
    return network


def settings_of(meta: dict[str, Any], rules: ModuleType) -> Any:
    """Settings whose choice is the module's own, of which a mutated one has another."""

    class Settings(rules.ReKVSettings):  # type: ignore[name-defined,misc]
        __slots__ = ()

        def choose(self, asked: Any) -> Any:
            return rules.best_blocks(asked, self.topk, self.chunk)

    return Settings(meta["n_local"], meta["topk"], meta["chunk"], meta["init_at_once"])


class Trace:
    """A file, and a decoder that has read its initial prompt."""

    def __init__(self, path: Path, rules: ModuleType = rekv) -> None:
        self._arrays = np.load(path)
        self.meta: dict[str, Any] = json.loads(str(self._arrays["meta"]))
        network = network_of(self.meta)
        meta = self.meta
        settings = settings_of(meta, rules)
        self.init_ids = self["init_ids"].tolist()
        text = network.model.language_model
        self.decoder = rules.StreamDecoder(text, network.lm_head, settings, self.init_ids, text.embed_tokens)
        self.decoder.begin(meta["block"])

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(np.array(self._arrays[name]))

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def rows(self) -> Tensor:
        """What of each frame goes on: ``(frames, block)``, chosen by the pruner where the run had one."""
        if "pruner" not in self.meta:
            return torch.arange(self.meta["block"]).expand(self.meta["frames"], -1)
        pruner = Pruner(PrunerSettings(keep=self.meta["pruner"]["keep"]))
        state = pruner.new_state()
        return torch.cat([pruner.prune(frame.unsqueeze(0), state).kept for frame in self["features"]])


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-3) -> None:
    torch.testing.assert_close(ours.float(), theirs.float(), rtol=1e-4, atol=tolerance)


def prompt_of(trace: Trace, question: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Ids that retrieve, and ids of the answer prompt."""
    encode = TraceText().encode
    if "question" not in question:
        return encode(question["prompt"]), encode(question["prompt"])
    closing = "\n{}<|im_end|><|im_start|>assistant\n" + ("Best option: (" if question.get("mc") else "")
    return encode(question["question"]), encode(closing.format(question["prompt"]))


def ask(trace: Trace, number: int, question: dict[str, Any]) -> None:
    name, meta, decoder = f"q{number:03d}", trace.meta, trace.decoder
    retrieving, prompt = prompt_of(trace, question)
    assert retrieving == trace[f"{name}/question_ids"].tolist()
    assert prompt == trace[f"{name}/prompt_ids"].tolist()
    found, logits = decoder.retrieve(retrieving, question.get("external"))
    expected = [[b for b in row if b >= 0] for row in trace[f"{name}/retrieved"].tolist()]
    assert found.blocks == expected
    assert found.lengths() == trace[f"{name}/kv_len"].tolist()
    if f"{name}/scores" in trace:
        close(torch.stack([one for one in found.scores if one is not None]), trace[f"{name}/scores"])
    close(logits[trace[f"{name}/question_top_ids"]], trace[f"{name}/question_top_logits"])
    logits = decoder.extend(found, prompt)
    said: list[int] = []
    for step, theirs in enumerate(trace[f"{name}/generated_ids"].tolist()):
        close(logits[trace[f"{name}/top_ids"][step]], trace[f"{name}/top_logits"][step])
        close(logits[trace["probe_ids"]], trace[f"{name}/probe_logits"][step])
        best = logits.topk(2).indices.tolist()
        late = step or meta["first_token_may_be_eos"]
        said.append(best[0] if late or best[0] != IM_END else best[1])
        assert said[-1] == theirs
        if len(said) < len(trace[f"{name}/generated_ids"]):
            logits = decoder.extend(found, said[-1:])
    assert said[-1] == IM_END or len(said) == question["max_new_tokens"]
    assert found.lengths() == trace[f"{name}/kv_len_after"].tolist()


def frame_of(meta: dict[str, Any], number: int) -> Tensor:
    """A frame of the stream, normalised: noise, or noise about a scene."""

    def drawn(index: int) -> Any:
        side = meta["model"]["image"]
        return np.random.default_rng([meta["seed"], index]).standard_normal((3, side, side)).astype(np.float32)

    motion = meta.get("motion")
    if motion is None:
        return torch.from_numpy(drawn(number))
    scene = drawn(10000 + number // motion["scene"])
    return torch.from_numpy(scene + np.float32(motion["noise"]) * drawn(number))


@pytest.mark.skipif(not FILES, reason=f"no golden traces at {FOLDER}")
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
@torch.no_grad()
def test_the_tower_and_the_cacher_give_the_features_of_the_released_code(path: Path) -> None:
    arrays = np.load(path)
    meta = json.loads(str(arrays["meta"]))
    backbone = LlavaOnevision(network_of(meta), TraceText(), name=meta["name"])
    compression = "none"
    if cacher := meta.get("cacher"):
        reuse = CacherSettings.from_recompute(cacher["interval"], cacher["ratio"]).reuse
        chunk = meta["encode_chunk"]
        compression = f"cacher(interval={cacher['interval']},reuse={reuse},chunk={chunk},variant=stc-code)"
    side, first = VisionSide(backbone, parse_compression(compression)), 0
    for event in meta["events"]:
        if count := event.get("frames"):  # the released code counts chunks anew in each clip it is fed
            frames = torch.stack([frame_of(meta, first + k) for k in range(count)])
            encoded = side.open().encode(backbone.pack_normalised(frames), StageClock())
            ours, theirs = encoded.tokens, torch.from_numpy(arrays["features"][first : first + count])
            torch.testing.assert_close(ours, theirs.flatten(0, 1), rtol=1e-4, atol=1e-4)
            first += count
    assert first == meta["frames"]


@pytest.mark.skipif(not FILES, reason=f"no golden traces at {FOLDER}")
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_stream_and_its_questions_are_those_of_the_released_code(path: Path) -> None:
    replay(Trace(path))


MUTATIONS = {
    "initial tokens are not attended twice": (
        "hidden = (distance < 0) | (distance >= self.settings.n_local)",
        "hidden = (distance < 0) | (distance >= self.settings.n_local)"
        " | (there + self.tokens - there[-1] - 1 < initial)",
    ),
    "the fixed distance is off by one": (
        "asked = torch.full_like(slots, window - 1)",
        "asked = torch.full_like(slots, window)",
    ),
    "cosine in place of the dot product": (
        "scores = means.flatten(1) @ query",
        "scores = torch.nn.functional.cosine_similarity(means.flatten(1), query, dim=1)",
    ),
    "mean keys without their bias": (
        "k.float().mean(dim=1)",
        "(k - layer.self_attn.k_proj.bias.view(self.kv_heads, 1, -1)).float().mean(dim=1)",
    ),
}


@pytest.mark.skipif(not FILES, reason=f"no golden traces at {FOLDER}")
@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mistake_that_is_easily_made_is_seen_in_a_trace(name: str) -> None:
    right, wrong = MUTATIONS[name]
    source = inspect.getsource(rekv)
    assert source.count(right) >= 1
    mutated = ModuleType("evalkit.memory.mutated")
    sys.modules[mutated.__name__] = mutated
    try:
        exec(compile(source.replace(right, wrong), mutated.__name__, "exec"), mutated.__dict__)
        with pytest.raises(AssertionError):
            replay_all(mutated)
    finally:
        del sys.modules[mutated.__name__]


def replay_all(rules: ModuleType) -> None:
    """Go through every recorded run, the one that shows most first."""
    for path in sorted(FILES, key=lambda path: path.stem != "internal"):
        replay(Trace(path, rules))


def replay(trace: Trace) -> None:
    """Go through a recorded run."""
    rows = trace.rows()
    if "kept" in trace:
        assert rows.tolist() == trace["kept"].tolist()
    decoder, frame, number = trace.decoder, 0, 0
    for event in trace.meta["events"]:
        if "ask" in event:
            state = trace[f"q{number:03d}/state"].tolist()
            assert decoder.frames == state[0]
            assert min(decoder.tokens, trace.meta["n_local"]) == state[3]
            ask(trace, number, trace.meta["questions"][event["ask"]])
            number += 1
            continue
        for _ in range(event["frames"]):
            hidden = decoder.read_frame(trace["features"][frame][rows[frame]])
            close(hidden, trace["frame_hidden"][frame], 2e-4)
            frame += 1
    assert frame == trace.meta["frames"]
    groups = decoder.heads // decoder.kv_heads
    means = torch.stack([decoder.blocks.means(layer) for layer in range(len(decoder.text.layers))])
    close(means.repeat_interleave(groups, dim=2).flatten(2), trace["representative"])
