"""Where in a TOML text a key stands. tomllib keeps no positions; this scanner finds them in a text that tomllib took.

It follows TOML 1.0's nesting (tables, arrays of tables, inline tables, arrays, strings of all four kinds) and reads no
value. A text that is not TOML gives some lines or none, never an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')""")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)
_PLAIN = re.compile(r"[^\s,\]}#\"'\[{][^,\]}#\n]*")
_MAX_DEPTH = 100


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line (from 1) of the deepest part of ``path`` that has one."""
    lines = positions(text)
    for size in range(len(path), 0, -1):
        found = lines.get(tuple(path[:size]))
        if found is not None:
            return found
    return None


def positions(text: str) -> dict[Path, int]:
    """The line of every key, table and list item: of its first appearance."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.found


class _Scanner:
    def __init__(self, text: str) -> None:
        self.found: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._counted_to = 0
        self._line = 1
        self._last_index: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while self._blank():
            if self._text[self._at] == "[":
                table = self._header()
            elif not self._pair(table, 0):
                self._at += 1

    def _blank(self) -> bool:
        """Skip blanks, line ends and comments; False at the end of the text."""
        match = _BLANK.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return self._at < len(self._text)

    def _note(self, path: Path) -> None:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        self.found.setdefault(path, self._line)

    def _header(self) -> Path:
        many = self._text.startswith("[[", self._at)
        self._at += 2 if many else 1
        names = self._names()
        path: Path = ()
        for place, name in enumerate(names):
            path = (*path, name)
            self._note(path)
            if place < len(names) - 1 and path in self._last_index:
                path = (*path, self._last_index[path])
        if many:
            index = self._last_index.get(path, -1) + 1
            self._last_index[path] = index
            path = (*path, index)
            self._note(path)
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end
        return path

    def _names(self) -> list[str]:
        """A key, dotted or not."""
        names = []
        while self._text[self._at : self._at + 1] in (" ", "\t"):
            self._at += 1
        while match := _KEY.match(self._text, self._at):
            names.append(_plain(match[0]))
            self._at = match.end()
            dot = _DOT.match(self._text, self._at)
            if dot is None:
                break
            self._at = dot.end()
        return names

    def _pair(self, table: Path, depth: int) -> bool:
        """``key = value``; False where there is none."""
        start = self._at
        names = self._names()
        equals = _EQUALS.match(self._text, self._at)
        if not names or equals is None:
            self._at = start
            return False
        path = table
        for name in names:
            path = (*path, name)
            self._note(path)
        self._at = equals.end()
        self._value(path, depth)
        return True

    def _value(self, path: Path, depth: int) -> None:
        character = self._text[self._at : self._at + 1]
        if character in ("[", "{") and depth < _MAX_DEPTH:
            self._nested(path, character, depth + 1)
            return
        for pattern in (*_STRINGS, _PLAIN):
            match = pattern.match(self._text, self._at)
            if match is not None:
                self._at = match.end()
                return

    def _nested(self, path: Path, opening: str, depth: int) -> None:
        """A list or an inline table, to behind its closing bracket."""
        closing = "]" if opening == "[" else "}"
        self._at += 1
        index = 0
        while self._blank():
            character = self._text[self._at]
            if character == closing:
                self._at += 1
                return
            before = self._at
            if character == ",":
                self._at += 1
            elif opening == "{":
                self._pair(path, depth)
            else:
                self._note((*path, index))
                self._value((*path, index), depth)
                index += 1
            if self._at == before:
                self._at += 1


def _plain(key: str) -> str:
    """A key without its quotes and escapes."""
    if key[0] == '"' and "\\" in key:
        try:
            return next(iter(tomllib.loads(f"{key} = 0")))
        except tomllib.TOMLDecodeError:
            return key[1:-1]
    return key[1:-1] if key[0] in "\"'" else key
