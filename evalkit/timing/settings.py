"""What clock a recorded run is put behind: the one home of these options, their ranges and words (no torch)."""

from __future__ import annotations

__all__ = ["ReplayOption", "ReplaySettings"]

from dataclasses import dataclass, field, fields

from evalkit.errors import UsageError
from evalkit.timing.queue import Overload


@dataclass(frozen=True, slots=True)
class ReplayOption:
    """What a setting of the clock is called and may be; the command line is a view of these.

    Args:
        help: In words.
        low: Smallest value.
        high: Largest value.
        unit: Of the value.
    """

    help: str
    low: float = 0.0
    high: float = 86400.0
    unit: str = "seconds"


_OPTION = "option"


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """The clock a run is put behind; each field's `ReplayOption` says what it is.

    Raises:
        UsageError: A value is out of its range.
    """

    overload: Overload = field(
        default="queue",
        metadata={_OPTION: ReplayOption("what happens to a second that comes while the session works")},
    )
    # Beyond these speeds stages no longer scale alike.
    hardware: float = field(
        default=1.0,
        metadata={_OPTION: ReplayOption("speed of the machine over the recorded one", 0.25, 8, "times")},
    )
    fps: float | None = field(
        default=None,
        metadata={_OPTION: ReplayOption("frame rate at which the recorded frames arrive", 0.1, 120, "fps")},
    )
    deadline: float | None = field(
        default=None, metadata={_OPTION: ReplayOption("lag beyond which a second is late (one chunk of stream)")}
    )
    warm_up: float = field(
        default=10.0,
        metadata={_OPTION: ReplayOption("start of each stream that the miss rate is counted without")},
    )

    def __post_init__(self) -> None:
        for name, option in self.options().items():
            value = getattr(self, name)
            if value is not None and name != "overload" and not option.low <= value <= option.high:
                raise UsageError(
                    f"{name.replace('_', '-')} must lie in {option.low:g} to {option.high:g} {option.unit}, not "
                    f"{value:g}"
                )

    @classmethod
    def options(cls) -> dict[str, ReplayOption]:
        """Return what each field is, by name."""
        return {one.name: one.metadata[_OPTION] for one in fields(cls)}
