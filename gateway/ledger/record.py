"""The ledger's words: an open entry (a call that may cost money) and a record (what it did cost).

Times are nanoseconds since the epoch, UTC; money is integer nanodollars; durations are microseconds.
"""

from __future__ import annotations

import msgspec

from gateway.wire.usage import Usage
from pricing.money import Line

COMPLETED = "completed"
CLIENT_DISCONNECTED = "client_disconnected"
UPSTREAM_ERROR = "upstream_error"
UPSTREAM_TIMEOUT = "upstream_timeout"
REJECTED = "rejected"
RECOVERED = "recovered"
OUTCOMES = (COMPLETED, CLIENT_DISCONNECTED, UPSTREAM_ERROR, UPSTREAM_TIMEOUT, REJECTED, RECOVERED)


class OpenEntry(msgspec.Struct, array_like=True, gc=False):
    """Written before a call is sent: enough to settle it should nobody come back. Kept as an array: new fields go last,
    with a default."""

    request_id: str
    started_ns: int
    team: str
    workflow: str
    key_id: str
    tags: dict[str, str]
    provider: str
    api: str
    method: str
    path: str
    model_requested: str
    stream: bool
    quotas: tuple[str, ...] = ()
    """Names of the quotas that applied."""
    reserved_nanousd: int = 0
    reserved_input_tokens: int = 0
    reserved_output_tokens: int = 0
    request_bytes: int = 0
    trace_id: str = ""
    span: str = ""
    """Where the call stands in its trace, see ``gateway.tracing``; empty: it is not traced."""
    prompt_hash: int = 0
    """See ``gateway.ledger.prompts``; 0: none was made."""
    service_tier: str = ""
    """The one that was asked for."""
    region: str = ""
    """Where it is to be served, as far as the request or the provider's host tells."""


class Checkpoint(msgspec.Struct, kw_only=True):
    """How far a stream had come: written about once a second, in commits that happen anyway."""

    request_id: str
    at_ns: int
    model: str = ""
    model_requested: str = ""
    """Of a session that named its model only after its entry was written."""
    usage: Usage = msgspec.field(default_factory=Usage)
    """Reported so far, else estimated from the bytes seen."""
    cost_nanousd: int = 0
    cost_lines: tuple[Line, ...] = ()
    price: str = ""
    priced: bool = True
    reported_cost_nanousd: int | None = None
    service_tier: str = ""
    """As the answer tells so far, else the entry's; so is the region."""
    region: str = ""
    status: int = 0
    response_bytes: int = 0
    reserved_nanousd: int = 0
    """What the call holds now: more than at its start where its reservation grew."""
    reserved_input_tokens: int = 0
    reserved_output_tokens: int = 0


class Record(msgspec.Struct, gc=False):
    """One call, for good."""

    request_id: str
    started_ns: int
    ended_ns: int
    team: str
    workflow: str
    key_id: str
    tags: dict[str, str]
    provider: str
    api: str
    method: str
    path: str
    model_requested: str
    model: str
    stream: bool
    status: int
    outcome: str
    usage: Usage
    usage_source: str
    """``response``, ``headers``, ``estimated`` or ``none``."""
    cost_nanousd: int = 0
    cost_lines: tuple[Line, ...] = ()
    price: str = ""
    priced: bool = True
    reported_cost_nanousd: int | None = None
    """What the provider itself said it cost, beside the computed cost."""
    quotas: tuple[str, ...] = ()
    refused_by: str = ""
    reserved_nanousd: int = 0
    reserved_input_tokens: int = 0
    reserved_output_tokens: int = 0
    latency_us: int = 0
    ttft_us: int | None = None
    gateway_us: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    trace_id: str = ""
    service_tier: str = ""
    region: str = ""
    """Where it was served, as far as prices depend on it."""
    prompt_hash: int = 0
    """The same for calls with the same prompt, see ``gateway.ledger.prompts``; 0: none was made."""
    span: str = ""
    """As the open entry's; not kept in the ledger."""
    claim: str = ""
    """As the reading's: what is charged once, see ``gateway.ledger.claims``; not kept in the record."""
    opened: bool = True
    """False: no open entry was written for it: a refusal, a response of a session, what another model used."""
    pending: bool = False
    """What it used is reported later, see ``gateway.ledger.claims``: quotas hold its whole reservation until then. Or
    the client asked that its answer not tell: no report comes."""
    begun_as: str = ""
    """As the reading's; not kept in the record."""
