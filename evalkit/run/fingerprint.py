"""What makes two runs comparable: one flat table of everything that can change a number, and its digest."""

from __future__ import annotations

__all__ = [
    "fingerprint_digest",
    "full_fingerprint",
    "model_fingerprint",
    "sample_digest",
    "setting_fingerprint",
]

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.parse import PARSER_VERSION
from evalkit.run.code_change import code_change
from evalkit.run.media import media_digests
from evalkit.run.provenance import git_revision
from evalkit.stream import Elicitation, Query, StreamSample

if TYPE_CHECKING:  # the plan is its reader, too
    from evalkit.models.protocol import StreamingModel
    from evalkit.run.plan import RunPlan

_COMMON_SIZES = ((640, 360), (1920, 1080), (320, 180), (720, 1280))


def setting_fingerprint(plan: RunPlan) -> dict[str, Any]:
    """Return the part that two compared runs must share, as far as it is known before the model is loaded.

    A shard has that of the whole.
    """
    samples = plan.whole
    return {
        "task": plan.task.name,
        "data.revision": plan.data.revision,
        "data.samples": sample_digest(sample.id for sample in samples),
        "frames.fps": ",".join(sorted({f"{sample.fps:g}" for sample in samples})),
        "frames.presets": ",".join(sorted({sample.tags.get("frames", "schedule") for sample in samples})),
        "prompt.digest": _prompt_digest(samples),
        "parser": PARSER_VERSION,
        **{
            f"task.{key}": value
            for key, value in plan.task_settings.model_dump(mode="json").items()
            if key != "instruction"
        },
        **plan.model.setting(),
        **({"pace": f"realtime, {plan.options.overload}"} if plan.options.pace == "realtime" else {}),
        "seed": plan.options.seed,
        "code.revision": git_revision(),
        "code.change": code_change(),
    }


def model_fingerprint(plan: RunPlan) -> dict[str, Any]:
    """Return the part that says which model is under test, as far as it is known before it is loaded."""
    return {"model.name": plan.model.name, "model.kind": plan.model.kind, **plan.model.identity()}


def full_fingerprint(plan: RunPlan, model: StreamingModel) -> dict[str, Any]:
    """Return the whole fingerprint of a run.

    Args:
        plan: What runs.
        model: The model, loaded.
    """
    fingerprint = setting_fingerprint(plan) | model_fingerprint(plan) | model.identity()
    fingerprint["model.frame_size"] = _frame_sizes(model)
    fingerprint["data.media"] = sample_digest(f"{k}={v}" for k, v in media_digests(plan.samples).items())
    if model.placement.dtype is not None:
        fingerprint["dtype"] = model.placement.dtype
    return fingerprint


def _frame_sizes(model: StreamingModel) -> str:
    """Return the sizes at which common videos are shown to the model."""
    shown = [(source, model.frame_size(*source)) for source in _COMMON_SIZES]
    return ", ".join(f"{width}x{height} as {w}x{h}" for (width, height), (w, h) in shown)


def _prompt_digest(samples: Sequence[StreamSample]) -> str:
    prompts = hashlib.sha256()
    for sample in samples:
        texts = [] if sample.narration is None else [sample.narration.instruction, sample.narration.previous_text]
        if sample.narration is not None and sample.narration.time_origin:
            texts.append(f"time from {sample.narration.time_origin!r}")
        texts += [part for query in sample.queries for part in _wording(query)]
        texts += [] if sample.system is None else [sample.system]
        for text in [*texts, *(text for _, text in sample.texts)]:
            prompts.update(text.encode() + b"\0")
    return prompts.hexdigest()[:16]


def _wording(query: Query) -> Iterator[str]:
    """Yield everything that words a question and draws its reply out."""
    drawn = query.elicitation
    yield query.prompt
    if drawn != Elicitation():
        yield "|".join([*drawn.options, drawn.lead, drawn.prefix, str(drawn.max_tokens)])
    if query.follow_up is not None:
        yield query.follow_up.word
        yield query.follow_up.query.prompt


def fingerprint_digest(fingerprint: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a fingerprint's canonical JSON."""
    canonical = json.dumps(fingerprint, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def sample_digest(ids: Iterable[str]) -> str:
    """Return a short digest of names, in their order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
