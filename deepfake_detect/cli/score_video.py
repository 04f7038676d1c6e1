"""Tell whether the faces in clips were forged.

A CLIP is a video or picture, a folder (all videos and pictures in it and below), an address (with
--allow-url), or - for a file on standard input. Prints a line per clip, in their order. Exit code 0
when every clip was judged, 2 when one or more could not be (told on standard error; the others are
judged all the same). With --live a camera or stream is judged until it ends or Ctrl-C is pressed.

Nothing leaves this machine: only --allow-url and --live open a connection, to the address given.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detect.cli.engine import add_engine_arguments, cluster_of
from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.aggregation import AGGREGATION_RULES
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import INFERENCE_PRECISIONS
from deepfake_detect.report.tables import print_clip
from deepfake_detect.report.verdicts import printable
from deepfake_detect.scoring.missing import missing_library
from deepfake_detect.scoring.sources import STANDARD_INPUT

if TYPE_CHECKING:
    from rich.progress import Progress

    from deepfake_detect.provenance import Provenance
    from deepfake_detect.records import ClipResult
    from deepfake_detect.scoring import (
        BatchItem,
        ClipDetector,
        ClipSource,
        LiveVerdict,
        ResultsTable,
        ScoringOptions,
    )
    from deepfake_detect.work import RayOptions


_RUNTIMES = ("torch", "onnx", "openvino")
# What an option needs beside the libraries that a verdict needs.
_NEEDS = {
    "out": ("filelock", "matplotlib", "av"),
    "report": ("torch", "av"),
    "annotate": ("av",),
    "results": ("filelock", "pyarrow"),
}
_EXPORTED = {".onnx": "onnx", ".xml": "openvino"}
_NOT_LIVE = ("json", "out", "report", "annotate", "results")
_OFTEN = 50
_LINE_SECONDS = 1.0
_EXIT_TERMINATED = 143
_LONGEST_STEM = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clips", nargs="*", metavar="CLIP", help="what to judge: see above")
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write the result as JSON, - for standard output: an object, or a list for several clips",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="leave NAME.json, NAME_timeline.png, NAME_annotated.mp4 there"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="of one clip: write a report as HTML")
    parser.add_argument(
        "--annotate", type=Path, metavar="FILE", help="of one clip: write it as MP4 with boxes and numbers"
    )
    _add_many_arguments(parser)
    parser.add_argument("--frames", type=int, default=32, help="evenly spaced frames to look at (default 32)")
    parser.add_argument("--detector", metavar="PATH", help="detector.safetensors (default: the bundled one)")
    parser.add_argument(
        "--runtime",
        choices=_RUNTIMES,
        default="torch",
        help="what runs the networks (default torch); onnx and openvino take detectors of tools/export.py "
        "and load no PyTorch, which need not be installed",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument(
        "--precision",
        choices=INFERENCE_PRECISIONS,
        default="fp32",
        help="what the detector computes in (default fp32); bf16 is about twice as fast where the hardware "
        "has it, and moves a face's probability by some hundredths",
    )
    parser.add_argument(
        "--aggregation",
        metavar="RULE",
        help=f"{', '.join(AGGREGATION_RULES)} (default: the detector's own)",
    )
    parser.add_argument(
        "--min-face", type=float, help="smallest face looked for, in pixels (default: a tenth of the frame)"
    )
    parser.add_argument(
        "--allow-truncated", action="store_true", help="judge what is left of truncated clips"
    )


def _add_many_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="a table (.csv or .parquet) with a row a clip, written as clips end; run again, only clips "
        "that are not in it or have changed are judged",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="judge also those that failed, by --results"
    )
    parser.add_argument(
        "--workers",
        type=int,
        help="clips at the same time, a process each (default: cores, at most 4; 1 for fewer than 3 clips "
        "and on a GPU); on Ray: workers in all",
    )
    add_engine_arguments(parser)
    parser.add_argument(
        "--allow-url", action="store_true", help="fetch clips whose address is given (extra: url)"
    )
    parser.add_argument(
        "--live", metavar="SOURCE", help="judge a camera (0, /dev/video0) or a stream (rtsp or http address)"
    )
    parser.add_argument(
        "--live-seconds",
        type=float,
        default=10.0,
        help="how far back the verdict of --live looks (default 10)",
    )


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    # So that fetched clips are cleared away too when the process is told to end.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_EXIT_TERMINATED))
    try:
        if arguments.live is not None:
            return _run_live(arguments)
        with tempfile.TemporaryDirectory(prefix="deepfake_detect_") as scratch:
            return _run_clips(arguments, Path(scratch))
    finally:
        signal.signal(signal.SIGTERM, before)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    if arguments.live is None and not arguments.clips:
        raise OptionError("CLIP", "none is named", "name a file, a folder or an address, or pass --live")
    if arguments.live is not None:
        others = [f"--{name}" for name in _NOT_LIVE if getattr(arguments, name) is not None]
        if arguments.clips or others:
            named = ", ".join([*arguments.clips, *others])
            raise OptionError("--live", f"judges a stream alone, and here are {named}", "leave these out")
    if arguments.retry_failed and arguments.results is None:
        raise OptionError("--retry-failed", "is about a table of results", "pass --results FILE too")
    if arguments.annotate is not None and arguments.annotate.suffix.lower() != ".mp4":
        raise OptionError("--annotate", f"{arguments.annotate} does not end in .mp4", "give it this ending")
    if arguments.workers is not None and arguments.workers < 1:
        raise OptionError("--workers", f"is {arguments.workers}", "pass 1 or more")
    _check_runtime(arguments)


def _check_runtime(arguments: argparse.Namespace) -> None:
    """Refuse what the chosen runtime or this installation cannot do, before the work."""
    exported = _EXPORTED.get(Path(arguments.detector or "").suffix)
    if arguments.runtime == "torch" and exported is not None:
        raise OptionError("--detector", f"{arguments.detector} is an export", f"pass --runtime {exported}")
    if arguments.runtime != "torch" and arguments.report is not None:
        raise OptionError("--report", "has heat maps, which need PyTorch", "leave out --runtime")
    for option, libraries in _NEEDS.items():
        missing = [name for name in libraries if not _is_installed(name)]
        if getattr(arguments, option) is not None and missing:
            raise missing_library(f"--{option}", ModuleNotFoundError(name=missing[0]))
    if arguments.runtime == "torch" and not _is_installed("torch"):
        raise OptionError(
            "--runtime",
            "is torch, which is not installed",
            "pass --runtime onnx, or install all of the library",
        )


def _is_installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:  # a finder may refuse it
        return False


def _run_clips(arguments: argparse.Namespace, scratch: Path) -> int:
    from deepfake_detect.scoring import find_clips

    cluster = cluster_of(arguments, arguments.workers)
    if cluster is not None and STANDARD_INPUT in arguments.clips:
        raise OptionError(STANDARD_INPUT, "is read here, and not on a cluster", "name a file")
    sources = find_clips(
        arguments.clips, scratch=scratch, allow_addresses=arguments.allow_url, leave_out=arguments.out
    )
    if any(source.is_address for source in sources):
        from deepfake_detect.scoring.fetch import check_fetching

        check_fetching([source.name for source in sources if source.is_address])
    outputs = _output_paths(arguments, sources)
    detector, options = _detector(arguments)
    with _table(arguments.results, options, detector) as table:
        waiting = [
            source
            for source in sources
            if table is None
            or table.needs(
                source, retry_failed=arguments.retry_failed, leaves=outputs.get(source.name, {}).values()
            )
        ]
        if len(waiting) < len(sources):
            print(f"{len(sources) - len(waiting)} of {len(sources)} clips are done already", file=sys.stderr)
        judging = _Judging(detector, options, scratch, outputs, arguments.workers, cluster)
        told = _Told(arguments, table, sources)
        with closing(judging.results(waiting)) as results:
            for position, result in results:
                told.take(position, result)
    return told.end(len(waiting))


def _detector(arguments: argparse.Namespace) -> tuple[ClipDetector, ScoringOptions]:
    from deepfake_detect.scoring import ScoringOptions
    from deepfake_detect.scoring.clip_scorer import ready_detector

    options = ScoringOptions(
        detector=arguments.detector,
        device=arguments.device,
        precision=arguments.precision,
        runtime=arguments.runtime,
        num_frames=arguments.frames,
        aggregation_rule=arguments.aggregation,
        min_face=arguments.min_face,
        allow_truncated=arguments.allow_truncated,
        with_file_facts=arguments.results is not None,
    )
    detector = ready_detector(options)
    detector.check_options(
        num_frames=options.num_frames, aggregation_rule=options.aggregation_rule, min_face=options.min_face
    )
    return detector, options


def _table(
    path: Path | None, options: ScoringOptions, detector: ClipDetector
) -> AbstractContextManager[ResultsTable | None]:
    if path is None:
        return nullcontext()
    from deepfake_detect.scoring import ResultsTable, settings_of

    return ResultsTable(path, settings_of(options, detector.config))


_Outputs = Mapping[str, Mapping[str, Path]]
"""Name of a clip -> kind of file -> where it is left."""


@dataclass
class _Judging:
    """How clips are judged: here, or in processes of their own."""

    detector: ClipDetector
    options: ScoringOptions
    scratch: Path
    outputs: _Outputs
    num_workers: int | None
    cluster: RayOptions | None

    def results(self, sources: Sequence[ClipSource]) -> Generator[tuple[int, BatchItem], None, None]:
        """Yield the position of each clip and its result, as clips end."""
        with progress_bar() as progress:
            clips = progress.add_task("clips", total=len(sources), note="", visible=len(sources) > 1)
            with closing(self._results(sources, progress)) as results:
                for position, result in results:
                    progress.update(clips, advance=1, note=Path(result.source.name).name)
                    yield position, result

    def _results(
        self, sources: Sequence[ClipSource], progress: Progress
    ) -> Generator[tuple[int, BatchItem], None, None]:
        from deepfake_detect.scoring import default_num_workers, score_clips, score_on_cluster

        finish = functools.partial(_leave, self.outputs, None)
        if self.cluster is not None:
            return score_on_cluster(sources, self.options, self.cluster, finish=finish)
        num_cores = 1 if self.detector.is_on_gpu else os.cpu_count() or 1
        num_workers = self.num_workers or default_num_workers(len(sources), num_cores)
        if num_workers == 1:
            return self._here(sources, progress)
        return score_clips(
            sources, self.options, num_workers=num_workers, scratch=self.scratch, finish=finish
        )

    def _here(
        self, sources: Sequence[ClipSource], progress: Progress
    ) -> Generator[tuple[int, BatchItem], None, None]:
        for position, source in enumerate(sources):
            yield position, self._judge(source, progress)

    def _judge(self, source: ClipSource, progress: Progress) -> BatchItem:
        from deepfake_detect.scoring import ClipScorer

        task = progress.add_task(f"scoring {Path(source.name).name}", total=None, note="")
        judge = ClipScorer(
            self.detector,
            self.options,
            self.scratch,
            functools.partial(_leave, self.outputs, progress),
            on_step=lambda done, total, unit: progress.update(task, completed=done, total=total, note=unit),
        )
        try:
            return judge.judge(source)
        finally:
            progress.remove_task(task)


class _Told:
    """What the user is told of results: printed and written to JSON in the clips' order."""

    def __init__(
        self, arguments: argparse.Namespace, table: ResultsTable | None, sources: Sequence[ClipSource]
    ) -> None:
        self._json = arguments.json
        is_named_itself = [source.name for source in sources] == arguments.clips
        self._is_single = len(arguments.clips) == 1 and is_named_itself and not os.path.isdir(sources[0].name)
        self._results_path = arguments.results
        self._table = table
        self._documents: list[dict[str, Any]] = []
        self._early: dict[int, BatchItem] = {}
        self._next = self._num_failed = 0
        self._stream_name = "stderr" if self._json == "-" else "stdout"
        self._stream = getattr(sys, self._stream_name)

    def take(self, position: int, result: BatchItem) -> None:
        """Keep a result at once in the table; tell of it when all clips before it were told of."""
        if self._table is not None:
            self._table.add(result)
        self._early[position] = result
        while self._next in self._early:
            self._tell(self._early.pop(self._next))
            self._next += 1
            if len(self._documents) < _OFTEN or len(self._documents) % _OFTEN == 0:
                self._write_json()

    def end(self, num_judged: int) -> int:
        """Tell how it ended; return the exit code."""
        if self._json == "-" and (self._documents or not self._is_single):
            print(json.dumps(self._document(), indent=2))
        self._write_json()
        if self._num_failed and self._results_path is not None:
            failed = f"{self._num_failed} of {num_judged} clips could not be judged"
            print(f"{failed}; why is in {self._results_path}", file=sys.stderr)
        return 2 if self._num_failed else 0

    def _tell(self, result: BatchItem) -> None:
        if result.score is not None:
            self._documents.append(_document(result.score, result.provenance))
            lines = [_line(result.score)]
            lines += [f"  content credentials: {result.credentials}"] if result.credentials else []
            # While a progress bar is drawn, rich has its own stream in the place of both: right for
            # a terminal, where lines belong above the bar, and wrong for a file.
            stream = getattr(sys, self._stream_name) if self._stream.isatty() else self._stream
            print("\n".join(lines), file=stream, flush=True)
            if self._is_single:
                print_clip(result.score, seconds=result.seconds, file=stream)
        if result.error is not None:
            print(f"error: {printable(str(result.error))}", file=sys.stderr)
            self._num_failed += 1

    def _document(self) -> Any:
        return self._documents[0] if self._is_single else self._documents

    def _write_json(self) -> None:
        if self._json not in (None, "-") and (self._documents or not self._is_single):
            from deepfake_detect.io.files import write_json

            write_json(self._json, self._document())


def _document(score: ClipResult, provenance: Provenance | None) -> dict[str, Any]:
    return {**score.to_dict(), "provenance": None if provenance is None else provenance.to_dict()}


def _leave(
    outputs: _Outputs,
    progress: Progress | None,
    detector: ClipDetector,
    source: ClipSource,
    score: ClipResult,
    provenance: Provenance | None,
) -> None:
    """Leave the files about a clip; called where it was judged, ``score.video`` being its file."""
    paths = outputs.get(source.name, {})
    named = replace(score, video=source.name)
    if "json" in paths:
        from deepfake_detect.io.files import write_json

        write_json(paths["json"], _document(named, provenance))
    if "timeline" in paths:
        from deepfake_detect.report.timeline import plot_timeline

        plot_timeline(named).save(paths["timeline"])
    if "report" in paths:
        _report(detector, score, paths["report"], source, provenance, progress)
    for kind in ("annotated", "annotate"):
        if kind in paths:
            _annotate(score, paths[kind], source, progress)


def _report(
    detector: ClipDetector,
    score: ClipResult,
    path: Path,
    source: ClipSource,
    provenance: Provenance | None,
    progress: Progress | None,
) -> None:
    from deepfake_detect.report.clip import write_report
    from deepfake_detect.report.key_frames import collect_key_frames

    task = progress and progress.add_task(f"report on {Path(source.name).name}", total=None, note="")

    def on_step(step: str) -> None:
        if progress is not None and task is not None:
            progress.update(task, note=step)

    key_frames = collect_key_frames(score, detector, on_step=on_step)
    write_report(score, path, key_frames=key_frames, provenance=provenance, name=source.name, on_step=on_step)
    if progress is not None and task is not None:
        progress.remove_task(task)


def _annotate(score: ClipResult, path: Path, source: ClipSource, progress: Progress | None) -> None:
    from deepfake_detect.report.annotate import annotate_video

    if progress is None:
        annotate_video(score, path)
        return
    task = progress.add_task(f"annotating {Path(source.name).name}", total=None, note="frames")
    annotate_video(
        score, path, on_frame=lambda done, total: progress.update(task, completed=done, total=total)
    )
    progress.remove_task(task)


def _output_paths(arguments: argparse.Namespace, sources: Sequence[ClipSource]) -> _Outputs:
    """Choose each clip's files; none may replace a clip or another result.

    Clips of one name, as FaceForensics++ has them, get a number behind the second and later.
    """
    taken = {Path(source.path).resolve(): "a clip" for source in sources if source.path is not None}
    for option in ("json", "results", "report", "annotate"):
        place = getattr(arguments, option)
        if place is not None and place != "-":
            from deepfake_detect.io.files import make_folder

            _take(taken, Path(place), f"--{option}")
            make_folder(Path(place).parent)
    outputs = _in_folder(arguments.out, sources, taken) if arguments.out is not None else {}
    for option in ("report", "annotate"):
        place = getattr(arguments, option)
        if place is not None:
            if len(sources) != 1:
                raise OptionError(
                    f"--{option}",
                    f"is for one clip, and there are {len(sources)}",
                    "pass --out DIR for several",
                )
            outputs.setdefault(sources[0].name, {})[option] = place
    return outputs


def _in_folder(
    folder: Path, sources: Sequence[ClipSource], taken: dict[Path, str]
) -> dict[str, dict[str, Path]]:
    from deepfake_detect.io.files import make_folder

    outputs: dict[str, dict[str, Path]] = {}
    numbers: dict[str, int] = {}
    names = set[str]()
    endings = {"json": ".json", "timeline": "_timeline.png", "annotated": "_annotated.mp4"}
    for source in sources:
        # No name of a file is longer than 255 bytes; cut, there is room for number and ending.
        stem = name = os.fsdecode(os.fsencode(source.stem)[:_LONGEST_STEM])
        while name in names:  # a clip may be called what another's number makes of its name
            numbers[stem] = numbers.get(stem, 1) + 1
            name = f"{stem}_{numbers[stem]}"
        names.add(name)
        outputs[source.name] = {kind: folder / f"{name}{ending}" for kind, ending in endings.items()}
        for path in outputs[source.name].values():
            _take(taken, path, "--out")
    make_folder(folder)
    return outputs


def _take(taken: dict[Path, str], path: Path, option: str) -> None:
    if path.resolve() in taken or path.is_dir():
        other = taken.get(path.resolve(), "a folder")
        raise OptionError(option, f"would write to {path}, which is {other}", "choose another place")
    if path.exists() and not path.is_file():
        # A finished file takes the place of what is there: of a device too, for who may do that.
        raise OptionError(
            option,
            f"would take the place of {path}, which is no regular file",
            "name a file",
        )
    taken[path.resolve()] = f"written by {option}"


def _line(score: ClipResult) -> str:
    name = printable(score.video)
    if score.fake_probability is None:
        return f"{name}: no_face (none found in {len(score.frames)} frames)"
    peak, time_seconds = max(
        (face.fake_probability, frame.time_seconds) for frame in score.frames for face in frame.faces
    )
    return (
        f"{name}: {score.verdict}, fake probability {score.fake_probability:.3f} "
        f"({len(score.tracks)} {'person' if len(score.tracks) == 1 else 'people'} "
        f"in {score.num_frames_scored} of {len(score.frames)} frames; "
        f"highest {peak:.2f} at {time_seconds:.1f} s)"
    )


def _run_live(arguments: argparse.Namespace) -> int:
    """Show the rolling verdict: one line drawn anew on a terminal, else a line a second."""
    from deepfake_detect.scoring import live_frames, watch

    detector, options = _detector(arguments)
    screen, verdict = _LiveLine(), None
    try:
        with closing(live_frames(arguments.live)) as frames:
            for verdict in watch(
                frames,
                detector,
                window_seconds=arguments.live_seconds,
                aggregation_rule=options.aggregation_rule,
                min_face=options.min_face,
            ):
                screen.show(verdict)
    except KeyboardInterrupt:
        pass  # that is how a stream without an end is ended
    screen.end(verdict)
    return 0


class _LiveLine:
    """One line of a terminal that is drawn anew; where there is no terminal, lines now and then."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._last_seconds = -_LINE_SECONDS

    def show(self, verdict: LiveVerdict) -> None:
        if self._is_terminal:
            width = shutil.get_terminal_size().columns
            print(f"\r\x1b[2K{verdict.line()[: width - 1]}", end="", flush=True)
        elif verdict.elapsed_seconds - self._last_seconds >= _LINE_SECONDS:
            self._last_seconds = verdict.elapsed_seconds
            print(verdict.line(), flush=True)

    def end(self, verdict: LiveVerdict | None) -> None:
        words = "nothing was seen" if verdict is None else f"last verdict: {verdict.line()}"
        print(f"\r\x1b[2K{words}" if self._is_terminal else words, flush=True)
