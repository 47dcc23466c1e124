"""A leaderboard file as versioned models: settings, entries, where each row comes from; reading is in `files`."""

from __future__ import annotations

__all__ = [
    "COVERAGE_FLOOR",
    "LEADERBOARD_VERSION",
    "Entry",
    "Leaderboard",
    "PublishedSource",
    "RunSource",
    "Setting",
    "Source",
]

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

LEADERBOARD_VERSION = 1

COVERAGE_FLOOR = 0.99
"""Entries that answered a smaller share of the questions are listed, not ranked."""

_SLUG = r"^[a-z0-9][a-z0-9._-]*$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunSource(_Part):
    """A row that comes from a run folder."""

    kind: Literal["run"] = "run"
    run: str = Field(description="name of the run folder")
    model: str = Field(description="catalog name of the model")
    git: str | None = Field(None, description="revision of evalkit that ran it")
    status: Literal["done"] = "done"


class PublishedSource(_Part):
    """A row that somebody published; evalkit did not measure it."""

    kind: Literal["published"] = "published"
    reference: str = Field(description="paper, repository or report")
    where: str = Field("", description="table, figure or file in it, where known")
    url: str = Field("", pattern=r"^(https://\S+)?$", description="where it is read; of an arXiv id it is known")


Source = Annotated[RunSource | PublishedSource, Field(discriminator="kind")]


class Setting(_Part):
    """What rows must share to be ranked with each other: data, frames, prompts, scorer, judge.

    ``columns`` are the metrics shown, in order; ``primary`` is the one rows are ranked by.
    """

    id: str = Field(pattern=_SLUG)
    title: str
    note: str = ""
    primary: str
    columns: tuple[str, ...]

    @model_validator(mode="after")
    def _primary_is_shown(self) -> Self:
        if self.primary not in self.columns:
            raise ValueError(f"primary metric {self.primary!r} is none of the columns")
        return self


class Entry(_Part):
    """One row. ``metrics`` are percentages; ``low``, ``high`` and ``se`` belong to the primary one, in points.

    ``comparable`` is false where the setting is not known well enough to rank the row; ``note`` says what is
    unknown. ``score`` says by which rule: strict, the benchmark's official one, or a judge.
    """

    id: str = Field(pattern=_SLUG)
    name: str = Field(min_length=1)
    setting: str
    score: Literal["strict", "official", "judged"]
    metrics: Mapping[str, FiniteFloat | None]
    n: int | None = Field(None, ge=0)
    coverage: float | None = Field(None, ge=0, le=1)
    clusters: int | None = Field(None, ge=0)
    se: FiniteFloat | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    method: str = ""
    judge: str | None = None
    hardware: str | None = None
    date: str | None = Field(None, pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")
    fingerprint: Mapping[str, Any] | None = None
    fingerprint_digest: str | None = None
    source: Source
    comparable: bool = True
    note: str = ""

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if not self.comparable and not self.note:
            raise ValueError("a row that is not comparable needs a note that says why")
        if isinstance(self.source, RunSource) and (self.fingerprint is None or self.fingerprint_digest is None):
            raise ValueError("a row of a run needs its fingerprint")
        return self


class Leaderboard(_Part):
    """``leaderboards/<task>.json``."""

    v: int = LEADERBOARD_VERSION
    task: str
    title: str
    coverage_floor: float = Field(COVERAGE_FLOOR, ge=0, le=1)
    settings: tuple[Setting, ...]
    entries: tuple[Entry, ...]

    @model_validator(mode="after")
    def _settings_exist(self) -> Self:
        known = {setting.id for setting in self.settings}
        if len(known) < len(self.settings):
            raise ValueError("two settings have the same id")
        for entry in self.entries:
            if entry.setting not in known:
                raise ValueError(f"entry {entry.id!r} names the setting {entry.setting!r}, which is not there")
        return self

    def setting(self, id_: str) -> Setting:
        """Return the setting of that id."""
        return next(setting for setting in self.settings if setting.id == id_)
