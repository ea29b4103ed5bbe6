"""Takes a newer catalogue in: from a file or URL, of this package's format or genai-prices' own.

Everything wrong is found before anything is replaced, and told with the list, the model and the place.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pricing.cards import card_of
from pricing.catalogue import Catalogue, CatalogueFile, CatalogueModel, PriceList, Source, catalogue_of
from pricing.diff import ModelChange, compare_catalogues
from pricing.moments import start_of
from pricing.units import OTHER_KEYS, PARTS, UNITS, WHOLES

MAX_BYTES = 64 * 1024 * 1024
_KNOWN_KEYS = OTHER_KEYS.union(
    (part.catalogue for part in (*WHOLES, *PARTS)), (key for unit in UNITS for key, _ in unit.catalogue)
)


class CatalogueError(ValueError):
    """A catalogue can't be taken: ``problems`` says what is wrong and where, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else ""))
        self.problems = problems


class Update(msgspec.Struct, frozen=True):
    """A catalogue that was read and checked."""

    file: CatalogueFile
    remarks: tuple[str, ...]
    """What is understood but not billed (price keys of units that no response reports)."""


class Taken(msgspec.Struct, frozen=True):
    """A catalogue that took another's place."""

    before: str
    """Version, as in every price's source."""
    after: str
    changes: tuple[ModelChange, ...]
    remarks: tuple[str, ...]


class _Outer(msgspec.Struct):
    providers: list[msgspec.Raw]
    source: Source | None = None


class _ListHead(msgspec.Struct):
    id: str
    models: list[msgspec.Raw]


def read_bytes(source: str, open_url: Callable[[str], bytes]) -> bytes:
    """The bytes at a path or an ``https://`` (or ``http://``) address, which ``open_url`` fetches.

    Raises ``OSError`` as these do, ``CatalogueError`` for more than ``MAX_BYTES``.
    """
    raw = open_url(source) if re.match(r"https?://", source) else Path(source).read_bytes()
    if len(raw) > MAX_BYTES:
        raise CatalogueError([f"{source} is larger than {MAX_BYTES} bytes"])
    return raw


def parse(raw: bytes, today_ns: int) -> Update:
    """Reads a catalogue: this package's, or genai-prices' ``data.json`` (a list of providers, or an object with
    ``providers``). ``today_ns`` dates a catalogue that doesn't date itself. Raises ``CatalogueError``."""
    problems: list[str] = []
    remarks: list[str] = []
    outer = _outer(raw)
    lists = [_price_list(part, at, problems, remarks) for at, part in enumerate(outer.providers)]
    if not lists:
        problems.append("providers: there is no price list in it")
    known = [one.id for one in lists if one is not None]
    repeated = sorted({name for name in known if known.count(name) > 1})
    problems += [f"providers: the list {name!r} is there more than once" for name in repeated]
    if problems:
        raise CatalogueError(problems)
    providers = tuple(one for one in lists if one is not None)
    for one in providers:
        lost = [other for other in one.fallback_model_providers or () if other not in known]
        remarks += [f"{one.id}: falls back on {other!r}, which is not there" for other in lost]
    return Update(CatalogueFile(outer.source or _source(raw, providers, today_ns), providers), tuple(remarks))


def rendered(file: CatalogueFile) -> bytes:
    """The file's bytes, one model a line, so that a change of prices reads as one."""
    out = ['{"source": ' + msgspec.json.encode(file.source).decode() + ',\n"providers": [']
    for number, one in enumerate(file.providers):
        head = msgspec.to_builtins(msgspec.structs.replace(one, models=()))
        head.pop("models")
        out.append(json.dumps(head)[:-1] + ', "models": [')
        out.append(",\n".join(msgspec.json.encode(model).decode() for model in one.models))
        out.append("]}" + ("," if number + 1 < len(file.providers) else ""))
    out.append("]}\n")
    return "\n".join(out).encode()


def save(file: CatalogueFile, path: Path) -> None:
    """Puts a catalogue where ``pricing.catalogue.load(path)`` finds it: whole or not at all."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as out:
        out.write(rendered(file))
        out.flush()
        os.fsync(out.fileno())
    beside.replace(path)


def take(
    source: str, target: Path, current: Catalogue, open_url: Callable[[str], bytes], today_ns: int, *, keep: bool = True
) -> Taken:
    """Reads a catalogue from a path or address and puts it at ``target``; with ``keep=False`` only compares.

    Raises ``OSError`` or ``CatalogueError``; ``target`` is then as it was.
    """
    update = parse(read_bytes(source, open_url), today_ns)
    new = catalogue_of(update.file)
    changes = compare_catalogues(current, new)
    if keep:
        save(update.file, target)
    return Taken(current.version, new.version, changes, update.remarks)


def _outer(raw: bytes) -> _Outer:
    try:
        if raw.lstrip()[:1] == b"[":
            return _Outer(msgspec.json.decode(raw, type=list[msgspec.Raw]))
        return msgspec.json.decode(raw, type=_Outer)
    except msgspec.ValidationError as error:
        raise CatalogueError([f"not a catalogue: {error}"]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CatalogueError([f"not JSON: {error}"]) from None


def _price_list(raw: msgspec.Raw, at: int, problems: list[str], remarks: list[str]) -> PriceList | None:
    try:
        head = msgspec.json.decode(raw, type=_ListHead)
    except msgspec.ValidationError as error:
        problems.append(f"providers[{at}]: {_place(error)}")
        return None
    sound = True
    for number, part in enumerate(head.models):
        try:
            model = msgspec.json.decode(part, type=CatalogueModel)
        except msgspec.ValidationError as error:
            problems.append(f"providers[{at}] ({head.id}) models[{number}]{_id_of(part)}: {_place(error)}")
            sound = False
        else:
            _check_model(model, f"providers[{at}] ({head.id}) models[{number}] ({model.id})", problems, remarks)
    if not sound:
        return None
    try:
        return msgspec.json.decode(raw, type=PriceList)
    except msgspec.ValidationError as error:
        problems.append(f"providers[{at}] ({head.id}): {_place(error)}")
        return None


def _check_model(model: CatalogueModel, where: str, problems: list[str], remarks: list[str]) -> None:
    if isinstance(model.prices, list) and not model.prices:
        problems.append(f"{where}: prices is an empty list")
    if model.context_window is not None and model.context_window < 0:
        problems.append(f"{where}: context_window is negative")
    for one in model.every():
        try:
            card_of(one.prices)
        except ValueError as error:
            problems.append(f"{where}: {error}")
        remarks += [f"{where}: the price {key!r} is not billed" for key in one.prices if key not in _KNOWN_KEYS]


def _place(error: msgspec.ValidationError) -> str:
    text = str(error)
    message, found, place = text.partition(" - at `")
    return f"{place.rstrip('`').removeprefix('$').removeprefix('.')}: {message}" if found else text


def _id_of(raw: msgspec.Raw) -> str:
    class Named(msgspec.Struct):
        id: str

    try:
        return f" ({msgspec.json.decode(raw, type=Named).id})"
    except msgspec.ValidationError:
        return ""


def _source(raw: bytes, lists: tuple[PriceList, ...], today_ns: int) -> Source:
    constraints = [priced.constraint for one in lists for model in one.models for priced in model.every()]
    days = [one.start_date for one in constraints if one is not None and one.start_date is not None]
    days = [day for day in days if start_of(day) <= today_ns]
    day = max(days).isoformat() if days else datetime.fromtimestamp(today_ns // 10**9, tz=UTC).date().isoformat()
    digest = hashlib.sha256(raw).hexdigest()[:12]
    return Source(name="genai-prices", version=f"data {digest}", date=day, licence="MIT")
