"""Perplexity. Every chunk carries the usage so far, and what the call cost; deep research reads what it cites.

Raw searches are charged by the request that succeeds ("Search API billing counts each successful POST /search"). The
Agent API lies at ``/v1/agent``, with ``/v1/responses`` as its other name. A chat completion may be made in the
background: its request lies inside the body, its answer inside what is fetched.

Sources: https://docs.perplexity.ai/docs/search/fast-search, https://docs.perplexity.ai/docs/agent-api/openai-compatibility,
https://docs.perplexity.ai/api-reference/chat-completions-post, https://docs.perplexity.ai/getting-started/pricing
(citation tokens and reasoning tokens of deep research have prices of their own, each answer of the other Sonar models
a fee by how much it searched); https://docs.perplexity.ai/guides/pro-search-quickstart,
https://docs.perplexity.ai/api-reference/async-sonar-post; perplexityai/perplexity-py (``ResponsesUsage``,
``async_/chat/completions``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.wire.dialect import Header
from gateway.wire.facts import SEARCHES, Facts
from gateway.wire.json_read import mentions, read_fields
from gateway.wire.meter import Reader
from gateway.wire.named_models import SOME, alternatives
from gateway.wire.numbers import count, nanousd, part, table, text
from gateway.wire.openai_reader import Meaning, OpenAIReader
from gateway.wire.openai_shape import OpenAIShape, read_usage
from gateway.wire.paths import plain_path
from gateway.wire.usage import Reading, Usage

DEEP_SEARCHES = 100
"""Searches of one deep research; Perplexity documents no maximum and shows some 20 to 30."""

SEARCHES_WEB = ("web_search", "search_web")
"""Names of the tool that searches, among the ``tool_calls_details`` of an agent's answer."""
CACHED = (
    ("cache_read_input_tokens", "cache_read_tokens"),
    ("cache_creation_input_tokens", "cache_write_tokens"),
)
"""Details of an agent's input."""


SIZES = ("low", "medium", "high")
"""How much an answer searched, which decides its fee: the tiers ``search_low``, ``pro_search_low``…"""
PRO = "pro_search_high"
"""The tier that a Pro Search is held at; its answer tells the size."""


JSON = b"application/json"


class SearchOptions(msgspec.Struct):
    web_search_options: Any = None


_OPTIONS: msgspec.json.Decoder[SearchOptions] = msgspec.json.Decoder(SearchOptions)
chooses_in = mentions(b'"search_type')
_names_models = mentions(b'"models"')
_names_preset = mentions(b'"preset"')


def _searches_as_pro(body: bytes) -> bool:
    """A stream that asks for Pro Search, whose fee is higher, or leaves it open: no answer says which it was."""
    options = read_fields(_OPTIONS, body)
    return not isinstance(options, str) and table(options.web_search_options).get("search_type") in ("pro", "auto")


class Fallbacks(msgspec.Struct):
    """Models of which one answers, in the place of ``model``."""

    models: Any = None


_FALLBACKS: msgspec.json.Decoder[Fallbacks] = msgspec.json.Decoder(Fallbacks)


LATER = "async_chat"
_LATER = re.compile(r"/async/(?:chat/completions|sonar)(?:/(?P<name>[^/]+))?$", re.IGNORECASE).search
_STATES = frozenset(("CREATED", "IN_PROGRESS", "COMPLETED", "FAILED"))
"""Of a completion that is made in the background."""


class Begun(msgspec.Struct):
    """The request of a chat completion that is to be made in the background."""

    request: msgspec.Raw = msgspec.Raw(b"{}")


_BEGUN: msgspec.json.Decoder[Begun] = msgspec.json.Decoder(Begun)


class Perplexity(OpenAIShape):
    __slots__ = ()

    limits = {**OpenAIShape.limits, "chat": ("max_tokens",)}
    kind = "perplexity"
    price_as = "perplexity"
    base_url = "https://api.perplexity.ai"
    asks = frozenset()
    keeps_answers = True
    operations = {
        **OpenAIShape.operations,
        "/search": "search",
        "/v1/agent": "responses",
        "/v1/sonar": "chat",
        "/contextualizedembeddings": "embeddings",
    }

    document_keys = ("response/usage", "response/model")
    """Where a completion that was made in the background is too long to be kept."""

    def fetch(self, method: bytes, target: bytes) -> Facts | None:
        found = _LATER(plain_path(target))
        if found is None:
            return super().fetch(method, target)
        name = text(found["name"])
        return Facts(api=LATER, fetches=True, claim=name) if method == b"GET" and name else None

    def _begun(self, body: bytes) -> Facts:
        fields = read_fields(_BEGUN, body)
        facts = self.read(
            b"POST", b"/chat/completions", JSON, body if isinstance(fields, str) else bytes(fields.request)
        )
        facts.api, facts.stream = LATER, False
        return facts

    def claim(self, document: dict[str, Any]) -> str:
        return text(document.get("id")) if document.get("status") in _STATES else super().claim(document)

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        if method == b"POST" and (found := _LATER(plain_path(target))) is not None and not found["name"]:
            return self._begun(body)
        facts = super().read(method, target.replace(b"/v1/agent/", b"/v1/responses/"), content_type, body)
        if facts.api == "search" and not facts.malformed:
            return _search(body)
        if facts.api == "responses" and facts.billable:
            if _names_models(body):
                named = read_fields(_FALLBACKS, body)
                if isinstance(named, str):
                    facts.malformed = named
                    return facts
                facts.others = alternatives(named.models)
                facts.model = facts.model or next((one.model for one in facts.others), "")
            if _names_preset(body):
                # a model and tools that are named elsewhere
                facts.others += (SOME,)
                facts.input_open = True
                facts.unbounded = "tools of a preset may be called without end"
            if facts.input_open:
                facts.units_bound = {"web_search_requests": SEARCHES}
        # a tier here says how much was searched: none that a request names
        facts.service_tier = PRO if facts.stream and chooses_in(body) and _searches_as_pro(body) else ""
        if "deep-research" in facts.model:
            facts.input_open = True
            facts.unbounded = "deep research may search without end"
            facts.units_bound = {"web_search_requests": DEEP_SEARCHES}
        return facts

    def reader(self, facts: Facts, status: int, headers: Sequence[Header]) -> Reader:
        return SearchReader(status) if facts.api == "search" else SonarReader(self, facts, status)

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool:
        seen = read_usage(usage, into)
        searches, reasoning = count(usage.get("num_search_queries")), count(usage.get("reasoning_tokens"))
        if searches is None:
            searches = _invoked(usage)
        if searches is not None:
            into.web_search_requests = searches
        for name, field in CACHED:
            cached = part(usage, "input_tokens_details", name)
            if cached is not None:
                setattr(into, field, cached)
        if reasoning is not None:
            into.reasoning_tokens = reasoning
        if "deep-research" in (text(document.get("model")) or reading.model):
            # its own tokens are stated apart: what it read of its sources is input, how it reasoned is output
            into.input_tokens_total = _sum(usage, "prompt_tokens", "citation_tokens")
            into.output_tokens_total = _sum(usage, "completion_tokens", "reasoning_tokens")
        size = usage.get("search_context_size")
        if size in SIZES:
            reading.service_tier = f"search_{size}"
        cost = nanousd(table(usage.get("cost")).get("total_cost"))
        if cost is not None:
            reading.reported_cost_nanousd = cost
        return seen


class SonarReader(OpenAIReader):
    """Tells a Pro Search by its request."""

    def __init__(self, dialect: Meaning, facts: Facts, status: int) -> None:
        super().__init__(dialect, facts, status)
        self._pro = facts.service_tier == PRO

    def document(self, document: dict[str, Any], data: bytes = b"") -> None:
        super().document(document, data)
        # of one that is made in the background
        self.reading.failed = self.reading.failed or document.get("status") == "FAILED"

    def done(self) -> None:
        super().done()
        size = self.reading.service_tier
        if self._pro and size.startswith("search_"):
            self.reading.service_tier = f"pro_{size}"


class SearchBody(msgspec.Struct):
    search_type: Any = None


_search_body = msgspec.json.Decoder(SearchBody)


def _search(body: bytes) -> Facts:
    """A raw search: one unit, whatever it finds, at the price of its type."""
    fields = read_fields(_search_body, body)
    if isinstance(fields, str):
        return Facts(api="search", malformed=fields)
    kind = text(fields.search_type, 40)
    model = "search" if kind in ("", "web") else f"search_{kind}"
    return Facts(api="search", model=model, billable=True, output_free=True, units_bound={"search_units": 1})


class SearchReader:
    """A search that succeeds is charged; its answer reports nothing of it."""

    def __init__(self, status: int) -> None:
        self.reading = Reading()
        self.terminal = False
        self._ok = status < 300

    def frame(self, data: bytes) -> None:
        return

    def done(self) -> None:
        if self._ok:
            self.reading.usage = Usage(search_units=1)
            self.reading.source = "response"
            self.reading.complete = True


def _invoked(usage: dict[str, Any]) -> int | None:
    """How often an agent searched; None where nothing is said."""
    counts = (part(usage, "tool_calls_details", name, "invocation") for name in SEARCHES_WEB)
    return next((number for number in counts if number is not None), None)


def _sum(usage: dict[str, Any], *names: str) -> int:
    return sum(count(usage.get(name)) or 0 for name in names)


DIALECT = Perplexity()
