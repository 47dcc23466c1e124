"""What the compressors can be told, checked on construction; leaves the tensors to `cacher` and `pruner`."""

from __future__ import annotations

__all__ = [
    "CacherSettings",
    "CacherVariant",
    "DyCokeSettings",
    "FrameStrideSettings",
    "PrunerSettings",
    "PrunerStrategy",
    "Segment",
    "StcBaselineSettings",
    "StcMode",
    "StcVisionZipSettings",
    "ToMeSettings",
    "VidCom2Settings",
    "VisionZipSettings",
]

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, get_args

from evalkit.errors import UsageError, suggest

CacherVariant = Literal["stc-code", "stc-paper"]
PrunerStrategy = Literal["gaussian", "dual-anchor"]

_RELEASED_KEEP = 60


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive frames of one call that are encoded together.

    Args:
        start: First frame, 0-based within the call.
        stop: One past the last frame.
        reference: Whether the frames are computed fully and the last one becomes the reference.
    """

    start: int
    stop: int
    reference: bool


@dataclass(frozen=True, slots=True)
class CacherSettings:
    """Settings of STC-Cacher.

    Args:
        interval: A reference every ``interval`` frames (``stc-paper``) or chunks (``stc-code``), >= 1.
        reuse: Share of a frame's tokens taken from the reference, in [0, 1] (the paper's ``R_cacher``;
            the released code's ``update_token_ratio`` is ``1 - reuse``).
        variant: ``stc-code`` follows the released code: the stream is cut into chunks, chunk i is computed
            fully where ``i % interval == 0``, its last frame is the reference, and at least one token is
            recomputed. ``stc-paper`` follows Algorithm 1: frames are counted and
            ``floor(tokens * (1 - reuse))`` may be zero.
        chunk: Frames of a chunk, >= 1, ``stc-code`` only (default 1, the released ``encode_chunk_size``).

    Raises:
        UsageError: A value is out of range or of the wrong type.
    """

    interval: int = 2
    reuse: float = 0.75
    variant: CacherVariant = "stc-code"
    chunk: int | None = None

    def __post_init__(self) -> None:
        _whole("interval", self.interval, least=1)
        _share("reuse", self.reuse)
        _one_of("variant", self.variant, get_args(CacherVariant))
        if self.chunk is not None:
            _whole("chunk", self.chunk, least=1)
            if self.variant == "stc-paper":
                raise UsageError("chunk is a setting of variant=stc-code; stc-paper counts frames")
        elif self.variant == "stc-code":
            object.__setattr__(self, "chunk", 1)

    @classmethod
    def from_recompute(
        cls, interval: int, recompute: float, variant: CacherVariant = "stc-code", chunk: int | None = None
    ) -> CacherSettings:
        """Return the settings for a recomputed share (the released code's ``update_token_ratio``)."""
        _share("recompute", recompute)
        return cls(interval=interval, reuse=_complement(recompute), variant=variant, chunk=chunk)

    @property
    def recompute(self) -> float:
        """Share of a frame's tokens computed anew, the decimal complement of ``reuse``."""
        return _complement(self.reuse)

    def recomputed(self, tokens: int) -> int:
        """Return how many of a frame's ``tokens`` are computed anew between references."""
        if self.variant == "stc-code":
            return max(1, min(int(tokens * self.recompute), tokens))
        return _exact_floor(tokens, self.recompute)

    def segments(self, frame: int, frames: int) -> tuple[Segment, ...]:
        """Return how the ``frames`` of one call are encoded, which depends on no division into calls.

        Args:
            frame: Frames seen before on this stream.
            frames: Frames of this call, >= 1.
        """
        segments: list[Segment] = []
        for index in range(frames):
            reference = (frame + index) // (self.chunk or 1) % self.interval == 0
            if segments and segments[-1].reference == reference:
                segments[-1] = Segment(segments[-1].start, index + 1, reference)
            else:
                segments.append(Segment(index, index + 1, reference))
        return tuple(segments)


@dataclass(frozen=True, slots=True)
class PrunerSettings:
    """Settings of STC-Pruner. Give ``keep`` or ``pruned``, not both; neither means the released 60.

    Args:
        keep: Tokens kept of each frame, >= 1.
        pruned: Share of a frame's tokens dropped, in [0, 1) (the paper's ``R_pruner``);
            ``floor(tokens * (1 - pruned))`` are kept, at least one.
        strategy: ``gaussian`` is the released code's score, ``dual-anchor`` the paper's equation.
        alpha: Weight of the temporal anchor, in [0, 1], ``dual-anchor`` only (default 0.5).
        history: Frame means (``dual-anchor``) or call means (``gaussian``) the memory holds, >= 1;
            ``None`` is unbounded, as released; the paper names a length W but gives no value.
        channel_keep_ratio: Share of least varying channels scored, in (0, 1]; default 0.5 for
            ``gaussian`` (as released) and 1 for ``dual-anchor`` (as written).
        across_streams: Whether one memory serves all streams of a run, as in the released code.
        chunk: Frames of one call that are scored together and leave one mean, >= 1, ``gaussian`` only
            (default 1, the released ``encode_chunk_size``).

    Raises:
        UsageError: A value is out of range, of the wrong type, or contradicts another.
    """

    keep: int | None = None
    pruned: float | None = None
    strategy: PrunerStrategy = "gaussian"
    alpha: float | None = None
    history: int | None = None
    channel_keep_ratio: float | None = None
    across_streams: bool = False
    chunk: int | None = None

    def __post_init__(self) -> None:
        _one_of("strategy", self.strategy, get_args(PrunerStrategy))
        if self.keep is not None and self.pruned is not None:
            raise UsageError("pruner takes keep or pruned, not both")
        if self.keep is None and self.pruned is None:
            object.__setattr__(self, "keep", _RELEASED_KEEP)
        if self.keep is not None:
            _whole("keep", self.keep, least=1)
        if self.pruned is not None:
            _share("pruned", self.pruned)
            if self.pruned >= 1.0:
                raise UsageError("pruned must be below 1: a frame keeps at least one token")
        if self.history is not None:
            _whole("history", self.history, least=1)
        if not isinstance(self.across_streams, bool):
            raise UsageError(f"across_streams must be true or false, not {self.across_streams!r}")
        self._settle_alpha()
        self._settle_channels()
        self._settle_chunk()

    def _settle_alpha(self) -> None:
        if self.alpha is not None:
            _share("alpha", self.alpha)
            if self.strategy == "gaussian":
                raise UsageError("alpha weighs the anchors of strategy=dual-anchor; gaussian has no alpha")
        elif self.strategy == "dual-anchor":
            object.__setattr__(self, "alpha", 0.5)

    def _settle_channels(self) -> None:
        if self.channel_keep_ratio is None:
            default = 0.5 if self.strategy == "gaussian" else 1.0
            object.__setattr__(self, "channel_keep_ratio", default)
            return
        _share("channel_keep_ratio", self.channel_keep_ratio)
        if self.channel_keep_ratio == 0.0:
            raise UsageError("channel_keep_ratio must be above 0")

    def _settle_chunk(self) -> None:
        if self.chunk is not None:
            _whole("chunk", self.chunk, least=1)
            if self.strategy == "dual-anchor":
                raise UsageError("chunk is a setting of strategy=gaussian; dual-anchor takes frame by frame")
        elif self.strategy == "gaussian":
            object.__setattr__(self, "chunk", 1)

    def kept(self, tokens: int) -> int:
        """Return how many of a frame's ``tokens`` are kept, never more than there are."""
        if self.keep is not None:
            return min(self.keep, tokens)
        pruned = self.pruned if self.pruned is not None else 0.0
        return max(1, _exact_floor(tokens, _complement(pruned)))

    def channels(self, width: int) -> int:
        """Return how many of ``width`` channels the score looks at, at least one."""
        ratio = 1.0 if self.channel_keep_ratio is None else self.channel_keep_ratio
        return max(1, int(width * ratio))


def _complement(share: float) -> float:
    # In decimals, so that 1 - 0.7 is the 0.3 a person wrote and token counts match `int(tokens * 0.3)`.
    return float(1 - Decimal(repr(float(share))))


def _exact_floor(tokens: int, share: float) -> int:
    return int(tokens * Decimal(repr(share)))


def _share(name: str, value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(float(value)) or not 0.0 <= float(value) <= 1.0:  # type: ignore[arg-type]
        raise UsageError(f"{name} must be a number in [0, 1], not {value!r}")


def _whole(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} must be a whole number >= {least}, not {value!r}")


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name} must be one of {', '.join(known)}, not {value!r}{suggest(str(value), known)}")


@dataclass(frozen=True, slots=True)
class VidCom2Settings:
    """Settings of VidCom2.

    Args:
        keep: Share of tokens kept, above 0 and at most 1 (the paper's ``R``).
        scope: ``frame``: every frame by itself, as STC's authors ran it in a stream; ``call``: all frames of a
            call
            share a budget, as published for whole clips.

    Raises:
        UsageError: A value is out of range or of the wrong type.
    """

    keep: float = 0.25
    scope: Literal["frame", "call"] = "frame"

    def __post_init__(self) -> None:
        _share("keep", self.keep)
        if self.keep == 0:
            raise UsageError("vidcom2 keep is above 0")
        _one_of("scope", self.scope, ("frame", "call"))


@dataclass(frozen=True, slots=True)
class DyCokeSettings:
    """Settings of DyCoke's token temporal merging, which prunes three frames of four.

    Args:
        pruned: Share that goes of a pruned frame, in [0, 1] (the released ``K``).

    Raises:
        UsageError: It is out of range or of the wrong type.
    """

    pruned: float = 0.7

    def __post_init__(self) -> None:
        _share("pruned", self.pruned)


StcMode = Literal["vidcom2_orignal", "vidcom2_two_score", "vidcom2_only_memory", "dart"]


@dataclass(frozen=True, slots=True)
class StcBaselineSettings:
    """Settings of what STC's released code runs under other methods' names.

    Args:
        mode: Its ``PRUNE_STRATEGY``, as it spells them; ``dart`` there is not DART.
        keep: Tokens kept of every frame.

    Raises:
        UsageError: A value is out of range or of the wrong type.
    """

    mode: StcMode = "dart"
    keep: int = 49

    def __post_init__(self) -> None:
        _one_of("mode", self.mode, get_args(StcMode))
        _whole("keep", self.keep, least=1)


@dataclass(frozen=True, slots=True)
class FrameStrideSettings:
    """Settings of the plainest baseline: one frame of so many stays, whole.

    Args:
        every: One frame of how many, >= 1, counted through the stream.

    Raises:
        UsageError: It is out of range or of the wrong type.
    """

    every: int = 4

    def __post_init__(self) -> None:
        _whole("every", self.every, least=1)


@dataclass(frozen=True, slots=True)
class VisionZipSettings:
    """Settings of VisionZip. Give ``keep`` or ``pruned``, not both; neither means 50 tokens.

    Args:
        keep: Tokens that a frame becomes, >= 1.
        pruned: Share of a frame's tokens that it has fewer, in [0, 1); ``floor(tokens * (1 - pruned))`` are left.
        dominant: Share of these that are chosen by the attention they receive, in [0, 1]; the whole part counts.
            The rest is merged into contextual ones. 54 of 64 in the paper.
        contextual: How many are contextual, in place of ``dominant``; 0 merges nothing.

    Raises:
        UsageError: A value is out of range, of the wrong type, or contradicts another.
    """

    keep: int | None = None
    pruned: float | None = None
    dominant: float | None = None
    contextual: int | None = None

    def __post_init__(self) -> None:
        if self.keep is not None and self.pruned is not None:
            raise UsageError("visionzip takes keep or pruned, not both")
        if self.keep is None and self.pruned is None:
            object.__setattr__(self, "keep", 50)
        if self.keep is not None:
            _whole("keep", self.keep, least=1)
        if self.pruned is not None:
            _share("pruned", self.pruned)
            if self.pruned >= 1.0:
                raise UsageError("pruned must be below 1: a frame keeps at least one token")
        if self.dominant is not None and self.contextual is not None:
            raise UsageError("visionzip takes dominant or contextual, not both")
        if self.contextual is not None:
            _whole("contextual", self.contextual, least=0)
            if self.keep is not None and self.contextual > self.keep:
                raise UsageError(f"contextual={self.contextual} is more than the {self.keep} tokens kept")
        elif self.dominant is None:
            object.__setattr__(self, "dominant", 54 / 64)
        else:
            _share("dominant", self.dominant)

    def kept(self, tokens: int) -> int:
        """Return how many tokens a frame of ``tokens`` becomes, never more than there are."""
        if self.keep is not None:
            return min(self.keep, tokens)
        return max(1, _exact_floor(tokens, _complement(self.pruned or 0.0)))

    def dominants(self, kept: int) -> int:
        """Return how many of the ``kept`` are chosen and not merged."""
        if self.contextual is not None:
            return kept - min(self.contextual, kept)
        return int(kept * (54 / 64 if self.dominant is None else self.dominant))

    @property
    def merges(self) -> bool:
        """Whether some tokens are merged."""
        return self.contextual != 0 and self.dominant != 1.0


@dataclass(frozen=True, slots=True)
class StcVisionZipSettings:
    """Settings of the function that STC's released code names ``visionzip``.

    Args:
        share: Share of a frame's tokens that stays, in (0, 1]; the whole part counts, at least one.

    Raises:
        UsageError: It is out of range or of the wrong type.
    """

    share: float = 0.25

    def __post_init__(self) -> None:
        _share("share", self.share)
        if self.share == 0.0:
            raise UsageError("share must be above 0")


@dataclass(frozen=True, slots=True)
class ToMeSettings:
    """Settings of ToMe. Give ``r`` or ``keep``, not both; neither means ``r=8``.

    Args:
        r: Tokens that a layer merges away, >= 0, never more than half of them.
        inflection: How ``r`` rises or falls over the layers about its mean, in [-1, 1]: -1 falls linearly to
            zero (the paper's "decreasing" schedule), 0 is the same in all.
        keep: Tokens of a frame left behind the last layer, >= 1; every layer merges the same number, the first
            ones one more where that does not come out even.
        restore: Whether every place gets back what its token was merged into behind the last layer. The grid is
            whole again then, and only the encoder's time is saved.

    Raises:
        UsageError: A value is out of range, of the wrong type, or contradicts another.
    """

    r: int | None = None
    inflection: float | None = None
    keep: int | None = None
    restore: bool = True

    def __post_init__(self) -> None:
        if self.r is not None and self.keep is not None:
            raise UsageError("tome takes r or keep, not both")
        if self.r is None and self.keep is None:
            object.__setattr__(self, "r", 8)
        if self.r is not None:
            _whole("r", self.r, least=0)
        if self.keep is not None:
            _whole("keep", self.keep, least=1)
            if self.inflection is not None:
                raise UsageError("inflection bends r; with keep every layer merges the same number")
        if self.inflection is not None and not (
            isinstance(self.inflection, int | float) and -1.0 <= self.inflection <= 1.0
        ):
            raise UsageError(f"inflection must be a number in [-1, 1], not {self.inflection!r}")
        if not isinstance(self.restore, bool):
            raise UsageError(f"restore must be true or false, not {self.restore!r}")
