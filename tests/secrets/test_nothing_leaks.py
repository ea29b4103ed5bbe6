"""A run with known secrets and prompts, in good and bad cases; then everything that it wrote is searched for them."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gateway import Gateway
from support.upstream import Seen, Upstream

KEY = "sk-virtual-7Qx2mNp4"
PASSED = "sk-callers-own-Zz81kq"
WRONG = "sk-nobodys-key-Lw93vb"
PROVIDER = "sk-real-provider-Hh55tt"
AZURE = "azure-real-key-Pp77cc"
ADMIN = "admin-token-Rr44dd66ff"
TEAM_TOKEN = "team-token-Mm22gg88hh"
WEBHOOK = "webhook-secret-Vv33jj"
OTLP = "otlp-token-Bb11xx99"
OLD = "sk-virtual-old-Kk66ss"
GUESSED = "guessed-admin-token-Ww00qq"
PROMPT = "the launch code is tangerine-walrus"
IMAGE = "data:image/png;base64,c2VjcmV0LXBpY3R1cmU="
COMPLETION = "certainly: marmalade-penguin"
PROVIDER_ERROR = "the provider quotes: tangerine-walrus"
NEEDLES = (
    KEY, OLD, GUESSED, PASSED, WRONG, PROVIDER, AZURE, ADMIN, TEAM_TOKEN, WEBHOOK, OTLP, "tangerine-walrus",
    "marmalade-penguin", "c2VjcmV0LXBpY3R1cmU",
)  # fmt: skip
CONFIG = f"""
[server]
admin_token = "{ADMIN}"
[[server.admin_tokens]]
name = "lead"
secret = "{TEAM_TOKEN}"
team = "search"
[logging]
format = "%FORMAT%"
level = "debug"
[tracing]
otlp_endpoint = "%URL%/v1/traces"
headers = {{ authorization = "Bearer {OTLP}" }}
[attribution]
require_key = true
[providers.openai]
kind = "openai"
base_url = "%URL%"
api_key = "{PROVIDER}"
[providers.own]
kind = "openai"
base_url = "%URL%"
[providers.azure]
kind = "azure"
base_url = "%URL%"
api_key = "{AZURE}"
[providers.gemini]
kind = "gemini"
base_url = "%URL%"
api_key = "{PROVIDER}"
[providers.gone]
kind = "openai"
base_url = "http://127.0.0.1:9"
api_key = "{PROVIDER}"
[[webhooks]]
url = "%URL%/hook"
secret = "{WEBHOOK}"
[[keys]]
id = "k"
secret = "{KEY}"
team = "search"
workflow = "ranking"
old_secret = "{OLD}"
old_expires = 2099-01-01
[[quotas]]
name = "few"
match = {{ workflow = "short" }}
requests = 1
window = "total"
warn_at = [0.5]
"""


def upstream(seen: Seen) -> Iterator[bytes | str]:
    """A provider that says secret things, fails with them, breaks off in them; a collector; a receiver of webhooks."""
    if seen.target in ("/v1/traces", "/hook"):
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    elif b"fail-now" in seen.body:
        body = json.dumps({"error": {"message": PROVIDER_ERROR, "type": "x", "code": None}}).encode()
        yield (
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body
        )
    elif b"garbage" in seen.body:
        yield b"HTTP/1.1 marmalade-penguin\r\n\r\n"
    elif b"break-off" in seen.body:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        part = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % COMPLETION.encode()
        yield b"%x\r\n%b\r\n" % (len(part), part)
        yield "reset"
    else:
        answer = {
            "model": "gpt-4o",
            "choices": [{"message": {"role": "assistant", "content": COMPLETION}}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
        }
        body = json.dumps(answer).encode()
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class Run:
    """What was written: a name for each thing, and its bytes."""

    def __init__(self, folder: Path, style: str) -> None:
        self.written: dict[str, bytes] = {}
        with Upstream(upstream) as server:
            config = CONFIG.replace("%URL%", server.url).replace("%FORMAT%", style)
            with Gateway(folder, config) as gateway:
                self.gateway = gateway
                self.calls()
                self.admin()
                gateway.path.write_text(gateway.path.read_text() + f'\n[[keys]]\nid = 7\nsecret = "{KEY}"\n')
                self.ask("/api/reload", ADMIN, b"")
                self.metrics()
                self.files(folder)
                assert gateway.stop() == 0
                self.files(folder)
            outward = [seen for seen in server.seen if seen.target in ("/v1/traces", "/hook")]
            self.seen = {seen.target for seen in outward}
            for number, seen in enumerate(outward):
                self.written[f"sent to {seen.target} {number}"] = seen.body

    def calls(self) -> None:
        content = [{"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": {"url": IMAGE}}]
        for number, (path, key, extra) in enumerate(
            (
                ("/openai/v1/chat/completions", KEY, ""),
                ("/openai/v1/chat/completions", OLD, ""),
                ("/openai/v1/chat/completions", WRONG, ""),
                ("/openai/v1/chat/completions", KEY, "fail-now"),
                ("/openai/v1/chat/completions", KEY, "garbage"),
                ("/openai/v1/chat/completions", KEY, "break-off"),
                ("/gone/v1/chat/completions", KEY, ""),
                ("/azure/openai/deployments/gpt-4o/chat/completions?api-version=1", KEY, ""),
                (f"/gemini/v1beta/models/gemini-2.0-flash:generateContent?key={KEY}", "", ""),
                (f"/gemini/v1beta/models/gemini-2.0-flash:generateContent?key={WRONG}", "", ""),
                (f"/nobody/{'x' * 20}", KEY, ""),
                ("/openai/v1/chat/completions", KEY, "short"),
                ("/openai/v1/chat/completions", KEY, "short"),
            )
        ):
            body = {"model": "gpt-4o", "stream": extra == "break-off", "user": extra}
            body |= {"messages": [{"role": "user", "content": content}], "contents": [{"parts": [{"text": PROMPT}]}]}
            headers = {"Content-Type": "application/json"}
            if key:
                headers["Authorization"] = f"Bearer {key}"
            if extra == "short":
                headers["x-spendgate-workflow"] = "short"
            self.call(f"call {number}", path, json.dumps(body).encode(), headers)
        own = {"Authorization": f"Bearer {PASSED}", "x-spendgate-key": KEY, "Content-Type": "application/json"}
        self.call("own credential", "/own/v1/chat/completions", json.dumps({"model": PROMPT[:9]}).encode(), own)
        broken = f'{{"model": "gpt-4o", "messages": "{PROMPT}'.encode()
        self.call("broken", "/openai/v1/chat/completions", broken, {"Authorization": f"Bearer {KEY}"})

    def call(self, name: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=20)
        connection.request("POST", path, body, headers)
        try:
            answer = connection.getresponse()
            text = answer.read()
        except (http.client.HTTPException, OSError):
            return
        finally:
            connection.close()
        own = answer.status in (401, 403, 404, 413, 429) or answer.headers.get("x-spendgate-error")
        if own or "fail-now" not in body.decode():
            head = str(answer.headers).encode()
            self.written[f"answer of {name}"] = head + (text if own or answer.status != 200 else b"")

    def ask(self, path: str, token: str, body: bytes | None = None) -> None:
        request = urllib.request.Request(
            self.gateway.admin + path, data=body, headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                self.written[path] = answer.read()
        except urllib.error.HTTPError as error:
            self.written[f"{path} {error.code}"] = error.read()

    def admin(self) -> None:
        for path in ("/api/requests", "/api/keys", "/api/quotas", "/api/events", "/api/spend?by=model", "/api/models"):
            self.ask(path, ADMIN)
            self.ask(path, WRONG)
        for _ in range(70):
            self.ask("/api/me", GUESSED)
        self.ask("/api/requests?team=search", TEAM_TOKEN)
        self.ask("/api/requests/" + urllib.parse.quote(PROMPT[:4]), ADMIN)

    def metrics(self) -> None:
        for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
            request = urllib.request.Request(self.gateway.admin + "/metrics", headers={"Accept": accept})
            with urllib.request.urlopen(request, timeout=10) as answer:
                self.written[f"metrics as {accept}"] = answer.read()

    def files(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file() and path.name != "config.toml":
                self.written[path.name] = self.written.get(path.name, b"") + path.read_bytes()


@pytest.mark.parametrize("style", ["json", "human"])
def test_no_secret_and_no_prompt_is_in_anything_that_is_written(tmp_path: Path, style: str) -> None:
    run = Run(tmp_path, style)
    written = run.written
    assert {"gateway.log", "ledger.db", "metrics as text/plain", "/api/requests", "/api/reload 422"} <= set(written)
    assert run.seen == {"/v1/traces", "/hook"}
    assert b"invalid_api_key" in b"".join(written.values())
    log = written["gateway.log"].decode()
    for word in ("refused", "a call failed", "settled", "not reloaded", "reload refused", "wrong token"):
        assert word in log, word
    if style == "json":
        assert all(json.loads(line) for line in log.splitlines() if not line.startswith("spendgate listens"))
    for name, content in written.items():
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        for needle in NEEDLES:
            assert needle.encode() not in content, f"{needle} in {name}"
            assert base64.b64encode(needle.encode())[:-4] not in content, f"{needle} as base64 in {name}"
            assert needle.encode().hex().encode() not in content, f"{needle} as hex in {name}"
