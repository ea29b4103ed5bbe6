"""Which file a provider gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.statements import anthropic, openai, openrouter, plain
from gateway.statements.charge import Charge, StatementError
from gateway.statements.files import Content

FORMATS: dict[str, Callable[[Content], Iterator[Charge]]] = {
    "openai": openai.charges,
    "anthropic": anthropic.charges,
    "openrouter": openrouter.charges,
}
"""By kind of provider; every other kind is read as plain CSV."""


def read(path: Path, kind: str) -> list[Charge]:
    """All lines of a file. Raises ``StatementError``, which names the file, and ``OSError``."""
    content = Content(path)
    plainly = {"day", "usd"} <= set(content.columns) or "BilledCost" in content.columns
    parse = plain.charges if plainly else FORMATS.get(kind, plain.charges)
    try:
        found = list(parse(content))
    except StatementError as error:
        text = str(error)
        raise StatementError(text if text.startswith(content.name) else f"{content.name}: {text}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise StatementError(f"{content.name}: is not what {kind} gives: {error} is missing") from error
    if not found:
        raise StatementError(f"{content.name}: holds no charge and no usage")
    return found
