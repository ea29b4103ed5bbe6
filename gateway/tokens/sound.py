"""How long sound is, as far as can be told without decoding it: only for estimates.

A recording is as long as its bytes suggest, and at least as what was written down of it takes to say. A WAVE file says
how many bytes it takes a second; of any other the usual rate of compressed speech is taken.

Sources: RFC 2361 (``nAvgBytesPerSec`` of a WAVE file's format); OpenAI, "Managing costs" of the realtime API (an audio
token for each 50 ms that a model says); measured by others: 4,096 characters that a voice of OpenAI's read took 256
seconds, and 6 tokens for each token of text.
"""

from __future__ import annotations

CHARACTERS_PER_SECOND = 16
AUDIO_TOKENS_PER_SECOND = 20
BYTES_PER_SECOND = 16_000
"""128 kbit/s."""
_LEAST_RATE = 750
"""6 kbit/s: a head that says less is none."""


def recording_ms(body: bytes, characters: int) -> int:
    """Milliseconds of the recording in a request, of which ``characters`` were written down."""
    return max(characters * 1000 // CHARACTERS_PER_SECOND, len(body) * 1000 // _rate(body))


def spoken_tokens(characters: int) -> int:
    """Audio tokens that a voice takes for a text."""
    return characters * AUDIO_TOKENS_PER_SECOND // CHARACTERS_PER_SECOND


def _rate(body: bytes) -> int:
    """Bytes a second of the recording."""
    head = body.find(b"RIFF")
    if head >= 0 and body[head + 8 : head + 16] == b"WAVEfmt ":
        rate = int.from_bytes(body[head + 28 : head + 32], "little")
        if rate >= _LEAST_RATE:
            return rate
    return BYTES_PER_SECOND
