"""Values from elsewhere, without blanks at their ends: ``env:NAME`` of the environment, ``file:PATH`` of a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from gateway.config.positions import Path
from gateway.config.problems import near

_FROM = re.compile(r"(env|file):(.+)", re.DOTALL)
SECRETS = frozenset(
    (
        "admin_token",
        "api_key",
        "secret",
        "old_secret",
        "access_key_id",
        "secret_access_key",
        "session_token",
        "client_secret",
    )
)
"""Keys whose values are never shown, and that commands which call nobody can do without."""
_REPLICA = ("replica", "url")
"""It may hold a password."""
MAX_FILE = 65_536


class Sources:
    """Replaces ``env:NAME`` and ``file:PATH``. What is missing stands in ``problems``, and has a placeholder so that
    everything else can be checked.

    A provider with ``optional = true`` that lacks a value stands in ``inactive`` instead. With ``need_secrets`` False,
    secrets may be missing.
    """

    def __init__(self, environ: Mapping[str, str], base: FilePath, *, need_secrets: bool = True) -> None:
        self._environ = environ
        self._base = base
        self.need_secrets = need_secrets
        self.problems: list[tuple[Path, str, str]] = []
        self.placeholders: set[Path] = set()
        self.inactive: dict[str, str] = {}
        """Name of an optional provider → what it lacks."""

    def resolve(self, data: dict[str, Any]) -> dict[str, Any]:
        """``data`` with its values in place; lists become tuples."""
        optional = {
            name
            for name, table in _tables(data.get("providers")).items()
            if isinstance(table, dict) and table.get("optional") is True
        }
        resolved = self._resolve(data, ())
        assert isinstance(resolved, dict)
        kept = []
        for path, message, hint in self.problems:
            if path[:1] == ("providers",) and path[1:2] and path[1] in optional:
                self.inactive.setdefault(str(path[1]), message)
            elif self.need_secrets or not (path[-1] in SECRETS or path[-2:] == _REPLICA):
                kept.append((path, message, hint))
        self.problems = kept
        return resolved

    def _resolve(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {key: self._resolve(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return tuple(self._resolve(item, (*path, index)) for index, item in enumerate(value))
        if isinstance(value, str) and (match := _FROM.fullmatch(value)):
            return self._environment(match[2], path) if match[1] == "env" else self._file(match[2], path)
        return value

    def _environment(self, name: str, path: Path) -> str:
        # many a secret is made with echo, which ends it with a line break that no header can carry
        found = self._environ.get(name, "").strip()
        if found:
            return found
        state = "empty" if name in self._environ else "not set"
        hint = near(name, self._environ) or f"Set it: export {name}=…"
        return self._missing(path, f"the environment variable {name} is {state}", hint)

    def _file(self, name: str, path: Path) -> str:
        try:
            with (self._base / name).open(encoding="utf-8") as file:
                found = file.read(MAX_FILE + 1).strip()
        except OSError as error:
            return self._missing(path, f"the file {name} can't be read: {error.strerror}", "")
        except (UnicodeDecodeError, ValueError):
            return self._missing(path, f"the file {name} can't be read: it is not UTF-8 text", "")
        if not found or len(found) > MAX_FILE:
            return self._missing(path, f"the file {name} is {'empty' if not found else 'too large'}", "")
        return found

    def _missing(self, path: Path, message: str, hint: str) -> str:
        self.problems.append((path, message, hint))
        self.placeholders.add(path)
        return f"missing-value-{len(self.problems)}"


def _tables(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
