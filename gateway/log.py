"""Structured logs: one line a refusal or failure, none a success. Secrets and prompts never reach a logger."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if fields:
            line.update(fields)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class HumanLines(logging.Formatter):
    """Time, level, message, then ``key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = getattr(record, "fields", None) or {}
        rest = "".join(f" {key}={value}" for key, value in fields.items())
        text = f"{at} {record.levelname.lower():7} {record.getMessage()}{rest}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def set_up(style: str, level: str) -> logging.Logger:
    """The gateway's logger, writing to standard error."""
    logger = logging.getLogger("spendgate")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else HumanLines())
    logger.handlers = [handler]
    logger.setLevel(LEVELS[level])
    logger.propagate = False
    return logger
