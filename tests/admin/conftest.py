"""Two gateways over ledgers with known records: one open on loopback, one that asks for tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.admin import CONFIG, TOKENS, Caller, records, with_records


@pytest.fixture(scope="session")
def open_caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with with_records(tmp_path_factory.mktemp("open"), CONFIG, records()) as gateway:
        yield Caller(gateway)


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with with_records(tmp_path_factory.mktemp("guarded"), TOKENS + CONFIG, records()) as gateway:
        yield Caller(gateway)
