"""Settings in groups: what ``--set GROUP.KEY=VALUE`` may say of a task or a model, typed and described."""

from __future__ import annotations

__all__ = ["Setting", "SettingGroups", "SettingLine", "apply_settings", "describe_settings", "validated"]

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined

from evalkit.errors import UsageError, suggest

Setting = bool | int | float | str | None

SettingGroups = Mapping[str, type[Any]]
"""Setting groups by name: a pydantic model or a dataclass each, whose fields are the keys."""


def _fields(group: type[Any]) -> dict[str, Any]:
    """Return the annotated types of a group's fields."""
    if issubclass(group, BaseModel):
        return {name: info.annotation for name, info in group.model_fields.items()}
    hints = typing.get_type_hints(group)
    return {f.name: hints[f.name] for f in dataclasses.fields(group)}


def apply_settings(
    settings: Mapping[str, Setting], groups: SettingGroups, owners: Callable[[str], Sequence[str]] = lambda key: ()
) -> dict[str, dict[str, Any]]:
    """Sort settings into their groups and check their types.

    A key may stand without its group where only one group has it.

    Args:
        settings: ``group.key`` or ``key`` to value.
        groups: Group name to the class that holds its keys.
        owners: Names the models that have a key which none of the groups has.

    Raises:
        UsageError: No group has the key, several have it, or the value does not fit.
    """
    sorted_out: dict[str, dict[str, Any]] = {name: {} for name in groups}
    for key, value in settings.items():
        group, name = _locate(key, groups, owners)
        kind = _fields(groups[group])[name]
        sorted_out[group][name] = _convert(f"{group}.{name}", value, kind)
    return sorted_out


def _locate(key: str, groups: SettingGroups, owners: Callable[[str], Sequence[str]]) -> tuple[str, str]:
    known = {f"{group}.{name}" for group, holder in groups.items() for name in _fields(holder)}
    if key in known:
        group, _, name = key.partition(".")
        return group, name
    homes = [full for full in known if full.partition(".")[2] == key]
    if len(homes) == 1:
        return _locate(homes[0], groups, owners)
    if len(homes) > 1:
        raise UsageError(f"setting {key!r} is ambiguous: {' or '.join(sorted(homes))}")
    others = owners(key)
    if others:
        raise UsageError(f"unknown setting {key!r}: it is one of model {', '.join(others)}")
    near = difflib.get_close_matches(key.rpartition(".")[2], [k.partition(".")[2] for k in known], n=1, cutoff=0.5)
    hint = suggest(key, known)
    if not hint and near:
        hint = "; did you mean " + repr(next(k for k in sorted(known) if k.endswith("." + near[0]))) + "?"
    raise UsageError(f"unknown setting {key!r}{hint} (known: {', '.join(sorted(known))})")


def _convert(name: str, value: Setting, kind: Any) -> Any:
    if isinstance(value, str) and value.lower() in ("none", "null") and _allows_none(kind):
        return None
    given: Any = value
    if isinstance(value, str) and typing.get_origin(kind) is tuple:
        given = tuple(part.strip() for part in value.split(",") if part.strip())
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise UsageError(f"setting {name}={value!r}: {reason}") from error


def _allows_none(kind: Any) -> bool:
    union = typing.get_origin(kind) in (types.UnionType, typing.Union)
    return union and type(None) in typing.get_args(kind)


def validated(model: type[Any], group: str, values: Mapping[str, Any]) -> Any:
    """Make a group's object of its values.

    Args:
        model: The class that holds the group's keys.
        group: Its name, for the error.
        values: By key.

    Raises:
        UsageError: A value is out of range, or missing.
    """
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([group, *map(str, first["loc"][:1])])
        raise UsageError(f"setting {place}: {first['msg']}") from error


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting as it is listed.

    Args:
        key: ``group.key``.
        kind: Its type, as a person would write it.
        default: The value it has unless set, as ``--set`` would spell it; ``required`` where it has none.
        meaning: What it does, with its unit.
    """

    key: str
    kind: str
    default: str
    meaning: str


def describe_settings(groups: SettingGroups, defaults: Mapping[str, Mapping[str, Any]]) -> list[SettingLine]:
    """Return every setting of some groups, in the order in which they are declared.

    Args:
        groups: Group name to the class that holds its keys.
        defaults: By group, the values that stand in for the class's own defaults.
    """
    lines = []
    for group, holder in groups.items():
        kinds, own, meanings = _fields(holder), dict(_defaults(holder)), _meanings(holder)
        known = own | dict(defaults.get(group, {}))
        for name, kind in kinds.items():
            default = _spelled(known[name]) if name in known else "required"
            lines.append(SettingLine(f"{group}.{name}", _kind(kind), default, meanings.get(name, "")))
    return lines


def _defaults(holder: type[Any]) -> Iterator[tuple[str, Any]]:
    if issubclass(holder, BaseModel):
        for name, info in holder.model_fields.items():
            value = info.get_default(call_default_factory=True)
            if value is not PydanticUndefined:
                yield name, value
        return
    for field in dataclasses.fields(holder):
        if field.default is not dataclasses.MISSING:
            yield field.name, field.default
        elif field.default_factory is not dataclasses.MISSING:
            yield field.name, field.default_factory()


def _meanings(holder: type[Any]) -> dict[str, str]:
    """Return what each key means: pydantic's description, or the ``Args:`` of a docstring, inherited ones too."""
    found: dict[str, str] = {}
    for kind in reversed(holder.__mro__):
        found |= _documented(kind.__dict__.get("__doc__") or "")
    if issubclass(holder, BaseModel):
        found |= {name: info.description for name, info in holder.model_fields.items() if info.description}
    return found


def _documented(text: str) -> dict[str, str]:
    _, _, rest = text.partition("Args:\n")
    found: dict[str, str] = {}
    indent, name = "", ""
    for line in rest.splitlines():
        if not line.strip():
            break
        begun = re.match(r"(\s+)(\w+)(?: \([^)]*\))?: (.*)", line)
        if begun and (not indent or begun[1] == indent):
            indent, name = begun[1], begun[2]
            found[name] = begun[3].strip()
        elif name:
            found[name] += " " + line.strip()
    return {key: value.replace("``", "") for key, value in found.items()}


def _kind(kind: Any) -> str:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " or ".join(map(str, parts))
    if origin in (types.UnionType, typing.Union):
        return " or ".join("none" if part is type(None) else _kind(part) for part in parts)
    if origin is typing.Annotated:
        return _kind(parts[0])
    if origin is tuple:
        return f"{_kind(parts[0])},..." if parts else "list"
    return str(getattr(kind, "__name__", kind))


def _spelled(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value)
