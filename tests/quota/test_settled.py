"""What no living process counts as its own: exact, whatever has been settled between the questions."""

from __future__ import annotations

import random
from pathlib import Path

import book
import pytest

from gateway.config.quotas import QuotaConfig
from gateway.ledger.connections import connect, connect_reader
from gateway.ledger.rows import held_of
from gateway.ledger.schema import migrate
from gateway.ledger.view import ConnectionView
from gateway.ledger.writer import Writer
from gateway.quota.rule import from_config
from gateway.quota.settled import Photo, settled
from gateway.quota.shared import identity
from gateway.quota.slices import Stand

RULES = [
    QuotaConfig(name="all", usd=1, window="total"),  # type: ignore[arg-type]
    QuotaConfig(name="flow", tokens=5, requests=9, window="rolling 30d", per=("team", "workflow")),
]


@pytest.mark.parametrize("seed", range(5))
def test_the_ledger_less_what_each_process_says_is_what_the_others_left(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    path = tmp_path / "l.db"
    migrate(path)
    rules = [from_config(config) for config in RULES]
    nodes = {"AAAAAAAA": 0, "BBBBBBBB": 0, "GONEGONE": 0}
    own: dict[str, dict[tuple[str, str, int], list[int]]] = {node: {} for node in nodes}
    records = []
    for number in range(300):
        node = rng.choice(list(nodes))
        one = book.record(number)
        records.append((node, book.record(number, request_id=one.request_id[:-8] + node)))
    rng.shuffle(records)
    connection, writer = connect(path), Writer()
    photos = {}
    for place, (node, one) in enumerate(records):
        if place in (150, 220):
            # a process says what it has used; it goes on afterwards
            who = "AAAAAAAA" if place == 150 else "BBBBBBBB"
            mark = ConnectionView(connection).newest()
            photos[who] = Photo(who, mark, [Stand(*key, list(used), []) for key, used in own[who].items()])
        writer.write(connection, records=[one])
        cost, tokens_in, tokens_out = held_of(one)
        for rule in rules:
            bucket = f"{one.team}|{one.workflow}" if rule.per else ""
            key = (identity(rule), bucket, rule.window(one.started_ns)[0])
            used = own[node].setdefault(key, [0] * len(rule.units))
            for at, amount in enumerate([cost] if rule.name == "all" else [tokens_in + tokens_out, 1]):
                used[at] += amount
    connection.close()
    now_ns = max(one.started_ns for _, one in records) + 1
    found = settled(path, rules, list(photos.values()), now_ns)
    assert found.rows == own["GONEGONE"]
    reader = connect_reader(path)
    assert ConnectionView(reader).newest() == 300
    reader.close()
