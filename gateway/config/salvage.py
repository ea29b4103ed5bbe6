"""What is right in a configuration that has mistakes, so that all its other mistakes are found in the same run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from gateway.config.positions import Path
from gateway.config.schema import Config


class Salvaged:
    """A valid part of a configuration. Items of lists that had to go shift the others: ``original`` undoes that."""

    def __init__(self, config: Config, kept: Mapping[str, list[int]], touched: set[Path]) -> None:
        self.config = config
        self._kept = kept
        self._touched = touched

    def original(self, path: Path) -> Path:
        """The path in the file of a path in ``config``."""
        if len(path) > 1 and isinstance(path[1], int) and path[0] in self._kept:
            return (path[0], self._kept[str(path[0])][path[1]], *path[2:])
        return path

    def is_whole(self, path: Path) -> bool:
        """False for an item that lost keys: what it seems to lack may be among them."""
        return path[:2] not in self._touched


def salvage(data: Mapping[str, Any], mistaken: Iterable[Path]) -> Salvaged | None:
    """The configuration without the keys at ``mistaken``, or where that is not enough without the items around them."""
    paths = list(mistaken)
    touched = {path[:2] for path in paths}
    for attempt in (paths, [_item_of(path, data) for path in paths]):
        holder = _without(data, attempt)
        kept = {
            section: [index for index, item in enumerate(items) if item is not None]
            for section, items in holder.items()
            if isinstance(items, list)
        }
        try:
            return Salvaged(Config.model_validate(_frozen(holder)), kept, touched)
        except ValidationError:
            continue
    return None


def _item_of(path: Path, data: Mapping[str, Any]) -> Path:
    """The item of a list, the provider, or else the whole section that holds ``path``."""
    section = data.get(str(path[0])) if path else None
    return path[:2] if isinstance(section, tuple) or path[:1] == ("providers",) else path[:1]


def _without(data: Mapping[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    copy: dict[str, Any] = _thawed(data)
    for path in paths:
        holder: Any = copy
        for part in path[:-1]:
            try:
                holder = holder[part]
            except (KeyError, IndexError, TypeError):
                holder = None
        if isinstance(holder, dict):
            holder.pop(path[-1], None)
        elif isinstance(holder, list) and isinstance(path[-1], int) and path[-1] < len(holder):
            holder[path[-1]] = None
    return copy


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _thawed(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_thawed(item) for item in value]
    return value


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value if item is not None)
    return value
