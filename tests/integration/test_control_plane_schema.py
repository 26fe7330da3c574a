"""Generated requests over the served OpenAPI document: no crash, no answer that it does not name."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode

from tests.fixtures.installation import Installation

pytestmark = pytest.mark.slow

EXAMPLES = 3
# Streams do not end by themselves; signing out would end the campaign's own token; signing in is
# braked after some failures.
LEFT_OUT = {"streamEvents", "streamSessionEvents", "signOut", "signIn"}
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)


@pytest.fixture(scope="module")
def session(installation: Installation) -> Iterator[requests.Session]:
    """HTTP with the administrator's token."""
    with requests.Session() as made:
        made.trust_env = False  # an authority named in the environment would win
        made.headers["Authorization"] = f"Bearer {installation.token}"
        yield made


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_generated_requests(
    installation: Installation, session: requests.Session, mode: GenerationMode
) -> None:
    """Every operation, with requests that fit the document and with requests that do not."""
    load_all_checks()
    authority = str(installation.data_dir / "ca" / "ca.pem")
    checks = [CHECKS.get_one(name) for name in CHECKED]
    document = installation.call("GET", "/api/v1/openapi.json").json
    schema = schemathesis.openapi.from_dict(document)
    tried = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        name = operation.definition.raw["operationId"]
        if name in LEFT_OUT or not _possible(operation, mode):
            continue

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(mode))
        def campaign(case: Any) -> None:
            response = case.call(base_url=installation.url, session=session, verify=authority)
            case.validate_response(response, checks=checks)

        campaign()
        tried.add(name)
    assert len(tried) > 15
    assert installation.call("GET", "/api/v1/health").status == 200


def _possible(operation: Any, mode: GenerationMode) -> bool:
    """What takes no input cannot be wrong."""
    return mode is GenerationMode.POSITIVE or bool(
        list(operation.iter_parameters()) or operation.body
    )
