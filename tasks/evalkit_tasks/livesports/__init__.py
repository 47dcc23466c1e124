"""LiveSports-3K: events commented and judged pairwise (CC), and questions (QA); see README.md of this folder."""

from evalkit_tasks.livesports.cc import LiveSportsCc
from evalkit_tasks.livesports.events import LiveSportsCcSettings
from evalkit_tasks.livesports.qa import LiveSportsQa

__all__ = ["LiveSportsCc", "LiveSportsCcSettings", "LiveSportsQa", "cc", "qa"]

cc = LiveSportsCc()
qa = LiveSportsQa()
