"""One clip -> what came of it: its result, or the error that prevented one."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from deepfake_detect.errors import DeepfakeDetectError, OptionError, WorkerError
from deepfake_detect.extras import missing_library
from deepfake_detect.provenance import Provenance, read_provenance
from deepfake_detect.records import ClipResult, FileFacts
from deepfake_detect.scoring.options import ScoringOptions
from deepfake_detect.scoring.outputs import ClipFiles, write_clip_files
from deepfake_detect.scoring.pipeline import Detector, file_facts
from deepfake_detect.scoring.sources import ClipSource
from deepfake_detect.video.limits import DEFAULT_LIMITS, DecodingLimits

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
OnStep = Callable[[str, int | None, int | None, str], None]
"""Called with what is done of a clip: step, units done, units in all where known, and the unit or a
description. Steps are ``"scoring"``, ``"report"`` and ``"annotating"``."""


@dataclass(frozen=True, eq=False)
class BatchItem:
    """The result of one source of a batch.

    Attributes:
        source: The clip: the path or URL as it was given or found, or ``"-"``.
        result: Its result; ``None`` when there is none.
        error: Why there is no result; if there is one, what went wrong when writing its files.
        seconds: Time it took to score, without a download.
        file: The file that was scored; for a failed clip only if a results table is written.
        provenance: The file's Content Credentials; ``None`` without any that can be read.
        credentials: A summary of them, or why they were not read; empty without any.
        is_resumed: Whether the clip was not scored again because the table of results has it; its
            error is then that of the earlier run.
    """

    source: str
    result: ClipResult | None = None
    error: DeepfakeDetectError | None = None
    seconds: float = 0.0
    file: FileFacts | None = None
    provenance: Provenance | None = None
    credentials: str = ""
    is_resumed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON files hold them; for a failed clip its name and error."""
        if self.result is None:
            return {"video": self.source, "error": None if self.error is None else str(self.error)}
        return clip_document(self.result, self.provenance)


def clip_document(result: ClipResult, provenance: Provenance | None) -> dict[str, Any]:
    """Return the JSON document of a clip: its result with the file's Content Credentials.

    The same for ``--json``, ``--out``, the page and the HTTP API; :func:`result_schema` describes it.
    """
    return {**result.to_dict(), "provenance": None if provenance is None else provenance.to_dict()}


@dataclass
class ClipScorer:
    """Scores clips one after the other with one detector; a failure becomes the item's error.

    Args:
        detector: The loaded detector.
        options: How clips are scored.
        scratch: Existing folder for downloaded clips; each is deleted after it was scored.
        files: Files to write about each clip, by its name.
        has_file_facts: Whether items of failed clips get the hash of their file too.
        on_step: See :data:`OnStep`.
        limits: Largest clip to decode.
    """

    detector: Detector
    options: ScoringOptions
    scratch: Path
    files: dict[str, ClipFiles] = field(default_factory=dict)
    has_file_facts: bool = False
    on_step: OnStep = lambda step, done, total, note: None
    limits: DecodingLimits = DEFAULT_LIMITS

    def score(self, source: ClipSource) -> BatchItem:
        """Score a clip and write the files about it; whatever goes wrong is the item's error."""
        if source.error is not None:
            return BatchItem(source.name, error=source.error)
        try:
            with self._local_file(source) as path:
                return self._score_file(source, path)
        except Exception as error:  # one clip's failure, of any kind, must not end the others
            return BatchItem(source.name, error=_as_error(error, source, source.name))

    def _score_file(self, source: ClipSource, path: str) -> BatchItem:
        started = time.perf_counter()
        result, error = _tried(lambda: self._result(path), source, path)
        item = BatchItem(source.name, error=error, seconds=time.perf_counter() - started)
        verdict = "failed" if result is None else result.verdict
        _log.info("%s: %s after %.2f s", source.name, verdict, item.seconds)
        if result is None:
            has_facts = self.has_file_facts and os.path.isfile(path)
            return replace(
                item, file=_tried(lambda: file_facts(path), source, path)[0] if has_facts else None
            )
        provenance, credentials = read_credentials(path)
        named = replace(result, video=source.name)
        item = replace(item, result=named, file=result.file, provenance=provenance, credentials=credentials)
        if files := self.files.get(source.name):
            step = self.on_step
            _, error = _tried(
                lambda: write_clip_files(files, result, source.name, self.detector, provenance, on_step=step),
                source,
                path,
            )
        return replace(item, error=error)

    def _result(self, path: str) -> ClipResult:
        options = self.options
        return self.detector.score_video(
            path,
            num_frames=options.num_frames,
            aggregation_rule=options.aggregation_rule,
            min_face=options.min_face,
            allow_truncated=options.allow_truncated,
            segments=options.segments,
            limits=self.limits,
            on_frame=lambda done: self.on_step("scoring", done, options.num_frames, "frames"),
        )

    @contextmanager
    def _local_file(self, source: ClipSource) -> Iterator[str]:
        """Give the file of a clip; a downloaded one is deleted afterwards."""
        if source.path is not None:
            yield source.path
            return
        from deepfake_detect.scoring.fetch import fetch

        folder = tempfile.mkdtemp(dir=self.scratch)
        try:
            yield str(
                fetch(
                    source.name,
                    Path(folder),
                    max_bytes=int(self.options.max_download_mb * 2**20),
                    on_bytes=lambda done, total: self.on_step("scoring", done, total, "bytes"),
                )
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # a download that was given up may still write


def _tried(
    action: Callable[[], _T], source: ClipSource, path: str
) -> tuple[_T, None] | tuple[None, DeepfakeDetectError]:
    """Return the result of an action, or its error under the clip's own name."""
    try:
        return action(), None
    except Exception as error:  # one clip's failure, of any kind, must not end the others
        return None, _as_error(error, source, path)


def _as_error(error: Exception, source: ClipSource, path: str) -> DeepfakeDetectError:
    if isinstance(error, DeepfakeDetectError):
        if error.subject != path or path == source.name:
            return error
        return type(error)(source.name, error.cause, error.remedy)
    if isinstance(error, ModuleNotFoundError):  # this part of the work needs a fuller installation
        return missing_library(source.name, error.name or "")
    _log.warning("%s: internal error", source.name, exc_info=error)
    cause = f"scoring it failed with an internal error ({_in_short(error)})"
    return WorkerError(source.name, cause, "report this bug")


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def read_credentials(path: str | os.PathLike[str]) -> tuple[Provenance | None, str]:
    """Return a clip's Content Credentials and a summary in one line, or why they are not read.

    It never raises: damaged credentials say nothing about the clip's verdict.

    Example:
        >>> read_credentials("examples/demo.mp4")
        (None, '')
    """
    try:
        provenance = read_provenance(path)
    except OptionError as error:
        return None, f"{error.cause}; {error.remedy}"
    except Exception as error:  # whatever a damaged file makes of the reader
        _log.warning("%s: its Content Credentials cannot be read", path, exc_info=True)
        return None, f"cannot be read ({_in_short(error)})"
    return provenance, "" if provenance is None else provenance.summary()
