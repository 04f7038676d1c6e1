"""Answer the pictures of the FaceForensics++ benchmark: a zip with one JSON for its server.

Each picture is called fake or real by the detector's threshold. The benchmark takes no other
answer, so a picture without a face is called real; how many these are is told.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.errors import OptionError


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
    detector = load_detector(arguments.detector, device=arguments.device)
    probabilities: dict[str, float | None] = {}
    with progress_bar() as progress:
        task = progress.add_task("pictures", total=len(images), note="")
        for image in images:
            probabilities[image.name] = detector.score_video(image).fake_probability
            progress.advance(task)
    threshold = detector.config.threshold
    answers = {name: value is not None and value >= threshold for name, value in probabilities.items()}
    write_submission(arguments.out, answers)
    num_without = sum(value is None for value in probabilities.values())
    print(
        f"{len(answers):,} pictures, {sum(answers.values()):,} called fake, "
        f"{num_without:,} without a face and so called real; wrote {arguments.out}"
    )
    return 0
