"""Evaluate streaming video-language models second by second, with every number traceable to a record."""

__all__ = ["__version__"]

__version__ = "0.1.0"
