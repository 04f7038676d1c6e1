"""The routes of the page and of the HTTP API."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from deepfake_detect._version import __version__
from deepfake_detect.app.annotated import annotated_clip
from deepfake_detect.app.fair_queue import Owner
from deepfake_detect.app.guard import Guard, HostNames
from deepfake_detect.app.http import AccessLog
from deepfake_detect.app.jobs import Job, JobStore, ScoredClip, Scorer
from deepfake_detect.app.links import fetch_upload
from deepfake_detect.app.options import Limits
from deepfake_detect.app.request_errors import RequestError, internal_error
from deepfake_detect.app.schemas import CLIP_DOCUMENT, Error, Health, JobResult, JobStatus, openapi_document
from deepfake_detect.app.uploads import FIELD, Body, receive_upload

API_PREFIX = "/v1"
_COOKIE = "client"
_EXPIRE_SECONDS = 5.0
_PAGE, _REPORT = "app/page", "report/templates"  # chart and boxes are those of the report
_PAGE_FILES = {
    "/": (_PAGE, "index.html", "text/html; charset=utf-8"),
    "/app.css": (_PAGE, "app.css", "text/css; charset=utf-8"),
    "/app.js": (_PAGE, "app.js", "text/javascript; charset=utf-8"),
    "/clip_parts.css": (_REPORT, "clip_parts.css", "text/css; charset=utf-8"),
    "/timeline.js": (_REPORT, "timeline.js", "text/javascript; charset=utf-8"),
}
_FORM_SCHEMA = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {FIELD: {"type": "string", "format": "binary"}},
            }
        }
    },
}
_ERRORS = {
    400: "The form is malformed, or its file is empty.",
    403: "The request comes from another page, or is for another host.",
    404: "There is no such job, or it was deleted.",
    408: "The body is sent too slowly.",
    405: "The address has no such method.",
    409: "The job is not finished.",
    410: "The job was deleted while it waited.",
    413: "The file is too large.",
    416: "The file has no such range.",
    415: "The body is not a form, or the file is not a supported video or image.",
    422: "The file cannot be scored, or `frames` is out of range.",
    500: "The program failed.",
    503: "The queue is full; try again after `Retry-After` seconds.",
    507: "The disk is full.",
}


def create_app(
    scorers: Sequence[Scorer],
    *,
    limits: Limits,
    folder: Path,
    names: HostNames,
    allow_url: bool = False,
    on_start: Callable[[], None] = lambda: None,
) -> FastAPI:
    """Return the application.

    Args:
        scorers: Score the clips, one each at a time; closed when the application ends.
        limits: Limits to enforce.
        folder: An empty folder for uploads; deleted when the application ends.
        names: Host names of accepted requests.
        allow_url: Whether clips at URLs are scored, see :mod:`links`.
        on_start: Called when requests are accepted.
    """
    page = _page_files()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        jobs = JobStore(scorers, limits, folder)
        app.state.jobs = jobs
        expiry = asyncio.create_task(_expire(jobs))
        on_start()
        try:
            yield
        finally:
            expiry.cancel()
            await asyncio.to_thread(jobs.close)

    app = FastAPI(
        title="deepfake_detect",
        version=__version__,
        summary="Detects deepfaked faces in videos and images. Runs on this computer; nothing leaves it.",
        description=_description(limits),
        lifespan=lifespan,
        # FastAPI's own pages load scripts from the network.
        docs_url=None,
        redoc_url=None,
        # Off, whatever the environment variables say.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.add_middleware(Guard, names=names)
    app.add_middleware(AccessLog)
    app.add_exception_handler(RequestError, _respond_with_error)
    app.add_exception_handler(RequestValidationError, _respond_to_bad_query)
    app.add_exception_handler(HTTPException, _respond_to_bad_address)
    app.add_exception_handler(Exception, _respond_to_bug)
    app.add_exception_handler(ClientDisconnect, _respond_to_nobody)
    for path, (content, kind) in page.items():
        app.add_api_route(path, _static(content, kind), methods=["GET", "HEAD"], include_in_schema=False)
    api = APIRouter(prefix=API_PREFIX)
    _add_interface(api, limits, allow_url=allow_url)
    _add_jobs(api, limits)
    if allow_url:
        _add_links(api, limits)
    _add_results(api)
    app.include_router(api)
    app.openapi = lambda: openapi_document(app)  # type: ignore[method-assign]
    return app


def _add_interface(app: APIRouter, limits: Limits, *, allow_url: bool) -> None:
    """Add the routes for programs: /score and /health."""
    frames_query = _frames_query(limits)

    @app.post(
        "/score",
        openapi_extra={"requestBody": _FORM_SCHEMA},
        responses={200: _json(CLIP_DOCUMENT), **_errors(400, 413, 415, 422)},
    )
    async def score(request: Request, frames: int = frames_query) -> JSONResponse:
        """Score a clip and return the JSON of `score_video --json`; the upload is deleted."""
        body = _body(request)
        job = await _accept(request, body, num_frames=frames, wants_page=False)
        try:
            clip = await _outcome(job, body)
        finally:
            _jobs(request).delete(job)
        return JSONResponse(clip.score)

    @app.get("/health", response_model=Health, responses=_errors())
    async def health(request: Request) -> dict[str, Any]:
        """Return the server's state: its version, numbers of waiting and running uploads, and limits."""
        return {
            "status": "ok",
            "version": __version__,
            **_jobs(request).counts(),
            "limits": limits.to_dict(),
            "allow_url": allow_url,
        }


def _add_jobs(app: APIRouter, limits: Limits) -> None:
    """Add the routes for the page: an upload, its progress, its deletion."""
    frames_query = _frames_query(limits)

    @app.post(
        "/jobs",
        status_code=202,
        response_model=JobStatus,
        openapi_extra={"requestBody": _FORM_SCHEMA},
        responses=_errors(400, 413, 415, 422),
    )
    async def submit(request: Request, frames: int = frames_query) -> dict[str, Any]:
        """Accept a clip and return the job's id; the upload is kept for the player."""
        job = await _accept(request, _body(request), num_frames=frames, wants_page=True)
        return _jobs(request).status(job)

    @app.get("/jobs/{job_id}", response_model=JobStatus, responses=_errors(404))
    async def status(request: Request, job_id: str) -> dict[str, Any]:
        """Return a job's stage, its position in the queue (1 is next), and frames done."""
        jobs = _jobs(request)
        return jobs.status(jobs.find(job_id))

    @app.delete("/jobs/{job_id}", status_code=204, responses=_errors(404))
    async def delete(request: Request, job_id: str) -> Response:
        """Delete a job and its upload."""
        jobs = _jobs(request)
        jobs.delete(jobs.find(job_id))
        return Response(status_code=204)

    @app.post("/jobs/{job_id}/leave", status_code=204, responses=_errors(404))
    async def leave(request: Request, job_id: str) -> Response:
        """Delete a job after a few seconds unless it is requested again: its page was closed or reloaded."""
        jobs = _jobs(request)
        jobs.leave(jobs.find(job_id))
        return Response(status_code=204)


def _add_links(app: APIRouter, limits: Limits) -> None:
    """Add the route for a clip at a URL."""
    frames_query = _frames_query(limits)
    url_query = Query(max_length=2000, description="HTTP or HTTPS URL of a clip.")

    @app.post("/links", status_code=202, response_model=JobStatus, responses=_errors(413, 415, 422))
    async def submit_link(
        request: Request, url: str = url_query, frames: int = frames_query
    ) -> dict[str, Any]:
        """Download the clip at a URL and return the job's id; it is kept for the player."""
        jobs, owner = _jobs(request), _owner(request)
        with jobs.reserve_slot(owner):
            upload = await asyncio.to_thread(fetch_upload, url, jobs.folder, jobs.limits)
            job = jobs.submit(owner, upload, num_frames=frames, wants_page=True)
        return jobs.status(job)


def _add_results(app: APIRouter) -> None:
    """Add the routes for a finished job."""

    @app.get("/jobs/{job_id}/result", response_model=JobResult, responses=_errors(404, 409, 422))
    async def result(request: Request, job_id: str) -> dict[str, Any]:
        """Return `score`, the JSON of `score_video --json`, and `page`, extra content for the page."""
        clip = _finished(_jobs(request).find(job_id))
        return {"score": clip.score, "page": clip.page}

    @app.get(
        "/jobs/{job_id}/report.html",
        response_class=HTMLResponse,
        responses=_errors(404, 409, 422),
    )
    async def report(request: Request, job_id: str) -> Response:
        """Return the self-contained report as a download."""
        clip = _finished(_jobs(request).find(job_id))
        headers = {
            "content-disposition": "attachment",
            "content-security-policy": "sandbox; default-src 'none'",
        }
        return HTMLResponse(clip.report_html, headers=headers)

    @app.get(
        "/jobs/{job_id}/annotated.mp4", response_class=FileResponse, responses=_errors(404, 409, 416, 422)
    )
    async def annotated(request: Request, job_id: str) -> Response:
        """Return the clip with a numbered box around each face; it is made on request."""
        job = _jobs(request).find(job_id)
        _finished(job)
        limit = _jobs(request).limits.max_job_seconds
        path = await asyncio.to_thread(annotated_clip, job, max_seconds=limit)
        return _ClipResponse(path, media_type="video/mp4")

    @app.get("/jobs/{job_id}/video", response_class=FileResponse, responses=_errors(404, 416))
    async def video(request: Request, job_id: str) -> Response:
        """Return the job's upload, or a range of it."""
        upload = _jobs(request).find(job_id).upload
        if not upload.path.exists():
            raise RequestError("upload", "was deleted", "upload the clip again", "an existing clip", 404)
        return _ClipResponse(upload.path, media_type=upload.kind.mime)


class _ClipResponse(FileResponse):
    """A file, whose errors about ranges have the form of all errors."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rejected: Response | None = None

        async def send_json(message: Message) -> None:
            nonlocal rejected
            if message["type"] == "http.response.start" and message["status"] >= 400:
                headers = Headers(raw=message["headers"])
                allowed = f"ranges of {headers.get('content-range', 'bytes')}"
                error = RequestError(
                    "range", "is not of this file", "ask for less", allowed, message["status"]
                )
                rejected = JSONResponse(error.to_dict(), error.status)
                rejected.headers.update({k: v for k, v in headers.items() if k == "content-range"})
            if rejected is None:
                await send(message)

        await super().__call__(scope, receive, send_json)
        if rejected is not None:
            await rejected(scope, receive, send)


async def _accept(request: Request, body: Body, *, num_frames: int, wants_page: bool) -> Job:
    jobs = _jobs(request)
    owner = _owner(request)
    # After an error the server reads the rest of the body, so that the client receives the response.
    with jobs.reserve_slot(owner):
        upload = await receive_upload(body, request.headers, jobs.folder, jobs.limits)
        return jobs.submit(owner, upload, num_frames=num_frames, wants_page=wants_page)


def _owner(request: Request) -> Owner:
    return Owner(request.client.host if request.client else "", request.cookies.get(_COOKIE, ""))


async def _outcome(job: Job, body: Body) -> ScoredClip:
    """Wait for a job for as long as its client does.

    Raises:
        ClientDisconnect: The client has disconnected.
        RequestError: The clip cannot be scored.
    """
    finished = asyncio.wrap_future(job.outcome)
    gone: asyncio.Future[None] = asyncio.ensure_future(body.until_gone())
    try:
        waited: set[asyncio.Future[Any]] = {finished, gone}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not finished.done():
            raise ClientDisconnect
        return finished.result()
    finally:
        gone.cancel()
        finished.cancel()


def _finished(job: Job) -> ScoredClip:
    if not job.outcome.done():
        raise RequestError(
            "job", f"is not finished ({job.progress.stage})", "try again later", "a finished job", 409
        )
    return job.outcome.result()


async def _expire(jobs: JobStore) -> None:
    with suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(_EXPIRE_SECONDS)
            await asyncio.to_thread(jobs.expire)


def _jobs(request: Request) -> JobStore:
    jobs: JobStore = request.app.state.jobs
    return jobs


def _body(request: Request) -> Body:
    limits = _jobs(request).limits
    return Body(
        request.receive,
        max_silence_seconds=limits.max_silence_seconds,
        max_seconds=limits.max_upload_seconds,
    )


def _frames_query(limits: Limits) -> Any:
    words = f"Evenly spaced frames to score, 1 to {limits.max_num_frames}; all if the clip has fewer."
    return Query(limits.num_frames, ge=1, le=limits.max_num_frames, description=words)


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    always = (403, 408, 500, 503, 507) if 413 in statuses else (403, 500)
    return {status: {"model": Error, "description": _ERRORS[status]} for status in (*statuses, *always)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "The result.", "content": {"application/json": {"schema": schema}}}


def _description(limits: Limits) -> str:
    return (
        f"Accepts {limits.sentence()}. At most {limits.max_waiting} uploads wait at once; their clients take "
        f"turns. An upload to `/v1/score` is deleted with its response; one to `/v1/jobs` when the job is "
        f"deleted, or {limits.keep_minutes:g} minutes after scoring. File names are for display; nothing a "
        "request names is opened."
    )


def _page_files() -> dict[str, tuple[bytes, str]]:
    package = resources.files("deepfake_detect")
    return {
        path: ((package / folder / name).read_bytes(), kind)
        for path, (folder, name, kind) in _PAGE_FILES.items()
    }


def _static(content: bytes, kind: str) -> Callable[[Request], Response]:
    def respond(request: Request) -> Response:
        response = Response(content, media_type=kind)
        if _COOKIE not in request.cookies:
            response.set_cookie(_COOKIE, secrets.token_urlsafe(16), httponly=True, samesite="strict")
        return response

    return respond


async def _respond_with_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    wait = error.retry_after_seconds
    headers = {} if wait is None else {"retry-after": str(wait)}
    return JSONResponse(error.to_dict(), status_code=error.status, headers=headers)


async def _respond_to_bad_query(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    rejected = RequestError(name, f"is {str(first['input'])[:80]!r}", "pass another", str(first["msg"]), 422)
    return await _respond_with_error(request, rejected)


async def _respond_to_bad_address(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    cause = f"{request.method} {request.url.path[:80]!r} is unknown ({error.detail})"
    allowed = "the addresses and methods of /openapi.json"
    rejected = RequestError("request", cause, "check the address", allowed, error.status_code)
    return await _respond_with_error(request, rejected)


async def _respond_to_bug(request: Request, error: Exception) -> JSONResponse:
    return await _respond_with_error(request, internal_error(error, name="request", allowed="any request"))


async def _respond_to_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # the client is gone; the framework still needs a response
