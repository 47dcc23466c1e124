"""What a run finds around it: who reads its videos, who makes its model, who asks it to stop."""

from __future__ import annotations

__all__ = ["ALONE", "Surroundings"]

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from evalkit.models.entry import ModelRecipe
from evalkit.models.protocol import StreamingModel
from evalkit.run.reads import OwnReads, Reads
from evalkit.run.stop import StopRequest, listening


def _make(recipe: ModelRecipe) -> StreamingModel:
    return recipe.make()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run of this process may share with runs that go on beside it.

    Args:
        reads: Who reads the videos.
        make: Makes a model of its recipe.
        listening: Gives the request to stop while the run goes on.
        in_turns: Whether models of other runs work between two seconds of this one.
    """

    reads: Reads = field(default_factory=OwnReads)
    make: Callable[[ModelRecipe], StreamingModel] = _make
    listening: Callable[[], AbstractContextManager[StopRequest]] = listening
    in_turns: bool = False


ALONE = Surroundings()
"""Nothing is shared."""
