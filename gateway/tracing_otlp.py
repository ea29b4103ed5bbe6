"""Spans of calls by OpenTelemetry's SDK: one for each call, made when it has ended, sent in batches by a thread.

Attributes follow the GenAI semantic conventions; ``spendgate.*`` says what they have no name for. Prompts, completions
and credentials are not among them: a span is made from the ledger's record alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from gateway.config.schema import TracingConfig
from gateway.ledger.record import COMPLETED, Record
from pricing.money import NANO

QUEUE_SPANS = 8192
BATCH_SPANS = 512
SYSTEMS = {
    "openai": "openai",
    "azure": "azure.ai.openai",
    "anthropic": "anthropic",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "bedrock": "aws.bedrock",
    "mistral": "mistral_ai",
    "cohere": "cohere",
    "groq": "groq",
    "deepseek": "deepseek",
    "xai": "x_ai",
    "perplexity": "perplexity",
}
"""``gen_ai.provider.name`` of a kind; others keep their own name."""
OPERATIONS = {
    "chat_completions": "chat",
    "chat": "chat",
    "messages": "chat",
    "responses": "chat",
    "converse": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "generate_content": "generate_content",
    "ollama_chat": "chat",
    "cohere_chat": "chat",
    "ollama_generate": "text_completion",
    "ollama_embed": "embeddings",
    "gemini_embed": "embeddings",
    "cohere_embed": "embeddings",
}
"""``gen_ai.operation.name`` of an API; others keep their own name."""


class _Ids(IdGenerator):
    """The ids that were sent to the provider already."""

    trace_id = 0
    span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class Spans:
    """Makes a span of each record that has a place in a sampled trace."""

    def __init__(self, config: TracingConfig, kinds: Mapping[str, str], exporter: SpanExporter | None = None) -> None:
        if exporter is None:
            exporter = OTLPSpanExporter(endpoint=config.otlp_endpoint, headers=dict(config.headers), timeout=10)
        self.kinds = kinds
        """Provider → kind; replaced at a reload."""
        self._ids = _Ids()
        resource = Resource.create({"service.name": config.service_name})
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=QUEUE_SPANS, max_export_batch_size=BATCH_SPANS)
        )
        self._tracer = self._provider.get_tracer("spendgate")

    def __call__(self, record: Record) -> None:
        """The span of one call that ended."""
        span_id, _, parent_id = record.span.partition("-")
        if not span_id:
            return
        self._ids.trace_id = int(record.trace_id, 16)
        self._ids.span_id = int(span_id, 16)
        context = None
        if parent_id:
            parent = SpanContext(self._ids.trace_id, int(parent_id, 16), True, TraceFlags(TraceFlags.SAMPLED))
            context = set_span_in_context(NonRecordingSpan(parent))
        began_ns = min(record.started_ns, record.ended_ns - record.latency_us * 1000)
        operation = OPERATIONS.get(record.api, record.api)
        attributes = self._attributes(record, operation)
        span = self._tracer.start_span(
            f"{operation} {record.model_requested}".strip(),
            context=context,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=began_ns,
        )
        if record.ttft_us is not None:
            span.add_event("first_token", timestamp=began_ns + record.ttft_us * 1000)
        if "error.type" in attributes:
            span.set_status(StatusCode.ERROR)
        span.end(max(record.ended_ns, began_ns))

    def _attributes(self, record: Record, operation: str) -> dict[str, AttributeValue]:
        usage = record.usage
        kind = self.kinds.get(record.provider, record.provider)
        out: dict[str, AttributeValue] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": SYSTEMS.get(kind, kind),
            "gen_ai.request.model": record.model_requested,
            "gen_ai.response.model": record.model,
            "gen_ai.usage.input_tokens": usage.input_tokens_total,
            "gen_ai.usage.output_tokens": usage.output_tokens_total,
            "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens or 0,
            "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens or 0,
            "http.request.method": record.method,
            "spendgate.request_id": record.request_id,
            "spendgate.provider": record.provider,
            "spendgate.team": record.team,
            "spendgate.workflow": record.workflow,
            "spendgate.key_id": record.key_id,
            "spendgate.outcome": record.outcome,
            "spendgate.usage_source": record.usage_source,
            "spendgate.priced": record.priced,
            "spendgate.cost_nanousd": record.cost_nanousd,
            "spendgate.cost_usd": record.cost_nanousd / NANO,
            "spendgate.gateway_ms": record.gateway_us / 1000,
        }
        if record.status:
            out["http.response.status_code"] = record.status
        if record.refused_by:
            out["spendgate.refused_by"] = record.refused_by
        if record.outcome != COMPLETED:
            out["error.type"] = record.outcome
        elif record.status >= 400:
            out["error.type"] = str(record.status)
        return out

    def close(self) -> None:
        """Send what is left; waits for the collector, so call it in a thread."""
        self._provider.shutdown()


def log_to(log: logging.Logger) -> None:
    """The SDK's own complaints go where the gateway's lines go."""
    sdk = logging.getLogger("opentelemetry")
    sdk.handlers = list(log.handlers)
    sdk.propagate = False
