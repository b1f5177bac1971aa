"""The OpenAPI document, written from the same models that check the requests."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

import features
from serving.schemas import ErrorAnswer, ModelInfo, PredictRequest, PredictResponse

ERRORS: Final = {
    400: "The body is not JSON.",
    401: "The API key is missing or wrong.",
    413: "The body or the number of customers is above the limit.",
    422: "The request has an unusable field, or asks for a horizon that was not fitted.",
    503: "No model is loaded, or the service is stopping.",
    504: "The deadline has passed.",
}

EXAMPLE: Final = {
    "customers": [
        {
            "customer_id": "anna@example.com",
            "orders": [
                {"ordered_at": "2024-01-05T09:30:00Z", "amount": 30.0},
                {"ordered_at": "2024-02-11T18:02:00Z", "amount": 42.5},
            ],
        }
    ],
    "as_of": "2024-03-01",
}


def document() -> dict[str, Any]:
    """OpenAPI 3.1: our routes and BentoML's health checks."""
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (PredictRequest, "validation"),
        (PredictResponse, "serialization"),
        (ModelInfo, "serialization"),
        (ErrorAnswer, "serialization"),
    ]
    refs, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")

    def body(schema: type[BaseModel], mode: JsonSchemaMode, description: str) -> dict[str, Any]:
        return {
            "description": description,
            "content": {"application/json": {"schema": refs[schema, mode]}},
        }

    errors = {str(status): body(ErrorAnswer, "serialization", text) for status, text in ERRORS.items()}
    content = {
        "application/json": {
            "schema": refs[PredictRequest, "validation"],
            "example": EXAMPLE,
        }
    }
    plain = {"200": {"description": "yes"}, "503": {"description": "no"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Predictive CLV",
            "version": features.__version__,
            "description": "Predicted customer lifetime value of customers, from their orders.",
        },
        "security": [{"bearer": []}, {}],
        "paths": {
            "/v1/predict": {
                "post": {
                    "operationId": "predict",
                    "summary": "Predict what customers will be worth, from their raw orders.",
                    "requestBody": {"required": True, "content": content},
                    "responses": {
                        "200": body(PredictResponse, "serialization", "One entry per customer."),
                        **errors,
                    },
                }
            },
            "/v1/model": {
                "get": {
                    "operationId": "model",
                    "summary": "Which model answers.",
                    "responses": {
                        "200": body(ModelInfo, "serialization", "The loaded model."),
                        "401": errors["401"],
                        "503": errors["503"],
                    },
                }
            },
            "/livez": {
                "get": {
                    "operationId": "livez",
                    "summary": "Is the process up?",
                    "responses": plain,
                }
            },
            "/readyz": {
                "get": {
                    "operationId": "readyz",
                    "summary": "Is a model loaded?",
                    "responses": plain,
                }
            },
            "/metrics": {
                "get": {
                    "operationId": "metrics",
                    "responses": {"200": {"description": "Prometheus text"}},
                }
            },
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }
