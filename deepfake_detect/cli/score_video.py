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

from deepfake_detect.errors import DeepfakeDetectError, OptionError
from deepfake_detect.files import write_json
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
        help="most_suspicious_track, mean or longest_track (default: the detector's own)",
    )
    parser.add_argument(
        "--min-face", type=float, help="smallest face looked for, in pixels (default: a twelfth of the frame)"
    )
    parser.add_argument(
        "--allow-truncated", action="store_true", help="judge what is left of truncated clips"
    )


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.scoring import load_detector

    if arguments.out is not None:
        _check_names(arguments.clips)
    detector = load_detector(arguments.detector, device=arguments.device)
    results: list[dict[str, Any]] = []
    num_failed = 0
    for clip in arguments.clips:
        try:
            score = _score(detector, clip, arguments)
        except OptionError:
            raise  # wrong for every clip alike
        except DeepfakeDetectError as error:
            print(f"error: {error}", file=sys.stderr)
            num_failed += 1
        else:
            results.append(score.to_dict())
            print(_line(score), file=sys.stderr if arguments.json == "-" else sys.stdout)
            if arguments.json not in (None, "-"):  # after each clip: what is judged is kept
                write_json(arguments.json, results[0] if len(arguments.clips) == 1 else results)
    if arguments.json == "-" and (results or len(arguments.clips) > 1):
        print(json.dumps(results[0] if len(arguments.clips) == 1 else results, indent=2))
    return 2 if num_failed else 0


def _score(detector: Detector, clip: str, arguments: argparse.Namespace) -> ClipScore:
    with progress_bar() as progress:
        task = progress.add_task(f"scoring {Path(clip).name}", total=arguments.frames, note="frames")
        score = detector.score_video(
            clip,
            num_frames=arguments.frames,
            aggregation_rule=arguments.aggregation,
            min_face=arguments.min_face,
            allow_truncated=arguments.allow_truncated,
            on_frame=lambda done: progress.update(task, completed=done),
        )
    if arguments.out is not None:
        _leave(score, arguments.out)
    return score


def _leave(score: ClipScore, out: Path) -> None:
    from deepfake_detect.report.annotate import annotate_video
    from deepfake_detect.report.timeline import save_timeline_figure

    stem = Path(score.video).stem
    write_json(out / f"{stem}.json", score.to_dict())
    save_timeline_figure(score, out / f"{stem}_timeline.png")
    with progress_bar() as progress:
        task = progress.add_task(f"annotating {stem}", total=None, note="frames")
        annotate_video(
            score,
            out / f"{stem}_annotated.mp4",
            on_frame=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _check_names(clips: list[str]) -> None:
    stems: dict[str, str] = {}
    for clip in clips:
        other = stems.setdefault(Path(clip).stem, clip)
        if other != clip:
            raise OptionError(
                "--out", f"{other} and {clip} would write the same files", "score them into two folders"
            )


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
