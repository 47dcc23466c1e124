"""What every page of evalkit is made with: templates, style, scripts, and a policy that lets nothing else in."""

from __future__ import annotations

__all__ = ["Page", "environment", "page_policy", "static", "trusted"]

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import jinja2
from markupsafe import Markup

_HOME = "evalkit.report"


@dataclass(frozen=True)
class Page:
    """A rendered page and the policy it was written for.

    Args:
        html: The whole page.
        policy: Its Content-Security-Policy, also in the page itself; a server sends it as a header.
    """

    html: str
    policy: str


@cache
def environment(package: str = _HOME) -> jinja2.Environment:
    """Return what renders pages: everything put into one is escaped.

    Args:
        package: Whose templates are meant; those that pages share are found from any.
    """
    homes = dict.fromkeys((package, _HOME))
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(home) for home in homes]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def static(name: str, package: str = _HOME) -> str:
    """Return the text of a script or a style of the pages."""
    return files(package).joinpath("static", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page_policy(scripts: Sequence[str], style: str, more: str = "") -> str:
    """Return a policy that allows these very scripts and this style, pictures inside the page, and what is added.

    Args:
        scripts: Text of each script.
        style: Text of the style.
        more: Further directives, such as where media come from.
    """
    allowed = " ".join(map(_hash, scripts))
    parts = ["default-src 'none'", f"script-src {allowed}", f"style-src {_hash(style)}", "img-src data:"]
    return "; ".join([*parts, *([more] if more else []), "base-uri 'none'"])


def trusted(text: str) -> Markup:
    """Mark a file of evalkit as safe to stand in a page as it is."""
    return Markup(text)  # noqa: S704 - comes from the package, not from data
