"""STC-Cacher: encode a frame by recomputing only the tokens whose keys left the reference frame's.

Holds what every host shares (state, schedule, report) and the SigLIP host; `qwen_cacher` holds Qwen2.5-VL's.
"""

from __future__ import annotations

__all__ = [
    "CacherState",
    "EncodedFrames",
    "LayerReference",
    "SiglipCacher",
    "TowerRun",
    "captured_outputs",
    "encode_stream_chunk",
    "flat_rows",
    "key_similarity",
    "least_similar",
    "settle_residuals",
    "unit_keys",
]

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import SiglipVisionModel

from evalkit.compress.contract import SideProducts
from evalkit.compress.novelty import lowest
from evalkit.compress.settings import CacherSettings, Segment
from evalkit.errors import UsageError
from evalkit.records import CompressorReport

# A frame of few tokens cannot be cut at every share; beyond this the share is reported, not claimed.
_ROUNDING_ALLOWED = 0.02


@dataclass(frozen=True, slots=True)
class LayerReference:
    """What one layer leaves of the reference frame, each ``(tokens, dim)``.

    Args:
        key: Keys before any rotary embedding, normalised to unit length, float32.
        value: Values.
        update: Attention output (after its projection) plus MLP output: a token reuses both or neither, so
            their sum is all that is needed of them.
    """

    key: Tensor
    value: Tensor
    update: Tensor


@dataclass(slots=True)
class CacherState:
    """What one session's cacher remembers; empty at the start of a stream.

    Args:
        frames: Frames so far.
        signature: Size, dtype and device the reference was made for, ``None`` before the first.
        layers: One reference per encoder layer.
    """

    frames: int = 0
    signature: tuple[object, ...] | None = None
    layers: list[LayerReference] = field(default_factory=list)

    def reset(self) -> None:
        """Forget the stream: the next frame is a reference again."""
        self.frames = 0
        self.signature = None
        self.layers = []

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and plain values from which `restore` rebuilds this state exactly."""
        tensors = {
            f"{index}.{name}": getattr(layer, name)
            for index, layer in enumerate(self.layers)
            for name in ("key", "value", "update")
        }
        signature = None if self.signature is None else list(self.signature)
        return tensors, {"frames": self.frames, "signature": signature, "layers": len(self.layers)}

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Go back to what `snapshot` returned."""
        self.frames = plain["frames"]
        self.signature = None if plain["signature"] is None else tuple(plain["signature"])
        self.layers = [
            LayerReference(*(tensors[f"{index}.{name}"] for name in ("key", "value", "update")))
            for index in range(plain["layers"])
        ]

    def bytes_held(self) -> int:
        """Return the bytes of the tensors held for the reference frame."""
        return sum(
            part.element_size() * part.nelement()
            for layer in self.layers
            for part in (layer.key, layer.value, layer.update)
        )


@dataclass(frozen=True, slots=True)
class EncodedFrames:
    """What a compressor around the encoder returns for one call.

    Args:
        features: The tower's output, frames in order; its shape is the host's.
        report: What was reused, for the second's record.
        places: ``(frames, tokens)`` places on the tower's own grid, where tokens were merged inside it and the
            output is ``(frames, tokens, dim)`` of so many. ``None`` where every place has its token.
        side: What the last layer leaves beside, for an encoder that says it ``gives`` it.
    """

    features: Tensor
    report: CompressorReport
    places: Tensor | None = None
    side: SideProducts | None = None


class TowerRun(Protocol):
    """One call's frames inside a host, encoded piece by piece."""

    frames: int
    tokens: int
    layers: int
    signature: tuple[object, ...]

    def full(self, segment: Segment, keep: list[LayerReference] | None) -> Tensor:
        """Encode the frames fully; append what the last frame leaves in each layer to ``keep``."""
        ...

    def partial(self, segment: Segment, layers: list[LayerReference], count: int) -> tuple[Tensor, int]:
        """Encode with ``count`` tokens a frame computed anew; also return the tokens computed, over layers."""
        ...


def encode_stream_chunk(run: TowerRun, settings: CacherSettings, state: CacherState) -> EncodedFrames:
    """Encode one call's frames, reusing the state's reference, and report what was reused.

    The state changes only where the whole call succeeds. Where frames changed size, dtype or device since
    the reference, the next frame is computed fully and becomes the reference (the report says so).
    """
    segments = settings.segments(state.frames, run.frames)
    planned = sum(s.stop - s.start for s in segments if s.reference)
    count = settings.recomputed(run.tokens)
    layers, computed, forced = state.layers, 0, False
    pieces: list[Tensor] = []
    if count >= run.tokens:  # Nothing to reuse: what the tower computes, in one batch, bit for bit.
        pieces.append(run.full(Segment(0, run.frames, True), None))
        computed = run.frames * run.tokens * run.layers
        layers = []
    else:
        stale = state.signature != run.signature
        segments, forced = _without_stale_reference(segments, stale, settings)
        for segment in segments:
            if segment.reference:
                layers = []
                pieces.append(run.full(segment, layers))
                computed += (segment.stop - segment.start) * run.tokens * run.layers
            else:
                piece, anew = run.partial(segment, layers, count)
                pieces.append(piece)
                computed += anew
    before, state.signature = state.signature, run.signature
    state.layers = layers
    state.frames += run.frames
    note = _forced_note(before, run.signature) if forced else ""
    references = sum(s.stop - s.start for s in segments if s.reference)
    report = _report(run, settings, planned, computed, note, references)
    return EncodedFrames(torch.cat(pieces) if len(pieces) > 1 else pieces[0], report)


def _without_stale_reference(
    segments: tuple[Segment, ...], stale: bool, settings: CacherSettings
) -> tuple[tuple[Segment, ...], bool]:
    """Turn the first frames into a reference where the one held does not fit them."""
    first = segments[0]
    if not stale or first.reference:
        return segments, False
    cut = min(first.start + (settings.chunk or 1), first.stop)
    rest = (Segment(cut, first.stop, False),) if cut < first.stop else ()
    return (Segment(first.start, cut, True), *rest, *segments[1:]), True


def _forced_note(before: tuple[object, ...] | None, now: tuple[object, ...]) -> str:
    return f"frames changed from {_spelled(before)} to {_spelled(now)}: a new reference was forced"


def _spelled(signature: tuple[object, ...] | None) -> str:
    return "nothing" if signature is None else " ".join(str(part) for part in signature)


def _report(
    run: TowerRun, settings: CacherSettings, planned: int, computed: int, note: str, references: int
) -> CompressorReport:
    total = run.frames * run.tokens
    between = (run.frames - planned) / run.frames
    claimed: float | None = settings.reuse * between
    whole = (1.0 - settings.recomputed(run.tokens) / run.tokens) * between
    if note:
        claimed = None
    elif claimed is not None and abs(whole - claimed) > _ROUNDING_ALLOWED:
        note = f"{run.tokens} tokens a frame allow a reused share of {whole:.3f}, not {claimed:.3f}"
        claimed = None
    return CompressorReport(
        name="stc-cacher",
        tokens_in=total,
        tokens_out=total,
        reused_share=1.0 - computed / (total * run.layers),
        claimed_share=claimed,
        reference_frames=references,
        note=note,
    )


@contextmanager
def captured_outputs(*modules: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what the modules return inside the block, in the order of the arguments.

    A reference frame runs the host's own attention module, whatever kernel it uses; its projections' outputs
    are read on the way instead of being computed twice.
    """
    caught: list[Tensor] = [torch.empty(0)] * len(modules)

    def hook(index: int) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            caught[index] = output

        return keep

    handles = [module.register_forward_hook(hook(index)) for index, module in enumerate(modules)]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def unit_keys(keys: Tensor) -> Tensor:
    """Return keys ``(..., dim)`` scaled to unit length, float32."""
    return F.normalize(keys.float(), dim=-1, eps=1e-8)


def key_similarity(keys: Tensor, reference: Tensor) -> Tensor:
    """Return each key's cosine to the reference.

    Args:
        keys: ``(frames, tokens, dim)``.
        reference: Unit keys of the reference frame, ``(tokens, dim)``, float32.

    Returns:
        ``(frames, tokens)``, float32.
    """
    keys = keys.float()
    length = torch.linalg.vector_norm(keys, dim=-1).clamp_min_(1e-8)
    return torch.einsum("ftd,td->ft", keys, reference).div_(length)


def least_similar(similarity: Tensor, count: int) -> Tensor:
    """Return the ``count`` tokens of lowest similarity of each frame, ascending, ``(frames, count)``.

    Of equally similar ones the first stay: on a still picture many are.
    """
    return lowest(similarity, count)


def flat_rows(chosen: Tensor, tokens: int) -> Tensor:
    """Return the row numbers in ``(frames * tokens)`` of tokens ``(frames, count)`` chosen in each frame."""
    offset = torch.arange(chosen.shape[0], device=chosen.device).unsqueeze(1) * tokens
    return (chosen + offset).flatten()


def settle_residuals(
    hidden: Tensor,
    reference: LayerReference,
    rows: Tensor,
    attention: Tensor | None,
    mlp: Callable[[Tensor], Tensor],
) -> None:
    """Add, in place, what a layer computes or reuses to the residual stream.

    Args:
        hidden: Stream entering the layer, ``(frames, tokens, dim)``, contiguous. It becomes the stream leaving
            it: the reference's update is added everywhere but in ``rows``.
        reference: The layer's cached update.
        rows: Recomputed rows of ``(frames * tokens)``.
        attention: Attention output of these rows, ``(rows, dim)``; ``None`` where there are none.
        mlp: Norm and MLP of the layer.
    """
    if attention is None:
        hidden.add_(reference.update)
        return
    flat = hidden.view(-1, hidden.shape[-1])
    fresh = flat.index_select(0, rows).add_(attention)
    fresh += mlp(fresh)
    hidden.add_(reference.update)
    flat.index_copy_(0, rows, fresh)


class SiglipCacher:
    """STC-Cacher around a SigLIP vision encoder (the tower of LLaVA-OneVision).

    Args:
        vision_model: The tower, in eval mode; it is run through its own sub-modules and left unchanged.
        settings: Interval, share and variant.
    """

    def __init__(self, vision_model: SiglipVisionModel, settings: CacherSettings) -> None:
        self.vision_model = vision_model
        self.settings = settings

    def new_state(self) -> CacherState:
        """Return the empty state of a new stream."""
        return CacherState()

    @torch.no_grad()
    def encode_full(self, pixel_values: Tensor) -> Tensor:
        """Encode ``(frames, 3, height, width)`` without the cacher; see `encode` for the result."""
        return self.vision_model.encoder(inputs_embeds=self._embed(pixel_values)).last_hidden_state

    @torch.no_grad()
    def encode(self, pixel_values: Tensor, state: CacherState) -> EncodedFrames:
        """Encode the next frames of a stream.

        Args:
            pixel_values: ``(frames, 3, height, width)``, normalised; sizes other than the tower's own get
                interpolated position embeddings.
            state: The session's state; changed in place.

        Returns:
            Features ``(frames, tokens, dim)`` of the last encoder layer, before ``post_layernorm``.

        Raises:
            UsageError: The pixels are no batch of frames.
        """
        hidden = self._embed(pixel_values)
        signature = ("x".join(str(n) for n in pixel_values.shape[2:]), str(hidden.dtype), str(hidden.device))
        run = _SiglipRun(list(self.vision_model.encoder.layers), hidden, signature)
        return encode_stream_chunk(run, self.settings, state)

    def _embed(self, pixel_values: Tensor) -> Tensor:
        if pixel_values.ndim != 4 or pixel_values.shape[0] == 0:
            shape = tuple(pixel_values.shape)
            raise UsageError(
                f"the cacher takes pixels (frames, 3, height, width) of one or more frames, not {shape}"
            )
        side = self.vision_model.config.image_size
        other_size = tuple(pixel_values.shape[2:]) != (side, side)
        return self.vision_model.embeddings(pixel_values, interpolate_pos_encoding=other_size)


class _SiglipRun:
    def __init__(self, blocks: list[nn.Module], hidden: Tensor, signature: tuple[object, ...]) -> None:
        self._blocks: list[Any] = list(blocks)
        self._hidden = hidden.contiguous()
        self.frames, self.tokens, _ = hidden.shape
        self.layers = len(blocks)
        self.signature = signature

    def full(self, segment: Segment, keep: list[LayerReference] | None) -> Tensor:
        hidden = self._hidden[segment.start : segment.stop]
        for block in self._blocks:
            attn = block.self_attn
            with captured_outputs(attn.k_proj, attn.v_proj) as caught:
                attention = attn(hidden_states=block.layer_norm1(hidden), attention_mask=None)[0]
            hidden = hidden + attention
            mlp = block.mlp(block.layer_norm2(hidden))
            hidden = hidden + mlp
            if keep is not None:
                keys, values = caught
                update = attention[-1] + mlp[-1]
                keep.append(LayerReference(unit_keys(keys[-1]), values[-1].clone(), update))
        return hidden

    def partial(self, segment: Segment, layers: list[LayerReference], count: int) -> tuple[Tensor, int]:
        hidden = self._hidden[segment.start : segment.stop]  # Ours, read by no other segment: written in place.
        computed = 0
        for block, reference in zip(self._blocks, layers, strict=True):
            computed += _siglip_partial(block, hidden, reference, count)
        return hidden, computed


def _siglip_partial(block: Any, hidden: Tensor, reference: LayerReference, count: int) -> int:
    """Run a layer on ``hidden`` in place with ``count`` tokens a frame anew; return the tokens computed."""
    frames, tokens, dim = hidden.shape
    if count == 0:
        settle_residuals(hidden, reference, torch.empty(0, dtype=torch.long), None, block.mlp)
        return 0
    attn = block.self_attn
    heads = (attn.num_heads, dim // attn.num_heads)
    normed = block.layer_norm1(hidden)
    keys = attn.k_proj(normed)
    rows = flat_rows(least_similar(key_similarity(keys, reference.key), count), tokens)
    chosen = normed.view(-1, dim).index_select(0, rows)
    values = reference.value.repeat(frames, 1).index_copy_(0, rows, attn.v_proj(chosen))
    attended = F.scaled_dot_product_attention(
        attn.q_proj(chosen).view(frames, count, *heads).transpose(1, 2),
        keys.view(frames, tokens, *heads).transpose(1, 2),
        values.view(frames, tokens, *heads).transpose(1, 2),
        scale=attn.scale,
    )
    attention = attn.out_proj(attended.transpose(1, 2).reshape(-1, dim))
    settle_residuals(hidden, reference, rows, attention, lambda x: block.mlp(block.layer_norm2(x)))
    return rows.numel()
