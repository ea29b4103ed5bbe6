"""The environment's proxy is taken for providers that speak TLS, and for no others."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from support.gateway import Gateway
from support.proxied import Proxied
from support.upstream import Upstream, answer

ANSWER = json.dumps({"model": "m", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()
KEY = "sk-proxy-test-key"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def proxied(authority: trustme.CA) -> Iterator[Proxied]:
    with Proxied(authority, answer(ANSWER)) as running:
        yield running


def status(folder: Path, proxied: Proxied, authority: trustme.CA, rest: str = "", **environ: str) -> int:
    """What a call through a gateway in this environment comes to."""
    authority.cert_pem.write_to_path(folder / "ca.pem")
    proxied.heads.clear()
    config = f"""
[providers.far]
kind = "openai"
base_url = "https://provider.test"
api_key = "sk-real"
ca_file = "ca.pem"
{rest}
[[keys]]
id = "k"
secret = "{KEY}"
team = "t"
workflow = "w"
"""
    with Gateway(folder, config, environ) as gateway:
        return post(gateway, "far")


def post(gateway: Gateway, provider: str) -> int:
    body = json.dumps({"model": "m", "messages": []}).encode()
    request = urllib.request.Request(f"{gateway.url}/{provider}/v1/chat/completions", body)
    request.add_header("Authorization", f"Bearer {KEY}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=20) as got:
            return int(got.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_a_provider_is_reached_through_the_environments_proxy(
    tmp_path: Path, proxied: Proxied, authority: trustme.CA, name: str
) -> None:
    address = f"http://me:secret@127.0.0.1:{proxied.port}"
    assert status(tmp_path, proxied, authority, **{name: address}) == 200
    (head,) = proxied.heads
    assert head.startswith(b"CONNECT provider.test:443 HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n" in head


@pytest.mark.parametrize(
    ("rest", "environ"),
    [('proxy = "direct"', {}), ("", {"NO_PROXY": "other.test,provider.test"}), ("", {"no_proxy": ".test"})],
)
def test_it_is_left_out_where_the_configuration_or_the_environment_says_so(
    tmp_path: Path, proxied: Proxied, authority: trustme.CA, rest: str, environ: dict[str, str]
) -> None:
    address = f"http://127.0.0.1:{proxied.port}"
    assert status(tmp_path, proxied, authority, rest, HTTPS_PROXY=address, **environ) in (502, 504)
    assert proxied.heads == []


def test_plain_providers_and_this_machines_are_reached_without(tmp_path: Path, proxied: Proxied) -> None:
    proxied.heads.clear()
    address = f"http://127.0.0.1:{proxied.port}"
    with Upstream(lambda seen: [answer(ANSWER)]) as upstream:
        config = f"""
[providers.near]
kind = "openai"
base_url = "{upstream.url}"
api_key = "sk-real"
[[keys]]
id = "k"
secret = "{KEY}"
team = "t"
workflow = "w"
"""
        with Gateway(tmp_path, config, {"HTTPS_PROXY": address, "HTTP_PROXY": address, "NO_PROXY": ""}) as gateway:
            assert post(gateway, "near") == 200
    assert proxied.heads == []


def test_a_proxy_that_is_none_is_told_before_anything_is_served(tmp_path: Path) -> None:
    config = '[providers.far]\nkind = "openai"\napi_key = "sk-real"\n'
    with pytest.raises(RuntimeError, match=r"providers\.far: HTTPS_PROXY must be the address of an HTTP proxy"):
        Gateway(tmp_path, config, {"HTTPS_PROXY": "socks5://127.0.0.1:1080"}).start()
