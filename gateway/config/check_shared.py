"""Shared costs and exports that refer to nothing, or share a name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gateway.config.exports import ExportConfig
from gateway.config.problems import near
from gateway.config.shared import SharedCostConfig

Found = tuple[tuple[str | int, ...], str, str]


def check_shared(costs: Sequence[SharedCostConfig], providers: Iterable[str]) -> Iterator[Found]:
    """Problems of ``[[shared_costs]]``, by path."""
    known = list(providers)
    names: dict[str, int] = {}
    for index, cost in enumerate(costs):
        path = ("shared_costs", index)
        if cost.name in names:
            yield (*path, "name"), f'the name "{cost.name}" is used by shared_costs[{names[cost.name]}] too', ""
        names.setdefault(cost.name, index)
        if cost.provider is not None and cost.provider not in known:
            yield (*path, "provider"), f'no provider is called "{cost.provider}"', near(cost.provider, known)


def check_exports(exports: Sequence[ExportConfig]) -> Iterator[Found]:
    """Problems of ``[[exports]]``, by path."""
    names: dict[str, int] = {}
    for index, export in enumerate(exports):
        path = ("exports", index)
        if export.name in names:
            yield (*path, "name"), f'the name "{export.name}" is used by exports[{names[export.name]}] too', ""
        names.setdefault(export.name, index)
        if export.options and "://" not in export.to:
            yield (*path, "options"), "has no effect on a directory", "Drop it, or give an address like s3://bucket."
