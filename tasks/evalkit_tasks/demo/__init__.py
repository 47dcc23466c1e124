"""Made-up matches: what each second shows, the words said over it, and real H.264 videos of them (no torch)."""

from evalkit_tasks.demo.draw import make_match_video
from evalkit_tasks.demo.folder import build_demo, generator_version
from evalkit_tasks.demo.match import (
    COLOURS,
    EVENT_KINDS,
    POINTS,
    STREAM_RATES,
    THIRDS,
    VENUES,
    DemoMatch,
    EventKind,
    Moment,
    Rates,
    demo_matches,
    make_match,
)
from evalkit_tasks.demo.speech import WORDS, Word, line, transcript

__all__ = [
    "COLOURS",
    "EVENT_KINDS",
    "POINTS",
    "STREAM_RATES",
    "THIRDS",
    "VENUES",
    "WORDS",
    "DemoMatch",
    "EventKind",
    "Moment",
    "Rates",
    "Word",
    "build_demo",
    "demo_matches",
    "generator_version",
    "line",
    "make_match",
    "make_match_video",
    "transcript",
]
