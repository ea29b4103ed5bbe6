"""A terminal's screen that is drawn again and again, and given back as it was, however the command ends."""

from __future__ import annotations

import signal
import sys
from types import FrameType, TracebackType

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _REST = "\x1b[H", "\x1b[J"
_LINE_REST = "\x1b[K"


class Screen:
    """``show`` draws; piped, it prints one text after the other."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self._shown = False

    def __enter__(self) -> Screen:
        # a plain end of the process would leave the terminal as it is
        signal.signal(signal.SIGTERM, _end)
        if self.live:
            sys.stdout.write(_ENTER)
            sys.stdout.flush()
        return self

    def show(self, text: str, lines: int) -> None:
        """Draw a text; on a terminal, at most so many lines of it."""
        if self.live:
            kept = text.splitlines()[:lines]
            sys.stdout.write(_HOME + "\n".join(line + _LINE_REST for line in kept) + _REST)
        else:
            sys.stdout.write(("\n" if self._shown else "") + text + "\n")
        self._shown = True
        sys.stdout.flush()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None) -> None:
        if self.live:
            sys.stdout.write(_LEAVE)
            sys.stdout.flush()


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
