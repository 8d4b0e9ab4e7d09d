"""The OpenAPI document, made from the endpoints. Pure."""

from collections.abc import Mapping
from typing import Any

from hub import __version__
from hub.api.endpoints import Endpoint
from hub.api.parameters import MOST_ROWS, USUAL_ROWS
from hub.api.queries import STATES

_TEXT = {"type": "string", "minLength": 1, "maxLength": 64}
_TIME = {"type": "string", "description": "ISO 8601; UTC where it names no zone"}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "bot": _TEXT,
    "symbol": _TEXT,
    "from": _TIME,
    "to": _TIME,
    "limit": {"type": "integer", "minimum": 1, "maximum": MOST_ROWS, "default": USUAL_ROWS},
    "after": {"type": "string", "description": "`next` of the page before"},
    "state": {"type": "string", "enum": ["live", *STATES.values()]},
    "mode": {"type": "string", "enum": ["paper", "live"]},
    "kind": {"type": "string", "enum": ["kill_switch", "pause", "acknowledgement"]},
}
_NEEDED = {
    "/api/v1/equity": ("bot", "symbol"),
    "/api/v1/candles": ("bot", "symbol"),
}
_ERRORS = {
    "400": "A parameter is not allowed.",
    "401": "The token is missing or wrong.",
    "503": "The database or the archive does not answer.",
}


def document(endpoints: Mapping[str, Endpoint]) -> dict[str, Any]:
    """The document.

    Args:
        endpoints: by path.
    """
    paths = {path: {"get": _operation(path, one)} for path, one in endpoints.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gridberry hub", "version": __version__},
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}},
                }
            },
        },
        "security": [{"bearer": []}],
    }


def _operation(path: str, endpoint: Endpoint) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "operationId": path.rpartition("/")[2],
        "summary": endpoint.summary,
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": name in _NEEDED.get(path, ()),
                "schema": _SCHEMAS[name],
            }
            for name in endpoint.parameters
        ],
        "responses": {
            "200": {
                "description": "Amounts are exact texts, times Unix milliseconds.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **{code: {"description": text, "content": error} for code, text in _ERRORS.items()},
        },
    }
