"""The few facts of a request that routing, quotas and the meter need: no prompt among them."""

from __future__ import annotations

import msgspec

UNLIMITED = -1
SEARCHES = 30
"""Searches of one call that are held where neither the request nor the provider's documentation bounds them."""


class Other(msgspec.Struct, frozen=True, gc=False):
    """Another model that a request names: it may work on the answer too, or give it."""

    model: str
    """Empty: one that the provider chooses."""
    instead: bool = False
    """True: it answers in the place of the call's own model, and only the one that answers is charged."""
    input_tokens: int = UNLIMITED
    """What it reads at each use; ``UNLIMITED``: what the call itself reads."""
    more_input: int = 0
    """What it reads besides: what was said before its turn."""
    output_tokens: int = UNLIMITED
    """Its output limit at each use; ``UNLIMITED``: its maximum."""
    uses: int = 1
    service_tier: str | None = None
    """None: the call's own."""


class Facts(msgspec.Struct, gc=False):
    """What one request asks for, as its dialect reads it."""

    api: str = "other"
    """Operation: ``chat``, ``responses``, ``messages``, ``generate_content``, ``embeddings``…; ``other``: unknown."""
    model: str = ""
    stream: bool = False
    billable: bool = False
    """False: free of charge (token counting, listings, unknown operations)."""
    malformed: str = ""
    """Not empty: the body can't be read as this operation's (one sentence, without its content)."""

    # what bounds the cost
    input_bytes: int = 0
    """UTF-8 bytes of text, tools and messages that become input: no tokenizer makes more tokens than bytes."""
    input_overhead: int = 0
    """Tokens that the provider adds around messages, tools and images, at most."""
    input_open: bool = False
    """True: input lies outside the body (files, URLs, stored conversations, server-side tools): only the
    model's context window bounds it."""
    max_output: int = UNLIMITED
    """Output limit of one choice as the request sets it; ``UNLIMITED``: the model's maximum."""
    choices: int = 1
    output_free: bool = False
    """True: the operation has no output tokens (embeddings, reranking, moderation)."""
    units_bound: dict[str, int] = msgspec.field(default_factory=dict)
    """Upper bound of units other than tokens, by ``Usage`` field name (search units, characters, images…)."""
    image_count: int = 0

    # what the meter and the price need
    asks_usage: bool = True
    """False: the stream reports usage only on demand and the client did not ask."""
    service_tier: str = ""
    """The tier that was asked for."""
    optionless: bool = False
    """True: the body has no ``stream_options``, so that they can be put in without a search for them."""

    here: tuple[bytes, bytes] | None = None
    """Not None: the answer tells addresses below the provider's own, the first, which become ones below the second, the
    gateway's for that provider as the client reaches it; both empty: nothing says how."""

    # a loop of tools that the provider runs itself
    turns: int = 1
    """How often the provider reads the context for one answer, at most."""
    unbounded: str = ""
    """Not empty: what has no documented end, in words."""
    bounded_by: str = ""
    """The request's member that would give it one; empty: there is none."""

    others: tuple[Other, ...] = ()
    """Other models that may work for this call."""

    # what is reported again and again
    fetches: bool = False
    """True: the answer tells of a use that was charged before, perhaps: see ``Reading.claim``."""
    claim: str = ""
    """What ``Reading.claim`` is where the request tells it."""

    region: str = ""
    """Where it is to be served; empty: anywhere, or the answer tells."""

    limited_by: bytes = b""
    """The member that limits the output, to put into a body that has none; empty: the dialect's usual one."""

    hidden: bool = False
    """True: the request asks for an answer that need not report its usage; what its text shows is no bound of it."""
