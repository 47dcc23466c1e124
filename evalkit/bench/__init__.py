"""What is measured on made-up streams: policies side by side, and what compression costs and saves.

A bench loads its module when it is asked for; `evalkit.cli.bench` is what calls them.
"""

from evalkit.bench.frames import DriftingFrames, SyntheticFrames

__all__ = ["DriftingFrames", "SyntheticFrames"]
