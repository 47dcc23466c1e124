"""What a run looks like to people: tables, plots, captions, the page; all of it from records (no torch)."""

from evalkit.report.captions import write_captions

__all__ = ["write_captions"]
