"""Turns ``openai:MODEL`` or ``overlap`` into a judge; other packages add theirs by entry point."""

from __future__ import annotations

__all__ = ["JUDGES", "JudgeFactory", "judge_names", "make_judge", "plug_in"]

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, cast

from evalkit.chat import check_endpoint
from evalkit.errors import UsageError, suggest
from evalkit.judge.client import ChatJudge
from evalkit.judge.contract import Endpoint, Judge, JudgeSettings
from evalkit.judge.overlap import OverlapJudge
from evalkit.judge.plugged import PluggedJudge
from evalkit.judge.prompts import INF_STREAMS_PROMPT
from evalkit.registry import Registry

JudgeFactory = Callable[[str, Endpoint, JudgeSettings], Judge]
"""Makes a judge from what stands behind the colon of its spec; entry points of ``evalkit.judges`` name one."""

JUDGES: Final = Registry("evalkit.judges", "judge")


def _chat(model: str, endpoint: Endpoint, settings: JudgeSettings) -> Judge:
    if not model:
        raise UsageError("judge 'openai' needs a model: --judge openai:MODEL")
    check_endpoint(f"judge 'openai:{model}'", endpoint)
    return ChatJudge(model, endpoint, settings.prompt or INF_STREAMS_PROMPT, settings=settings)


def _overlap(argument: str, endpoint: Endpoint, settings: JudgeSettings) -> Judge:
    if argument:
        raise UsageError(f"judge 'overlap' takes nothing behind a colon (got {argument!r})")
    return OverlapJudge()


_BUILT_IN: Final[Mapping[str, JudgeFactory]] = MappingProxyType({"openai": _chat, "overlap": _overlap})


def judge_names() -> list[str]:
    """Return the names a spec may begin with, sorted, importing no plug-in."""
    return sorted({*_BUILT_IN, *JUDGES.names()})


def plug_in(name: str) -> JudgeFactory:
    """Return what makes the judges of another package.

    Raises:
        UsageError: It cannot be loaded, or cannot be called.
    """
    factory = JUDGES.get(name)
    if not callable(factory):
        raise UsageError(f"judge {name!r} is {factory!r}, which makes no judge")
    return cast(JudgeFactory, factory)


def make_judge(spec: str, endpoint: Endpoint | None = None, settings: JudgeSettings | None = None) -> Judge:
    """Make the judge a spec names.

    Args:
        spec: ``overlap``, ``openai:MODEL``, or the name of a plug-in with what it takes behind a colon.
        endpoint: Server and key, for judges that need them.
        settings: How chat judges are asked.

    Raises:
        UsageError: There is no such judge, or it lacks its model or key.
    """
    name, _, argument = spec.strip().partition(":")
    factory = _BUILT_IN.get(name)
    if factory is None:
        names = judge_names()
        if name not in names:
            raise UsageError(
                f"unknown judge {spec!r}{suggest(name, names)} (known: openai:MODEL, {_others(names)})"
            )
        factory = plug_in(name)
    made: Judge = factory(argument, endpoint or Endpoint(), settings or JudgeSettings())
    return made if name in _BUILT_IN else PluggedJudge(name, made)


def _others(names: list[str]) -> str:
    return ", ".join(name for name in names if name != "openai")
