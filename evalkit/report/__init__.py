"""What a run looks like to people: tables, plots, captions, the page; all from records (no torch)."""

from typing import TYPE_CHECKING, Any

from evalkit.report.captions import write_captions

if TYPE_CHECKING:
    from evalkit.report.html import build_report
    from evalkit.report.latency import LatencySummary, latency_table, stage_table, summarize_ticks
    from evalkit.report.latex import to_latex
    from evalkit.report.plots import PLOT_KINDS, plot_runs
    from evalkit.report.summary import markdown_report, summary_tables
    from evalkit.report.tables import Column, Estimate, Table, to_csv, to_markdown, to_text
    from evalkit.report.view import make_server, serve

__all__ = [
    "PLOT_KINDS",
    "Column",
    "Estimate",
    "LatencySummary",
    "Table",
    "build_report",
    "latency_table",
    "make_server",
    "markdown_report",
    "plot_runs",
    "serve",
    "stage_table",
    "summarize_ticks",
    "summary_tables",
    "to_csv",
    "to_latex",
    "to_markdown",
    "to_text",
    "write_captions",
]

# Where each name lives: read on first use, so that captions and tables do not wait for matplotlib or scipy.
_HOMES = {
    "html": ("build_report",),
    "latency": ("LatencySummary", "latency_table", "stage_table", "summarize_ticks"),
    "latex": ("to_latex",),
    "plots": ("PLOT_KINDS", "plot_runs"),
    "summary": ("markdown_report", "summary_tables"),
    "tables": ("Column", "Estimate", "Table", "to_csv", "to_markdown", "to_text"),
    "view": ("make_server", "serve"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"evalkit.report.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
