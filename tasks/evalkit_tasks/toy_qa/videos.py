"""The videos of the toy benchmark: each made once per machine and linked into every layout that shows it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from evalkit import env
from evalkit_tasks.demo import DemoMatch, demo_matches, generator_version, make_match_video

__all__ = ["Toy", "place_video"]


def place_video(path: Path, match: DemoMatch) -> None:
    """Put a match's video at a path; its folder is made.

    The video is encoded only if the cache folder does not have it yet; the path becomes a link to that file, or a
    copy where a link cannot be made.

    Args:
        path: Where it shall lie.
        match: What to show.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f"{match.seed}-{match.seconds}s-{match.venue}-{generator_version()}.mp4"
    kept = env.cache_dir() / "demo" / "videos" / name
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as aside:
            fresh = Path(aside) / "fresh.mp4"
            make_match_video(fresh, match)
            fresh.replace(kept)  # whole or not at all, whoever else makes it too
    try:
        os.link(kept, path)
    except OSError:
        shutil.copyfile(kept, path)


@dataclass(frozen=True, slots=True)
class Toy:
    """What the toy benchmark is made of.

    Args:
        matches: The matches asked about.
        film: Puts a match's video at a path.
    """

    matches: tuple[DemoMatch, ...] = field(default_factory=demo_matches)
    film: Callable[[Path, DemoMatch], None] = place_video

    @property
    def name(self) -> str:
        """What tells one toy from another."""
        return ",".join(f"{match.seed}:{match.seconds}:{match.venue}" for match in self.matches)
