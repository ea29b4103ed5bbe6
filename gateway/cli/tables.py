"""Tables for a terminal, Markdown and HTML. Names come from callers: nothing in them is taken for control characters or
markup."""

from __future__ import annotations

import html
import os
import shutil
import sys
import unicodedata
from collections.abc import Collection, Sequence

GAP = "  "
SHORTEST = 8
"""Text columns are never cut to fewer characters."""
SPARKS = "▁▂▃▄▅▆▇█"
STYLE = (
    "body{font:14px system-ui,sans-serif;margin:2rem;color:#1b1f24;background:#fff}table{border-collapse:collapse}"
    "caption{text-align:left;font-weight:600;padding:.5rem 0}th,td{padding:.35rem .8rem;"
    "border-bottom:1px solid #d0d7de}"
    "th{text-align:left}.n{text-align:right;font-variant-numeric:tabular-nums}tfoot td{font-weight:600}"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}}"
)


def plain(text: str) -> str:
    """Text that a terminal shows and does not obey."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "�" for char in text)


def encodable(text: str) -> str:
    """Text that standard output can take: what its encoding lacks is a question mark."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def cut(text: str, limit: int) -> str:
    """A text of at most ``limit`` columns; what is cut off is told by an ellipsis."""
    if width(text) <= limit:
        return text
    while text and width(text) > limit - 1:
        text = text[:-1]
    return text + "…"


def terminal_width() -> int | None:
    """How wide lines may be; None where the output is no terminal and nobody says (``COLUMNS``)."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return max(20, shutil.get_terminal_size().columns)
    return None


def text_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Collection[int],
    *,
    limit: int | None = None,
    spare: Sequence[int] = (),
) -> str:
    """Columns as wide as what they hold; those in ``right`` are aligned to the right.

    With a ``limit``, columns of ``spare`` are left out, the first first, then text columns are cut, the widest first,
    until lines fit: numbers are never cut.
    """
    cells = [[plain(cell) for cell in row] for row in (headers, *rows)]
    kept = list(range(len(headers)))
    widths = [max(width(row[column]) for row in cells) for column in kept]
    if limit is not None:
        kept = _kept(kept, widths, right, limit, spare)
        _narrow(kept, widths, right, limit)
    lines = []
    for row in [cells[0], ["-" * size for size in widths], *cells[1:]]:
        line = []
        for column in kept:
            cell = cut(row[column], widths[column])
            space = " " * (widths[column] - width(cell))
            line.append(space + cell if column in right else cell + space)
        lines.append(GAP.join(line).rstrip())
    return encodable("\n".join(lines))


def _total(kept: Sequence[int], widths: Sequence[int]) -> int:
    return sum(widths[column] for column in kept) + len(GAP) * (len(kept) - 1)


def _kept(
    kept: list[int], widths: Sequence[int], right: Collection[int], limit: int, spare: Sequence[int]
) -> list[int]:
    """Columns that stay: without those of ``spare`` that do not fit even where texts are cut."""
    least = [size if column in right else min(size, SHORTEST * 2) for column, size in enumerate(widths)]
    for column in spare:
        if _total(kept, least) <= limit:
            break
        kept = [one for one in kept if one != column]
    return kept


def _narrow(kept: Sequence[int], widths: list[int], right: Collection[int], limit: int) -> None:
    """Make text columns narrower, the widest first."""
    texts = [column for column in kept if column not in right]
    while texts and _total(kept, widths) > limit:
        widest = max(texts, key=lambda column: widths[column])
        if widths[widest] <= SHORTEST:
            return
        widths[widest] -= 1


def sparkline(values: Sequence[int]) -> str:
    """A bar for each value, between the lowest shown (nothing) and the highest."""
    top = max(values, default=0)
    if top <= 0:
        return SPARKS[0] * len(values)
    return "".join(SPARKS[max(0, value) * (len(SPARKS) - 1) // top] for value in values)


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int]) -> str:
    """A table for Markdown, GitHub's kind."""
    lines = [_piped(headers), _piped(["---:" if i in right else "---" for i in range(len(headers))])]
    return "\n".join([*lines, *(_piped([_escaped(cell) for cell in row]) for row in rows)])


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    out = plain(text)
    for char in "\\`*_[]|":
        out = out.replace(char, f"\\{char}")
    return html.escape(out, quote=False)


def html_page(
    title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int], notes: Sequence[str]
) -> str:
    """A page of its own: one table, no script, nothing from elsewhere."""

    def row(cells: Sequence[str], tag: str) -> str:
        made = [
            f"<{tag}{' class=n' if i in right else ''}>{html.escape(plain(cell))}</{tag}>"
            for i, cell in enumerate(cells)
        ]
        return f"<tr>{''.join(made)}</tr>"

    body = "\n".join(row(cells, "td") for cells in rows)
    said = "".join(f"<p>{html.escape(plain(note))}</p>\n" for note in notes)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f"<style>{STYLE}</style></head>\n<body><table><caption>{html.escape(title)}</caption>\n"
        f"<thead>{row(headers, 'th')}</thead>\n<tbody>\n{body}\n</tbody></table>\n{said}</body></html>"
    )
