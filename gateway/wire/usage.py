"""What a call used: one meaning for all providers.

Every number is an integer. ``input_tokens_total`` holds all input, cached parts included;
``output_tokens_total`` all output, reasoning included. The other token fields are parts of
these two and may overlap across dimensions (a cached token may also be an audio token).
"""

from __future__ import annotations

import msgspec


class Usage(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """Units by which providers bill one call. A part that is absent is 0."""

    input_tokens_total: int = 0
    output_tokens_total: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """The part of ``cache_write_tokens`` with a one-hour lifetime."""
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    cache_read_audio_tokens: int = 0
    """The part of ``cache_read_tokens`` that is audio."""
    web_search_requests: int = 0
    """Web searches as the provider reports them."""
    search_units: int = 0
    input_characters: int = 0
    """Speech synthesis billed by the character."""
    audio_milliseconds: int = 0
    """Transcription billed by the length of the recording."""
    output_images: int = 0
    """Pictures made, where they are billed by the piece."""
    pages: int = 0
    """Document pages read (OCR)."""
    web_searches_seen: int = 0
    """Web searches that an answer shows and its report does not count: charged beside ``web_search_requests``."""
    cache_read_image_tokens: int = 0
    """The part of ``cache_read_tokens`` that is pictures."""
    input_video_tokens: int = 0


WAIVED = "waived: "
"""How the price of a call begins that is not charged although its use was reported."""


class Beside(msgspec.Struct, frozen=True):
    """What another model used for the same answer, which its own provider charges at that model's price."""

    api: str
    """What it did: ``advisor``, ``declined``, ``image_generation``, ``svg_authoring``; of a batch, how it was read."""
    model: str
    usage: Usage


class Reading:
    """What a response said about itself once it ended (or so far: a checkpoint)."""

    __slots__ = (
        "begun_as", "beside", "claim", "complete", "decoded_bytes", "failed", "frames", "model", "partial", "region",
        "reported_cost_nanousd", "sample", "service_tier", "source", "usage", "waived",
    )  # fmt: skip

    def __init__(
        self,
        *,
        usage: Usage | None = None,
        source: str = "none",
        model: str = "",
        service_tier: str = "",
        region: str = "",
        complete: bool = False,
        claim: str = "",
        sample: bytes = b"",
        decoded_bytes: int = 0,
    ) -> None:
        self.usage = usage
        """None: nothing was reported."""
        self.source = source
        """``response``, ``headers`` or ``none``."""
        self.model = model
        """The model that the response names; empty where it names none."""
        self.service_tier = service_tier
        """The tier that the response confirms (``flex``, ``priority``, ``batch``…)."""
        self.reported_cost_nanousd: int | None = None
        """What the provider itself says the call cost (OpenRouter)."""
        self.complete = complete
        """The provider's own terminal event or the end of a whole JSON body was seen."""
        self.partial = False
        """The report that ends a stream is missing: what was reported is less than what was used."""
        self.failed = False
        """An error object came inside a successful status."""
        self.region = region
        """Where it was served (Anthropic's ``inference_geo``), when the response says so."""
        self.beside: tuple[Beside, ...] = ()
        """What other models used for this answer: not in ``usage``."""
        self.waived = ""
        """Why the provider does not charge what it reports; empty: it does. Begins with ``WAIVED``."""
        self.claim = claim
        """The provider's id of what was used, where it is reported more than once (a response in the background, the
        results of a batch); empty: it is reported once."""
        self.begun_as = ""
        """The provider's id of what began it, where ``claim`` is another: of the batch whose results lie in a file."""
        self.sample = sample
        """The first decoded bytes of an answer that reported no usage: material for an estimate."""
        self.decoded_bytes = decoded_bytes
        """All decoded response bytes, so that an estimate can be scaled from the sample."""
        self.frames = 0
        """Frames of a stream that may hold a part of the answer; a piece of many may count as one."""
