"""An example of what a schema describes, where nobody gave one: for the readers of the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

_BY_FORMAT: Mapping[str, Any] = {
    "uuid": "019d1c7a-3b5e-7f00-8a53-2f6c1d9be401",
    "date-time": "2026-11-20T10:00:00Z",
    "date": "2026-11-20",
    "email": "wang.fang@example.com",
    "uri": "https://example.com/",
    "duration": "PT1H",
    "decimal": "2.55",
}
_BY_NAME: Mapping[str, Any] = {
    "name": "Wang Fang", "code": "gold", "currency": "CNY", "country": "CN", "language": "zh", "source": "shop",
    "external_id": "17850", "sku": "85123A", "time_zone": "Asia/Shanghai", "channel": "web", "status": "ok",
}  # fmt: skip
_DEEPEST = 8


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value that ``schema`` allows; ``schemas`` are the document's components, ``name`` is the field's."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas, name, depth)
    for given in (
        schema.get("examples"),
        schema.get("enum"),
        [schema["const"]] if "const" in schema else None,
    ):
        if given:
            return given[0]
    if "default" in schema and schema["default"] not in (None, [], {}):
        return schema["default"]
    if "allOf" in schema and len(schema["allOf"]) == 1:
        return example_of(schema["allOf"][0], schemas, name, depth)
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        some = [choice for choice in choices if choice.get("type") != "null"]
        return example_of(some[0], schemas, name, depth) if some and depth < _DEEPEST else None
    return _of_type(schema, schemas, name, depth)


def _of_type(schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str, depth: int) -> Any:
    match schema.get("type"):
        case "object":
            return {
                field: example_of(inner, schemas, field, depth + 1)
                for field, inner in schema.get("properties", {}).items()
                if depth < _DEEPEST or field in schema.get("required", ())
            }
        case "array":
            if "prefixItems" in schema:
                return [example_of(inner, schemas, name, depth + 1) for inner in schema["prefixItems"]]
            if depth >= _DEEPEST and not schema.get("minItems"):
                return []
            count = max(1, schema.get("minItems", 1))
            return [example_of(schema.get("items", {}), schemas, name, depth + 1)] * count
        case "integer" | "number":
            lowest = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
            return max(lowest, min(42, schema.get("maximum", 42)))
        case "boolean":
            return True
        case "string":
            return _text(schema, name)
    return {} if schema.get("additionalProperties") else "…"


def _text(schema: Mapping[str, Any], name: str) -> str:
    text = str(_BY_FORMAT.get(schema.get("format", ""), _BY_NAME.get(name, "…")))
    if name.endswith(("_at", "_since")) and "format" not in schema:
        text = "2026-11-20T10:00:00Z"
    return text[: schema.get("maxLength", 1000)].ljust(schema.get("minLength", 0), "x")
