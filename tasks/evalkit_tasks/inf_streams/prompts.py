"""The texts of Inf-Streams-Eval, exact, with the official file each stands in; sends nothing."""

from __future__ import annotations

__all__ = [
    "BASELINE_FPS",
    "BASELINE_HEADER",
    "BASELINE_MAX_FRAMES",
    "BASELINE_MAX_HEIGHT",
    "BASELINE_QUERY",
    "BASELINE_QUERY_UNUSED",
    "BASELINE_SYSTEM",
    "ENDING",
    "JUDGE_PROMPT",
    "QUERY",
    "SOURCE",
]

from typing import Final

from evalkit.judge.prompts import INF_STREAMS_PROMPT

SOURCE: Final = "mit-han-lab/streaming-vlm, streaming_vlm/eval/model_compete"
"""Folder of the official evaluation; the paper is arXiv 2510.09608."""

# generate.sh, second assignment of QUERY (the first, "Please describe the video.", is overwritten).
QUERY: Final = (
    "Act as a live sports broadcaster: in short present-tense lines, call the on-screen play first, then one "
    "brief courtside insight; vary your energy with the moment and include visible score/time.\n"
    "Stay perfectly synced to the video—only describe what’s visible, never invent names or facts (use "
    "positions/numbers if unknown), and immediately correct yourself if the scoreboard contradicts you."
)

ENDING: Final = " ..."
"""What an answer ends with when its second is over; the official code cuts four characters blindly."""

# judge.py: SYS_PROMPT and USER_TEMPLATE, each field stripped and cut to 8,000 characters.
JUDGE_PROMPT: Final = INF_STREAMS_PROMPT

# generate_gpt.py, system_prompt.
BASELINE_SYSTEM: Final = (
    "You are a live, precise sports commentator.\n"
    "Speak in vivid, present-tense play-by-play as if on air.\n"
    "Return PLAIN TEXT ONLY — no Markdown, lists, headings, code fences, or emojis.\n"
    "Describe what is clearly visible; avoid guessing.\n"
    "Use concise, energetic sentences (2–6). Respond in the query language."
)

# generate_gpt.py, header; the text block that stands before the images. The previous text that the paper
# mentions is commented out there.
BASELINE_HEADER: Final = "{query}\nTime range: {start:.2f}s ~ {end:.2f}s. Frames sampled at {fps} fps (capped)."

# generate_gpt.sh: the value in force, and the first assignment that it overwrites.
BASELINE_QUERY: Final = "Describe the video."
BASELINE_QUERY_UNUSED: Final = (
    "Continue the commentary seamlessly from the previous segment, matching its voice, vocabulary, and pacing. "
    "Call real-time play-by-play with brief, in-the-moment analysis in a courtside broadcast voice, varying "
    "emotion and tempo. Stay perfectly synchronized with the visuals—state only on-screen, confirmed details "
    "(score/clock/fouls only if visible; use neutral identifiers if unsure) and self-correct instantly if a "
    "read proves wrong."
)
BASELINE_FPS: Final = 0.25
BASELINE_MAX_FRAMES: Final = 60
BASELINE_MAX_HEIGHT: Final = 360
