"""The uploaded clip with boxes, made when the page asks for it, in a process of its own."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from deepfake_detect.app.jobs import Job
from deepfake_detect.app.request_errors import RequestError
from deepfake_detect.errors import DeepfakeDetectError
from deepfake_detect.records import ClipResult
from deepfake_detect.work import TaskFailure, map_tasks

_ONE_AT_A_TIME = threading.Lock()
_Task = tuple[ClipResult, Path]


def annotated_clip(job: Job) -> Path:
    """Return the path of a finished job's clip with boxes, an MP4; it is deleted with the upload.

    Raises:
        RequestError: The upload was deleted, is an image, or cannot be decoded or encoded.
    """
    upload, path = job.upload.path, job.annotated_path
    name = job.task.name
    if job.task.is_image:
        raise RequestError(name, "is an image, not a clip", "download the report", "a video", 422)
    with _ONE_AT_A_TIME:
        if not upload.exists():
            raise RequestError("upload", "was deleted", "upload the clip again", "an existing clip", 404)
        if not path.exists():
            result = replace(ClipResult.from_dict(job.outcome.result().score), video=str(upload))
            _make(result, path, name)
        if not upload.exists():
            path.unlink(missing_ok=True)  # the job was deleted meanwhile
    return path


def _make(result: ClipResult, path: Path, name: str) -> None:
    # A decoder that crashes on the file takes down that process and nothing else.
    tasks = [(result, path)]
    try:
        ((_, made),) = map_tasks(tasks, _annotator, engine="processes", num_workers=1, max_attempts=1)
    except DeepfakeDetectError as error:
        made = error
    if isinstance(made, (TaskFailure, DeepfakeDetectError)):
        cause = "could not be written with boxes"
        raise RequestError(name, cause, "download the report instead", "a complete video", 422)


class _Annotator:
    def __call__(self, task: _Task) -> Path:
        from deepfake_detect.report.annotate import annotate_video  # the server needs none of it

        return annotate_video(*task)


def _annotator() -> _Annotator:
    return _Annotator()
