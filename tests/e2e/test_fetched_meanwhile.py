"""A stream of what is made in the background, which somebody fetches before it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from reported_again import COST, Provider, ask, config, counted, spent
from support.gateway import Gateway
from support.upstream import Upstream


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Upstream(Provider()) as upstream, Gateway(tmp_path, config(upstream)) as running:
        yield running


@pytest.mark.parametrize("ends", [True, False])
def test_a_stream_whose_answer_is_fetched_before_it_ends_is_charged_once(gateway: Gateway, ends: bool) -> None:
    """The same number in the ledger, the quotas and the metrics, whether the stream ends or breaks off."""
    asked = {"model": "gpt-4o", "background": True, "stream": True, "seconds": 1.5, "ends": ends}
    with ThreadPoolExecutor(1) as pool:
        streamed = pool.submit(ask, gateway, "POST", "/openai/v1/responses", asked)
        deadline = time.monotonic() + 10
        # until it is done
        while not any(one["cost_nanousd"] for one in gateway.records()) and time.monotonic() < deadline:
            ask(gateway, "GET", "/openai/v1/responses/resp_0")
            time.sleep(0.05)
        assert not streamed.done()
        assert (b"response.completed" in streamed.result()) is ends
    assert spent(gateway) == COST
    assert round(gateway.value("spendgate_cost_usd_total") * 1e9) == COST
    while counted(gateway, "all") != COST and time.monotonic() < deadline + 10:
        time.sleep(0.05)
    assert " 0 differences" in gateway.cli("quotas", "verify").stdout
    assert "agrees with itself" in gateway.cli("ledger", "verify").stdout
