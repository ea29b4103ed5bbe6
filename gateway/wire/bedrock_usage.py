"""Numbers as Bedrock and the families of its models state them.

Sources: Bedrock API reference (TokenUsage, ServiceTier, PromptRouterTrace, InvokeModel's headers), Bedrock user guide
(inference request parameters by model family; rerank, "Pricing and search units": a query holds up to 100 document
chunks), pricing page (a longer document counts as several of 512 tokens); vercel/ai pull request 15973
(``inputTokenCount`` of Nova's embeddings).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gateway.wire.dialect import Header
from gateway.wire.numbers import count, part, table, text, total
from gateway.wire.usage import Usage

METRICS = "amazon-bedrock-invocationMetrics"
CHUNKS_PER_QUERY = 100
CHUNK_BYTES = 2048
"""Some 512 tokens, at 4 bytes a token."""
_RERANK = re.compile(r"(?:.*[./])?(?:cohere|amazon)\.rerank-").match


def of_metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics of an invocation, in the words of Converse."""
    return {
        "inputTokens": metrics.get("inputTokenCount"),
        "outputTokens": metrics.get("outputTokenCount"),
        "cacheReadInputTokens": metrics.get("cacheReadInputTokenCount"),
        "cacheWriteInputTokens": metrics.get("cacheWriteInputTokenCount"),
    }


def take_converse(usage: dict[str, Any], raw: dict[str, int]) -> bool:
    """Take the counts of Converse into ``raw``, field by field; False where neither input nor output is told."""
    numbers = {
        "in": count(usage.get("inputTokens")),
        "out": count(usage.get("outputTokens")),
        "read": _either(usage, "cacheReadInputTokens", "cacheReadInputTokenCount"),
        "write": _either(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount"),
    }
    if numbers["in"] is None and numbers["out"] is None:
        return False
    raw.update({key: value for key, value in numbers.items() if value is not None})
    return True


def converse_usage(usage: dict[str, Any], raw: dict[str, int], into: Usage) -> None:
    """``inputTokens`` leaves cached tokens out; the total is their sum."""
    into.cache_read_tokens = raw.get("read", 0)
    into.cache_write_tokens = raw.get("write", 0)
    into.input_tokens_total = raw.get("in", 0) + into.cache_read_tokens + into.cache_write_tokens
    into.output_tokens_total = raw.get("out", 0)
    for detail in usage.get("cacheDetails") or () if isinstance(usage.get("cacheDetails"), list) else ():
        if isinstance(detail, dict) and detail.get("ttl") == "1h":
            into.cache_write_1h_tokens = count(detail.get("inputTokens")) or 0


def family_counts(document: dict[str, Any]) -> tuple[int | None, int | None]:
    """Input and output of families that report beside their answer: Titan, Llama, Cohere, Nova's embeddings."""
    tokens_in = _either(document, "inputTextTokenCount", "prompt_token_count")
    if tokens_in is None:
        tokens_in = count(document.get("inputTokenCount"))
    tokens_out = count(document.get("generation_token_count"))
    if tokens_out is None:
        tokens_out = count(document.get("totalOutputTextTokenCount"))
    results = document.get("results")
    if tokens_out is None and isinstance(results, list):
        counts = [part(result, "tokenCount") for result in results]
        known = [number for number in counts if number is not None]
        tokens_out = total(*known) if known else None
    if tokens_in is None and tokens_out is None:
        billed = table(table(document.get("meta")).get("billed_units"))
        tokens_in, tokens_out = count(billed.get("input_tokens")), count(billed.get("output_tokens"))
    return tokens_in, tokens_out


def header_usage(headers: Sequence[Header]) -> Usage | None:
    """Bedrock's token-count headers of an InvokeModel answer."""
    found: dict[str, int] = {}
    for name, value in headers:
        lower = name.lower()
        if lower.startswith(b"x-amzn-bedrock-") and lower.endswith(b"-token-count"):
            number = count(value.decode("latin-1"))
            if number is not None:
                found[lower[15:-12].decode("latin-1")] = number
    if "input" not in found and "output" not in found:
        return None
    read, write = found.get("cache-read-input", 0), found.get("cache-write-input", 0)
    return Usage(
        input_tokens_total=found.get("input", 0) + read + write,
        output_tokens_total=found.get("output", 0),
        cache_read_tokens=read,
        cache_write_tokens=write,
    )


def tier_of(document: dict[str, Any]) -> str:
    """The service tier that a request of Converse asks for, or that its answer tells; empty where there is none."""
    return text(table(document.get("serviceTier")).get("type"), 40)


def routed_to(document: dict[str, Any]) -> str:
    """The model that a prompt router chose, as an answer of Converse or the last event of its stream tells it."""
    trace = document.get("trace")
    return text(table(table(trace).get("promptRouter")).get("invokedModelId"), 400) if trace is not None else ""


def reranks(model: str) -> bool:
    """True for models that are charged by the query."""
    return _RERANK(model) is not None


def search_units(documents: Any, body: bytes) -> dict[str, int]:
    """Queries that a reranking counts as: no answer says it, so long documents are reckoned by their bytes."""
    chunks = max(len(documents) if isinstance(documents, list) else 1, len(body) // CHUNK_BYTES)
    return {"search_units": max(1, -(-chunks // CHUNKS_PER_QUERY))}


def _either(source: dict[str, Any], first: str, second: str) -> int | None:
    value = count(source.get(first))
    return value if value is not None else count(source.get(second))
