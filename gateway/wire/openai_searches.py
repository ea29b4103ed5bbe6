"""Web searches of OpenAI's models, which are charged by the piece beside the tokens.

A Responses answer counts them in ``tool_usage.web_search.num_requests``, which "can be omitted when tool usage is
unavailable"; then its output items tell: each ``web_search_call`` with the action ``search`` is charged, opening a page
and finding in it are not. A chat answer of a search model names no search, and is charged for one.

Sources: OpenAI's OpenAPI description (``ToolUsage``), guide "Web search" ("search actions incur a tool call cost"),
pricing page; recorded answers with and without ``tool_usage``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.wire.facts import SEARCHES
from gateway.wire.numbers import count, part
from gateway.wire.openai_request import Body, tools_of
from gateway.wire.usage import Usage

CALL = b'"web_search_call"'
SEARCH_PREVIEW, SEARCH_API = "-search-preview", "-search-api"
"""In the names of chat models that search for each answer."""
BOUND = "web_search_requests"


class Action(msgspec.Struct):
    type: Any = "search"


class Item(msgspec.Struct):
    type: Any = ""
    status: Any = ""
    action: Action | None = None


class Answer(msgspec.Struct):
    output: list[Item] | None = None


class Event(Answer):
    response: Answer | None = None


_event = msgspec.json.Decoder(Event).decode


def searches_bound(api: str, fields: Body, model: str) -> int:
    """How many searches the call can be charged for; 0: it has no means to search."""
    if api == "chat":
        return int(fields.web_search_options is not None or SEARCH_PREVIEW in model or SEARCH_API in model)
    if api != "responses" or not any(tool.type.startswith("web_search") for tool in tools_of(fields)):
        return 0
    most = count(fields.max_tool_calls)
    return SEARCHES if most is None else most


def seen(data: bytes) -> int | None:
    """Searches among the output items of an answer, or of an event that wraps one; None where there are no items."""
    try:
        event = _event(data)
    except (ValueError, RecursionError):
        return None
    output = event.output if event.response is None else event.response.output
    if output is None:
        return None
    return sum(map(_charged, output))


def _charged(item: Item) -> bool:
    action = "search" if item.action is None else item.action.type
    return item.type == "web_search_call" and action == "search" and item.status != "failed"


def take_searches(document: dict[str, Any], data: bytes, into: Usage) -> None:
    """Take what a Responses answer says of its searches. ``data``: the text that holds ``document``."""
    reported = part(document, "tool_usage", "web_search", "num_requests")
    if reported is not None:
        into.web_search_requests, into.web_searches_seen = reported, 0
    elif CALL in data and (found := seen(data)) is not None:
        into.web_searches_seen = found
