"""Records tell that two calls had the same prompt, and nothing else of it."""

from __future__ import annotations

import hashlib
import json
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storm import CONFIG, play
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream
from xxhash import xxh3_128

from gateway.ledger.prompts import key_of, key_path, prompt_hasher, prompt_text


def keyed(key: bytes, body: bytes) -> str:
    """The hash as it is documented."""
    return hashlib.blake2b(xxh3_128(body).digest(), key=key, digest_size=8).hexdigest()


@given(st.binary(max_size=300), st.binary(min_size=32, max_size=32))
def test_the_hash_is_keyed_blake2b_of_the_body_s_xxh3(body: bytes, key: bytes) -> None:
    assert prompt_text(prompt_hasher(key)(body)) == keyed(key, body)


def test_a_key_is_made_once_for_all_who_ask_at_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        keys = {one.submit(key_of, ledger).result(), other.submit(key_of, ledger).result(), key_of(ledger)}
    assert len(keys) == 1
    assert stat.S_IMODE(key_path(ledger).stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [key_path(ledger)]
    key_path(ledger).write_bytes(b"short")
    with pytest.raises(ValueError, match="must hold 32 bytes: remove it"):
        key_of(ledger)


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def send(gateway: Gateway, prompt: str, path: str = "/openai/v1/chat/completions") -> None:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], "max_tokens": 9, "stream": False}
    headers = {"Authorization": "Bearer sk-test-storm", "Content-Type": "application/json"}
    request = urllib.request.Request(gateway.url + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        answer.read()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(play) as running:
        yield running


def test_the_same_prompt_has_the_same_hash_on_every_way_and_after_a_restart(tmp_path: Path, upstream: Upstream) -> None:
    with Gateway(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        send(gateway, "1")
        send(gateway, "2")
        send(gateway, "1", "/v1/chat/completions")
    with Gateway(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        send(gateway, "1")
        last, third, second, first = (record["prompt_hash"] for record in gateway.records())
        now = time.time()
        day = {"since": moment(now - 80_000), "until": moment(now + 60)}
        assert [one["prompt_hash"] for one in gateway.records(prompt_hash=first, **day)] == [first] * 3
        assert gateway.records(prompt_hash=first, workflow="w", **day) == gateway.records(prompt_hash=first, **day)
        assert gateway.records(prompt_hash=first, workflow="another", **day) == []
        for query in (
            {"prompt_hash": first},
            {"prompt_hash": first, "since": "2026-01-01"},
            {"prompt_hash": "7", **day},
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                gateway.records(**query)
            assert refused.value.code == 400
    assert last == third == first
    assert second != first
    assert len(first) == 16


def test_none_is_made_where_the_configuration_says_so(tmp_path: Path, upstream: Upstream) -> None:
    with Gateway(tmp_path, "[ledger]\nprompt_hash = false\n" + CONFIG.format(url=upstream.url)) as gateway:
        send(gateway, "1")
        assert [record["prompt_hash"] for record in gateway.records()] == [""]
        assert not key_path(tmp_path / "data" / "ledger.db").exists()


def test_a_call_that_a_crash_left_open_has_its_hash(tmp_path: Path) -> None:
    asked = threading.Event()

    def silent(seen: Seen) -> list[Step]:
        asked.set()
        time.sleep(3)
        return []

    with Upstream(silent) as upstream, Gateway(tmp_path, CONFIG.format(url=upstream.url)) as gateway:
        waiting = ThreadPoolExecutor(1)
        answer = waiting.submit(send, gateway, "1")
        assert asked.wait(10)
        gateway.kill()
        assert answer.exception() is not None
        gateway.start()
        (record,) = gateway.records()
    assert record["outcome"] == "recovered"
    sent = upstream.seen[0].body
    assert record["prompt_hash"] == keyed(key_of(tmp_path / "data" / "ledger.db"), sent)
