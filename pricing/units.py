"""What can be priced, as data: usage fields, catalogue keys and configuration fields that mean the same.

Tokens of input and output are wholes with parts. A part that has a rate of its own is billed apart and its whole is
billed for the rest; a part without a rate stays in its whole. genai-prices splits usage into the same disjoint leaves.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

import msgspec


class UsageLike(Protocol):
    """Units by which one call is billed; absent is 0. The gateway's ``Usage`` is one."""

    @property
    def input_tokens_total(self) -> int: ...
    @property
    def output_tokens_total(self) -> int: ...
    @property
    def cache_read_tokens(self) -> int: ...
    @property
    def cache_write_tokens(self) -> int: ...
    @property
    def cache_write_1h_tokens(self) -> int: ...
    @property
    def reasoning_tokens(self) -> int: ...
    @property
    def input_audio_tokens(self) -> int: ...
    @property
    def input_image_tokens(self) -> int: ...
    @property
    def output_audio_tokens(self) -> int: ...
    @property
    def output_image_tokens(self) -> int: ...
    @property
    def cache_read_audio_tokens(self) -> int: ...
    @property
    def web_search_requests(self) -> int: ...
    @property
    def search_units(self) -> int: ...
    @property
    def input_characters(self) -> int: ...
    @property
    def audio_milliseconds(self) -> int: ...
    @property
    def output_images(self) -> int: ...
    @property
    def pages(self) -> int: ...
    @property
    def web_searches_seen(self) -> int: ...
    @property
    def cache_read_image_tokens(self) -> int: ...
    @property
    def input_video_tokens(self) -> int: ...


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that may have a rate of their own."""

    item: str
    usage: str
    """Field of the usage."""
    whole: str
    """``input`` or ``output``."""
    catalogue: str
    """Key of the catalogue, dollars per million."""
    config: str
    """Field of ``PriceEntry``."""
    within: tuple[str, ...] = ()
    """Parts that this one is a part of in turn."""


PARTS = (
    Part(
        item="cache_read_audio",
        usage="cache_read_audio_tokens",
        whole="input",
        catalogue="cache_audio_read_mtok",
        config="cache_read_audio_per_mtok",
        within=("cache_read", "input_audio"),
    ),
    Part(
        item="cache_read_image",
        usage="cache_read_image_tokens",
        whole="input",
        catalogue="cache_image_read_mtok",
        config="cache_read_image_per_mtok",
        within=("cache_read", "input_image"),
    ),
    Part(
        item="cache_read",
        usage="cache_read_tokens",
        whole="input",
        catalogue="cache_read_mtok",
        config="cache_read_per_mtok",
    ),
    Part(
        item="cache_write_1h",
        usage="cache_write_1h_tokens",
        whole="input",
        catalogue="cache_write_1h_mtok",
        config="cache_write_1h_per_mtok",
        within=("cache_write",),
    ),
    Part(
        item="cache_write",
        usage="cache_write_tokens",
        whole="input",
        catalogue="cache_write_mtok",
        config="cache_write_per_mtok",
    ),
    Part(
        item="input_audio",
        usage="input_audio_tokens",
        whole="input",
        catalogue="input_audio_mtok",
        config="input_audio_per_mtok",
    ),
    Part(
        item="input_image",
        usage="input_image_tokens",
        whole="input",
        catalogue="input_image_mtok",
        config="input_image_per_mtok",
    ),
    Part(
        item="input_video",
        usage="input_video_tokens",
        whole="input",
        catalogue="input_video_mtok",
        config="input_video_per_mtok",
    ),
    Part(
        item="reasoning",
        usage="reasoning_tokens",
        whole="output",
        catalogue="output_reasoning_mtok",
        config="reasoning_per_mtok",
    ),
    Part(
        item="output_audio",
        usage="output_audio_tokens",
        whole="output",
        catalogue="output_audio_mtok",
        config="output_audio_per_mtok",
    ),
    Part(
        item="output_image",
        usage="output_image_tokens",
        whole="output",
        catalogue="output_image_mtok",
        config="output_image_per_mtok",
    ),
)
"""Parts of the two wholes, the more specific ones first."""

WHOLES = (
    Part(item="input", usage="input_tokens_total", whole="", catalogue="input_mtok", config="input_per_mtok"),
    Part(item="output", usage="output_tokens_total", whole="", catalogue="output_mtok", config="output_per_mtok"),
)

TOKENS_PER_RATE = 1_000_000


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """Something billed by the piece, beside the tokens."""

    item: str
    usage: str
    """Field of the usage; empty: once a call."""
    unit: str
    """What the line's quantity counts."""
    catalogue: tuple[tuple[str, int], ...]
    """Catalogue keys and the quantity that their dollars are for; the first that is there holds."""
    config: tuple[tuple[str, int], ...]
    """Fields of ``PriceEntry`` and the quantity that their dollars are for."""


SEEN = "web_search_seen"
"""Searches that an answer shows and no report counts: whether they are charged only the contract says, so that no
catalogue has a rate for them."""

UNITS = (
    Unit(
        item="web_search",
        usage="web_search_requests",
        unit="request",
        catalogue=(("web_searches_kcount", 1000),),
        config=(("web_search_per_k", 1000),),
    ),
    Unit(
        item="search_unit",
        usage="search_units",
        unit="search_unit",
        catalogue=(("rerank_searches_kcount", 1000),),
        config=(("search_units_per_k", 1000),),
    ),
    Unit(
        item="character",
        usage="input_characters",
        unit="character",
        catalogue=(("input_mchars", 1_000_000),),
        config=(("per_mchars", 1_000_000), ("per_1k_characters", 1000)),
    ),
    Unit(
        item="audio_time",
        usage="audio_milliseconds",
        unit="millisecond",
        catalogue=(("input_audio_hours", 3_600_000), ("audio_hours", 3_600_000)),
        config=(("per_minute", 60_000),),
    ),
    Unit(
        item="image",
        usage="output_images",
        unit="image",
        catalogue=(("output_images_kcount", 1000),),
        config=(("per_image", 1),),
    ),
    Unit(
        item="page",
        usage="pages",
        unit="page",
        catalogue=(("input_document_kpages", 1000),),
        config=(("per_page", 1),),
    ),
    Unit(
        item=SEEN,
        usage="web_searches_seen",
        unit="request",
        catalogue=(),
        config=(("web_search_seen_per_k", 1000),),
    ),
    Unit(
        item="request",
        usage="",
        unit="request",
        catalogue=(("requests_kcount", 1000),),
        config=(("per_request", 1),),
    ),
)

OTHER_KEYS = frozenset(
    (
        "input_annotated_document_kpages",
        "input_text_messages_kcount",
        "output_citation_mtok",
        "output_video_mtok",
        "storage_searches_kcount",
    )
)
"""Catalogue keys for units that no response reports in a form that a usage holds. They are known and not billed."""


class Rate(msgspec.Struct, frozen=True):
    """Nanodollars for one unit, exact, by the size of the call's whole input."""

    base: Fraction
    steps: tuple[tuple[int, Fraction], ...] = ()
    """``(threshold, rate)``, ascending: the last one below the input holds for all units."""

    def at(self, input_tokens: int) -> Fraction:
        """The rate of a call with this input."""
        rate = self.base
        for threshold, higher in self.steps:
            if input_tokens <= threshold:
                break
            rate = higher
        return rate

    def times(self, factor: Fraction) -> Rate:
        """This rate, scaled."""
        return Rate(self.base * factor, tuple((start, rate * factor) for start, rate in self.steps))


Card = dict[str, Rate]
"""Rates by item: everything one price says."""
