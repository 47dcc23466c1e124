"""The toy benchmark in each published layout, made once per folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from evalkit.errors import UsageError, suggest
from evalkit_tasks.demo import build_demo, generator_version
from evalkit_tasks.toy_qa import (
    egoschema,
    livesports,
    longvideobench,
    mlvu,
    omnimmi,
    ovobench,
    streamingbench,
    videomme,
)
from evalkit_tasks.toy_qa.videos import Toy

__all__ = ["LAYOUTS", "write_layout"]

LAYOUTS: Mapping[str, Callable[[Path, Toy], None]] = MappingProxyType(
    {
        "egoschema": egoschema.write,
        "livesports-cc": livesports.write_cc,
        "livesports-qa": livesports.write_qa,
        "longvideobench": longvideobench.write,
        "mlvu": mlvu.write,
        "omnimmi-pa": omnimmi.write,
        "ovo-timing": ovobench.write,
        "ovobench": ovobench.write,
        "streamingbench": streamingbench.write,
        "streamingbench-timing": streamingbench.write,
        "videomme": videomme.write,
    }
)
"""Writers by benchmark; each fills an empty folder."""


def write_layout(layout: str, data: Path, toy: Toy) -> None:
    """Write a toy in one benchmark's layout below ``data``, unless it is there; see ``make_toy``.

    Raises:
        UsageError: There is no such layout, or ``data`` holds other files.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"the toy benchmark has no layout {layout!r}{suggest(layout, LAYOUTS)}")
    version = f"{generator_version(*sorted(Path(__file__).parent.glob('*.py')))}/{layout}/{toy.name}"
    build_demo(data, version, lambda folder: LAYOUTS[layout](folder, toy))
