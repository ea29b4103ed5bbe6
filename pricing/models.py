"""How much a model takes and gives: what bounds a call whose request sets no limit.

From a table made of litellm's facts, the catalogue's context windows, and entries of a configuration. Where sources
differ the larger figure counts, and an unknown model is taken for the largest of its provider: a bound must hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import resources

import msgspec

from pricing.catalogue import Catalogue, Source
from pricing.matching import MAX_NAME, glob, spellings


class ModelFacts(msgspec.Struct, frozen=True):
    """Limits of one model, in tokens."""

    context_window: int
    """No call has more input than this."""
    max_output: int
    """No choice has more output than this."""


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits that a configuration sets. One that is left out stays as it is known."""

    provider: str
    model: str
    """Name or glob."""
    context_window: int | None = None
    max_output: int | None = None


class _Limits(msgspec.Struct, frozen=True):
    most_input: int = msgspec.field(default=0, name="in")
    most_output: int = msgspec.field(default=0, name="out")


class _File(msgspec.Struct, frozen=True):
    source: Source
    kinds: dict[str, dict[str, _Limits]]


UNKNOWN = ModelFacts(context_window=2_097_152, max_output=1_048_576)
"""A model of a provider of which nothing is known: above nearly all there are."""

MAX_SLOTS = 4096
_UNLIKELY = 4_194_304
"""Larger windows are rare, and left out of what is assumed of unknown models."""
_SNAPSHOT = re.compile(r"-(?:20\d\d-?\d\d-?\d\d|\d{4}|latest|preview)(?=$|-v\d|:)|-v\d+(?::\d+)?$|:\d+$")
_BEDROCK_SCOPE = re.compile(r"^(?:us|eu|apac|global|jp|au|ca|us-gov|in)\.")
_MAKERS = {"google": "gemini", "x-ai": "xai", "mistralai": "mistral", "z-ai": "zai", "cohere": "cohere"}


class ModelTable:
    """Limits by provider and model; answers are remembered."""

    def __init__(self, file: _File, overrides: Iterable[ModelEntry] = (), catalogue: Catalogue | None = None) -> None:
        self.source = file.source
        self._kinds = file.kinds
        self._catalogue = catalogue
        self._overrides = tuple((glob(entry.provider), glob(entry.model), entry) for entry in overrides)
        self._largest = {kind: _largest(models.values()) for kind, models in file.kinds.items()}
        self._slots: dict[tuple[str, str], ModelFacts] = {}

    def facts(self, provider: str, model: str) -> ModelFacts:
        """Limits of ``model``. ``provider``: a kind or the id of a price list. Never fails: unknown is large."""
        facts = self._slots.get((provider, model))
        if facts is None:
            facts = self._look_up(provider, model)
            while len(self._slots) >= MAX_SLOTS:
                del self._slots[next(iter(self._slots))]
            if len(model) <= MAX_NAME:
                self._slots[provider, model] = facts
        return facts

    def _look_up(self, provider: str, model: str) -> ModelFacts:
        kind, name = self._kind(provider.lower()), model.lower()[:MAX_NAME]
        window, output = self._known(kind, name)
        if self._catalogue is not None:
            found = self._catalogue.find(provider.rpartition(":")[2], name)
            if found is not None:
                if not output and kind not in self._kinds:
                    # a reseller's spelling: the catalogue knows the maker's
                    window, output = self._known(kind, found.model.id.lower())
                window = max(window, found.model.context_window or 0)
        default = self._largest.get(kind, UNKNOWN)
        for is_provider, is_model, entry in self._overrides:
            if any(is_provider(one) for one in (provider.lower(), *provider.lower().split(":"))) and is_model(name):
                window = entry.context_window or window
                output = entry.max_output or output
                break
        window = window or default.context_window
        return ModelFacts(context_window=window, max_output=output or min(default.max_output, window))

    def _kind(self, provider: str) -> str:
        listed = provider.rpartition(":")[2]
        if listed in self._kinds or self._catalogue is None:
            return listed
        names = self._catalogue.names
        return next(
            (kind for kind, list_id in names.kinds.items() if list_id == listed and kind in self._kinds), listed
        )

    def _known(self, kind: str, name: str) -> tuple[int, int]:
        """Limits by the name itself, by its undated form, or by its maker's (``openai/gpt-4o`` of a reseller)."""
        for one in _names(name):
            found = [
                models[one]
                for models in ([self._kinds[kind]] if kind in self._kinds else self._kinds.values())
                if one in models
            ]
            if found:
                return max(limits.most_input for limits in found), max(limits.most_output for limits in found)
        maker, _, rest = name.partition("/")
        maker = _MAKERS.get(maker, maker)
        if rest and maker in self._kinds and maker != kind:
            made = rest.partition(":")[0]
            window, output = self._known(maker, made)
            return (window, output) if window else self._known(maker, made.replace(".", "-"))
        return 0, 0


def load_models(overrides: Iterable[ModelEntry] = (), catalogue: Catalogue | None = None) -> ModelTable:
    """This package's table."""
    raw = resources.files("pricing.data").joinpath("models.json").read_bytes()
    return ModelTable(msgspec.json.decode(raw, type=_File), overrides, catalogue)


def _names(name: str) -> Iterator[str]:
    """The spellings of a name, each also without region and without a snapshot's date, the exact ones first."""
    exact = list(dict.fromkeys(spellings(name)))
    yield from exact
    scopeless = [_BEDROCK_SCOPE.sub("", one) for one in exact]
    yield from scopeless
    for one in scopeless:
        shorter = _SNAPSHOT.sub("", one)
        while shorter != one:
            yield shorter
            one, shorter = shorter, _SNAPSHOT.sub("", shorter)


def _largest(limits: Iterable[_Limits]) -> ModelFacts:
    known = list(limits)
    windows = [one.most_input for one in known if one.most_input <= _UNLIKELY]
    outputs = [one.most_output for one in known if one.most_output <= _UNLIKELY]
    return ModelFacts(
        context_window=max(windows, default=0) or UNKNOWN.context_window,
        max_output=max(outputs, default=0) or UNKNOWN.max_output,
    )
