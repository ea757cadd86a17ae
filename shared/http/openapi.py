"""The OpenAPI document: what FastAPI derives, with our errors, scopes and required headers on every operation."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from shared.http import idempotency, paging, problem
from shared.http.admission import Operation
from shared.http.examples import example_of

ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("BadRequest", "The request as such is malformed: a header or a cursor."),
    401: ("Unauthenticated", "No credential, or one that is unknown, revoked or expired."),
    403: ("Forbidden", "A valid credential that may not do this."),
    404: ("NotFound", "Nothing is known under this name."),
    405: ("MethodNotAllowed", "The path is served, but not with this method; see Allow."),
    408: ("TooSlow", "The body did not arrive in time."),
    409: ("Conflict", "At odds with the state of the resource, or with what was recorded before."),
    410: ("Gone", "It was here and was erased."),
    412: ("VersionMismatch", "It was changed since it was read."),
    413: ("TooLarge", "The body is longer or deeper than allowed."),
    415: ("UnsupportedMediaType", "The body is of a kind that is not read here."),
    422: ("Invalid", "Understood, and wrong; `errors` name the places."),
    428: ("PreconditionRequired", "If-Match is missing."),
    429: ("TooManyRequests", "Over a limit; see Retry-After."),
    500: ("InternalError", "Something went wrong on our side; `request_id` finds it in the logs."),
    503: ("Unavailable", "Something this needs is away; see Retry-After."),
}


_REPEATABLE = (
    "Send an `Idempotency-Key` (any text of up to 255 characters, new for every effect) to be able to repeat this safely: "
    "within 7 days the same key with the same request gives the first answer again, marked `Idempotent-Replayed: true`; "
    "with another request it is refused (422 `idempotency_key_reused`), as it is while the first one is still being "
    "carried out (409 `idempotency_key_in_use`)."
)


def document(app: FastAPI, operations: Iterable[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of one service."""
    found = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        separate_input_output_schemas=False,
    )
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas.update(_problem_schemas())
    components["responses"] = {name: _response(status, text) for status, (name, text) in ERRORS.items()}
    components["securitySchemes"] = {
        "api_key": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "rgl_…",
            "description": "An API key, issued at profile.",
        },
        "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token of the company's identity provider; with `customer_id` it is one customer's own.",
        },
    }
    for operation in operations:
        described = found["paths"].get(operation.template, {}).get(operation.method.lower())
        if described is not None:
            _complete(described, operation)
            _show_examples(described, schemas)
    for described in (operation for path in found["paths"].values() for operation in path.values()):
        _without_nul([parameter.get("schema") for parameter in described.get("parameters", ())])
        _without_nul(described.get("requestBody"))
    _without_nul([schema for name, schema in schemas.items() if not name.endswith("Out")])
    found["paths"] = dict(sorted(found["paths"].items()))
    components["schemas"] = dict(sorted(schemas.items()))
    return found


def _complete(described: dict[str, Any], operation: Operation) -> None:
    access = operation.access
    if access.public:
        described["security"] = []
    else:
        scopes = list(access.scopes)
        described["security"] = [{"api_key": scopes}, {"token": scopes}]
        described["x-scopes"] = scopes
        if access.owner:
            described["x-owner"] = access.owner
    route = operation.route
    assert isinstance(route, APIRoute)
    headers = {
        parameter["name"] for parameter in described.get("parameters", []) if parameter["in"] == "header"
    }
    calls = _calls(route.dependant)
    if idempotency.once in calls:
        described["description"] = "\n\n".join(filter(None, [described.get("description"), _REPEATABLE]))
    if idempotency.required_once in calls:
        _require("Idempotency-Key", described)
    if "If-Match" in headers and operation.method == "PATCH":
        _require("If-Match", described)
    responses = described["responses"]
    responses.pop("422", None)
    for status in _errors(operation, headers, calls):
        responses[str(status)] = {"$ref": f"#/components/responses/{ERRORS[status][0]}"}
    described["responses"] = dict(sorted(responses.items()))


def _require(header: str, described: dict[str, Any]) -> None:
    """A header without which a request is refused, if with another status than 422, is required."""
    for parameter in described["parameters"]:
        if parameter["name"] == header:
            parameter["required"] = True
            parameter["schema"] = next(
                (choice for choice in parameter["schema"].get("anyOf", ()) if choice.get("type") == "string"),
                parameter["schema"],
            )


def _without_nul(node: Any) -> None:
    """Say of every free text what holds for all of them: U+0000 is refused."""
    if isinstance(node, list):
        for item in node:
            _without_nul(item)
    elif isinstance(node, dict):
        if node.get("type") == "string" and not node.keys() & {"pattern", "format", "enum", "const"}:
            node["pattern"] = r"^[^\u0000]*$"
        for item in node.values():
            _without_nul(item)


def _show_examples(described: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    for status, response in described["responses"].items():
        for content in response.get("content", {}).values() if status.startswith("2") else ():
            if content.get("schema") and not content.keys() & {"example", "examples"}:
                content["example"] = example_of(content["schema"], schemas)


def _errors(operation: Operation, headers: set[str], calls: set[Any]) -> Iterable[int]:
    yield from (422, 429, 500, 503)
    if not operation.access.public:
        yield from (400, 401, 403)
    if "{" in operation.template or paging.page_request in calls:
        yield from (404, 410)
    if operation.method != "GET":
        yield from (404, 408, 409, 410, 413, 415)
    if "If-Match" in headers:
        yield from (412, 428)


def _calls(dependant: Dependant) -> set[Any]:
    found = {dependant.call}
    for inner in dependant.dependencies:
        found |= _calls(inner)
    return found


def _response(status: int, text: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": text,
        "content": {problem.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in (429, 503):
        described["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
        }
    return described


def _problem_schemas() -> dict[str, Any]:
    schema = problem.Problem.model_json_schema(
        ref_template="#/components/schemas/{model}", mode="serialization"
    )
    inner = schema.pop("$defs", {})
    return {"Problem": schema, **inner}
