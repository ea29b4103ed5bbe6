"""One gateway in front of one replay server for all SDK tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import corpus
import pytest
import trustme
from support.gateway import Gateway
from support.replay import KEY, replay


@pytest.fixture(scope="module", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All is plain HTTP on loopback here, but each SDK's client reads the whole file of authorities: a short one."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        yield


@pytest.fixture(scope="session")
def upstream() -> Iterator[replay]:
    with replay({case.id: case for case in corpus.cases()}) as running:
        yield running


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: replay) -> Iterator[Gateway]:
    directory: Path = tmp_path_factory.mktemp("sdk")
    providers = "".join(
        f'[providers.{kind}]\nkind = "{kind}"\nbase_url = "{upstream.url}"\napi_key = "sk-real-{kind}-secret"\n'
        for kind in ("openai", "anthropic", "gemini")
    )
    config = f"""
{providers}
[[keys]]
id = "sdk"
secret = "{KEY}"
team = "research"
workflow = "evals"

[[keys]]
id = "poor"
secret = "sk-test-poor-key"
team = "poor"
workflow = "evals"

[[keys]]
id = "narrow"
secret = "sk-test-narrow-key"
team = "narrow"
workflow = "evals"
models = ["none-*"]

[[quotas]]
name = "poor-total"
match = {{ team = "poor" }}
usd = 0.0
window = "total"
"""
    with Gateway(directory, config) as running:
        yield running
