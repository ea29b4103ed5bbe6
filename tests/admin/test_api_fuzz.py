"""schemathesis, from the API's own description: what it may be sent, what it may answer, and what must be refused."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from support.admin import ADMIN, CONFIG, TOKENS, Caller, records, with_records

from gateway.admin.openapi import describe

PROVE = bool(os.environ.get("PROVE"))
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
SCHEMA = schemathesis.openapi.from_dict(describe())


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A gateway of its own, because it is changed at random."""
    with with_records(tmp_path_factory.mktemp("fuzzed"), TOKENS + CONFIG, records()) as gateway:
        yield Caller(gateway, {"Authorization": f"Bearer {ADMIN}"})


@pytest.mark.prove
@SCHEMA.parametrize()
@settings(
    max_examples=150 if PROVE else 12, deadline=None, derandomize=not PROVE, suppress_health_check=list(HealthCheck)
)
def test_whatever_is_sent_the_answer_is_as_described(fuzzed: Caller, case: schemathesis.Case) -> None:
    case.call_and_validate(base_url=fuzzed.gateway.admin, headers=fuzzed.headers, checks=CHECKS)


@pytest.mark.parametrize(
    ("method", "path"), [(method, path) for path, methods in describe()["paths"].items() for method in methods]
)
def test_without_a_token_no_operation_answers(fuzzed: Caller, method: str, path: str) -> None:
    answered = Caller(fuzzed.gateway)(method.upper(), path.replace("{", "").replace("}", ""))
    assert answered.status == 401
    assert answered.headers["Content-Type"] == "application/problem+json"
