"""HTTPS and mutual TLS on both ports, with real certificates: renewed while calls go on, refused where wrong."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import socket
import ssl
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import openai
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from support.gateway import Gateway

KEY = "sk-tls-test-key"
CONFIG = """
[server]
[server.limits]
head_seconds = 1
[server.tls]
cert = "tls/cert.pem"
key = "tls/key.pem"
{data_ca}
[server.admin_tls]
cert = "tls/cert.pem"
key = "tls/key.pem"
{admin_ca}
[logging]
format = "json"
[providers.simulated]
kind = "simulated"
first_token_seconds = 0.005
token_seconds = 0.0
[[keys]]
id = "k"
secret = "sk-tls-test-key"
team = "search"
workflow = "ranking"
"""
PLAIN = CONFIG.format(data_ca="", admin_ca="")
MUTUAL = CONFIG.format(data_ca='client_ca = "tls/clients.pem"', admin_ca='client_ca = "tls/clients.pem"')


class Certificates:
    """What an operator keeps in a folder beside the configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tls"
        self.folder.mkdir()
        self.authority = trustme.CA()
        self.clients = trustme.CA()
        self.clients.cert_pem.write_to_path(self.folder / "clients.pem")
        self.issue("127.0.0.1", "first.test")

    def issue(self, *names: str, **more: datetime.datetime) -> None:
        issued = self.authority.issue_cert(*names, **more)
        issued.cert_chain_pems[0].write_to_path(self.folder / "cert.pem")
        issued.private_key_pem.write_to_path(self.folder / "key.pem")

    def trust(self, clients: trustme.CA | None = None) -> ssl.SSLContext:
        """A client's context, with a certificate of an authority."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if clients is not None:
            clients.issue_cert("client.test").configure_cert(context)
        return context

    def encrypt(self) -> None:
        path = self.folder / "key.pem"
        key = load_pem_private_key(path.read_bytes(), None)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        path.write_bytes(secret)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def gateway(tmp_path: Path, certificates: Certificates) -> Iterator[Gateway]:
    with Gateway(tmp_path, PLAIN, trust=certificates.trust()) as running:
        yield running


def secured(port: int, trust: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), 5)
    try:
        return trust.wrap_socket(plain, server_hostname="127.0.0.1")
    except OSError:
        plain.close()
        raise


def names(port: int, trust: ssl.SSLContext) -> set[str]:
    """The names in the certificate that a new connection is shown."""
    with secured(port, trust) as secure:
        shown = secure.getpeercert()
    assert shown is not None
    return {str(name) for _, name in shown["subjectAltName"]}


def client(gateway: Gateway, trust: ssl.SSLContext) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{gateway.url}/simulated/v1",
        api_key=KEY,
        max_retries=0,
        http_client=httpx.Client(verify=trust, trust_env=False),
    )


def call(to: openai.OpenAI) -> str:
    answer = to.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}], max_tokens=3)
    return answer.choices[0].message.content or ""


def metric(gateway: Gateway, name: str) -> float:
    return float(re.search(rf"^{name} (\S+)$", gateway.metrics(), re.MULTILINE)[1])  # type: ignore[index]


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_sdk_calls_and_streams_over_https(gateway: Gateway, certificates: Certificates) -> None:
    sdk = client(gateway, certificates.trust())
    assert call(sdk)
    words = sdk.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hello"}], stream=True, max_tokens=30
    )
    assert len(list(words)) > 2
    assert [record["outcome"] for record in gateway.records()] == ["completed", "completed"]
    assert "spendgate listens on https://" in gateway.log()
    assert len(gateway.cli("tail", "--no-follow").stdout.splitlines()) == 2
    certificates.issue("127.0.0.1", "another.test")
    told = gateway.cli("tail", "--no-follow", check=False).stderr
    assert "is not the gateway of this configuration" in told


def test_only_http_1_1_over_tls_1_2_or_newer_is_spoken(gateway: Gateway, certificates: Certificates) -> None:
    for port in (gateway.port, gateway.admin_port):
        context = certificates.trust()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with secured(port, context) as secure:
            assert secure.selected_alpn_protocol() == "http/1.1"
        old = certificates.trust()
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            secured(port, old)
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP/1.1 2" not in plain.recv(1000)


def test_with_mutual_tls_nobody_without_a_certificate_is_served(tmp_path: Path, certificates: Certificates) -> None:
    with Gateway(tmp_path, MUTUAL, trust=certificates.trust(certificates.clients)) as gateway:
        assert call(client(gateway, certificates.trust(certificates.clients)))
        for stranger in (certificates.trust(), certificates.trust(trustme.CA())):
            with pytest.raises(openai.APIConnectionError):
                call(client(gateway, stranger))
            admin = Gateway.get.__get__(gateway)
            mine, gateway.trust = gateway.trust, stranger
            with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
                admin("/healthz")
            gateway.trust = mine
        assert len(gateway.records()) == 1
        assert metric(gateway, "spendgate_tls_handshake_failures_total") >= 4


def test_renewed_files_are_shown_at_once_and_no_call_fails(gateway: Gateway, certificates: Certificates) -> None:
    trust, stop = certificates.trust(), threading.Event()
    failed: list[Exception] = []
    done: list[str] = []

    def calls(keep: bool) -> None:
        sdk = client(gateway, trust)
        while not stop.is_set():
            try:
                done.append(call(sdk if keep else client(gateway, trust)))
            except openai.OpenAIError as error:
                failed.append(error)

    threads = [threading.Thread(target=calls, args=(turn % 2 == 0,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(6):
        certificates.issue("127.0.0.1", f"turn{turn}.test")
        assert gateway.post("/api/reload") == {"changed": ["server.tls", "server.admin_tls"]}
        for port in (gateway.port, gateway.admin_port):
            assert f"turn{turn}.test" in names(port, trust)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(gateway.records()) == len(done)
    assert gateway.post("/api/reload") == {"changed": []}


def test_sighup_shows_a_renewed_certificate_and_open_connections_go_on(
    gateway: Gateway, certificates: Certificates
) -> None:
    trust = certificates.trust()
    kept = client(gateway, trust)
    call(kept)
    ends = datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    certificates.issue("127.0.0.1", "second.test", not_after=ends)
    gateway.reload()
    eventually(lambda: "second.test" in names(gateway.port, trust))
    call(kept)
    for port in ("data", "admin"):
        shown = metric(gateway, re.escape(f'spendgate_tls_certificate_end_timestamp_seconds{{port="{port}"}}'))
        assert shown == ends.timestamp()
    assert gateway.stop() == 0
    audited = [json.loads(line) for line in gateway.log().splitlines() if '"audit"' in line]
    assert [(line["by"], line["changed"]) for line in audited] == [("SIGHUP", ["server.tls", "server.admin_tls"])]
    assert not audited[0]["needs_restart"]


WRONG = {
    "missing": (lambda c: (c.folder / "cert.pem").unlink(), "server.tls.cert: the file tls/cert.pem can't be read"),
    "another key": (
        lambda c: trustme.CA().issue_cert("x").private_key_pem.write_to_path(c.folder / "key.pem"),
        "server.tls.key: the key in key.pem is not the one of the certificate in cert.pem",
    ),
    "encrypted": (lambda c: c.encrypt(), "server.tls.key: the key in key.pem is encrypted"),
    "swapped": (
        lambda c: shutil.copy(c.folder / "key.pem", c.folder / "cert.pem"),
        "server.tls.cert: the file cert.pem holds no certificate in PEM form",
    ),
    "no key": (
        lambda c: shutil.copy(c.folder / "cert.pem", c.folder / "key.pem"),
        "server.tls.key: the file key.pem holds no private key in PEM form",
    ),
    "garbage": (
        lambda c: (c.folder / "cert.pem").write_text("-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n"),
        "server.tls.cert: cert.pem and key.pem can't be used",
    ),
    "no authority": (
        lambda c: (c.folder / "clients.pem").write_text("nothing"),
        "server.tls.client_ca: the file clients.pem holds no authority's certificate",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_files_that_can_not_be_used_change_nothing_and_say_why(
    tmp_path: Path, certificates: Certificates, kind: str
) -> None:
    spoil, why = WRONG[kind]
    with Gateway(tmp_path, MUTUAL, trust=certificates.trust(certificates.clients)) as gateway:
        before = names(gateway.port, gateway.trust)  # type: ignore[arg-type]
        spoil(certificates)
        with pytest.raises(urllib.error.HTTPError) as refused:
            gateway.post("/api/reload")
        assert refused.value.code == 422
        assert why in json.load(refused.value)["detail"]
        checked = gateway.cli("check", check=False)
        assert checked.returncode == 1
        assert why in checked.stderr
        assert "Traceback" not in checked.stderr
        assert names(gateway.port, gateway.trust) == before  # type: ignore[arg-type]
        assert call(client(gateway, gateway.trust))  # type: ignore[arg-type]
        # who serves nobody needs no certificate
        assert gateway.cli("report").returncode == 0


def test_another_authority_of_clients_holds_from_the_reload_on(tmp_path: Path, certificates: Certificates) -> None:
    old = certificates.trust(certificates.clients)
    with Gateway(tmp_path, MUTUAL, trust=old) as gateway:
        assert call(client(gateway, old))
        certificates.clients = trustme.CA()
        certificates.clients.cert_pem.write_to_path(certificates.folder / "clients.pem")
        gateway.reload()
        gateway.trust = certificates.trust(certificates.clients)
        eventually(lambda: _serves(gateway, gateway.trust))
        with pytest.raises(openai.APIConnectionError):
            call(client(gateway, old))


def _serves(gateway: Gateway, trust: ssl.SSLContext | None) -> bool:
    try:
        return bool(call(client(gateway, trust)))  # type: ignore[arg-type]
    except openai.APIConnectionError:
        return False


def test_tls_can_be_turned_on_and_off_while_calls_are_served(tmp_path: Path, certificates: Certificates) -> None:
    bare = re.sub(r"\[server\.(admin_)?tls\]\ncert.*\nkey.*\n", "", PLAIN)
    with Gateway(tmp_path, bare) as gateway:
        for text, trust in ((PLAIN, certificates.trust()), (bare, None), (PLAIN, certificates.trust())):
            gateway.write(text)
            gateway.post("/api/reload")
            gateway.trust = trust
            assert call(client(gateway, trust or certificates.trust()))
            assert gateway.get("/readyz") == {"status": "ready"}
        assert len(gateway.records()) == 3


def test_who_says_nothing_in_its_handshake_is_closed_and_others_are_served(
    gateway: Gateway, certificates: Certificates
) -> None:
    silent = [socket.create_connection(("127.0.0.1", gateway.port), 10) for _ in range(50)]
    for connection in silent[:25]:
        connection.sendall(b"\x16\x03\x01")
    assert call(client(gateway, certificates.trust()))
    for connection in silent:
        try:
            assert connection.recv(1) == b""
        except ConnectionResetError:
            pass
        connection.close()
    eventually(lambda: metric(gateway, "spendgate_tls_handshake_failures_total") == 50)
    assert metric(gateway, "spendgate_client_connections") <= 1


def test_a_certificate_that_is_over_soon_is_remarked(tmp_path: Path, certificates: Certificates) -> None:
    gateway = Gateway(tmp_path, PLAIN)
    assert "remark" not in gateway.cli("check").stdout
    now = datetime.datetime.now(datetime.UTC)
    for days, told in ((3.5, "ends in 3 days"), (-1, "has expired")):
        certificates.issue("127.0.0.1", not_after=now + datetime.timedelta(days=days))
        assert f"server.tls: the certificate {told}" in gateway.cli("check").stdout
