"""Read an answer out of a model's reply: strict parsers by answer kind, and the benchmarks' own loose rules."""

from __future__ import annotations

from evalkit.parse import official
from evalkit.parse.choice import parse_choice
from evalkit.parse.count import parse_count
from evalkit.parse.kinds import PARSER_VERSION, letters_for, parse, parse_open
from evalkit.parse.result import Parsed, Parsing, Unparsed
from evalkit.parse.yes_no import parse_yes_no

__all__ = [
    "PARSER_VERSION",
    "Parsed",
    "Parsing",
    "Unparsed",
    "letters_for",
    "official",
    "parse",
    "parse_choice",
    "parse_count",
    "parse_open",
    "parse_yes_no",
]
