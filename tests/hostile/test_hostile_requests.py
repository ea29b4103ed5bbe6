"""Requests that two readers could understand differently: refused, or passed on as exactly what they are.

After each one the gateway serves a normal request on a new connection, and the provider has seen what it should have.
"""

from __future__ import annotations

import pytest
from attacks import AUTH, HOST, REFUSED, Attack, attacks
from more_attacks import more_attacks
from raw_client import answers, exchange
from strict_provider import ANSWER, StrictProvider
from support.gateway import Gateway

NORMAL = b"GET /p/normal HTTP/1.1\r\n" + HOST + AUTH + b"Connection: close\r\n\r\n"


@pytest.mark.parametrize("attack", attacks() + more_attacks(), ids=lambda attack: attack.name)
def test_an_attack_reaches_the_provider_as_what_it_is_or_not_at_all(
    gateway: Gateway, provider: StrictProvider, attack: Attack
) -> None:
    provider.take()
    closes = attack.answers[-1] == "refused"
    raw = exchange(gateway.port, attack.raw if closes else attack.raw + NORMAL)
    got = answers(raw)
    expected = attack.answers if closes else (*attack.answers, "ok")
    assert [("refused" if status in REFUSED else "ok" if status == 200 else status) for status, _ in got] == list(
        expected
    ), raw[:300]
    assert all(body == ANSWER for status, body in got if status == 200)
    assert exchange(gateway.port, NORMAL).endswith(ANSWER)
    normal = (b"GET", b"/normal", b"")
    assert provider.take() == [*attack.reaches, *([] if closes else [normal]), normal]
    assert provider.faults == []


def test_a_client_of_http2_alone_is_told_what_the_port_speaks(gateway: Gateway) -> None:
    raw = exchange(gateway.port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
    assert raw.startswith(b"HTTP/1.1 505 ")
    assert b'"message":"this port speaks HTTP/1.1: the client must not begin with HTTP/2"' in raw
