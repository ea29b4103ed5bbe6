"""Every recorded exchange over real sockets: the client's bytes are the provider's, the ledger's record is exact."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import corpus
import pytest
from support.gateway import Gateway
from support.replay import replay
from support.upstream import Upstream

KEY = "sk-test-recordings"
KINDS = sorted({case.kind for case in corpus.cases()})
ASIDE = frozenset(("content-length", "transfer-encoding", "host", "content-encoding", "connection", "authorization"))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with replay({case.id: case for case in corpus.cases()}) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    providers = "".join(
        f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{upstream.url}"\napi_key = "real-{kind}-secret"\n'
        for kind in KINDS
    )
    key = f'[[keys]]\nid = "all"\nsecret = "{KEY}"\nteam = "research"\nworkflow = "evals"\n'
    with Gateway(tmp_path_factory.mktemp("recordings"), providers + key) as running:
        yield running


def answer(port: int, case: corpus.Case) -> tuple[int, bytes, str]:
    """Status, body and the record's id of one exchange through the gateway."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {k: v for k, v in case.request_headers.items() if k.lower() not in ASIDE}
    headers |= {"x-spendgate-key": KEY, "x-case": case.id}
    connection.request(case.method, f"/{case.kind}{case.path}", case.request_body, headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body, response.headers["x-spendgate-request-id"]


def is_error(case: corpus.Case) -> bool:
    """An error alone, instead of an answer: it costs nothing whatever its status."""
    return case.status >= 400 or (b'"error"' in case.response_body[:20] and not case.stream)


def differences(gateway: Gateway, case: corpus.Case) -> list[str]:
    """What is not as it should be."""
    status, body, request_id = answer(gateway.port, case)
    record = gateway.get(f"/api/requests/{request_id}")
    usage = {part: record["usage"].get(part, 0) for part in corpus.PARTS}
    source = record["usage_source"]
    checks = {
        "status": (status, case.status),
        "body": (body, case.response_body),
        "outcome": (record["outcome"], "completed"),
    }
    if case.usage is not None:
        checks["usage"] = (usage, {part: case.usage.get(part, 0) for part in corpus.PARTS})
        checks["source"] = (source, case.usage_source)
        checks["model"] = (record["model"], case.model)
    elif case.billable and not is_error(case):
        checks["source"] = (source, "estimated")
    else:
        checks["cost"] = (record["cost_nanousd"], 0)
        checks["source"] = (source, "none")
    return [f"{case.id}: {what} is {got!r}, not {want!r}" for what, (got, want) in checks.items() if got != want]


@pytest.mark.skipif(not KINDS, reason=f"no recorded exchanges in {corpus.CORPUS}")
def test_every_recording_passes_byte_for_byte_and_is_exact_in_the_ledger(gateway: Gateway) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda case: differences(gateway, case), corpus.cases()))
    assert [line for lines in found for line in lines] == []
