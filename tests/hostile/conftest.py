"""One gateway and one strict provider for the whole suite."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gateway import Gateway

sys.path.insert(0, str(Path(__file__).parent))

from attacks import KEY
from hostile_config import CONFIG
from strict_provider import StrictProvider


@pytest.fixture(scope="session")
def provider() -> Iterator[StrictProvider]:
    with StrictProvider() as running:
        yield running


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: StrictProvider) -> Iterator[Gateway]:
    config = CONFIG.format(port=provider.port, key=KEY.decode())
    with Gateway(tmp_path_factory.mktemp("hostile"), config) as running:
        yield running
