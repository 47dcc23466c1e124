"""Which subtitles each published prompt of Video-MME lists, as pure functions of subtitles and frame times."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit.tasks.subtitles import Subtitle, frame_subtitles, plain_text

__all__ = ["listed_subtitles", "lmms_eval_subtitles", "official_subtitles", "vlmevalkit_subtitles"]

_FONT = re.compile(r'<font color="white" size=".72c">(.*?)</font>')


def official_subtitles(subtitles: Sequence[Subtitle], times: Sequence[float]) -> list[str]:
    """Return the texts on screen at the shown frames, each once (README: ten frames, ten subtitles).

    Args:
        subtitles: All subtitles of the video.
        times: Times of the shown frames, seconds.
    """
    texts = (plain_text(subtitle.text) for subtitle in frame_subtitles(subtitles, times))
    return [text for text in texts if text]


def lmms_eval_subtitles(subtitles: Sequence[Subtitle], frames: Sequence[int], fps: float) -> list[str]:
    """Return lmms-eval's texts: by whole frame numbers, and only what stands in the white font's tag.

    Source: ``videomme_doc_to_text_subtitle`` (75571cf). Its order comes from a set of numbers; here it is
    the file's.

    Args:
        subtitles: All subtitles of the video.
        frames: Indices of the shown frames.
        fps: Frame rate of the file.
    """
    shown: list[str] = []
    for subtitle in subtitles:
        first = int(subtitle.start * fps)
        last = int((subtitle.end or 0.0) * fps)
        match = _FONT.search(subtitle.text)
        if match is not None and any(first <= frame < last for frame in frames):
            shown.append(match[1])
    return shown


def vlmevalkit_subtitles(subtitles: Sequence[Subtitle], times: Sequence[float]) -> list[str]:
    """Return VLMEvalKit's texts: for each frame the first subtitle strictly around it, repeats kept.

    Source: ``VideoMME.build_prompt`` (e8e78f0).

    Args:
        subtitles: All subtitles of the video.
        times: Times of the shown frames, seconds.
    """
    shown = []
    for time in times:
        around = (s for s in subtitles if s.start < time and s.end is not None and time < s.end)
        found = next(around, None)
        text = "" if found is None else plain_text(found.text)
        if text:
            shown.append(text)
    return shown


def listed_subtitles(
    variant: str, subtitles: Sequence[Subtitle] | None, frames: Sequence[int], fps: float
) -> list[str] | None:
    """Return the texts that a prompt variant lists.

    Args:
        variant: ``official``, ``lmms-eval``, ``vlmevalkit`` or ``livecc`` (all subtitles of the video).
        subtitles: The video's subtitles; ``None`` where it has no file.
        frames: Indices of the shown frames.
        fps: Frame rate of the file.

    Returns:
        ``None`` where the prompt is the one without subtitles: the official one of a video that has none.
    """
    if subtitles is None:
        return None if variant == "official" else []
    times = [frame / fps for frame in frames]
    if variant == "lmms-eval":
        return lmms_eval_subtitles(subtitles, frames, fps)
    if variant == "vlmevalkit":
        return vlmevalkit_subtitles(subtitles, times)
    if variant == "livecc":
        return [text for subtitle in subtitles if (text := plain_text(subtitle.text))]
    return official_subtitles(subtitles, times)
