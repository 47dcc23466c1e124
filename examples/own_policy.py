"""Try a memory policy of one's own on the built-in tiny model and synthetic frames.

python examples/own_policy.py
"""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.bench import SyntheticFrames
from evalkit.memory import Ledger, MemoryPolicy, Plan
from evalkit.models import SessionRequest
from evalkit.models.cached import CachedModel
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.settings import GenerationSettings
from evalkit.stream import FrameFeed, FrameSchedule, Narration


@dataclass(frozen=True, slots=True)
class LastSeconds(MemoryPolicy):
    """Keep the last seconds of everything.

    Args:
        seconds: Length of the window in stream seconds, > 0.
    """

    seconds: int = 4

    def plan(self, ledger: Ledger, second: int) -> Plan:
        """Return what stays before ``second`` is added."""
        stays = (i for i, span in enumerate(ledger) if span.second is None or span.second >= second - self.seconds)
        return Plan.keep(ledger, stays)


def main() -> None:
    """Narrate ten seconds and print what the memory holds after each."""
    backbone = load_backbone(LoadRequest("tiny", device="cpu"))
    model = CachedModel("last4", backbone, LastSeconds(), GenerationSettings(), "example")
    session = model.open(SessionRequest("example", fps=2.0, narration=Narration("Describe the match.")))
    with FrameFeed(FrameSchedule(0, 10, 2), SyntheticFrames((168, 112), seed=0)) as feed:
        for chunk in feed:
            spoken = session.speak(chunk)
            kept = spoken.step.kept
            print(f"{chunk.tick.start_seconds:4.0f} s  {spoken.step.cache_tokens:4d} tokens, "
                  f"{kept['vision']:3d} of them vision  |{spoken.text}")  # fmt: skip


if __name__ == "__main__":
    main()
