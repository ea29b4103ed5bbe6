"""A provider that reports what it has made again and again, and a gateway that two teams ask for it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

from support.gateway import Gateway
from support.upstream import CLOSE, LAST_CHUNK, Seen, Step, Upstream, answer, chunk, chunked_head
from usages import SSE, sse

KEY = "sk-test-once"
OTHER_KEY = "sk-test-once-other"
USAGE = {"input_tokens": 1500, "output_tokens": 900, "output_tokens_details": {"reasoning_tokens": 64}}
EXACT = {"input_tokens_total": 1500, "output_tokens_total": 900, "reasoning_tokens": 64}
COST = 1500 * 2500 + 900 * 10_000
"""GPT-4o: 2.5 and 10 dollars a million tokens, in nanodollars."""
TEAMS = f"""
[[keys]]
id = "once"
secret = "{KEY}"
team = "research"
workflow = "evals"
[[keys]]
id = "other"
secret = "{OTHER_KEY}"
team = "ops"
workflow = "watch"
"""
"""Who begins it, and who else looks."""


def response(name: str, status: str, *, background: bool = True) -> dict[str, Any]:
    if status == "failed":
        return {"id": name, "object": "response", "background": True, "status": status, "model": "gpt-4o-2024-08-06",
                "output": [], "usage": None, "error": {"code": "server_error", "message": "it failed"}}  # fmt: skip
    usage = USAGE if status == "completed" else None
    said = [{"type": "message", "content": [{"type": "output_text", "text": "2 + 2 = 4"}]}] if usage else []
    return {"id": name, "object": "response", "background": background, "status": status, "model": "gpt-4o-2024-08-06",
            "output": said, "usage": usage, "error": None}  # fmt: skip


def result(model: str) -> bytes:
    """A line of the results of a batch."""
    message = {"model": model, "usage": {"input_tokens": 1000, "output_tokens": 100}}
    return json.dumps({"custom_id": "a", "result": {"type": "succeeded", "message": message}}).encode() + b"\n"


class Provider:
    """Makes responses that are done after two looks, and one batch."""

    def __init__(self) -> None:
        self.looks: dict[str, int] = {}

    def __call__(self, seen: Seen) -> Iterator[Step]:
        path = seen.target.partition("?")[0]
        name = path.split("/")[3] if path.count("/") > 2 else ""
        if "/interactions" in path:
            yield answer(json.dumps(self.interaction(seen, path)).encode())
        elif "/batches" in path and not path.endswith("/results"):
            yield answer(json.dumps(self.batch(name if seen.method == "GET" else "")).encode())
        elif path.endswith("/results"):
            line = result("claude-sonnet-4-5")
            if "break" in seen.target:
                yield chunked_head("application/x-jsonl") + chunk(line)
                yield CLOSE
            elif "mixed" in seen.target:
                yield answer(result("claude-haiku-4-5") + line + result("claude-haiku-4-5"), "application/x-jsonl")
            else:
                yield answer(line * 2 if "long" in seen.target else line, "application/x-jsonl")
        elif seen.method == "POST" and not name:
            asked = json.loads(seen.body)
            made = response(f"resp_{len(self.looks)}", "queued", background=asked.get("background", False))
            self.looks[made["id"]] = 0
            if not asked.get("background"):
                made = response("resp_fore", "completed", background=False)
            if not asked.get("stream"):
                yield answer(json.dumps(made).encode())
                return
            yield chunked_head(SSE) + chunk(sse({"type": "response.created", "response": made}))
            if "seconds" in asked:
                yield float(asked["seconds"])
                ended = {"type": "response.completed", "response": response(made["id"], "completed")}
                yield chunk(sse(ended)) + LAST_CHUNK if asked["ends"] else CLOSE
                return
            yield CLOSE
        elif name == "resp_fore":
            yield answer(json.dumps(response(name, "completed", background=False)).encode())
        elif "stream=true" in seen.target:
            ended = {"type": "response.completed", "response": response(name, "completed")}
            yield chunked_head(SSE) + chunk(sse(ended)) + LAST_CHUNK
        else:
            self.looks[name] = self.looks.get(name, 0) + 1
            done = self.looks[name] > 1 or path.endswith("/cancel")
            ended = "failed" if "fail" in seen.target else "completed"
            yield answer(json.dumps(response(name, ended if done else "in_progress")).encode())

    def batch(self, name: str) -> dict[str, Any]:
        """Done at the second look, and nothing is said of its use before."""
        looks = self.looks[name] = self.looks.get(name, 0) + 1 if name else 0
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0, **details}
        if looks > 1:
            usage |= {**USAGE, "total_tokens": 2400}
        return {"id": name or "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "errors": None,
                "input_file_id": "file-1", "completion_window": "24h", "created_at": 1, "model": "gpt-4o-2024-08-06",
                "status": "completed" if looks > 1 else "in_progress", "usage": usage}  # fmt: skip

    def interaction(self, seen: Seen, path: str) -> dict[str, Any]:
        """Made in the background where that was asked for, and done at the second look."""
        if seen.method == "POST":
            asked = json.loads(seen.body)
            name, done = f"v1_{len(self.looks)}", not asked.get("background")
            self.looks[name] = 0
        else:
            name = path.rpartition("/")[2]
            self.looks[name] += 1
            done = self.looks[name] > 1 or name == "v1_fore"
        usage = {"usage": {"total_input_tokens": 1500, "total_output_tokens": 836, "total_thought_tokens": 64}}
        status = "completed" if done else "in_progress"
        return {"id": name, "model": "gemini-2.5-flash", "status": status, **(usage if done else {})}


def config(upstream: Upstream) -> str:
    return f"""
[providers.openai]
kind = "openai"
base_url = "{upstream.url}"
api_key = "sk-real"
[providers.anthropic]
kind = "anthropic"
base_url = "{upstream.url}"
api_key = "sk-real"
unpriced_models = "block"
[providers.gemini]
kind = "gemini"
base_url = "{upstream.url}"
api_key = "sk-real"
[providers.vertex]
kind = "vertex"
base_url = "{upstream.url}"
api_key = "sk-real"
{TEAMS}
[[quotas]]
name = "all"
usd = 100.0
window = "total"
[[quotas]]
name = "model"
match = {{ model = "gpt-4o" }}
per = ["team"]
usd = 100.0
window = "total"
"""


def ask(gateway: Gateway, method: str, path: str, body: Any = None, key: str = KEY, **headers: str) -> bytes:
    """The answer's body, or what came of it before it broke off."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    head = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
    connection.request(method, path, json.dumps(body) if body is not None else None, head)
    try:
        return connection.getresponse().read()
    except http.client.IncompleteRead as error:
        return error.partial
    finally:
        connection.close()


def charged(gateway: Gateway) -> dict[str, Any]:
    """The one record that costs anything; the ledger and the quotas agree on it."""
    (found,) = [one for one in gateway.records() if one["cost_nanousd"] or one["usage_source"] != "none"]
    assert " 0 differences" in gateway.cli("quotas", "verify").stdout
    assert "agrees with itself" in gateway.cli("ledger", "verify").stdout
    return found


def spent(gateway: Gateway) -> int:
    """What reports say was spent, adjustments included."""
    found = json.loads(gateway.cli("report", "--by", "team", "--format", "json").stdout)
    rows = found["rows"] if isinstance(found, dict) else found
    return sum(round(float(row["cost_usd"]) * 1e9) for row in rows)


def counted(gateway: Gateway, quota: str, bucket: str = "") -> int:
    """Nanodollars that a quota counts, used and held."""
    names = ("spendgate_quota_used", "spendgate_quota_reserved")
    labels = (f'quota="{quota}"', f'bucket="{bucket}"', 'unit="usd"')
    lines = [line for line in gateway.metrics().splitlines() if line.startswith(names) and all(map(line.count, labels))]
    return sum(round(float(line.split()[-1]) * 1e9) for line in lines)
