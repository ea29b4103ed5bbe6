"""Requests in OpenAI's shape: the few facts that bound their cost.

Sources: OpenAI API reference (chat/create, responses/create, completions/create, embeddings/create, images/create,
audio/createSpeech).

Text is bounded by its bytes, which is only true where all input is text in the body. So what is not known to be text is
taken to be open: content parts, input items, tools and members of other kinds than those listed here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.wire.hollow import HOLLOW, hollow
from gateway.wire.json_names import TWICE, Names
from gateway.wire.json_read import parse_tolerant
from gateway.wire.numbers import count, text

NONE = msgspec.Raw(b"null")
ABSENT = msgspec.UNSET
TEXT_PARTS = frozenset(("text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text"))
TEXT_ITEMS = frozenset(("", "message", "function_call", "function_call_output", "custom_tool_call",
                        "custom_tool_call_output"))  # fmt: skip
CLIENT_TOOLS = frozenset(("function", "custom"))
LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
"""Members that limit the output, of whatever operation."""
LIMITS_OF = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "responses": ("max_output_tokens",),
    "responses-compact": ("max_output_tokens",),
    "completions": ("max_tokens",),
}
"""Those of the usual operations."""
MAX_CHOICES = 128
"""OpenAI answers with this many choices at most."""
OVERHEAD_TOKENS = 256
"""Around a conversation: what a chat template adds at its head (dates, default instructions), and the answer's head."""
MESSAGE_TOKENS = 16
"""Around each message: OpenAI's takes 4 at most, templates of open models up to about 10."""
DOCUMENTS_PER_UNIT = 100
CHUNK_TOKENS = 500
"""One search unit covers a query with up to 100 documents. One that takes more than this with its query is split."""
TOOLS_TOKENS = 1024
"""Around a list of tools: a template's instructions on how to call them."""


class Part(msgspec.Struct):
    type: str = ""


class Item(msgspec.Struct, gc=False):
    """A chat message or a Responses input item: only what says whether more than its text is input."""

    type: str = ""
    content: msgspec.Raw = NONE
    output: msgspec.Raw = NONE
    audio: msgspec.Raw = NONE
    file_ids: msgspec.Raw = NONE
    attachments: msgspec.Raw = NONE


class Tool(msgspec.Struct):
    type: str = "function"
    model: Any = None
    svg: Any = None


class Body(msgspec.Struct, gc=False):
    """The members of a request that matter; of any type, so that a wrong one is the provider's to refuse."""

    model: Any = None
    stream: Any = None
    stream_options: Any = ABSENT
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    n: Any = None
    best_of: Any = None
    service_tier: Any = None
    messages: msgspec.Raw | list[Item] = NONE
    input: msgspec.Raw = NONE
    tools: msgspec.Raw = NONE
    prompt: msgspec.Raw = NONE
    previous_response_id: Any = None
    conversation: Any = None
    web_search_options: Any = None
    search_parameters: Any = None
    plugins: Any = None
    agent_id: Any = None
    documents: Any = None
    query: Any = None
    max_tool_calls: Any = None
    svg: Any = None


class Named(msgspec.Struct):
    """What is read of a request that costs nothing by itself, or is not known."""

    model: Any = None


class Conversation(Body):
    """A body whose messages are as they should be, so that one pass reads both."""

    messages: list[Item] = []


class Other(Body):
    """Any other body: its messages are for a second look."""

    messages: msgspec.Raw = NONE


_NAMES = Names(Body.__struct_encode_fields__)
_conversation = msgspec.json.Decoder(Conversation).decode
_body = msgspec.json.Decoder(Other).decode
_named = msgspec.json.Decoder(Named).decode
_items = msgspec.json.Decoder(list[Item]).decode
_tools = msgspec.json.Decoder(list[Tool]).decode
_parts = msgspec.json.Decoder(list[Part]).decode
_texts = msgspec.json.Decoder(list[Any]).decode
_QUOTE, _BRACKET, _BRACE, _NULL = b'"[{n'
_CLOSED = (_QUOTE, _NULL)


def read_body(body: bytes, whole: bool = False) -> Body | str:
    """The members of a body; a sentence where it can't be read, or not be read alike by all. ``whole``: what its long
    texts say matters."""
    shape = body if whole else hollow(body)
    fields = _fields(shape)
    if fields is not None:
        if doubtful := _NAMES.doubtful(shape):
            return TWICE.format(doubtful)
        return fields if shape is body or HOLLOW not in msgspec.structs.astuple(fields) else read_body(body, True)
    # half a surrogate pair, a number beyond 64 bits: JSON that other parsers take
    document = parse_tolerant(body)
    if document is None:
        return "The request body is not valid JSON."
    if not isinstance(document, dict):
        return "The request body must be a JSON object."
    if doubtful := _NAMES.doubtful(body):
        return TWICE.format(doubtful)
    fields = Other()
    for name in Other.__struct_fields__:
        value = document.get(name)
        if isinstance(getattr(fields, name), msgspec.Raw):
            setattr(fields, name, msgspec.Raw(b"null" if value is None else b"{}"))
        else:
            setattr(fields, name, value)
    return fields


def model_named(body: bytes) -> str:
    """The model that a body of whatever operation names: videos, fine-tunes and assistants are made with one too."""
    try:
        return text(_named(body).model) if body[:1] == b"{" else ""
    except (ValueError, RecursionError):
        return ""


def _fields(body: bytes) -> Body | None:
    try:
        return _conversation(body)
    except (ValueError, RecursionError):
        pass
    try:
        return _body(body)
    except (ValueError, RecursionError):
        return None


class Extent:
    """What bounds the input: whether it is all text of the body, and what is added around it."""

    __slots__ = ("images", "open", "overhead")

    def __init__(self) -> None:
        self.open = False
        self.overhead = OVERHEAD_TOKENS
        self.images = 0


def extent(fields: Body) -> Extent:
    """Extent of a request with messages, input items or a prompt."""
    found = Extent()
    if (
        fields.previous_response_id is not None
        or fields.conversation is not None
        or fields.web_search_options is not None
        or fields.search_parameters is not None
        or fields.plugins is not None
        or fields.agent_id is not None
        or fields.documents is not None
    ):
        found.open = True
    try:
        messages = fields.messages
        if isinstance(messages, list):
            if messages:
                _items_of(messages, found)
        elif messages is not NONE:
            _items_in(messages, found)
        if fields.input is not NONE:
            _items_in(fields.input, found)
        if fields.prompt is not NONE and memoryview(fields.prompt)[0] not in (_QUOTE, _NULL, _BRACKET):
            # not a text but a reference to a stored one
            found.open = True
        if not _absent(fields.tools):
            found.overhead += TOOLS_TOKENS
            found.open = found.open or _foreign(_tools(fields.tools))
    except (ValueError, RecursionError):
        found.open = True
    return found


def tools_of(fields: Body) -> list[Tool]:
    """The request's tools; none where they can't be read."""
    if _absent(fields.tools):
        return []
    try:
        return _tools(fields.tools)
    except (ValueError, RecursionError):
        return []


def runs_tools(fields: Body) -> bool:
    """True where tools may run that are not the caller's own: named ones, or such of an agent that lies elsewhere."""
    if fields.agent_id is not None:
        return True
    if _absent(fields.tools):
        return False
    try:
        return _foreign(_tools(fields.tools))
    except (ValueError, RecursionError):
        return True


def _foreign(tools: list[Tool]) -> bool:
    """One of them is not the caller's own."""
    return any(tool.type not in CLIENT_TOOLS for tool in tools)


def _absent(raw: msgspec.Raw) -> bool:
    return raw is NONE or memoryview(raw)[0] == _NULL


def _items_in(raw: msgspec.Raw, found: Extent) -> None:
    view = memoryview(raw)
    if view[0] in _CLOSED:
        return
    if view[0] != _BRACKET:
        found.open = True
        return
    if view[1] != _BRACE:
        second = bytes(view[1:64]).lstrip()[:1]
        if second and second != b"{":
            # texts, or lists of token numbers: each takes a byte of the body at least
            found.open = found.open or _holds_object(raw)
            return
    _items_of(_items(raw), found)


def _holds_object(raw: msgspec.Raw) -> bool:
    """One of an array's values is an object. (A cpdef function takes no generator: this is one of its own.)"""
    return b"{" in bytes(raw) and any(isinstance(one, dict) for one in _texts(raw))


def _items_of(items: list[Item], found: Extent) -> None:
    found.overhead += MESSAGE_TOKENS * len(items)
    for item in items:
        if item.type and item.type not in TEXT_ITEMS:
            found.open = True
        content = item.content
        if memoryview(content)[0] not in _CLOSED:
            _parts_in(content, found)
        if item.output is not NONE and memoryview(item.output)[0] not in _CLOSED:
            _parts_in(item.output, found)
        if not (_absent(item.audio) and _absent(item.file_ids) and _absent(item.attachments)):
            found.open = True


def _parts_in(raw: msgspec.Raw, found: Extent) -> None:
    for part in _parts(raw):
        if part.type not in TEXT_PARTS:
            found.open = True
            found.images += part.type in ("image_url", "input_image", "image")


def output_limit(fields: Body, names: tuple[str, ...]) -> int | None:
    """The output limit of one choice that the request sets; of several the largest. A limit of 0 is none: Go and
    protocol buffers can't tell it from one that is absent."""
    found = None
    for name in names:
        value = getattr(fields, name)
        if value is not None:
            number = count(value)
            if number is None:
                # a negative one, or one that another reader may take: what it means is not known
                return None
            if number and (found is None or number > found):
                found = number
    return found


def prompts(fields: Body) -> int:
    """How many prompts a completion request holds: each is answered on its own."""
    raw = fields.prompt
    if raw is NONE or memoryview(raw)[0] != _BRACKET:
        return 1
    try:
        found = _texts(raw)
    except (ValueError, RecursionError):
        return 1
    return len(found) if found and isinstance(found[0], str | list) else 1


def inputs(fields: Body) -> int:
    """How many inputs a request holds that are embedded each on its own."""
    try:
        return max(1, len(_texts(fields.input)))
    except (ValueError, RecursionError):
        return 1


def choices(api: str, fields: Body) -> int:
    """How many answers are asked for, at most."""
    if fields.n is None and fields.best_of is None and api != "completions":
        return 1
    asked = max(_several(fields.n), _several(fields.best_of))
    return asked * prompts(fields) if api == "completions" else asked


def _several(value: Any) -> int:
    """A number of choices; one that another parser may read (``" 3"``, ``"+3"``) is taken for the most there are."""
    number = 1 if value is None else count(value)
    return MAX_CHOICES if number is None else max(number, 1)


def reranked(fields: Body, body: bytes) -> int:
    """Bytes that a reranker reads: the query goes with each document."""
    query = fields.query.encode("utf-8", "replace") if isinstance(fields.query, str) else b""
    return len(body) + len(query) * (len(fields.documents) if isinstance(fields.documents, list) else 1)


def search_units(documents: Any, query: Any, body: bytes) -> int:
    """Cohere's units of a reranking at most: each document is split with its query, and its last piece counts whole."""
    number = len(documents) if isinstance(documents, list) else 1
    asked = len(query.encode("utf-8", "replace")) if isinstance(query, str) else len(body)
    pieces = number + (len(body) + number * asked) // CHUNK_TOKENS
    return -(-pieces // DOCUMENTS_PER_UNIT)


def characters(fields: Body, body: bytes) -> int:
    """Characters of the text to be spoken."""
    try:
        text = msgspec.json.decode(fields.input)
    except (ValueError, RecursionError):
        return len(body)
    return len(text) if isinstance(text, str) else len(body)
