"""The addresses of the page and of the HTTP interface, put together."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect

from deepfake_detect._version import __version__
from deepfake_detect.app.fair_queue import Owner
from deepfake_detect.app.guard import Guard, HostNames
from deepfake_detect.app.jobs import Job, JobBook, ScoredClip, Scorer
from deepfake_detect.app.limits import Limits
from deepfake_detect.app.refusals import Refusal
from deepfake_detect.app.uploads import FIELD, Body, receive_upload

_COOKIE = "client"
_EXPIRE_SECONDS = 5.0
_PAGE_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.css": ("app.css", "text/css; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/timeline.js": ("timeline.js", "text/javascript; charset=utf-8"),
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
_REFUSAL_SCHEMA = {
    "type": "object",
    "required": ["error", "what", "came", "allowed", "do"],
    "properties": {
        "error": {"type": "string", "description": "All of it in one line."},
        "what": {"type": "string", "description": "What it is about."},
        "came": {"type": "string", "description": "What came and why it is not served."},
        "allowed": {"type": "string", "description": "What would be served."},
        "do": {"type": "string", "description": "What to do about it."},
    },
}
_REFUSALS = {
    400: "The form is malformed, or its file is empty.",
    403: "The request comes from another page, or is for another host.",
    404: "No such job, or no longer.",
    408: "The body comes too slowly.",
    409: "The job is not done.",
    410: "The job was deleted while it waited.",
    413: "The file is too large.",
    415: "The body is no form, or the file no known video or picture.",
    422: "The file cannot be judged, or `frames` is out of range.",
    503: "The queue is full; `Retry-After` says when to ask again.",
    507: "The disk is full.",
}


def create_app(
    scorer: Scorer,
    *,
    limits: Limits,
    folder: Path,
    names: HostNames,
    on_start: Callable[[], None] = lambda: None,
) -> FastAPI:
    """Return the application.

    Args:
        scorer: Who judges; closed when the application ends.
        limits: Which to keep.
        folder: An empty folder for uploads; deleted when the application ends.
        names: Under which requests may come.
        on_start: Called when requests can be served.
    """
    page = _page_files()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        book = JobBook(scorer, limits, folder)
        app.state.book = book
        expiry = asyncio.create_task(_expire(book))
        on_start()
        try:
            yield
        finally:
            expiry.cancel()
            await asyncio.to_thread(book.close)

    app = FastAPI(
        title="deepfake_detect",
        version=__version__,
        summary="Tells whether the faces in a clip were forged. Runs on this computer; nothing leaves it.",
        description=_description(limits),
        lifespan=lifespan,
        # Their pages fetch scripts from the network.
        docs_url=None,
        redoc_url=None,
        # Nothing is told to anybody, whatever the environment asks for.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.add_middleware(Guard, names=names)
    app.add_exception_handler(Refusal, _answer_refusal)
    app.add_exception_handler(RequestValidationError, _answer_bad_query)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    for path, (content, kind) in page.items():
        app.add_api_route(path, _static(content, kind), methods=["GET", "HEAD"], include_in_schema=False)
    _add_interface(app, limits)
    _add_jobs(app, limits)
    _add_results(app)
    return app


def _add_interface(app: FastAPI, limits: Limits) -> None:
    """Add what programs use: /score and /health."""
    frames_query = _frames_query(limits)

    @app.post("/score", openapi_extra={"requestBody": _FORM_SCHEMA}, responses=_refusals(400, 413, 415, 422))
    async def score(request: Request, frames: int = frames_query) -> JSONResponse:
        """Judge a clip and answer with its JSON, that of `score_video --json`; the upload is deleted."""
        body = _body(request)
        job = await _take_in(request, body, num_frames=frames, wants_page=False)
        try:
            clip = await _outcome(job, body)
        finally:
            _book(request).drop(job)
        return JSONResponse(clip.score)

    @app.get("/health")
    async def health(request: Request) -> dict[str, Any]:
        """Tell that the server lives, how many uploads wait, and its limits."""
        return {
            "status": "ok",
            "version": __version__,
            **_book(request).counts(),
            "limits": vars(limits),
        }


def _add_jobs(app: FastAPI, limits: Limits) -> None:
    """Add what the page uses: an upload that is followed and deleted."""
    frames_query = _frames_query(limits)

    @app.post(
        "/jobs",
        status_code=202,
        openapi_extra={"requestBody": _FORM_SCHEMA},
        responses=_refusals(400, 413, 415, 422),
    )
    async def submit(request: Request, frames: int = frames_query) -> JSONResponse:
        """Take a clip in and answer with the job's id; the upload stays for the player."""
        job = await _take_in(request, _body(request), num_frames=frames, wants_page=True)
        return JSONResponse(_book(request).status(job), status_code=202)

    @app.get("/jobs/{job_id}", responses=_refusals(404))
    async def status(request: Request, job_id: str) -> dict[str, Any]:
        """Tell a job's stage, its place in the queue (1 is next), and frames done."""
        book = _book(request)
        return book.status(book.find(job_id))

    @app.delete("/jobs/{job_id}", status_code=204, responses=_refusals(404))
    @app.post("/jobs/{job_id}/leave", status_code=204, responses=_refusals(404))
    async def leave(request: Request, job_id: str) -> Response:
        """Delete a job and its upload; `leave` is for a page that closes, which can only POST."""
        book = _book(request)
        book.drop(book.find(job_id))
        return Response(status_code=204)


def _add_results(app: FastAPI) -> None:
    """Add what the page shows of a job that is done."""

    @app.get("/jobs/{job_id}/result", responses=_refusals(404, 409, 422))
    async def result(request: Request, job_id: str) -> JSONResponse:
        """Answer with `score`, the JSON of `score_video --json`, and `page`, what the page shows."""
        clip = _finished(_book(request).find(job_id))
        return JSONResponse({"score": clip.score, "page": clip.page})

    @app.get("/jobs/{job_id}/report.html", responses=_refusals(404, 409, 422))
    async def report(request: Request, job_id: str) -> Response:
        """Answer with the self-contained report, to be saved."""
        clip = _finished(_book(request).find(job_id))
        headers = {
            "content-disposition": "attachment",
            "content-security-policy": "sandbox; default-src 'none'",
        }
        return Response(clip.report_html, media_type="text/html", headers=headers)

    @app.get("/jobs/{job_id}/video", responses=_refusals(404))
    async def video(request: Request, job_id: str) -> Response:
        """Answer with the job's own upload, or with a range of it."""
        upload = _book(request).find(job_id).upload
        if not upload.path.exists():
            raise Refusal("upload", "was deleted", "upload the clip again", "a clip that was scored", 404)
        return FileResponse(upload.path, media_type=upload.kind.mime)


async def _take_in(request: Request, body: Body, *, num_frames: int, wants_page: bool) -> Job:
    book = _book(request)
    owner = Owner(request.client.host if request.client else "", request.cookies.get(_COOKIE, ""))
    # Of a body that is refused the server passes over the rest, so that its sender hears why.
    with book.place(owner):
        upload = await receive_upload(body, request.headers, book.folder, book.limits)
        return book.submit(owner, upload, num_frames=num_frames, wants_page=wants_page)


async def _outcome(job: Job, body: Body) -> ScoredClip:
    """Wait for a job for as long as its sender does.

    Raises:
        ClientDisconnect: The sender has left.
        Refusal: The clip cannot be judged.
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
        raise Refusal("job", f"is not done ({job.progress.stage})", "ask again later", "a finished job", 409)
    return job.outcome.result()


async def _expire(book: JobBook) -> None:
    with suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(_EXPIRE_SECONDS)
            await asyncio.to_thread(book.expire)


def _book(request: Request) -> JobBook:
    book: JobBook = request.app.state.book
    return book


def _body(request: Request) -> Body:
    limits = _book(request).limits
    return Body(
        request.receive,
        max_silence_seconds=limits.max_silence_seconds,
        max_seconds=limits.max_upload_seconds,
    )


def _frames_query(limits: Limits) -> Any:
    words = f"Evenly spaced frames to look at, 1 to {limits.max_num_frames}; all where the clip has fewer."
    return Query(limits.num_frames, ge=1, le=limits.max_num_frames, description=words)


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    always = (403, 408, 503, 507) if 413 in statuses else (403,)
    return {
        status: {
            "description": _REFUSALS[status],
            "content": {"application/json": {"schema": _REFUSAL_SCHEMA}},
        }
        for status in (*statuses, *always)
    }


def _description(limits: Limits) -> str:
    return (
        f"Takes {limits.sentence()}. At most {limits.max_waiting} uploads wait at once; their senders take "
        f"turns. An upload to `/score` is deleted with its answer; one to `/jobs` when the job is deleted, "
        f"or {limits.keep_seconds / 60:g} minutes after scoring. File names are for display; nothing a "
        "request names is opened."
    )


def _page_files() -> dict[str, tuple[bytes, str]]:
    folder = resources.files("deepfake_detect.app") / "page"
    return {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in _PAGE_FILES.items()}


def _static(content: bytes, kind: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        response = Response(content, media_type=kind)
        if _COOKIE not in request.cookies:
            response.set_cookie(_COOKIE, secrets.token_urlsafe(16), httponly=True, samesite="strict")
        return response

    return answer


async def _answer_refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    wait = error.retry_after_seconds
    headers = {} if wait is None else {"retry-after": str(wait)}
    return JSONResponse(error.to_dict(), status_code=error.status, headers=headers)


async def _answer_bad_query(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    refusal = Refusal(name, f"is {str(first['input'])[:80]!r}", "pass another", str(first["msg"]), 422)
    return await _answer_refusal(request, refusal)


async def _answer_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # the client has left; the server asks for an answer all the same
