"""Score damaged clips and images, and count what is said about the damage.

    python benchmarks/mutate.py VIDEO_WITH_A_FACE --per-kind 4
    python benchmarks/mutate.py VIDEO_WITH_A_FACE --hours 2      # make fuzz

Writes 24 frames of the video in 11 video and 9 image formats, damages each file in 11 ways (see
tests/mutations.py) and scores every mutant twice: as users do, and with ``allow_truncated`` where it was
refused. Manifests, detector files and lists of videos are damaged and read as well. Outcomes: ``same``
(verdict as before and the probability within .02), ``error`` (a typed error), ``warned`` (another result,
with a warning about damage), ``silent`` (another result without a word), ``crash`` (any other exception).
Of the mutants whose result would change, at most 1 in 20 may be silent.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import add_json_option, record  # noqa: E402
from deepfake_detect import ClipResult, Detector, load_detector  # noqa: E402
from deepfake_detect.errors import DeepfakeDetectError  # noqa: E402
from deepfake_detect.video import read_frames  # noqa: E402
from tests.mutations import OtherSeed, mutants, write_other_seeds, write_seeds  # noqa: E402

_SAID = ("damaged_file", "missing_frames")
_NUM_FRAMES, _SAMPLED, _TOLERANCE = 24, 8, 0.02


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path, help="a clip with one face")
    parser.add_argument("--per-kind", type=int, default=4, help="mutants per file and mutator")
    parser.add_argument("--first", type=int, default=0, help="number of the first: others give others")
    parser.add_argument("--hours", type=float, help="go on with further numbers for so long")
    parser.add_argument("--seeds", nargs="*", help="names of files to damage; all by default")
    parser.add_argument("--out", type=Path, help="one line of JSON per mutant")
    add_json_option(parser, "mutants")
    arguments = parser.parse_args()
    end = time.monotonic() + 3600 * (arguments.hours or 0)
    detector = load_detector()
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        (seeds_folder := Path(folder) / "seeds").mkdir()
        seeds = write_seeds(seeds_folder, _frames(arguments.video))
        wholes = {name: detector.score_video(path, num_frames=_SAMPLED) for name, path in seeds.items()}
        others = {} if arguments.seeds else write_other_seeds(Path(folder))
        first = arguments.first
        while True:
            for name, path in seeds.items():
                if not arguments.seeds or name in arguments.seeds:
                    for mutant, data in mutants(path, per_kind=arguments.per_kind, first=first):
                        outcome, note = _outcome(detector, Path(folder) / name, data, wholes[name])
                        counts[name, outcome] += 1
                        counts[mutant.split(":")[1], outcome] += 1
                        counts["all", outcome] += 1
                        if arguments.out:
                            with arguments.out.open("a") as file:
                                file.write(json.dumps([mutant, outcome, note]) + "\n")
                        if outcome == "crash":
                            print(mutant, note, flush=True)
            _damage_others(others, arguments.per_kind, first, counts)
            first += arguments.per_kind
            if time.monotonic() > end:
                break
    _print(counts)
    by_name: dict[str, dict[str, int]] = {}
    for (name, outcome), count in counts.items():
        by_name.setdefault(name, {})[outcome] = count
    if not arguments.hours and not arguments.seeds:
        record("mutants", arguments, {"counts": by_name}, packages=("av", "pillow", "opencv-python-headless"))
    if counts["all", "crash"]:
        sys.exit(1)


def _damage_others(
    others: dict[str, OtherSeed], per_kind: int, first: int, counts: collections.Counter[tuple[str, str]]
) -> None:
    """Read damaged manifests, detector files and lists, and count how that ended."""
    for name, other in others.items():
        for mutant, data in mutants(other.seed, per_kind=per_kind, first=first):
            other.place.write_bytes(data)
            outcome = "same"
            try:
                other.read(other.place)
            except DeepfakeDetectError:
                outcome = "error"
            except Exception as error:
                outcome = "crash"
                print(mutant, repr(error), flush=True)
            counts[name, outcome] += 1
            counts["all", outcome] += 1


def _frames(video: Path) -> list[np.ndarray]:
    import cv2

    shrunk = []
    for frame in read_frames(video):
        height, width = frame.image.shape[:2]
        size = (640, height * 640 // width // 2 * 2)
        shrunk.append(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA))
        if len(shrunk) == _NUM_FRAMES:
            break
    return shrunk


def _outcome(detector: Detector, path: Path, data: bytes, whole: ClipResult) -> tuple[str, str]:
    path.write_bytes(data)
    try:
        result = detector.score_video(path, num_frames=_SAMPLED)
    except DeepfakeDetectError as error:
        return _tolerant_outcome(detector, path, str(error).removeprefix(f"{path}: "))
    except Exception as error:
        return "crash", repr(error)
    note = f"{whole.fake_probability} {result.fake_probability} {whole.verdict} {result.verdict}"
    if not _differs(result, whole):
        return "same", note
    return ("warned" if any(one.kind in _SAID for one in result.warnings) else "silent"), note


def _tolerant_outcome(detector: Detector, path: Path, reason: str) -> tuple[str, str]:
    """Return "error", unless scoring what is left of the file fails in an unexpected way."""
    try:
        result = detector.score_video(path, num_frames=_SAMPLED, allow_truncated=True)
    except DeepfakeDetectError as error:
        return "error", f"{reason} | {str(error).removeprefix(f'{path}: ')}"
    except Exception as error:
        return "crash", repr(error)
    if not any(one.kind == "damaged_file" for one in result.warnings):
        return "silent", f"{reason} | {result.fake_probability} without a warning"
    return "error", f"{reason} | {result.fake_probability}"


def _differs(result: ClipResult, whole: ClipResult) -> bool:
    before, after = whole.fake_probability, result.fake_probability
    if result.verdict != whole.verdict or before is None or after is None:
        return result.verdict != whole.verdict
    return abs(before - after) > _TOLERANCE


def _print(counts: collections.Counter[tuple[str, str]]) -> None:
    outcomes = ("same", "error", "warned", "silent", "crash")
    print(f"{'':16}" + "".join(f"{outcome:>8}" for outcome in outcomes))
    for name in dict.fromkeys(name for name, _ in counts):
        print(f"{name:16}" + "".join(f"{counts[name, outcome]:8}" for outcome in outcomes))


if __name__ == "__main__":
    main()
