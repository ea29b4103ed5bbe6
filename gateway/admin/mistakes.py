"""What the admin port's server logs of clients that speak no HTTP."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError


class Mistakes(logging.Filter):
    """A client's mistake is one line: aiohttp takes it for an error of the program, tells the parser's way to it and
    what the client sent."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let all through, mistakes in few words."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | web.RequestPayloadError):
            record.exc_info = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg, record.args = "a request on the admin port was malformed", ()
        return True


_MISTAKES = Mistakes()


def server_logger() -> logging.Logger:
    """The logger of the admin port's server."""
    logger = logging.getLogger("aiohttp.server")
    logger.addFilter(_MISTAKES)
    return logger
