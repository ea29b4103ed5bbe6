"""An upstream that plays the recorded exchange which the header ``x-case`` names."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

from support.upstream import LAST_CHUNK, Seen, Step, Upstream, answer, chunk, chunked_head

KEY = "sk-test-sdk-key"
"""The key of the gateway before it."""

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


def replay(cases: Mapping[str, Any], seed: int = 7) -> Upstream:
    """JSON bodies come whole, streams in chunks cut at random places."""

    def script(seen: Seen) -> Iterable[Step]:
        case = cases.get(seen.header("x-case") or "")
        if case is None:
            return [answer(b'{"error":{"message":"no such case"}}', status=404)]
        headers = {k: v for k, v in case.response_headers.items() if k.lower() != "content-type"}
        content_type = next(
            (v for k, v in case.response_headers.items() if k.lower() == "content-type"), "application/json"
        )
        body = case.response_body
        if "json" in content_type and not case.stream:
            return [answer(body, content_type, case.status, headers)]
        rng = random.Random(f"{seed}{case.id}")
        steps: list[Step] = [chunked_head(content_type, case.status, headers)]
        while body:
            size = rng.randint(1, 700)
            steps.append(chunk(body[:size]))
            body = body[size:]
        return [*steps, LAST_CHUNK]

    return Upstream(script)
