"""Schemathesis on the OpenAPI document of a running collector: no 500, no answer the document does not tell."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import HealthCheck, settings

from tests.support.collector_process import CollectorProcess

schemathesis = pytest.importorskip("schemathesis")
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    with CollectorProcess(tmp_path_factory.mktemp("home"), "--no-guards") as running:
        yield running


@pytest.fixture(scope="module")
def document(collector):
    return schemathesis.openapi.from_url(f"{collector.url}/openapi.json")


def test_the_document_is_valid(document):
    document.validate()


def test_every_answer_is_a_told_one(document, collector):
    operations = [result.ok() for result in document.get_all_operations()]
    assert {o.path for o in operations} | {"/openapi.json"} == set(document.raw_schema["paths"])
    for operation in operations:
        if "{monitor}" in operation.path:
            fuzz(operation, monitor="m")
        fuzz(operation)
    assert collector.metric('sightline_collector_responses_total{format="inferences",status="200"}') > 0
    assert collector.metric('sightline_collector_responses_total{format="inferences",status="500"}') == 0


def fuzz(operation, monitor: str | None = None) -> None:
    """Send what the document allows and what it does not, and compare status, headers and body with the document."""

    def send(case) -> None:
        if monitor is not None:
            case.path_parameters = {**(case.path_parameters or {}), "monitor": monitor}
        response = case.call()
        assert response.status_code != 500
        case.validate_response(
            response,
            checks=[
                schemathesis.checks.not_a_server_error,
                schemathesis.specs.openapi.checks.status_code_conformance,
                schemathesis.specs.openapi.checks.response_schema_conformance,
                schemathesis.specs.openapi.checks.content_type_conformance,
            ],
        )

    strategy = operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
    from hypothesis import given

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings(
            max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
        )(given(strategy)(send))()
