"""One clip -> its verdict, or why there is none."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from deepfake_detect.errors import DeepfakeDetectError, OptionError, OutputError, WorkerError
from deepfake_detect.provenance import Provenance, read_provenance
from deepfake_detect.records import ClipResult, InferencePrecision
from deepfake_detect.scoring import ClipDetector
from deepfake_detect.scoring.fetch import fetch
from deepfake_detect.scoring.missing import missing_library
from deepfake_detect.scoring.sources import ClipSource

_T = TypeVar("_T")
Finish = Callable[[ClipDetector, ClipSource, ClipResult, Provenance | None], None]
"""What is done with a verdict where it was made; ``score.video`` is the file, which is still there."""


@dataclass(frozen=True)
class ScoringOptions:
    """What all clips of a run have in common; see :meth:`scoring.Detector.score_video`.

    Attributes:
        detector: Detector file; the bundled one when ``None``.
        device: Where it runs.
        precision: What it computes in, with runtime torch.
        runtime: What runs it: ``"torch"``, or a name of ``runtimes.RUNTIMES``.
        num_frames, aggregation_rule, min_face, allow_truncated: As there.
        with_file_facts: Whether the file is hashed, which reads it once more.
    """

    detector: str | None = None
    device: str = "auto"
    precision: InferencePrecision = "fp32"
    runtime: str = "torch"
    num_frames: int = 32
    aggregation_rule: str | None = None
    min_face: float | None = None
    allow_truncated: bool = False
    with_file_facts: bool = False


def ready_detector(options: ScoringOptions, *, num_threads: int | None = None) -> ClipDetector:
    """Return the detector of a run, loaded into its runtime.

    Args:
        options: Of the run.
        num_threads: Of a runtime other than torch; as many as cores when ``None``.

    Raises:
        CheckpointError, DeviceError, OptionError: As ``scoring.load_detector`` and
            ``runtimes.load_runtime``; or a runtime for CPUs is asked for on a GPU.
    """
    if options.runtime == "torch":
        from deepfake_detect.scoring import load_detector

        return load_detector(options.detector, device=options.device, precision=options.precision)
    if options.precision != "fp32":
        raise OptionError(
            "precision",
            f"is {options.precision}, and an export computes in its own",
            "export in it: tools/export.py --precision",
        )
    from deepfake_detect.runtimes import load_runtime

    if options.device not in ("auto", "cpu"):
        raise OptionError(
            "device", f"is {options.device}, and {options.runtime} runs on the CPU", "use --runtime torch"
        )
    return load_runtime(options.detector, runtime=options.runtime, num_threads=num_threads)


@dataclass(frozen=True)
class FileFacts:
    """Which bytes were judged.

    Attributes:
        sha256: Of the content, hexadecimal.
        size_bytes: Length.
        modified_time: UTC, ISO 8601, to the microsecond.
    """

    sha256: str
    size_bytes: int
    modified_time: str


@dataclass(frozen=True, eq=False)
class BatchItem:
    """What came of one clip.

    Attributes:
        source: The clip.
        score: The verdict, ``video`` being the clip's name; ``None`` when it could not be judged.
        error: Why not; with a score, what went wrong after it, in leaving files about it.
        seconds: Time it took to judge it, without a download.
        file: Which bytes were judged, where asked for and there.
        provenance: Its content credentials, where it carries any that can be read.
        credentials: What they say, or why they are not read, in one line; empty without any.
    """

    source: ClipSource
    score: ClipResult | None
    error: DeepfakeDetectError | None
    seconds: float
    file: FileFacts | None
    provenance: Provenance | None = None
    credentials: str = ""


@dataclass
class ClipScorer:
    """Judges clips one after the other with one detector.

    Args:
        detector: Ready to score.
        options: What all clips have in common.
        scratch: Existing folder in which fetched clips are kept while they are judged.
        finish: Called with each verdict.
        on_step: Called with what is done of a clip, of how much where that is known, and the unit:
            ``"frames"``, or ``"bytes"`` of a download.
    """

    detector: ClipDetector
    options: ScoringOptions
    scratch: Path
    finish: Finish
    on_step: Callable[[int, int | None, str], None] = lambda done, total, unit: None

    def judge(self, source: ClipSource) -> BatchItem:
        """ClipScorer a clip; whatever is wrong with it comes as the result's error.

        Raises:
            OutputError: A result cannot be written: the place is wrong for every clip alike.
        """
        try:
            with self._local_file(source) as path:
                return self._judge_file(source, path)
        except OutputError:
            raise
        except DeepfakeDetectError as error:
            return BatchItem(source, None, error, 0.0, None)

    def _judge_file(self, source: ClipSource, path: str) -> BatchItem:
        facts = file_facts(path) if self.options.with_file_facts and os.path.isfile(path) else None
        started = time.perf_counter()
        score, error = _tried(lambda: self._score(path), source, path)
        seconds = time.perf_counter() - started
        if score is None:
            return BatchItem(source, None, error, seconds, facts)
        provenance, credentials = read_credentials(path)
        _, error = _tried(lambda: self.finish(self.detector, source, score, provenance), source, path)
        named = replace(score, video=source.name)
        return BatchItem(source, named, error, seconds, facts, provenance, credentials)

    def _score(self, path: str) -> ClipResult:
        return self.detector.score_video(
            path,
            num_frames=self.options.num_frames,
            aggregation_rule=self.options.aggregation_rule,
            min_face=self.options.min_face,
            allow_truncated=self.options.allow_truncated,
            on_frame=lambda done: self.on_step(done, self.options.num_frames, "frames"),
        )

    @contextmanager
    def _local_file(self, source: ClipSource) -> Iterator[str]:
        """Give the file of a clip; one that was fetched is gone afterwards."""
        if source.path is not None:
            yield source.path
            return
        folder = tempfile.mkdtemp(dir=self.scratch)
        try:
            yield str(
                fetch(
                    source.name,
                    Path(folder),
                    on_bytes=lambda done, total: self.on_step(done, total, "bytes"),
                )
            )
        finally:
            shutil.rmtree(folder)


def _tried(
    action: Callable[[], _T], source: ClipSource, path: str
) -> tuple[_T, None] | tuple[None, DeepfakeDetectError]:
    """Do something with a clip; return what came of it, or the error in the clip's own name."""
    try:
        return action(), None
    except OutputError:
        raise
    except DeepfakeDetectError as error:
        if error.subject != path or path == source.name:
            return None, error
        return None, type(error)(source.name, error.cause, error.remedy)
    except ModuleNotFoundError as error:  # this much of the clip's work needs a fuller installation
        return None, missing_library(source.name, error)
    except Exception as error:  # a fault of ours in one clip must not cost the verdicts of the others
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return None, WorkerError(source.name, f"judging it failed inside ({reason})", "report this as a bug")


def file_facts(path: str | os.PathLike[str]) -> FileFacts:
    """Return hash, size and time of a file.

    Example:
        >>> file_facts("examples/demo.mp4").size_bytes > 100_000
        True
    """
    from deepfake_detect.io.files import sha256_of_file  # which brings more than a verdict needs

    return FileFacts(sha256_of_file(path), os.path.getsize(path), modified_time(path))


def modified_time(path: str | os.PathLike[str]) -> str:
    """Return when a file was changed last: UTC, ISO 8601, to the microsecond."""
    seconds, rest = divmod(os.stat(path).st_mtime_ns, 10**9)
    moment = datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=rest // 1000)
    return moment.isoformat(timespec="microseconds")


def read_credentials(path: str | os.PathLike[str]) -> tuple[Provenance | None, str]:
    """Return a clip's content credentials and what they say in a line, or why they are not read.

    Example:
        >>> read_credentials("examples/demo.mp4")
        (None, '')
    """
    try:
        provenance = read_provenance(path)
    except OptionError as error:
        return None, f"{error.cause}; {error.remedy}"
    return provenance, "" if provenance is None else provenance.summary()
