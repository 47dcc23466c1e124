"""What `--compress` and a catalog entry say, read into typed settings; builds nothing and loads no torch."""

from __future__ import annotations

__all__ = [
    "COMPRESSOR_GROUP",
    "PRESETS",
    "CompressionSpec",
    "CompressorKind",
    "CompressorSpec",
    "SideProduct",
    "broken_compressors",
    "compressor_kinds",
    "parse_compression",
]

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from evalkit.compress.settings import (
    CacherSettings,
    DyCokeSettings,
    FrameStrideSettings,
    PrunerSettings,
    StcBaselineSettings,
    StcVisionZipSettings,
    ToMeSettings,
    VidCom2Settings,
    VisionZipSettings,
)
from evalkit.errors import UsageError, suggest
from evalkit.registry import Registry

COMPRESSOR_GROUP = "evalkit.compressors"
NO_COMPRESSION = "none"

SideProduct = Literal["attention", "keys"]
"""What the vision tower's last used layer can leave beside features: attention received, mean keys."""

_PART = re.compile(r"\s*([A-Za-z][\w.-]*)\s*(?:\(([^()]*)\))?\s*(,|$)")


def _never(settings: Any) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class CompressorKind:
    """A compressor that can be named; what an entry point of ``evalkit.compressors`` gives.

    Args:
        name: Its name in ``--compress``.
        stage: ``vision`` wraps the vision encoder, ``tokens`` drops features before the language model.
        settings: Frozen dataclass of its settings, with a default for every field; raises `UsageError`.
        build: For ``vision`` a function of ``(tower, settings)`` returning an object with ``new_state()``
            and ``encode(..., state)``, which takes what the tower takes and returns ``features`` and a
            ``report``; for ``tokens`` one of ``(settings)`` returning an object with ``new_state()`` and
            ``prune(features, state)``, which returns an `evalkit.compress.Compressed`, or an object with
            ``rows()`` and a ``report``. A state has ``snapshot()`` and ``restore(tensors, plain)``, so that a
            run that was killed goes on where it stopped.
        summary: One line for ``evalkit list``.
        needs: What a compressor of tokens asks of the vision tower beside features; ``prune`` is then given
            `evalkit.compress.SideProducts` as its third argument. No compressor of the encoder can stand
            before it unless that one ``gives`` the same.
        gives: Which of these a compressor of the encoder leaves as ``side`` of what ``encode`` returns.
        merges: Whether, with such settings, new vectors stand in place of tokens. They cannot be made again
            from rows, so a policy that encodes its window anew refuses them; and an encoder that merges leaves
            no grid for a compressor of tokens.
    """

    name: str
    stage: Literal["vision", "tokens"]
    settings: type[Any]
    build: Callable[..., Any]
    summary: str
    needs: frozenset[SideProduct] = frozenset()
    gives: frozenset[SideProduct] = frozenset()
    merges: Callable[[Any], bool] = _never


@dataclass(frozen=True, slots=True)
class CompressorSpec:
    """One compressor with all its settings."""

    kind: CompressorKind
    settings: Any

    def canonical(self) -> str:
        """Return ``name(key=value,...)`` with every setting that is set, in declaration order."""
        parts = [f"{key}={_spell(value)}" for key, value in self.as_dict().items() if value is not None]
        return f"{self.kind.name}({','.join(parts)})"

    def as_dict(self) -> dict[str, Any]:
        """Return every setting by name."""
        return {f.name: getattr(self.settings, f.name) for f in dataclasses.fields(self.settings)}


@dataclass(frozen=True, slots=True)
class CompressionSpec:
    """The compressors of a run, at most one of each stage, vision first."""

    parts: tuple[CompressorSpec, ...] = ()

    @property
    def vision(self) -> CompressorSpec | None:
        """The compressor around the vision encoder, if any."""
        return self._of("vision")

    @property
    def tokens(self) -> CompressorSpec | None:
        """The compressor before the language model, if any."""
        return self._of("tokens")

    @property
    def merging(self) -> CompressorSpec | None:
        """The first compressor that puts new vectors in place of tokens, if any."""
        return next((part for part in self.parts if part.kind.merges(part.settings)), None)

    def refuse_encoding_again(self, model: str) -> None:
        """Refuse what cannot be made again by a model that encodes its window anew each second.

        Raises:
            UsageError: A compressor merges tokens.
        """
        if self.merging is not None:
            raise UsageError(
                f"{model} encodes its window again each second, which cannot make again what "
                f"{self.merging.kind.name} merged: keep the features (sliding: --set memory.reuse_vision=true), "
                "or choose another compressor"
            )

    def _of(self, stage: str) -> CompressorSpec | None:
        return next((part for part in self.parts if part.kind.stage == stage), None)

    def canonical(self) -> str:
        """Return the text that parses to this very specification; ``none`` where there is no compressor."""
        return ",".join(part.canonical() for part in self.parts) or NO_COMPRESSION

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return name -> settings, for the fingerprint."""
        return {part.kind.name: part.as_dict() for part in self.parts}

    def with_compat(self) -> CompressionSpec:
        """Return the same compressors with the released code's leak of memory across streams."""
        return CompressionSpec(tuple(_leaking(part) for part in self.parts))


def _leaking(part: CompressorSpec) -> CompressorSpec:
    if "across_streams" not in part.as_dict():
        return part
    return CompressorSpec(part.kind, dataclasses.replace(part.settings, across_streams=True))


def _build_cacher(tower: Any, settings: CacherSettings) -> Any:
    from evalkit.compress.hosts import wrap_vision_tower

    return wrap_vision_tower(tower, settings)


def _build_pruner(settings: PrunerSettings) -> Any:
    from evalkit.compress.pruner import Pruner

    return Pruner(settings)


def _build_tome(tower: Any, settings: ToMeSettings) -> Any:
    from evalkit.compress.hosts import merge_inside

    return merge_inside(tower, settings)


def _build_peer(name: str) -> Callable[[Any], Any]:
    def build(settings: Any) -> Any:
        from evalkit.compress import peers

        return getattr(peers, name)(settings)

    return build


_SIDE: frozenset[SideProduct] = frozenset(("attention", "keys"))

_BUILT_IN = (
    CompressorKind(
        "cacher", "vision", CacherSettings, _build_cacher, "STC-Cacher: re-encode what left the reference frame"
    ),
    CompressorKind(
        "pruner", "tokens", PrunerSettings, _build_pruner, "STC-Pruner: keep the tokens that differ most"
    ),
    CompressorKind(
        "vidcom2",
        "tokens",
        VidCom2Settings,
        _build_peer("VidCom2"),
        "VidCom2: keep what is unlike its frame",
    ),
    CompressorKind(
        "dycoke-ttm",
        "tokens",
        DyCokeSettings,
        _build_peer("DyCoke"),
        "DyCoke: of three frames in four the change",
    ),
    CompressorKind(
        "stc-baseline",
        "tokens",
        StcBaselineSettings,
        _build_peer("StcBaseline"),
        "what STC's released code runs under other methods' names",
    ),
    CompressorKind(
        "tome",
        "vision",
        ToMeSettings,
        _build_tome,
        "ToMe: merge similar tokens inside the vision encoder",
        merges=lambda settings: not settings.restore,
    ),
    CompressorKind(
        "visionzip",
        "tokens",
        VisionZipSettings,
        _build_peer("VisionZip"),
        "VisionZip: keep what receives attention, merge the rest",
        needs=_SIDE,
        merges=lambda settings: settings.merges,
    ),
    CompressorKind(
        "stc-visionzip",
        "tokens",
        StcVisionZipSettings,
        _build_peer("StcVisionZip"),
        "what STC's released code has under VisionZip's name",
        needs=frozenset(("attention",)),
    ),
    CompressorKind(
        "frame-stride",
        "tokens",
        FrameStrideSettings,
        _build_peer("FrameStride"),
        "one frame of so many, whole",
    ),
)

#: Settings of the paper's tables (arXiv 2512.00891, section 4.1) and of the released code, by name.
PRESETS: Mapping[str, str] = MappingProxyType(
    {
        "stc": "cacher(interval=2,reuse=0.75,variant=stc-paper),pruner(pruned=0.7,strategy=dual-anchor)",
        "stc-cacher-n4": "cacher(interval=4,reuse=0.75,variant=stc-paper)",
        "stc-pruner-75": "pruner(pruned=0.75,strategy=dual-anchor)",
        "stc-code": "cacher(interval=2,reuse=0.75,variant=stc-code),pruner(keep=60,strategy=gaussian)",
        "stc-code-64": "cacher(interval=2,reuse=0.75,variant=stc-code),pruner(keep=64,strategy=gaussian)",
        "stc-pruner-60": "pruner(keep=60,strategy=gaussian)",
        "stc-pruner-64": "pruner(keep=64,strategy=gaussian)",
        "stc-dart": "stc-baseline(mode=dart,keep=49)",
        "stc-vidcom2": "stc-baseline(mode=vidcom2_orignal,keep=49)",
        "stc-vidcom2-two-score": "stc-baseline(mode=vidcom2_two_score,keep=49)",
        "stc-vidcom2-only-memory": "stc-baseline(mode=vidcom2_only_memory,keep=49)",
        "stc-dycoke": "frame-stride(every=4)",
        "tome-49": "tome(keep=49,restore=false)",
        "visionzip-49": "visionzip(keep=49)",
        "visionzip-49-dominant": "visionzip(keep=49,contextual=0)",
        "visionzip-50": "visionzip(keep=50)",
        "vidcom2-25": "vidcom2(keep=0.25)",
        "vidcom2-15": "vidcom2(keep=0.15)",
        "dycoke-ttm-70": "dycoke-ttm(pruned=0.7)",
    }
)


def compressor_kinds() -> dict[str, CompressorKind]:
    """Return every compressor by name: the built-in ones and those of installed packages that can be loaded."""
    return _kinds()[0]


def broken_compressors() -> dict[str, str]:
    """Return what is wrong with each entry point that gives no compressor: it hides no other."""
    return _kinds()[1]


def _kinds() -> tuple[dict[str, CompressorKind], dict[str, str]]:
    kinds = {kind.name: kind for kind in _BUILT_IN}
    broken: dict[str, str] = {}
    registry = Registry(COMPRESSOR_GROUP, "compressor")
    for name in registry.names():
        try:
            kind = registry.get(name)
        except UsageError as error:
            broken[name] = str(error)
            continue
        if not isinstance(kind, CompressorKind):
            broken[name] = f"entry point {name!r} of {COMPRESSOR_GROUP} gives no CompressorKind"
        elif wrong := _what_is_wrong(kind):
            broken[name] = f"compressor {name!r}: {wrong} (see docs/adding-a-compressor.md)"
        elif kind.name in kinds and kinds[kind.name] is not kind:
            broken[name] = f"entry point {name!r} gives a second compressor named {kind.name!r}; uninstall one"
        else:
            kinds[kind.name] = kind
    return kinds, broken


def _what_is_wrong(kind: CompressorKind) -> str | None:
    """Return the first thing in which somebody's kind is none, if any."""
    fields = dataclasses.fields(kind.settings) if dataclasses.is_dataclass(kind.settings) else None
    missing = dataclasses.MISSING
    if kind.stage not in ("vision", "tokens"):
        return f"stage is {kind.stage!r}, not vision or tokens"
    if fields is None or not isinstance(kind.settings, type):
        return "settings is no dataclass"
    if bare := [f.name for f in fields if f.default is missing and f.default_factory is missing]:
        return f"setting {bare[0]!r} has no default"
    if not callable(kind.build) or not callable(kind.merges):
        return "build and merges must be functions"
    if unknown := (kind.needs | kind.gives) - set(get_args(SideProduct)):
        return f"{sorted(unknown)[0]!r} is no side product (known: {', '.join(get_args(SideProduct))})"
    return None


def parse_compression(text: str) -> CompressionSpec:
    """Read ``cacher(interval=4,reuse=0.75),pruner(keep=60)``, a preset's name, or ``none``.

    Args:
        text: Compressors with or without settings, or presets, separated by commas; vision runs first in
            whatever order they are written.

    Raises:
        UsageError: An unknown name, key or value, two compressors of one stage, or an empty text: what
            cannot be understood never means "no compression".
    """
    if text.strip() == NO_COMPRESSION:
        return CompressionSpec()
    kinds = compressor_kinds()
    parts: list[CompressorSpec] = []
    for name, written in _split(text):
        if name in PRESETS and written is None:
            parts.extend(parse_compression(PRESETS[name]).parts)
        else:
            parts.append(_read(name, written or "", kinds))
    for stage in ("vision", "tokens"):
        same = [part.kind.name for part in parts if part.kind.stage == stage]
        if len(same) > 1:
            raise UsageError(f"one compressor for {stage}, not {len(same)} ({', '.join(same)}), in {text!r}")
    spec = CompressionSpec(tuple(sorted(parts, key=lambda part: part.kind.stage != "vision")))
    _refuse_pair(spec)
    return spec


def _refuse_pair(spec: CompressionSpec) -> None:
    """Refuse two compressors of which one takes from the other what it works on."""
    vision, tokens = spec.vision, spec.tokens
    if vision is None or tokens is None:
        return
    lacking = sorted(tokens.kind.needs - vision.kind.gives)
    if lacking:
        raise UsageError(
            f"{tokens.kind.name} asks the vision encoder for {' and '.join(lacking)}, which {vision.kind.name} "
            "does not compute for every token: choose one of the two"
        )
    if vision.kind.merges(vision.settings):
        raise UsageError(
            f"{vision.kind.name} merges tokens inside the encoder and leaves no grid for {tokens.kind.name}: "
            "choose one of the two"
        )


def _split(text: str) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    position, comma = 0, True
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            raise UsageError(
                f"cannot read {text[position:]!r} in --compress {text!r}; "
                "write name(key=value,...), separated by commas, or none"
            )
        found.append((match[1], match[2]))
        position, comma = match.end(), match[3] == ","
    if comma:
        raise UsageError(f"--compress {text!r} ends without a compressor; write none for no compression")
    return found


def _read(name: str, written: str, kinds: Mapping[str, CompressorKind]) -> CompressorSpec:
    if name not in kinds:
        if name == NO_COMPRESSION:
            raise UsageError("none stands alone: it means no compression at all")
        if name in PRESETS:
            raise UsageError(f"preset {name!r} takes no settings; write out {PRESETS[name]}")
        if name in (broken := broken_compressors()):
            raise UsageError(broken[name])
        known = [*kinds, *PRESETS, NO_COMPRESSION]
        raise UsageError(f"no compressor or preset {name!r}{suggest(name, known)} (known: {', '.join(known)})")
    kind = kinds[name]
    keys = [f.name for f in dataclasses.fields(kind.settings)]
    given: dict[str, Any] = {}
    for pair in filter(None, (piece.strip() for piece in written.split(","))):
        key, equals, value = (piece.strip() for piece in pair.partition("="))
        if not equals or not value:
            raise UsageError(f"{name} settings are key=value, not {pair!r} (keys: {', '.join(keys)})")
        if key not in keys:
            raise UsageError(f"{name} has no setting {key!r}{suggest(key, keys)} (keys: {', '.join(keys)})")
        if key in given:
            raise UsageError(f"{name} has {key} twice")
        given[key] = _value(value)
    return CompressorSpec(kind, kind.settings(**given))


def _value(text: str) -> bool | int | float | str | None:
    named: dict[str, bool | None] = {"true": True, "false": False, "none": None}
    if text in named:
        return named[text]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _spell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
