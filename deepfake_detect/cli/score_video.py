"""Tell whether the faces in clips were forged.

Prints a line per clip. Exit code 0 when every clip was judged, 2 when one or more could not be
(told on standard error; the others are judged all the same).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detect.errors import DeepfakeDetectError, OptionError, OutputError
from deepfake_detect.evaluation.aggregation import AGGREGATION_RULES
from deepfake_detect.files import make_folder, write_json
from deepfake_detect.progress import progress_bar

if TYPE_CHECKING:
    from deepfake_detect.records import ClipScore
    from deepfake_detect.scoring import Detector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "clips", nargs="+", metavar="CLIP", help="video files (a picture is a clip of one frame)"
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write the result as JSON, - for standard output: an object, or a list for several clips",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="leave NAME.json, NAME_timeline.png, NAME_annotated.mp4 there"
    )
    parser.add_argument("--frames", type=int, default=32, help="evenly spaced frames to look at (default 32)")
    parser.add_argument("--detector", metavar="PATH", help="detector.safetensors (default: the bundled one)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
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


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.scoring import load_detector

    outputs = _output_paths(arguments)
    detector = load_detector(arguments.detector, device=arguments.device)
    detector.check_options(
        num_frames=arguments.frames, aggregation_rule=arguments.aggregation, min_face=arguments.min_face
    )
    results: list[dict[str, Any]] = []
    num_failed = 0
    for clip in arguments.clips:
        try:
            score = _score(detector, clip, arguments)
            results.append(score.to_dict())
            print(_line(score), file=sys.stderr if arguments.json == "-" else sys.stdout, flush=True)
            if clip in outputs:
                _leave(score, outputs[clip])
        except OutputError:
            raise  # the place is wrong for every clip alike
        except DeepfakeDetectError as error:
            print(f"error: {error}", file=sys.stderr)
            num_failed += 1
        _write_results(results, arguments)  # after each clip: what is judged is kept
    if arguments.json == "-" and (results or len(arguments.clips) > 1):
        print(json.dumps(_document(results, arguments), indent=2))
    return 2 if num_failed else 0


def _document(results: list[dict[str, Any]], arguments: argparse.Namespace) -> Any:
    return results[0] if len(arguments.clips) == 1 else results


def _write_results(results: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    if arguments.json in (None, "-") or (len(arguments.clips) == 1 and not results):
        return
    write_json(arguments.json, _document(results, arguments))


def _score(detector: Detector, clip: str, arguments: argparse.Namespace) -> ClipScore:
    with progress_bar() as progress:
        task = progress.add_task(f"scoring {Path(clip).name}", total=arguments.frames, note="frames")
        return detector.score_video(
            clip,
            num_frames=arguments.frames,
            aggregation_rule=arguments.aggregation,
            min_face=arguments.min_face,
            allow_truncated=arguments.allow_truncated,
            on_frame=lambda done: progress.update(task, completed=done),
        )


def _leave(score: ClipScore, outputs: dict[str, Path]) -> None:
    from deepfake_detect.report.annotate import annotate_video
    from deepfake_detect.report.timeline import save_timeline_figure

    write_json(outputs["json"], score.to_dict())
    save_timeline_figure(score, outputs["timeline"])
    with progress_bar() as progress:
        task = progress.add_task(f"annotating {Path(score.video).name}", total=None, note="frames")
        annotate_video(
            score,
            outputs["annotated"],
            on_frame=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _output_paths(arguments: argparse.Namespace) -> dict[str, dict[str, Path]]:
    """Choose each clip's files under --out; none may replace a clip or another result.

    Clips of one name, as FaceForensics++ has them, get a number behind the second and later.
    """
    taken = {Path(clip).resolve(): "a clip" for clip in arguments.clips}
    if arguments.json not in (None, "-"):
        _take(taken, Path(arguments.json), "--json")
        make_folder(Path(arguments.json).parent)
    outputs: dict[str, dict[str, Path]] = {}
    counts: dict[str, int] = {}
    for clip in dict.fromkeys(arguments.clips if arguments.out is not None else ()):
        stem = Path(clip).stem
        counts[stem] = counts.get(stem, 0) + 1
        name = stem if counts[stem] == 1 else f"{stem}_{counts[stem]}"
        endings = {"json": ".json", "timeline": "_timeline.png", "annotated": "_annotated.mp4"}
        outputs[clip] = {kind: arguments.out / f"{name}{ending}" for kind, ending in endings.items()}
        for path in outputs[clip].values():
            _take(taken, path, "--out")
    if outputs:
        make_folder(arguments.out)
    return outputs


def _take(taken: dict[Path, str], path: Path, option: str) -> None:
    if path.resolve() in taken or path.is_dir():
        other = taken.get(path.resolve(), "a folder")
        raise OptionError(option, f"would write to {path}, which is {other}", "choose another place")
    taken[path.resolve()] = f"written by {option}"


def _line(score: ClipScore) -> str:
    if score.fake_probability is None:
        return f"{score.video}: no_face (none found in {len(score.frames)} frames)"
    peak, time_seconds = max(
        (face.fake_probability, frame.time_seconds) for frame in score.frames for face in frame.faces
    )
    return (
        f"{score.video}: {score.verdict}, fake probability {score.fake_probability:.3f} "
        f"({len(score.tracks)} {'person' if len(score.tracks) == 1 else 'people'} "
        f"in {score.num_frames_scored} of {len(score.frames)} frames; "
        f"highest {peak:.2f} at {time_seconds:.1f} s)"
    )
