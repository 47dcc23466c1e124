"""A made-up benchmark: questions on made-up matches, in the published layouts of the question benchmarks.

It is what ``--data demo`` stands for in each of them, so that loaders, protocols and scorers run end to end
without a download. Figures on it say nothing about a model.
"""

from pathlib import Path

from evalkit.tasks import DemoSize
from evalkit_tasks.demo import demo_matches
from evalkit_tasks.toy_qa.questions import ToyQuestion, multiple_choice, spoken_lines, whole_match_questions
from evalkit_tasks.toy_qa.videos import Toy, place_video

__all__ = [
    "Toy",
    "ToyQuestion",
    "make_demo",
    "make_toy",
    "multiple_choice",
    "place_video",
    "spoken_lines",
    "whole_match_questions",
]


def make_toy(layout: str, data: Path, toy: Toy | None = None) -> None:
    """Write the toy benchmark in one benchmark's layout below ``data``, unless it is there.

    Args:
        layout: Name of the benchmark.
        data: Empty or new folder.
        toy: Which matches, and who films them; two matches of a minute by default.

    Raises:
        UsageError: There is no such layout, or ``data`` holds other files.
    """
    from evalkit_tasks.toy_qa.layouts import (
        write_layout,  # made of the benchmarks' constants, and they import this
    )

    write_layout(layout, data, toy or Toy())


def make_demo(layout: str, data: Path, size: DemoSize | None = None) -> None:
    """Write the toy benchmark of a size in one benchmark's layout below ``data``; see ``make_toy``."""
    make_toy(layout, data, Toy(demo_matches(size)))
