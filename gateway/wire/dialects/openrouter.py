"""OpenRouter. It reports what the call cost, in messages too; the last chunk of a stream reports usage, asked or not.

Rerankings report search units, tokens, or both. A video is made in the background; what is fetched tells what it cost,
and nothing else. What is posted to a preset is kept, not answered.

Sources: https://openrouter.ai/docs/use-cases/usage-accounting, https://openrouter.ai/docs/features/web-search,
https://openrouter.ai/docs/guides/routing/model-fallbacks, https://openrouter.ai/docs/features/presets,
https://openrouter.ai/docs/api/api-reference/presets/create-a-preset-from-a-chat-completions-request-body,
https://openrouter.ai/docs/api/api-reference/rerank/create-rerank,
https://openrouter.ai/docs/client-sdks/typescript/models/decisionsresponseusage,
https://openrouter.ai/docs/api_reference/videos; recorded answers of ``/api/v1/messages``.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import msgspec

from gateway.wire.facts import Facts, Other
from gateway.wire.json_read import mentions, read_fields
from gateway.wire.named_models import SOME, alternatives, mentioned
from gateway.wire.numbers import count, nanousd, part, table, text
from gateway.wire.openai_later import tokenless
from gateway.wire.openai_request import Body, search_units
from gateway.wire.openai_shape import OpenAIShape, read_usage
from gateway.wire.paths import plain_path
from gateway.wire.usage import Reading, Usage

OWN_MODELS = tuple(f"openrouter:{name}" for name in ("advisor", "subagent", "fusion", "image_generation"))
"""Tools that run a model, of OpenRouter's choice where they name none."""
VIDEO = "polling_url"
"""A member that only tells of a video have."""
_VIDEO = re.compile(r"/videos/(?!models$)(?P<name>[^/]+)$").search
_names_models = mentions(b'"models"', b'"fallbacks"', b'"preset"', b'"plugins"', b'"openrouter:')


class Routing(msgspec.Struct):
    """Members that name other models than ``model``."""

    models: Any = None
    fallbacks: Any = None
    preset: Any = None
    plugins: Any = None
    tools: Any = None


_ROUTING: msgspec.json.Decoder[Routing] = msgspec.json.Decoder(Routing)


def _others(body: bytes) -> tuple[Other, ...] | str:
    """Models that a body names beside its own; a sentence where it can't be read."""
    fields = read_fields(_ROUTING, body)
    if isinstance(fields, str):
        return fields
    found = alternatives(fields.models) + alternatives(fields.fallbacks) + mentioned(fields.plugins)
    for tool in fields.tools if isinstance(fields.tools, list) else ():
        if text(table(tool).get("type")).startswith("openrouter:"):
            named = mentioned(tool)
            found += named or ((SOME,) if tool["type"].startswith(OWN_MODELS) else ())
    return (*found, SOME) if fields.preset is not None else found


class OpenRouter(OpenAIShape):
    __slots__ = ()

    kind = "openrouter"
    price_as = "openrouter"
    base_url = "https://openrouter.ai"
    vocabularies: ClassVar[tuple[str, ...]] = ("o200k_base", "cl100k_base")
    asks = frozenset()
    operations = {**OpenAIShape.operations, "/v1/images": "images", "/decisions": "decisions", "/v1/videos": "videos"}
    outputless = OpenAIShape.outputless | {"videos"}
    document_keys = (VIDEO,)

    def fetch(self, method: bytes, target: bytes) -> Facts | None:
        found = _VIDEO(plain_path(target)) if method == b"GET" else None
        return Facts(api="videos", fetches=True, claim=text(found["name"])) if found is not None else None

    def claim(self, document: dict[str, Any]) -> str:
        return text(document.get("id")) if VIDEO in document else ""

    def operation(self, method: bytes, path: str) -> str:
        return "other" if "/presets/" in path.lower() else super().operation(method, path)

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = super().read(method, target, content_type, body)
        if facts.api == "videos":
            tokenless(facts)
        if facts.model.endswith(":online") or facts.api == "decisions":
            facts.input_open = True
        if facts.billable and _names_models(body):
            named = _others(body)
            if isinstance(named, str):
                facts.malformed = named
                return facts
            facts.others = named
            facts.model = facts.model or next((one.model for one in facts.others if one.instead), "")
        if "@preset/" in facts.model:
            facts.others += (SOME,)
        return facts

    def _units(self, api: str, fields: Body, model: str, body: bytes) -> dict[str, int]:
        if api == "rerank":
            return {"search_units": search_units(fields.documents, fields.query, body)}
        return super()._units(api, fields, model, body)

    def cost_of(self, usage: dict[str, Any]) -> int | None:
        cost = nanousd(usage.get("cost"))
        if cost is not None and usage.get("is_byok") is True:
            # OpenRouter's fee alone: the provider behind bills the rest to the caller's own key
            cost += nanousd(table(usage.get("cost_details")).get("upstream_inference_cost")) or 0
        return cost

    def take_usage(self, usage: dict[str, Any], document: dict[str, Any], into: Usage, reading: Reading) -> bool:
        cost = self.cost_of(usage)
        if cost is not None:
            reading.reported_cost_nanousd = cost
        searches = part(usage, "server_tool_use_details", "web_search_requests")
        if searches is not None:
            into.web_searches_seen = searches
        units = count(usage.get("search_units"))
        if units is not None:
            into.search_units = units
        return read_usage(usage, into) or units is not None or (cost is not None and VIDEO in document)


DIALECT = OpenRouter()
