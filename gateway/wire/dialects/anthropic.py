"""Anthropic. A refusal before any output is not charged: on its own API, other platforms say nothing of it.

Sources: https://docs.anthropic.com/en/api, https://docs.anthropic.com/en/api/openai-sdk; cookbook "Classifier fallback
& billing" (billing changes); release notes of the Claude API.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from gateway.wire import batches
from gateway.wire.anthropic_iterations import MAX_BESIDE
from gateway.wire.anthropic_shape import (
    MessageReader,
    cut,
    meter,
    read_message,
    refuse,
)
from gateway.wire.dialect import Auth, Header, Meter, Refusal, Reply
from gateway.wire.facts import Facts, Other
from gateway.wire.json_edit import set_value
from gateway.wire.json_read import parse, read_fields
from gateway.wire.meter import JsonMeter
from gateway.wire.numbers import table, text
from gateway.wire.openai_shape import OpenAIShape
from gateway.wire.paths import plain_path
from gateway.wire.pointing import PointingMeter
from gateway.wire.usage import Beside, Reading, Usage

BATCH_KEYS = ("result/type", "result/message/usage", "result/message/model", "result/message/stop_reason")


RESULTS_URL = rb'"results_url"\s*:\s*"'
"""Where the results of a batch are. SDKs ask there, wherever that is: anthropic-sdk-python, -typescript,
``messages.batches.results``."""


class BatchReader:
    """Results of a batch, one a line: what its messages used, each model's summed up, at the batch tier."""

    def __init__(self, facts: Facts) -> None:
        self.reading = Reading(service_tier="batch", claim=facts.claim)
        self.terminal = False
        self._facts = facts
        self._used = batches.ByModel()

    def frame(self, data: bytes) -> None:
        result = table(parse(data)).get("result")
        if not isinstance(result, dict):
            return
        line = MessageReader(self._facts, waives=True)
        line.document(table(result.get("message")))
        line.done()
        found, whole = line.reading, self.reading
        whole.model = found.model or whole.model
        whole.region = found.region or whole.region
        # requests that failed, expired or were cancelled report nothing and cost nothing
        whole.usage, whole.source = whole.usage or Usage(), "response"
        whole.beside = _added(whole.beside, found.beside)
        if found.usage is not None and not found.waived:
            self._used.take(found.model, found.usage)

    def done(self) -> None:
        self.reading.complete = self.reading.usage is not None
        self._used.tell(self.reading, batches.RESULTS)

    def drop(self) -> None:
        self.reading = Reading(service_tier="batch", claim=self._facts.claim)
        self._used = batches.ByModel()


def _added(known: tuple[Beside, ...], more: tuple[Beside, ...]) -> tuple[Beside, ...]:
    """What other models used beside the messages, by what they did and model."""
    found = {(one.api, one.model): one for one in known}
    for one in more:
        name = one.api, one.model
        if name in found:
            batches.add(found[name].usage, one.usage)
        elif len(found) < MAX_BESIDE:
            found[name] = one
    return tuple(found.values())


class BatchBody(msgspec.Struct):
    requests: Any = None


_BATCH: msgspec.json.Decoder[BatchBody] = msgspec.json.Decoder(BatchBody)


def _in_batch(body: bytes) -> Facts:
    """The models of a batch's requests, their fallbacks and advisors: it is charged when its results are read, but a
    model that may not be used must not begin."""
    fields = read_fields(_BATCH, body)
    if isinstance(fields, str):
        return Facts(api=batches.API, malformed=fields)
    requests = fields.requests if isinstance(fields.requests, list) else []
    names: set[str] = set()
    for one in requests:
        asked = table(table(one).get("params"))
        chain = asked.get("fallbacks")
        named = [asked, *(inner for key in ("fallbacks", "tools") for inner in _objects(asked.get(key)))]
        names.update(text(item["model"]) for item in named if "model" in item)
        if chain is not None and not isinstance(chain, list):
            names.add("")
    return Facts(api=batches.API, others=tuple(map(Other, sorted(names))))


def _objects(value: Any) -> list[dict[str, Any]]:
    return list(map(table, value)) if isinstance(value, list) else []


class AnthropicOpenAI(OpenAIShape):
    """The OpenAI-compatible path. Its ``prompt_tokens`` are all input."""

    __slots__ = ()

    kind = "anthropic"
    price_as = "anthropic"
    operations: ClassVar[dict[str, str]] = {"/chat/completions": "chat"}


OPENAI = AnthropicOpenAI()


class Anthropic:
    __slots__ = ()

    kind: ClassVar[str] = "anthropic"
    price_as: ClassVar[str] = "anthropic"
    base_url: ClassVar[str] = "https://api.anthropic.com"
    auth: ClassVar[Auth] = Auth(b"x-api-key", b"")
    regional_host: ClassVar[str] = ""
    vocabularies: ClassVar[tuple[str, ...]] = ()

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        path = plain_path(target)
        if path.endswith("/chat/completions"):
            return OPENAI.read(method, target, content_type, body)
        if method == b"POST":
            if path.endswith("/messages"):
                return read_message("messages", "", body)
            if path.endswith("/messages/count_tokens"):
                return read_message("count_tokens", "", body)
            if path.endswith("/messages/batches"):
                return _in_batch(body)
            if path.endswith("/complete"):
                return read_message("complete", "", body)
        elif path.endswith("/results") and "/messages/batches/" in path:
            batch = path.split("/")[-2]
            return Facts(api=batches.RESULTS, billable=True, output_free=False, fetches=True, claim=text(batch))
        elif method == b"GET" and "/messages/batches" in path:
            # its body is to be read: no coding is asked for
            return Facts(asks_usage=False, here=(b"", b""))
        return Facts()

    def prepare(self, facts: Facts, target: bytes, body: bytes) -> bytes:
        return OPENAI.prepare(facts, target, body) if facts.api == "chat" else body

    def clamp(self, facts: Facts, body: bytes, max_output: int) -> bytes | None:
        if facts.api == "chat":
            return OPENAI.clamp(facts, body, max_output)
        if facts.api != "messages":
            return None
        return set_value(body, b"max_tokens", b"%d" % max_output)

    def rename_model(self, facts: Facts, target: bytes, body: bytes, model: str) -> tuple[bytes, bytes]:
        return target, set_value(body, b"model", msgspec.json.encode(model))

    def meter(self, facts: Facts, status: int, headers: Sequence[Header]) -> Meter:
        if facts.api == "chat":
            return OPENAI.meter(facts, status, headers)
        if facts.api == batches.API:
            return JsonMeter(batches.BatchReader(), headers, batches.KEYS)
        if facts.api == batches.RESULTS and status < 300:
            return batches.ResultsMeter(BatchReader(facts), headers, BATCH_KEYS, b'"result"')
        if facts.here is not None and facts.here[1]:
            return PointingMeter(MessageReader(facts), headers, RESULTS_URL, facts.here)
        return meter(facts, headers, waives=True)

    def refuse(self, refusal: Refusal, facts: Facts) -> Reply:
        return OPENAI.refuse(refusal, facts) if facts.api == "chat" else refuse(refusal)

    def cut(self, facts: Facts, last: bytes) -> bytes | None:
        if facts.api == "chat":
            return OPENAI.cut(facts, last)
        return cut(last) if facts.api == "messages" else None


DIALECT = Anthropic()
