"""Usages as providers may report them: every part within its whole."""

from __future__ import annotations

from hypothesis import strategies as st

from gateway.wire.usage import Usage

SIZES = st.one_of(
    st.integers(0, 50),
    st.integers(0, 20_000),
    st.integers(90_000, 600_000),
    st.sampled_from([32_000, 100_000, 128_000, 199_999, 200_000, 200_001, 256_000, 272_000, 272_001, 512_000]),
)
UNITS = st.one_of(st.just(0), st.integers(0, 9), st.integers(0, 5_000))


@st.composite
def usages(draw: st.DrawFn, units: bool = True) -> Usage:
    """Any regular usage: parts don't exceed their wholes, cached audio and pictures are within both."""
    whole_in, whole_out = draw(SIZES), draw(SIZES)
    rest = whole_in

    def part(limit: int) -> int:
        return draw(st.one_of(st.just(0), st.integers(0, limit)))

    cached_audio = part(rest)
    cached_image = part(rest - cached_audio)
    cached = cached_audio + cached_image + part(rest - cached_audio - cached_image)
    rest -= cached
    written = part(rest)
    rest -= written
    audio = cached_audio + part(rest)
    rest -= audio - cached_audio
    image = cached_image + part(rest)
    rest -= image - cached_image
    video = part(rest)
    reasoning = part(whole_out)
    audio_out = part(whole_out - reasoning)
    image_out = part(whole_out - reasoning - audio_out)
    usage = Usage(
        input_tokens_total=whole_in,
        output_tokens_total=whole_out,
        cache_read_tokens=cached,
        cache_read_audio_tokens=cached_audio,
        cache_read_image_tokens=cached_image,
        cache_write_tokens=written,
        cache_write_1h_tokens=part(written),
        input_audio_tokens=audio,
        input_image_tokens=image,
        input_video_tokens=video,
        reasoning_tokens=reasoning,
        output_audio_tokens=audio_out,
        output_image_tokens=image_out,
    )
    if units:
        usage.web_search_requests = draw(UNITS)
        usage.search_units = draw(UNITS)
        usage.input_characters = draw(UNITS)
        usage.audio_milliseconds = draw(st.one_of(UNITS, st.integers(0, 10_000_000)))
        usage.output_images = draw(UNITS)
        usage.pages = draw(UNITS)
        usage.web_searches_seen = draw(UNITS)
    return usage


UNIT_FIELDS = (
    "web_search_requests",
    "search_units",
    "input_characters",
    "audio_milliseconds",
    "output_images",
    "pages",
    "web_searches_seen",
)


def units_of(usage: Usage) -> dict[str, int]:
    return {name: getattr(usage, name) for name in UNIT_FIELDS}
