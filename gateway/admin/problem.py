"""Errors of the admin API as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import msgspec
from aiohttp import web


def problem(status: int, title: str, detail: str) -> web.Response:
    """An error answer: ``title`` names the kind, ``detail`` says what to do about it."""
    body = msgspec.json.encode({"type": "about:blank", "title": title, "status": status, "detail": detail})
    return web.Response(status=status, body=body, content_type="application/problem+json")


def too_many(seconds: int) -> web.Response:
    """429 to an address that tried too many tokens."""
    refused = problem(429, "Too many wrong tokens", f"This address tried too many tokens. Try again in {seconds} s.")
    refused.headers["Retry-After"] = str(seconds)
    return refused
