"""What every OpenAPI document must say, so that people can read it and clients can be generated from it."""

import json
import re

import pytest
from jsonschema import Draft202012Validator

from shared.http.app import new_app
from tests.conftest import settings_for
from tests.contracts.members import SERVICES

METHODS = {"get", "put", "post", "patch", "delete"}


@pytest.fixture(scope="module", params=SERVICES, ids=lambda service: service.name)
def document(request):
    settings, _ = settings_for(request.param, "postgresql://nowhere")
    return request.param.name, new_app(request.param, settings, sessions=None).openapi()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield path, method, operation


def test_every_operation_has_a_name_of_its_own_one_tag_and_a_summary(document):
    name, document = document
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids)) > 10
    for path, _, operation in operations(document):
        assert path.startswith(f"/{name}/")
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", operation["operationId"]), operation["operationId"]
        assert len(operation["tags"]) == 1
        assert 0 < len(operation["summary"]) <= 120
        assert not operation["summary"].endswith(".")


def test_every_operation_says_who_may_use_it_and_what_can_go_wrong(document):
    _, document = document
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        errors = {status for status in operation["responses"] if not status.startswith(("2", "3"))}
        assert {"422", "429", "500", "503"} <= errors, where
        if operation["security"]:
            assert operation["x-scopes"], where
            assert all(
                scheme == operation["x-scopes"] for one in operation["security"] for scheme in one.values()
            )
            assert {"401", "403"} <= errors, where
        if "{" in path:
            assert "404" in errors, where
        if operation.get("requestBody"):
            assert {"413", "415"} <= errors, where
        for status in errors:
            shown = operation["responses"][status]
            shown = resolved(document, shown)
            assert list(shown["content"]) == ["application/problem+json"], where
        assert any(status.startswith("2") for status in operation["responses"]), where


def test_every_operation_shows_an_example(document):
    _, document = document
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            for content in resolved(document, response).get("content", {}).values():
                if status.startswith("2") and "schema" in content:
                    shown = content.get(
                        "example", next(iter(content.get("examples", {}).values()), {}).get("value")
                    )
                    assert shown is not None, f"{method} {path}"
                    schema = {**content["schema"], "components": document["components"]}
                    Draft202012Validator(schema).validate(shown)


def test_every_reference_leads_somewhere_and_every_schema_is_used(document):
    _, document = document
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    references = set(re.findall(r'"\$ref": "([^"]+)"', text))
    for reference in references:
        resolved(document, {"$ref": reference})
    unused = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]} - references
    assert unused == set()


def test_every_schema_is_a_schema(document):
    _, document = document
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def resolved(document, shown):
    while "$ref" in shown:
        found = document
        for step in shown["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        shown = found
    return shown
