"""The uploaded clip with boxes, made when the page asks for it, in a process of its own."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

from deepfake_detect.app.jobs import Job
from deepfake_detect.app.request_errors import RequestError
from deepfake_detect.errors import DeepfakeDetectError
from deepfake_detect.records import ClipResult
from deepfake_detect.work import Done, WorkerProcess

_ONE_AT_A_TIME = threading.Lock()
_POLL_SECONDS = 0.1


def annotated_clip(job: Job, *, max_seconds: float) -> Path:
    """Return the path of a finished job's clip with boxes, an MP4; it is deleted with the upload.

    Raises:
        RequestError: The upload was deleted, is an image, or its frames cannot be read or written in time.
    """
    upload, path = job.upload.path, job.annotated_path
    if job.task.is_image:
        raise RequestError(job.task.name, "is an image, not a clip", "download the report", "a video", 422)
    with _ONE_AT_A_TIME:
        if upload.exists() and not path.exists():
            result = replace(ClipResult.from_dict(job.outcome.result().score), video=str(upload))
            _make(result, job, deadline=time.monotonic() + max_seconds)
        if not upload.exists():  # perhaps deleted meanwhile
            path.unlink(missing_ok=True)
            raise RequestError("upload", "was deleted", "upload the clip again", "an existing clip", 404)
    return path


def _make(result: ClipResult, job: Job, *, deadline: float) -> None:
    # A decoder that crashes on the file takes down this process and nothing else.
    process = WorkerProcess(_annotator, name="annotating")
    message: object = None
    try:
        process.receive()
        process.give((result, job.annotated_path))
        while job.upload.path.exists() and time.monotonic() < deadline:
            if process.poll(_POLL_SECONDS):
                message = process.receive()
                break
    except DeepfakeDetectError as error:
        message = error
    finally:
        process.stop()
    if not isinstance(message, Done) and job.upload.path.exists():
        cause = "could not be written with boxes"
        raise RequestError(job.task.name, cause, "download the report instead", "a complete video", 422)


class _Annotator:
    def __call__(self, task: tuple[ClipResult, Path]) -> Path:
        from deepfake_detect.report.annotate import annotate_video  # the server needs none of it

        return annotate_video(*task)


def _annotator() -> _Annotator:
    return _Annotator()
