"""A digest of the code that ran where it is not the code of a commit."""

from __future__ import annotations

__all__ = ["code_change"]

import hashlib
import importlib.util
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

_PACKAGES = ("evalkit", "evalkit_tasks")
_SECONDS = 30


def code_change(folders: Sequence[Path] | None = None) -> str | None:
    """Return a digest of how the packages' files differ from the commit that is checked out, or None.

    Two working trees with the same uncommitted change agree, with different ones they do not. Files that git does
    not know count too, those that it ignores do not. Outside a checkout all source files stand in for the change,
    which tells an installed copy that somebody edited from one that nobody did.

    Args:
        folders: Of the packages; evalkit's own and those of its tasks by default.
    """
    places = _package_folders() if folders is None else list(folders)
    changed: list[tuple[str, Path]] = []
    for place in places:
        names = _changed_names(place)
        if names is None:
            names = (str(path.relative_to(place)) for path in place.rglob("*.py"))
        changed += [(f"{place.name}/{name}", place / name) for name in sorted(names)]
    if not changed:
        return None
    digest = hashlib.sha256()
    for name, path in changed:
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{name}\0{len(content) if path.is_file() else 'gone'}\0".encode() + content)
    return digest.hexdigest()[:16]


def _package_folders() -> list[Path]:
    specs = (importlib.util.find_spec(name) for name in _PACKAGES)
    return [Path(place) for spec in specs if spec for place in spec.submodule_search_locations or ()]


def _changed_names(place: Path) -> Iterable[str] | None:
    """Return the files below `place`, relative to it, that differ from the commit; None outside a checkout."""
    if _git(place, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    known = _git(place, "diff", "--name-only", "--no-renames", "--relative", "-z", "HEAD", "--", ".")
    new = _git(place, "ls-files", "--others", "--exclude-standard", "-z", "--", ".")
    if known is None or new is None:
        return None
    return {name for name in (known + new).split("\0") if name}


def _git(place: Path, *words: str) -> str | None:
    """Return git's output, or None where git says no or is not there."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell, fixed words
            ["git", "-C", str(place), *words],  # noqa: S607
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="surrogateescape") if done.returncode == 0 else None
