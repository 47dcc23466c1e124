"""Made-up matches: events of a seed, the words said over them, and real H.264 videos of them (no torch)."""

from evalkit_tasks.demo.draw import make_match_video
from evalkit_tasks.demo.folder import build_demo, generator_version
from evalkit_tasks.demo.match import (
    EVENT_KINDS,
    DemoEvent,
    DemoMatch,
    EventKind,
    Team,
    demo_matches,
    make_match,
)
from evalkit_tasks.demo.speech import Word, transcript

__all__ = [
    "EVENT_KINDS",
    "DemoEvent",
    "DemoMatch",
    "EventKind",
    "Team",
    "Word",
    "build_demo",
    "demo_matches",
    "generator_version",
    "make_match",
    "make_match_video",
    "transcript",
]
