"""Videos that only a web page has, by yt-dlp: named by us, tried once, gone ones counted, politely slow."""

from __future__ import annotations

__all__ = ["ARCHIVE", "FORMAT", "WebRequest", "fetch_pages"]

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from evalkit.errors import UsageError

_RULES = ("[height<=720][vcodec^=avc1]", "[height<=720]", "[vcodec^=avc1]", "")
FORMAT = "/".join(f"{kind}{rule}" for rule in _RULES for kind in ("bv", "b"))
"""What is asked for: at most 720 lines, H.264 before other codecs, pictures alone before pictures with sound.

Nothing has to be joined, so FFmpeg is not needed.
"""
ARCHIVE = "evalkit-web.jsonl"
"""File in the data folder: a line per page that was tried, with the format that came or why none did."""


@dataclass(frozen=True, slots=True)
class WebRequest:
    """How pages are asked.

    Args:
        cookies: File of cookies, for pages that want them.
        format: yt-dlp's format rule.
        pause: Seconds between two pages.
        rate: Most bytes a second, as yt-dlp has it (``8M``).
    """

    cookies: str | None = None
    format: str = FORMAT
    pause: float = 2.0
    rate: str = "8M"


def fetch_pages(
    pages: Mapping[Path, str], folder: Path, request: WebRequest, tell: Callable[[str], None]
) -> dict[Path, str]:
    """Bring videos from pages.

    Args:
        pages: Where each video goes, and the address of its page.
        folder: The data folder, which keeps the list of what was tried.
        request: How.
        tell: Told of each video as it comes or fails.

    Returns:
        Why, of each video that could not be had.

    Raises:
        UsageError: yt-dlp is not installed.
    """
    if find_spec("yt_dlp") is None:
        raise UsageError("--web needs yt-dlp: pip install 'evalkit[data]'")
    gone: dict[Path, str] = {}
    for target, address in pages.items():
        said = _fetch_page(address, target, request)
        entry = {"file": target.relative_to(folder).as_posix(), "page": address, **said}
        with (folder / ARCHIVE).open("a", encoding="utf-8") as archive:
            archive.write(json.dumps(entry, ensure_ascii=False) + "\n")
        if "error" in said:
            gone[target] = said["error"]
        tell(f"{entry['file']}: {said.get('error') or said['format']}")
    return gone


def _fetch_page(address: str, target: Path, request: WebRequest) -> dict[str, str]:
    """Run yt-dlp for one page; it goes on by itself where a call before was cut."""
    target.parent.mkdir(parents=True, exist_ok=True)
    options = {
        "--format": request.format,
        "--retries": "5",
        "--limit-rate": request.rate,
        "--sleep-interval": str(request.pause),
        "--print": "after_move:%(format_id)s %(vcodec)s %(height)s",
        "--output": f"{target.with_suffix('')}.%(ext)s",
        **({"--cookies": request.cookies} if request.cookies else {}),
    }
    command = [
        sys.executable,
        "-m",
        "yt_dlp",
        "--ignore-config",
        "--no-progress",
        "--no-playlist",
        "--no-simulate",
    ]
    command += [word for pair in options.items() for word in pair]
    done = subprocess.run([*command, "--", address], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode == 0 and target.is_file():
        return {"format": done.stdout.strip().splitlines()[-1]}
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    if done.returncode == 0:
        return {"error": f"the page gave no {target.suffix} file"}
    return {"error": (errors or done.stderr.splitlines() or ["yt-dlp failed"])[-1].removeprefix("ERROR: ")}
