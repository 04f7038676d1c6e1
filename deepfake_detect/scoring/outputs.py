"""The files that are written about clips: where each goes, and writing them."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detect.errors import OptionError
from deepfake_detect.extras import is_installed, missing_library
from deepfake_detect.provenance import Provenance
from deepfake_detect.records import ClipResult
from deepfake_detect.scoring.options import BatchOptions
from deepfake_detect.scoring.pipeline import Detector
from deepfake_detect.scoring.sources import ClipSource

if TYPE_CHECKING:
    from deepfake_detect.scoring.clip_scorer import OnStep

# Libraries that an option needs beyond the base installation.
_NEEDED_LIBRARIES = {"out": "matplotlib", "results": "pyarrow"}
_SUFFIXES_IN_FOLDER = {"json": ".json", "timeline": "_timeline.png", "annotated": "_annotated.mp4"}
_MAX_STEM_BYTES = 200  # a file's name has at most 255 bytes; this leaves room for number and suffix
_WRITE_EACH = 50  # up to so many results the JSON file is rewritten with each one, then as often


@dataclass(frozen=True)
class ClipFiles:
    """The files to write about one clip; ``None`` where not wanted.

    Attributes:
        json: The result as JSON.
        timeline: A figure of the probabilities over time, as PNG.
        report: The report as HTML.
        annotated: The clip with boxes, as MP4.
    """

    json: Path | None = None
    timeline: Path | None = None
    report: Path | None = None
    annotated: Path | None = None

    def paths(self) -> list[Path]:
        """Return the files that are wanted."""
        return [path for path in (self.json, self.timeline, self.report, self.annotated) if path is not None]


def check_outputs(options: BatchOptions) -> None:
    """Check the options about files before any work.

    Raises:
        OptionError: A suffix is wrong, options contradict one another, or a library is missing.
    """
    if options.retry_failed and options.results is None:
        raise OptionError("retry_failed", "needs a table of results", "set `results` too")
    if options.report is not None and options.report.suffix.lower() not in (".html", ".htm"):
        remedy = "must end in .html; for a PDF open that in a browser and print it (Ctrl+P, save as PDF)"
        raise OptionError("report", f"is {options.report}", remedy)
    if options.annotate is not None and options.annotate.suffix.lower() != ".mp4":
        raise OptionError("annotate", f"is {options.annotate}", "must end in .mp4")
    for option, library in _NEEDED_LIBRARIES.items():
        path = getattr(options, option)
        is_needed = path is not None and path.suffix != ".csv"
        if is_needed and not is_installed(library):
            raise missing_library(option, library)


def plan_files(options: BatchOptions, sources: Sequence[ClipSource]) -> dict[str, ClipFiles]:
    """Return the files to write about each clip, by the clip's name; none replaces a clip or another file.

    Clips with the same name, as in FaceForensics++, get a number from the second on.

    Raises:
        OptionError: A file would replace a clip, a folder or another output, or is for one clip only.
        OutputError: A folder cannot be made.
    """
    taken = {Path(source.path).resolve(): "a clip" for source in sources if source.path is not None}
    for option in ("json", "results", "report", "annotate"):
        path = getattr(options, option)
        if path is not None:
            from deepfake_detect.io.files import make_folder  # which loads more than a verdict needs

            _take(taken, path, option)
            make_folder(path.parent)
    files = {} if options.out is None else _files_in(options.out, sources, taken)
    for option in ("report", "annotate"):
        if getattr(options, option) is not None and len(sources) != 1:
            cause = f"is for one clip, and there are {len(sources)}"
            raise OptionError(option, cause, "set `out` for several clips")
    if options.report is not None or options.annotate is not None:
        name = sources[0].name
        planned = replace(files.get(name, ClipFiles()), report=options.report)
        if options.annotate is not None:
            planned = replace(planned, annotated=options.annotate)
        files[name] = planned
    return files


def _files_in(folder: Path, sources: Sequence[ClipSource], taken: dict[Path, str]) -> dict[str, ClipFiles]:
    from deepfake_detect.io.files import make_folder

    files: dict[str, ClipFiles] = {}
    numbers: dict[str, int] = {}
    names = set[str]()
    for source in sources:
        stem = name = os.fsdecode(os.fsencode(source.stem)[:_MAX_STEM_BYTES])
        while name in names:  # a clip may have the name that another one got with its number
            numbers[stem] = numbers.get(stem, 1) + 1
            name = f"{stem}_{numbers[stem]}"
        names.add(name)
        paths = {kind: folder / f"{name}{suffix}" for kind, suffix in _SUFFIXES_IN_FOLDER.items()}
        files[source.name] = ClipFiles(**paths)
        for path in paths.values():
            _take(taken, path, "out")
    make_folder(folder)
    return files


def _take(taken: dict[Path, str], path: Path, option: str) -> None:
    if path.resolve() in taken or path.is_dir():
        other = taken.get(path.resolve(), "a folder")
        raise OptionError(option, f"would write to {path}, which is {other}", "choose another path")
    if path.exists() and not path.is_file():
        # Outputs are moved into place, which would replace a device for a user who may do that.
        raise OptionError(option, f"would replace {path}, which is not a regular file", "name a file")
    taken[path.resolve()] = f"written by `{option}`"


def write_clip_files(
    files: ClipFiles,
    result: ClipResult,
    name: str,
    detector: Detector,
    provenance: Provenance | None,
    *,
    on_step: OnStep,
) -> None:
    """Write the files about a clip.

    Args:
        files: Which, and where.
        result: Of the clip; ``result.video`` is its file, which may be a temporary one.
        name: What the files call the clip.
        detector: The detector that scored it.
        provenance: Its Content Credentials.
        on_step: Called with each step.

    Raises:
        OutputError: A file cannot be written.
        VideoError: The clip can no longer be read.
    """
    named = replace(result, video=name)
    if files.json is not None:
        from deepfake_detect.io.files import write_json
        from deepfake_detect.scoring.clip_scorer import clip_document

        write_json(files.json, clip_document(named, provenance))
    if files.timeline is not None:
        from deepfake_detect.report.timeline import plot_timeline

        plot_timeline(named).save(files.timeline)
    if files.report is not None:
        from deepfake_detect.report.clip import write_report
        from deepfake_detect.report.key_frames import collect_key_frames

        report_step = functools.partial(on_step, "report", None, None)
        key_frames = collect_key_frames(result, detector.first, on_step=report_step)
        write_report(
            result,
            files.report,
            key_frames=key_frames,
            provenance=provenance,
            name=name,
            on_step=report_step,
        )
    if files.annotated is not None:
        from deepfake_detect.report.annotate import annotate_video

        annotate = functools.partial(on_step, "annotating")
        annotate_video(result, files.annotated, on_frame=lambda done, total: annotate(done, total, "frames"))


class JsonFile:
    """Results in one JSON file: an object for a single clip, a list otherwise; rewritten as they come.

    Args:
        path: The file; ``None`` writes none.
        is_single: Whether a single clip was named.
    """

    def __init__(self, path: Path | None, *, is_single: bool) -> None:
        self._path = path
        self._is_single = is_single
        self._documents: list[dict[str, Any]] = []

    def add(self, document: dict[str, Any]) -> None:
        """Add the result of the next clip; the first 50 are on disk at once."""
        self._documents.append(document)
        if len(self._documents) < _WRITE_EACH or len(self._documents) % _WRITE_EACH == 0:
            self.write()

    def write(self) -> None:
        """Write all results that were added."""
        if self._path is not None and (self._documents or not self._is_single):
            from deepfake_detect.io.files import write_json

            write_json(self._path, json_document(self._documents, is_single=self._is_single))


def json_document(documents: Sequence[dict[str, Any]], *, is_single: bool) -> Any:
    """Return what a JSON file of results holds: an object for a single clip, a list otherwise."""
    return documents[0] if is_single else list(documents)


def is_single_clip(named: Sequence[str], found: Iterable[str]) -> bool:
    """Return whether one clip was named itself, rather than by its folder or among others.

    Args:
        named: What was given.
        found: The names of the clips that were found.
    """
    return len(named) == 1 and list(found) == list(named) and not os.path.isdir(named[0])
