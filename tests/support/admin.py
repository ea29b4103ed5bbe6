"""The admin port as its users call it, over a ledger with known records."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import book

from support.gateway import Gateway

ADMIN, READ, TEAM = "an-admin-token-16", "a-reading-token-16", "a-team-token-of-16"
NASTY = "<script>alert(1)</script>"
CONFIG = """
[providers.simulated]
kind = "simulated"
first_token_seconds = 0.0
token_seconds = 0.0

[[prices]]
provider = "simulated"
model = "*"
input_per_mtok = 2.5
output_per_mtok = 10.0

[[keys]]
id = "configured"
secret = "sk-configured-key"
team = "search"
workflow = "ranking"

[[quotas]]
name = "search-month"
match = { team = "search" }
usd = 50.0
window = "month"

[[quotas]]
name = "support-month"
match = { team = "support" }
usd = 50.0
window = "month"
"""
TOKENS = f"""
[server]
admin_token = "{ADMIN}"

[[server.admin_tokens]]
name = "reader"
secret = "{READ}"

[[server.admin_tokens]]
name = "search-lead"
secret = "{TEAM}"
team = "search"
"""


@dataclass
class Answer:
    status: int
    body: bytes
    headers: Message

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Caller:
    """Somebody who calls the admin port."""

    gateway: Gateway
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        data = None
        if body is not None:
            data = json.dumps(body).encode() if not isinstance(body, bytes) else body
            sent.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.gateway.admin + path, data=data, method=method, headers=sent)
        opener = urllib.request.build_opener(_Stay)
        try:
            with opener.open(request, timeout=20) as answer:
                return Answer(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), error.headers)

    def get(self, path: str) -> Any:
        answered = self("GET", path)
        assert answered.status == 200, answered.body
        return answered.json()

    def as_(self, token: str) -> Caller:
        return Caller(self.gateway, {**self.headers, "Authorization": f"Bearer {token}"})


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def with_records(directory: Path, config: str, records: list[Any]) -> Gateway:
    gateway = Gateway(directory, config)
    (directory / "data").mkdir()
    book.ledger(directory / "data" / "ledger.db", records)
    return gateway


def records() -> list[Any]:
    """400 calls, one with a name that no page should run."""
    return [book.record(number) for number in range(400)] + [
        book.record(400, team="support", workflow=NASTY, model="=cmd()", tags={"env": "x" * 120}),
        book.record(401, workflow="refused", outcome="rejected", status=429, cost_nanousd=0, cost_lines=()),
    ]
