"""Benchmarks that ship with evalkit, one folder each: data, prompts and scoring."""

__all__: list[str] = []
