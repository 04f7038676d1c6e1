"""The tables of the HTTP API's page, from the OpenAPI document of the application."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepfake_detect.app.guard import HostNames
from deepfake_detect.app.options import Limits
from deepfake_detect.app.server import create_app

# The clip's document has its own schema and table, in scoring.md.
_OWN_MODELS = ("Health", "LimitValues", "JobStatus", "Outcome", "JobResult", "Error")


def http_tables() -> dict[str, str]:
    """Return the tables by the name of their place in the page."""
    app = create_app(
        [], limits=Limits(), folder=Path("uploads"), names=HostNames("127.0.0.1"), allow_url=True
    )
    document = app.openapi()
    schemas = document["components"]["schemas"]
    return {
        "routes": "\n".join(_routes(document["paths"])),
        "statuses": "\n".join(_statuses(document["paths"])),
        "models": "\n\n".join(_model(name, schemas[name]) for name in _OWN_MODELS),
    }


def _operations(paths: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _routes(paths: Mapping[str, Any]) -> Iterator[str]:
    yield "| request | what it does | parameters | statuses |"
    yield "|---|---|---|---|"
    for method, path, operation in _operations(paths):
        names = [_parameter(one) for one in operation.get("parameters", ()) if one["in"] == "query"]
        if "requestBody" in operation:
            names.insert(0, "form field `file`")
        what = operation["description"].partition("\n\n")[0].replace("\n", " ")
        codes = ", ".join(sorted(operation["responses"]))
        yield f"| `{method} {path}` | {what} | {', '.join(names)} | {codes} |"


def _parameter(parameter: Mapping[str, Any]) -> str:
    schema = parameter["schema"]
    bounds = f", {schema['minimum']} to {schema['maximum']}" if "maximum" in schema else ""
    default = f" (default {schema['default']}{bounds})" if "default" in schema else ""
    return f"`{parameter['name']}`{default}"


def _statuses(paths: Mapping[str, Any]) -> Iterator[str]:
    found = {
        code: response["description"]
        for _, _, operation in _operations(paths)
        for code, response in operation["responses"].items()
        if code >= "400"
    }
    yield "| status | meaning |"
    yield "|---|---|"
    for code in sorted(found):
        yield f"| {code} | {found[code]} |"


def _model(name: str, schema: Mapping[str, Any]) -> str:
    lines = [f"**{name}**: {schema['description']}", "", "| key | type | meaning |", "|---|---|---|"]
    for key, field in schema["properties"].items():
        lines.append(f"| `{key}` | {_type(field)} | {field.get('description', '')} |")
    return "\n".join(lines)


def _type(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(map(_type, field["anyOf"]))
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    return str(field.get("type", "any"))
