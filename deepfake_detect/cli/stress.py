"""Score clips damaged the way encoders and re-uploads do, before face detection.

    deepfake-detect stress index.parquet --detector run/detector.safetensors --out stress
    deepfake-detect stress index.parquet --out stress --damages h264-32 h265-40 half+h264-40

Damages: h264-23, -32, -40; h265-23, -32, -40; half, quarter (size); 15fps; noise; blur; reupload,
reupload-h265 (two encodings); messenger, short-video, video-site (similar to platforms). Join several with +.
Writes stress.json, stress.csv, stress.html and stress.png: AUC, its paired change, and clips and frames
that lost their faces. Damages that are already in --out are not scored again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detect.cli.arguments import add_options, keywords_of
from deepfake_detect.cli.notes import note
from deepfake_detect.evaluation.options import ResamplingOptions, StressOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("index", type=Path, metavar="INDEX", help="labeled videos, from `index`")
    parser.add_argument("--detector", help="detector of any kind (default: the bundled one)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--frames", type=int, default=32, dest="num_frames", help="frames to score per clip")
    add_options(parser, StressOptions)
    add_options(parser, ResamplingOptions)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from deepfake_detect.report.stress import print_stress
    from deepfake_detect.scoring.stress import stress

    print_stress(stress(**keywords_of(arguments, StressOptions, ResamplingOptions)))
    note(f"wrote {arguments.out / 'stress.json'}, stress.csv and stress.html")
    return 0
