"""The gateway's own refusals, in OpenAI's words: error types, codes, and the headers by which SDKs decide on a retry.

Sources: OpenAI, "Error codes" and "Rate limits" (x-ratelimit-* headers); openai-python, which reads ``retry-after-ms``,
``retry-after`` and ``x-should-retry`` in that spirit.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.wire.dialect import Header, Refusal, Reply

_TYPES: Mapping[int, str] = {
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    501: "api_error",
}
_CODES: Mapping[str, str] = {"model_not_allowed": "model_not_found", "invalid_request": "invalid_request_error"}


def retry_headers(refusal: Refusal) -> list[Header]:
    """Headers by which SDKs decide whether and when to try again."""
    headers: list[Header] = [(b"content-type", b"application/json")]
    if refusal.retry_after_ms is not None:
        headers.append((b"retry-after", b"%d" % max(1, -(-refusal.retry_after_ms // 1000))))
        headers.append((b"retry-after-ms", b"%d" % max(1, refusal.retry_after_ms)))
    if not refusal.retry_helps:
        headers.append((b"x-should-retry", b"false"))
    limits = refusal.limits
    unit = limits.get("unit", "").rpartition("_")[2]
    if unit in ("requests", "tokens"):
        for name, key in (("limit", "limit"), ("remaining", "remaining"), ("reset", "reset_seconds")):
            if key in limits:
                suffix = "s" if name == "reset" else ""
                headers.append((f"x-ratelimit-{name}-{unit}".encode(), (limits[key] + suffix).encode()))
    return headers


def error_type(refusal: Refusal) -> tuple[str, str]:
    """OpenAI's error type and code for a refusal."""
    if refusal.status == 401:
        return "invalid_request_error", "invalid_api_key"
    if refusal.status == 429:
        if refusal.retry_after_ms is None:
            return "insufficient_quota", "insufficient_quota"
        unit = refusal.limits.get("unit", "").rpartition("_")[2]
        return (unit if unit in ("tokens", "requests") else "rate_limit_error"), "rate_limit_exceeded"
    return _TYPES.get(refusal.status, "invalid_request_error"), _CODES.get(refusal.code, refusal.code)


def openai_error(refusal: Refusal) -> Reply:
    """``{"error": {"message", "type", "param", "code"}}``."""
    kind, code = error_type(refusal)
    param = "model" if refusal.code in ("model_not_allowed", "model_not_found") else None
    error = {"message": refusal.message, "type": kind, "param": param, "code": code}
    return Reply(refusal.status, retry_headers(refusal), msgspec.json.encode({"error": error}))
