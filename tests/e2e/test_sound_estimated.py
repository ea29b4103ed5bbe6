"""Sound that is billed, and of which the answer reports nothing: an estimate that costs something, flagged as one."""

from __future__ import annotations

import http.client
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reported_again import counted
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

KEY = "sk-test-sound"
SAID = "so it goes. " * 16
FORM = "multipart/form-data; boundary=b"
CONFIG = """
[providers.groq]
kind = "groq"
base_url = "{url}"
api_key = "real"
[providers.openai]
kind = "openai"
base_url = "{url}"
api_key = "real"
[providers.cohere]
kind = "cohere"
base_url = "{url}"
api_key = "real"
[[prices]]
provider = "cohere"
model = "cohere-transcribe-*"
per_minute = 0.006
[[keys]]
id = "k"
secret = "sk-test-sound"
team = "t"
workflow = "w"
[[quotas]]
name = "all"
usd = 10.0
window = "total"
"""
MP3 = b"\xff\xfb\x90\x64" * 80_000
WAVE = b"RIFF\x00\x00\x00\x00WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16_000, 2, 16) + b"\x00" * 480_000
HOUR_NANOUSD = {"whisper-large-v3": 111_000_000, "whisper-1": 360_000_000,
                "cohere-transcribe-03-2026": 360_000_000}  # fmt: skip


def provider(seen: Seen) -> Iterator[Step]:
    if "speech" in seen.target:
        yield answer(MP3, "audio/mpeg")
    elif b"srt" in seen.body:
        yield answer(SAID.encode(), "text/plain")
    else:
        yield answer(json.dumps({"text": SAID, "x_groq": {"id": "r"}}).encode())


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Upstream(provider) as upstream, Gateway(tmp_path, CONFIG.format(url=upstream.url)) as running:
        yield running


def ask(gateway: Gateway, path: str, body: bytes, content_type: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    connection.request("POST", path, body, {"Authorization": f"Bearer {KEY}", "Content-Type": content_type})
    response = connection.getresponse()
    response.read()
    connection.close()
    record: dict[str, Any] = gateway.get("/api/requests/" + response.headers["x-spendgate-request-id"])
    return record


def form(model: str, recording: bytes, **fields: str) -> bytes:
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in {"model": model, **fields}.items()]
    parts.append(b'name="file"; filename="a"\r\n\r\n' + recording)
    return b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--b--\r\n"


@pytest.mark.parametrize(
    ("path", "model", "recording", "fields", "seconds"),
    [
        ("/groq/openai/v1/audio/transcriptions", "whisper-large-v3", MP3, {}, 20),
        ("/groq/openai/v1/audio/translations", "whisper-large-v3", WAVE, {}, 30),
        ("/groq/openai/v1/audio/transcriptions", "whisper-large-v3", b"OggS" * 3000, {}, 12),
        ("/openai/v1/audio/transcriptions", "whisper-1", MP3, {"response_format": "srt"}, 20),
        ("/cohere/v2/audio/transcriptions", "cohere-transcribe-03-2026", WAVE, {"language": "en"}, 30),
    ],
    ids=["by its bytes", "a wave file", "by what is said", "subtitles", "of cohere"],
)
def test_a_recording_whose_length_no_answer_tells_is_as_long_as_it_looks(
    gateway: Gateway, path: str, model: str, recording: bytes, fields: dict[str, str], seconds: int
) -> None:
    record = ask(gateway, path, form(model, recording, **fields), FORM)
    assert record["usage_source"] == "estimated"
    assert abs(record["usage"]["audio_milliseconds"] - seconds * 1000) < 100
    assert abs(record["cost_nanousd"] - seconds * HOUR_NANOUSD[model] // 3600) < 20_000
    assert counted(gateway, "all") == record["cost_nanousd"] < record["reserved_nanousd"]


def test_speech_whose_tokens_no_answer_tells_is_as_long_as_its_text(gateway: Gateway) -> None:
    spoken = json.dumps({"model": "gpt-4o-mini-tts", "input": SAID, "voice": "alloy"}).encode()
    record = ask(gateway, "/openai/v1/audio/speech", spoken, "application/json")
    assert (record["usage_source"], record["usage"]["output_tokens_total"]) == ("estimated", len(SAID) * 20 // 16)
    assert counted(gateway, "all") == record["cost_nanousd"] > len(SAID) * 20 // 16 * 12_000
