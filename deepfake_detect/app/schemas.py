"""What the HTTP API returns, as models: they write the OpenAPI document and check the responses."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field

from deepfake_detect.app.jobs import Stage
from deepfake_detect.records import Verdict, result_schema

CLIP_DOCUMENT = {"$ref": "#/components/schemas/ClipDocument"}
"""Schema of a scored clip: that of ``result_schema()``, which every result of the library follows."""

_PREFIX = "Clip_"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Error(_Model):
    """Why a request was rejected; the body of every response with a status of 400 or above."""

    error: str = Field(description="The complete message in one line.")
    what: str = Field(description="The file, option or resource with the problem.")
    came: str = Field(description="What was received and why it is rejected.")
    allowed: str = Field(description="What would be accepted.")
    do: str = Field(description="What to do about it.")


class Outcome(_Model):
    """The outcome of a job, in short."""

    verdict: Verdict | None
    fake_probability: float | None
    headline: str | None


class JobStatus(_Model):
    """An upload and its progress."""

    id: str
    name: str = Field(description="The client's name for the file.")
    is_picture: bool = Field(description="Whether it is a still image.")
    stage: Stage
    place: int = Field(description="Position in the queue; 1 is next, 0 means not waiting.", ge=0)
    frames_done: int = Field(ge=0)
    frames_total: int = Field(description="0 if they are not counted.", ge=0)
    error: Error | None = Field(description="Why the job failed.")
    outcome: Outcome | None = Field(None, description="Present once the job is done.")


class JobResult(_Model):
    """The result of a job."""

    score: dict[str, Any]
    page: dict[str, Any] = Field(
        description="Extra content for the web page; its format can change in any version."
    )


class LimitValues(_Model):
    """The limits of the server, sizes in bytes and times in seconds."""

    max_upload_bytes: int
    max_seconds: float
    max_pixels: int
    max_waiting: int
    num_frames: int = Field(description="Number of frames scored unless a request sets it.")
    max_num_frames: int
    keep_seconds: float
    max_job_seconds: float
    max_silence_seconds: float
    max_upload_seconds: float


class Health(_Model):
    """The state of the server."""

    status: str
    version: str
    waiting: int = Field(description="Number of uploads waiting to be scored.")
    running: int = Field(description="Number of clips being scored.")
    workers: int = Field(description="Number of clips that can be scored in parallel.")
    allow_url: bool = Field(False, description="Whether clips can be given by URL.")
    limits: LimitValues


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """Return the application's OpenAPI document, with the schema of a scored clip among its components."""
    facts = {name: getattr(app, name) for name in ("title", "version", "summary", "description")}
    document = get_openapi(routes=app.routes, **facts)
    text = json.dumps(result_schema()).replace('"#/$defs/', f'"#/components/schemas/{_PREFIX}')
    schema = json.loads(text)
    definitions = {_PREFIX + name: value for name, value in schema.pop("$defs").items()}
    del schema["$schema"]
    components = document["components"]["schemas"]
    components |= {"ClipDocument": schema, **definitions}
    components["JobResult"]["properties"]["score"] = CLIP_DOCUMENT
    _drop_foreign_errors(document)
    return document


def _drop_foreign_errors(document: dict[str, Any]) -> None:
    """Remove the validation errors that FastAPI describes for every parameter: here all are of one form."""
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    for operation in (one for methods in document["paths"].values() for one in methods.values()):
        if "HTTPValidationError" in json.dumps(operation["responses"].get("422", {})):
            del operation["responses"]["422"]
