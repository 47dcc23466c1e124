"""A benchmark's published files: fetched, unpacked, verified, and written down beside the data (no torch)."""

from evalkit.fetch.sources import Archives, Needed, PlainFiles, Source, WebFiles

__all__ = ["Archives", "Needed", "PlainFiles", "Source", "WebFiles"]
