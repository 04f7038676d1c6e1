"""Answer the pictures of the FaceForensics++ benchmark: a zip with one JSON for its server.

Each picture is called fake or real by the detector's threshold. The benchmark takes no other
answer, so a picture without a face, or one that cannot be read, is called real; how many these are is
told, and whether there are the benchmark's 1,000.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from deepfake_detect.errors import OptionError, VideoError

_NUM_PICTURES = 1000
_MAX_NAMED = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=Path, required=True, help="folder of the benchmark's PNG files")
    parser.add_argument("--out", type=Path, required=True, help="zip to write")
    parser.add_argument("--detector", type=Path, help="detector.safetensors (default: the bundled one)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")


def run(arguments: argparse.Namespace) -> int:
    from deepfake_detect.evaluation.submission import write_submission
    from deepfake_detect.progress import progress_bar
    from deepfake_detect.scoring import load_detector

    images = sorted(arguments.images.glob("*.png"))
    if not images:
        raise OptionError("--images", f"{arguments.images} holds no PNG file", "name the folder of pictures")
    if len(images) != _NUM_PICTURES:
        warnings.warn(
            f"{arguments.images}: holds {len(images):,} pictures, the benchmark has {_NUM_PICTURES:,}",
            stacklevel=2,
        )
    detector = load_detector(arguments.detector, runtime="torch", device=arguments.device)
    probabilities: dict[str, float | None] = {}
    unreadable: list[str] = []
    with progress_bar() as progress:
        task = progress.add_task("pictures", total=len(images), note="")
        for image in images:
            try:
                probabilities[image.name] = detector.score_video(image).fake_probability
            except VideoError:
                probabilities[image.name] = None
                unreadable.append(image.name)
            progress.advance(task)
    if unreadable:
        named = ", ".join(unreadable[:_MAX_NAMED]) + (", ..." if len(unreadable) > _MAX_NAMED else "")
        warnings.warn(
            f"{len(unreadable):,} pictures cannot be read and are called real: {named}", stacklevel=2
        )
    threshold = detector.config.threshold
    answers = {name: value is not None and value >= threshold for name, value in probabilities.items()}
    write_submission(arguments.out, answers)
    num_without = sum(value is None for value in probabilities.values()) - len(unreadable)
    print(
        f"{len(answers):,} pictures, {sum(answers.values()):,} called fake, "
        f"{num_without:,} without a face and so called real; wrote {arguments.out}"
    )
    return 0
