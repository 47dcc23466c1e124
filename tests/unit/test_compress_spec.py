"""What --compress says: canonical forms, presets, and errors that never mean "no compression"."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

import evalkit.registry
from evalkit.compress import (
    PRESETS,
    CacherSettings,
    CompressionSpec,
    CompressorKind,
    Pruner,
    PrunerSettings,
    broken_compressors,
    compressor_kinds,
    parse_compression,
)
from evalkit.errors import UsageError


def test_compressors_are_read_with_their_settings() -> None:
    spec = parse_compression("cacher(interval=4,reuse=0.75),pruner(keep=60)")
    assert spec.vision is not None
    assert spec.tokens is not None
    assert spec.vision.settings == CacherSettings(interval=4, reuse=0.75)
    assert spec.tokens.settings == PrunerSettings(keep=60)


def test_order_and_blanks_do_not_matter() -> None:
    a = parse_compression(" pruner( keep = 60 ) , cacher ( reuse=0.75 , interval=4 ) ")
    assert a == parse_compression("cacher(interval=4,reuse=0.75),pruner(keep=60)")


def test_the_canonical_form_spells_every_setting() -> None:
    assert parse_compression("pruner,cacher").canonical() == (
        "cacher(interval=2,reuse=0.75,variant=stc-code,chunk=1),"
        "pruner(keep=60,strategy=gaussian,channel_keep_ratio=0.5,across_streams=false,chunk=1)"
    )


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_is_the_compressors_it_stands_for_and_its_canonical_form_reads_back(name: str) -> None:
    spec = parse_compression(name)
    assert spec.parts
    assert spec == parse_compression(PRESETS[name])
    assert parse_compression(spec.canonical()) == spec


def test_presets_hold_the_settings_of_the_papers_tables() -> None:
    both = parse_compression("stc").as_dict()
    assert (both["cacher"]["interval"], both["cacher"]["reuse"]) == (2, 0.75)
    assert (both["pruner"]["pruned"], both["pruner"]["strategy"]) == (0.7, "dual-anchor")
    alone = parse_compression("stc-cacher-n4").as_dict()
    assert list(alone) == ["cacher"]
    assert alone["cacher"]["interval"] == 4
    assert parse_compression("stc-code").as_dict()["pruner"]["keep"] == 60
    assert parse_compression("stc-pruner-64").as_dict()["pruner"]["keep"] == 64


def test_presets_and_compressors_combine() -> None:
    spec = parse_compression("stc-cacher-n4,pruner(keep=64)")
    assert [part.kind.name for part in spec.parts] == ["cacher", "pruner"]


def test_none_is_said_not_implied() -> None:
    assert parse_compression(" none ") == CompressionSpec()
    assert CompressionSpec().canonical() == "none"
    assert parse_compression("none").as_dict() == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write none"),
        ("  ", "cannot read|write none"),
        ("cachr(interval=4)", "did you mean 'cacher'"),
        ("stc-cacher-n5", "did you mean 'stc-cacher-n4'"),
        ("cacher(intervall=4)", "did you mean 'interval'"),
        ("cacher(interval=4", "cannot read"),
        ("cacher interval=4", "cannot read"),
        ("cacher(interval)", "key=value"),
        ("cacher(interval=)", "key=value"),
        ("cacher(interval=2,interval=4)", "twice"),
        ("cacher(interval=four)", "interval must be"),
        ("cacher(reuse=75%)", "reuse must be"),
        ("cacher(reuse=75)", "reuse must be"),
        ("cacher(variant=paper)", "did you mean 'stc-paper'"),
        ("pruner(keep=60,pruned=0.7)", "not both"),
        ("cacher,cacher(interval=4)", "one compressor for vision, not 2"),
        ("stc,pruner(keep=60)", "one compressor for tokens, not 2"),
        ("cacher,", "write none"),
        ("none,cacher", "stands alone"),
        ("stc(interval=4)", "takes no settings"),
    ],
)
def test_what_cannot_be_understood_is_an_error(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_compression(text)


def test_compat_turns_on_the_released_leak_and_nothing_else() -> None:
    spec = parse_compression("stc-code")
    compat = spec.with_compat()
    assert compat.vision == spec.vision
    assert compat.tokens is not None
    assert compat.tokens.settings.across_streams is True
    assert "across_streams=true" in compat.canonical()
    assert parse_compression(compat.canonical()) == compat


def test_a_specification_builds_what_it_names() -> None:
    part = parse_compression("pruner(keep=7)").tokens
    assert part is not None
    built = part.kind.build(part.settings)
    assert isinstance(built, Pruner)
    assert built.settings.keep == 7


@dataclass(frozen=True)
class _Other:
    level: int = 3


class _Point:
    name = "other"
    value = "somewhere:other"

    def __init__(self, gives: object) -> None:
        self.gives = gives

    def load(self) -> object:
        return self.gives


def test_packages_add_compressors_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    other = CompressorKind("other", "tokens", _Other, lambda settings: settings, "for the test")
    monkeypatch.setattr(evalkit.registry, "entry_points", lambda group: [_Point(other)])
    assert compressor_kinds()["other"] is other
    spec = parse_compression("other(level=5),cacher")
    assert spec.canonical().endswith(",other(level=5)")
    with pytest.raises(UsageError, match="one compressor for tokens"):
        parse_compression("other,pruner")


@pytest.mark.parametrize("gives", ["no kind", CompressorKind("pruner", "tokens", _Other, _Other, "a thief")])
def test_an_entry_point_that_gives_no_kind_or_takes_a_name_is_an_error_where_it_is_named_and_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, gives: Any
) -> None:
    monkeypatch.setattr(evalkit.registry, "entry_points", lambda group: [_Point(gives)])
    with pytest.raises(UsageError, match="entry point 'other'"):
        parse_compression("other")
    assert "entry point 'other'" in broken_compressors()["other"]
    assert [part.kind.name for part in parse_compression("stc").parts] == ["cacher", "pruner"]


def test_reading_a_specification_loads_no_torch() -> None:
    code = (
        "import sys; from evalkit.compress import parse_compression, check_shares; "
        "parse_compression('stc'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
