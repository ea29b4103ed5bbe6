"""What pydantic says of a configuration, in the words of somebody who wrote a TOML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from gateway.config.positions import Path
from gateway.config.problems import near
from gateway.config.schema import Config

Mistake = tuple[Path, str, str]
"""Path of the key, what is wrong, a hint."""
_HINT = ' Did you mean "'

_PLAIN = {
    "missing": "is missing",
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "greater_than": "must be above zero",
    "greater_than_equal": "must not be below zero",
    "too_short": "must not be empty",
}

_TABLE = ("dict_type", "model_type", "model_attributes_type")


def mistakes(error: ValidationError, data: Mapping[str, Any]) -> list[Mistake]:
    """One for each key; nothing of a value that might be secret."""
    found: dict[Path, Mistake] = {}
    for item in error.errors(include_url=False, include_input=False):
        path = _written(item["loc"], item["type"], data)
        if path not in found or item["type"] in ("extra_forbidden", "missing"):
            found[path] = (path, *_words(item["type"], item["msg"], item.get("ctx", {}), path, data))
    return [mistake for path, mistake in found.items() if not _explained(path, found)]


def _written(location: Sequence[str | int], kind: str, data: Mapping[str, Any]) -> Path:
    """The path as the user wrote it: pydantic also names the members of a union and its own validators."""
    path: Path = ()
    value: Any = data
    for place, part in enumerate(location):
        inner = _item(value, part)
        last = place == len(location) - 1
        if inner is not None or (last and kind == "missing" and isinstance(value, Mapping)):
            path, value = (*path, part), inner
    return path


def _item(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, tuple | list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _words(kind: str, message: str, context: Mapping[str, Any], path: Path, data: Mapping[str, Any]) -> tuple[str, str]:
    if kind == "extra_forbidden":
        return "unknown key", near(str(path[-1]), keys_at(path[:-1]))
    if kind == "literal_error":
        expected = str(context.get("expected", ""))
        value = _at(path, data)
        known = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
        return f"must be {expected}".replace("'", '"'), near(value, known) if isinstance(value, str) else ""
    if kind == "string_pattern_mismatch":
        return 'must be "sha256:" and 64 hexadecimal digits', "Keys are hashed with: printf %s SECRET | sha256sum"
    if kind == "string_too_short" or (kind == "too_short" and context.get("min_length", 1) > 1):
        return f"must have at least {context.get('min_length')} characters", ""
    if kind == "less_than_equal":
        return f"must be at most {context.get('le')}", ""
    if kind == "tuple_type":
        return _no_list(_at(path, data), path)
    if kind in _TABLE:
        return _no_table(_at(path, data), path, named=kind == "dict_type")
    if kind in _PLAIN:
        return _PLAIN[kind], ""
    text, separator, hint = message.removeprefix("Value error, ").partition(_HINT)
    return text.rstrip(". "), (separator + hint).strip()


def _at(path: Path, data: Mapping[str, Any]) -> Any:
    value: Any = data
    for part in path:
        value = _item(value, part)
    return value


def _no_list(value: Any, path: Path) -> tuple[str, str]:
    if keys_at(path):
        return "must be a list of tables", f"Write [[{_header(path)}]] in two pairs of brackets, once for each."
    example = f"[{value}]" if isinstance(value, int | float | Decimal) else '["a", "b"]'
    return f"must be a list, like {example}", ""


def _no_table(value: Any, path: Path, *, named: bool) -> tuple[str, str]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
        return "must be a table", ""
    return "must be a table", f"Write [{_header(path)}{'.NAME' if named else ''}] in one pair of brackets."


def _header(path: Path) -> str:
    """What stands between the brackets of a table."""
    return ".".join(part for part in path if isinstance(part, str))


def _explained(path: Path, found: Mapping[Path, Mistake]) -> bool:
    """True where a mistake further inside says more."""
    return any(len(other) > len(path) and other[: len(path)] == path for other in found)


def keys_at(path: Sequence[str | int]) -> list[str]:
    """The keys that the table at ``path`` knows."""
    model: Any = Config
    for part in path:
        if isinstance(part, int) or model is None:
            continue
        if isinstance(model, type) and issubclass(model, BaseModel):
            fields = model.model_fields
            field = next((f for name, f in fields.items() if (f.alias or name) == part), None)
            if field is None:
                # the name of an entry in a dict of tables, like [providers.NAME]
                continue
            model = table_in(field.annotation)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [field.alias or name for name, field in model.model_fields.items()]
    return []


def table_in(annotation: Any) -> Any:
    """The table inside ``tuple[Table, ...]``, ``dict[str, Table]`` or ``Table | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = table_in(inner)
        if found is not None:
            return found
    return None
