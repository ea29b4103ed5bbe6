"""A provider that sends its client elsewhere below its own address sends it there through the gateway."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator

import httpx
import openai
import pytest
from support.gateway import Gateway
from support.upstream import Seen, Step, Upstream, answer

KEY = "sk-test-redirects"
CONFIG = """
[providers.p]
kind = "openai-compatible"
base_url = "{url}/base"
api_key = "sk-real"

[providers.google]
kind = "gemini"
base_url = "{url}"
api_key = "sk-real-google"

[providers.google2]
kind = "gemini"
base_url = "http://127.0.0.1:9"
api_key = "sk-real"

[[prices]]
provider = "p"
model = "*"
input_per_mtok = 1.0
output_per_mtok = 1.0

[[keys]]
id = "k"
secret = "sk-test-redirects"
team = "t"
workflow = "w"
"""
CHAT = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "here"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
}


def script(seen: Seen) -> Iterable[Step]:
    """Slashes at the end are taken away by a redirect, as servers in FastAPI do."""
    if (to := seen.header("x-to")) is not None:
        return [answer(b"", status=int(seen.header("x-status") or 307), headers={"X-Other": "1", "Location": to})]
    if seen.header("x-goog-upload-command") == "start":
        place = f"https://generativelanguage.googleapis.com{seen.target}?upload_id=AB&upload_protocol=resumable"
        return [answer(b"", headers={"X-Goog-Upload-Status": "active", "X-Goog-Upload-URL": place})]
    if seen.target.endswith("/"):
        place = f"http://{seen.header('host')}{seen.target.rstrip('/')}"
        return [answer(b"", status=307, headers={"Location": place})]
    return [answer(json.dumps({**CHAT, "path": seen.target}).encode())]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(script) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("redirects"), CONFIG.format(url=upstream.url)) as running:
        yield running


def location(gateway: Gateway, to: str, status: int = 307, provider: str = "p") -> str | None:
    """Where the client is sent by a provider that says ``to``."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    headers = {"Authorization": f"Bearer {KEY}", "X-To": to, "X-Status": str(status)}
    connection.request("GET", f"/{provider}/v1/files", headers=headers)
    got = connection.getresponse()
    got.read()
    assert (got.status, got.headers["x-other"]) == (status, "1")
    return got.headers["location"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("start", ["http://127.0.0.1:{port}", "//127.0.0.1:{port}", "HTTP://127.0.0.1:{port}"])
def test_a_place_below_the_providers_address_is_below_the_gateways(
    gateway: Gateway, upstream: Upstream, start: str, status: int
) -> None:
    to = start.format(port=upstream.port) + "/base/v1/files/x?a=/base/b#c"
    assert location(gateway, to, status) == "/p/v1/files/x?a=/base/b#c"


@pytest.mark.parametrize(
    "to",
    ["https://files.example/base/v1/x", "http://127.0.0.1:1/base/v1/x", "https://127.0.0.1/base/x", "/basement/x",
     "/base/v1/x", "/elsewhere/x", "x", "../x", "?a=b", "#c", "http://[oops/base/x", "mailto:a@b", "/base"],
)  # fmt: skip
def test_any_other_place_stays_as_it_is(gateway: Gateway, to: str) -> None:
    assert location(gateway, to) == to


def test_what_is_no_redirect_stays_as_it_is(gateway: Gateway) -> None:
    assert location(gateway, "/base/v1/files/x", 201) == "/base/v1/files/x"


def test_an_sdk_that_follows_is_metered_where_it_arrives(gateway: Gateway) -> None:
    client = openai.OpenAI(base_url=gateway.url + "/p/v1", api_key=KEY, max_retries=0)
    got = client.post("/chat/completions/", body={"model": "m", "messages": []}, cast_to=httpx.Response)
    assert got.json()["path"] == "/base/v1/chat/completions"
    record = gateway.get("/api/requests/" + got.headers["x-spendgate-request-id"])
    assert (record["provider"], record["path"], record["cost_nanousd"]) == ("p", "/v1/chat/completions", 7000)


def test_an_upload_to_google_goes_on_where_its_sdk_for_javascript_sends_it(
    gateway: Gateway, upstream: Upstream
) -> None:
    """That takes the host from its base URL and the path from the address in the answer."""
    headers = {"x-goog-api-key": KEY, "X-Goog-Upload-Command": "start"}
    begun = httpx.post(gateway.url + "/google/upload/v1beta/files", headers=headers, json={"file": {}})
    place = httpx.URL(begun.headers["x-goog-upload-url"]).raw_path.decode()
    headers["X-Goog-Upload-Command"] = "upload, finalize"
    got = httpx.post(gateway.url + place, headers=headers, content=b"hello")
    assert got.status_code == 200
    seen = upstream.seen[-1]
    assert (seen.target, seen.body) == ("/upload/v1beta/files?upload_id=AB&upload_protocol=resumable", b"hello")
    assert seen.header("x-goog-api-key") == "sk-real-google"
    assert gateway.get("/api/requests/" + got.headers["x-spendgate-request-id"])["provider"] == "google"


@pytest.mark.parametrize("path", ["/upload/v1beta/files", "/uploads/v1beta/files?upload_id=AB"])
def test_no_other_path_without_a_provider_is_an_upload(gateway: Gateway, path: str) -> None:
    assert httpx.post(gateway.url + path, headers={"x-goog-api-key": KEY}, content=b"hello").status_code == 404
