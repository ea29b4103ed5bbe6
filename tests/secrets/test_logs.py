"""What stands in the log: one line a refusal or failure, no credential, and no more lines than anybody reads."""

from __future__ import annotations

import fcntl
import http.client
import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.gateway import Gateway

from gateway.audit import changes, needs_restart
from gateway.config.load import parse
from gateway.config.schema import Config
from gateway.log import HumanLines, JsonLines, Limited
from gateway.scrub import GONE, Scrubber, secrets_of

OWN = "correct horse battery staple"


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("spendgate", logging.WARNING, "", 0, message, None, None)
    made.fields = fields
    return made


@pytest.mark.parametrize(
    "text",
    [
        f"could not log in with {OWN} today",
        "Authorization: Bearer abcdefgh12345",
        "GET /x?a=1&key=AbCdEfG HTTP/1.1",
        "https://user:hunter22@proxy.example:3128/",
        "sk-proj-0123456789abcdef",
        "AIzaSyA0123456789012345678901234567890",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    ],
)
def test_what_is_or_looks_like_a_credential_is_taken_out(text: str) -> None:
    clean = Scrubber([OWN])(text)
    assert GONE in clean
    for secret in (OWN, "abcdefgh12345", "AbCdEfG", "hunter22", "0123456789abcdef", "AKIA", "eyJhb", "c2lnb"):
        assert secret not in clean


def test_innocent_text_stays() -> None:
    text = "gpt-4o of team search: connection refused by 10.0.0.7:443 (request 01HF3K), key id search-prod"
    assert Scrubber([OWN])(text) == text


def test_both_formats_scrub_fields_messages_and_tracebacks() -> None:
    scrubber = Scrubber([OWN])
    told = record("failed", detail=f"said {OWN}", deep={"list": [OWN]})
    try:
        raise ValueError(f"bad value {OWN}")
    except ValueError as error:
        told.exc_info = (type(error), error, error.__traceback__)
    for line in (JsonLines(scrubber).format(told), HumanLines(scrubber).format(told)):
        assert OWN not in line
        assert GONE in line
        assert "ValueError" in line


def test_what_a_caller_sends_cant_begin_a_line() -> None:
    forged = record("refused", model="x\n12:00:00 error   all is lost\x1b[2J\u2028")
    line = HumanLines(Scrubber()).format(forged)
    assert line.splitlines() == [line]
    assert "\x1b" not in line
    assert json.loads(JsonLines(Scrubber()).format(forged))["model"].startswith("x\n")


def test_a_flood_of_one_message_is_cut_and_counted() -> None:
    seconds = [0.0]
    limited = Limited(10, lambda: seconds[0])
    assert sum(limited.filter(record("refused")) for _ in range(1000)) == 10
    assert limited.filter(record("another"))
    seconds[0] = 1.5
    next_one = record("refused")
    assert limited.filter(next_one)
    assert next_one.fields["left_out_before"] == 990


def configuration(text: str) -> Config:
    return parse(text, "config.toml", {}, Path())


ALL = """
[server]
admin_token = "admin-token-value"
[[server.admin_tokens]]
name = "a"
secret = "another-token-value"
[providers.p]
kind = "openai"
api_key = "provider-key"
proxy = "http://me:proxy-password@proxy:1"
[[keys]]
id = "k"
secret = "virtual-key"
team = "t"
workflow = "w"
[[webhooks]]
url = "https://hooks.example.com/T0/B0/XyZ"
secret = "webhook-secret"
[tracing]
otlp_endpoint = "http://c:4318"
headers = { authorization = "otlp-token" }
"""


def test_all_credentials_of_a_configuration_are_known() -> None:
    assert set(secrets_of(configuration(ALL))) == {
        "admin-token-value", "another-token-value", "provider-key", "proxy-password", "virtual-key", "/T0/B0/XyZ",
        "webhook-secret", "otlp-token",
    }  # fmt: skip


def test_an_audit_names_what_changed_and_no_value() -> None:
    changed = ALL.replace('"provider-key"', '"provider-key-2"').replace('id = "k"', 'id = "b"')
    found = changes(configuration(ALL), configuration(changed + '[providers.q]\nkind = "anthropic"\n'))
    assert set(found) == {"providers.p.api_key", "+providers.q", "-keys.k", "+keys.b"}
    assert not needs_restart(found)
    assert needs_restart(["server.listen"])
    assert needs_restart(["quota_store"])


def test_what_a_library_warns_of_is_a_line_like_any_other() -> None:
    program = """
import asyncio, logging
from gateway import log
log.set_up("json", "info", ["sk-real-secret"])
for _ in range(500):
    logging.getLogger("asyncio").warning("SSL connection is closed")
loop = asyncio.new_event_loop()
loop.call_exception_handler({"message": "a call failed", "exception": ValueError("sk-real-secret")})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert 1 <= sum(line["message"] == "SSL connection is closed" for line in lines) < 500
    assert lines[-1]["message"] == "a call failed"
    assert "ValueError" in lines[-1]["exception"]
    assert "sk-real-secret" not in done.stderr


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="pipes of this system can't be made small")
def test_a_reader_that_stalls_delays_neither_calls_nor_the_end(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, '[logging]\nlevel = "debug"\n[providers.simulated]\nkind = "simulated"\n')
    command = [sys.executable, "-m", "gateway.cli.main", "serve", "--config", str(gateway.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert b"listens" in process.stdout.readline()
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
        assert process.stderr is not None
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4096)
        for number in range(100):
            connection.request("GET", f"/simulated/{number}", headers={"x-spendgate-key": "nobody" * 9})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 401
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait(10)
