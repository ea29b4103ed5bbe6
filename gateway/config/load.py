"""From a TOML file to a checked ``Config``, or to all that is wrong with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from gateway.config.certificates import refused
from gateway.config.checks import check_references
from gateway.config.mistakes import Mistake, mistakes
from gateway.config.positions import positions
from gateway.config.problems import ConfigErrors, Problem
from gateway.config.salvage import Salvaged, salvage
from gateway.config.schema import Config
from gateway.config.sources import Sources

_TOML_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)")
MAX_FILE = 16 * 1024 * 1024


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration and what it leaves out."""

    config: Config
    inactive: dict[str, str]
    """Name of an optional provider that is left out → what it lacks."""
    text: str
    """What the file said."""


def load(path: str | Path, environ: Mapping[str, str], *, need_secrets: bool = True) -> Config:
    """Read and check a configuration. Raises ``ConfigErrors`` with every problem, ``env:`` and ``file:`` included.

    ``need_secrets`` False: a command that serves nobody does without secrets that are not set here.
    """
    return load_all(path, environ, need_secrets=need_secrets).config


def load_all(path: str | Path, environ: Mapping[str, str], *, need_secrets: bool = True) -> Loaded:
    """``load``, and which optional providers are left out."""
    file = str(path)
    try:
        with Path(path).open("rb") as stream:
            raw = stream.read(MAX_FILE + 1)
    except OSError as error:
        hint = "Name one with --config, or copy config.example.toml." if isinstance(error, FileNotFoundError) else ""
        raise ConfigErrors([Problem(file=file, message=f"can't be read: {error.strerror}", hint=hint)]) from error
    if len(raw) > MAX_FILE:
        raise ConfigErrors([Problem(file=file, message="is too large for a configuration")])
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigErrors([Problem(file=file, line=line, message="is not UTF-8 text")]) from None
    return parse_all(text, file, environ, Path(path).parent, need_secrets=need_secrets)


def parse(text: str, file: str, environ: Mapping[str, str], base: Path) -> Config:
    """``load`` for a text; ``file:`` values are looked up from ``base``."""
    return parse_all(text, file, environ, base).config


def parse_all(text: str, file: str, environ: Mapping[str, str], base: Path, *, need_secrets: bool = True) -> Loaded:
    """``load_all`` for a text."""
    try:
        written = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigErrors([_bad_toml(str(error), text, file)]) from None
    except (ArithmeticError, RecursionError, ValueError) as error:
        message = f"holds a value that can't be read: {type(error).__name__}"
        raise ConfigErrors([Problem(file=file, message=message)]) from None
    sources = Sources(environ, base, need_secrets=need_secrets)
    data = sources.resolve(written)
    found = [*sources.problems, *_files(data, base, sources), *_certificates(data, base, sources)]
    salvaged: Salvaged | None
    try:
        salvaged = Salvaged(Config.model_validate(data), {}, set())
    except ValidationError as error:
        wrong = mistakes(error, data)
        found += [mistake for mistake in wrong if mistake[0] not in sources.placeholders]
        salvaged = salvage(data, [path for path, _, _ in wrong])
    if salvaged is not None:
        found += _checked(salvaged, data)
    if found or salvaged is None:
        raise ConfigErrors(_problems(found, text, file))
    return Loaded(config=_active(salvaged.config, sources.inactive), inactive=sources.inactive, text=text)


def _files(data: Mapping[str, Any], base: Path, sources: Sources) -> Iterator[Mistake]:
    """Anchor the files that providers name at the configuration's folder; yields those that can't be read."""
    providers = data.get("providers")
    for name, provider in providers.items() if isinstance(providers, dict) else ():
        google = provider.get("google") if isinstance(provider, dict) else None
        for table, key in ((provider, ("ca_file",)), (google, ("google", "service_account_file"))):
            path = ("providers", name, *key)
            named = table.get(key[-1]) if isinstance(table, dict) else None
            if table is None or not isinstance(named, str) or name in sources.inactive or path in sources.placeholders:
                continue
            table[key[-1]] = str(base / named)
            reason = _unreadable(base / named)
            if reason:
                yield path, f"the file {named} can't be read: {reason}", ""


def _certificates(data: Mapping[str, Any], base: Path, sources: Sources) -> Iterator[Mistake]:
    """Anchor the files of ports' certificates at the configuration's folder; yields what a port can't be served with.

    A command that serves nobody need not be able to read them.
    """
    server = data.get("server")
    tables = {port: server.get(port) for port in ("tls", "admin_tls")} if isinstance(server, dict) else {}
    for port, table in tables.items():
        if not isinstance(table, dict):
            continue
        named = {key: table[key] for key in ("cert", "key", "client_ca") if isinstance(table.get(key), str)}
        files = {key: base / name for key, name in named.items()}
        table.update({key: str(path) for key, path in files.items()})
        if not sources.need_secrets or any(("server", port, key) in sources.placeholders for key in files):
            continue
        unread = [(key, _unreadable(path)) for key, path in files.items()]
        if any(reason for _, reason in unread):
            for key, reason in unread:
                if reason:
                    yield ("server", port, key), f"the file {named[key]} can't be read: {reason}", ""
        elif "cert" in files and "key" in files:
            for key, message, hint in refused(files["cert"], files["key"], files.get("client_ca")):
                yield ("server", port, key), message, hint


def _unreadable(path: Path) -> str:
    """Why a file can't be read; empty where it can."""
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:
        return str(error.strerror) if isinstance(error, OSError) else "no file has this name"
    return ""


def _checked(salvaged: Salvaged, data: Mapping[str, Any]) -> list[Mistake]:
    """What is wrong between the tables."""
    providers = data.get("providers")
    names = frozenset(providers) if isinstance(providers, dict) else frozenset()
    found = []
    for path, message, hint in check_references(salvaged.config, names):
        path = salvaged.original(path)
        if len(path) > 2 or salvaged.is_whole(path):
            found.append((path, message, hint))
    return found


def _active(config: Config, inactive: Mapping[str, str]) -> Config:
    """Optional providers that lack a value are as if not written; so are routes to them."""
    if not inactive:
        return config
    providers = {name: provider for name, provider in config.providers.items() if name not in inactive}
    routes = tuple(route for route in config.routes if route.provider not in inactive)
    return config.model_copy(update={"providers": providers, "routes": routes})


def _bad_toml(error: str, text: str, file: str) -> Problem:
    match = _TOML_LINE.search(error)
    line = int(match[1]) if match else text.count("\n") + 1 if "end of document" in error else None
    message = _TOML_LINE.sub("", error).replace(" (at end of document)", " at the end of the file").strip()
    return Problem(file=file, line=line, message="not valid TOML: " + message[:1].lower() + message[1:])


def _problems(found: Sequence[Mistake], text: str, file: str) -> list[Problem]:
    """In the order of the file."""
    lines = positions(text)
    problems = []
    for path, message, hint in found:
        line = next((lines[path[:size]] for size in range(len(path), 0, -1) if path[:size] in lines), None)
        problems.append(Problem(file=file, key=_dotted(path), line=line, message=message, hint=hint))
    return sorted(problems, key=lambda problem: problem.line or 0)


def _dotted(path: Sequence[str | int]) -> str:
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out
