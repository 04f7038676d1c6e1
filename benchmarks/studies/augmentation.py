"""Augmentation on and off: images mirrored and shifted by up to a tenth.

    python benchmarks/studies/augmentation.py --cifar-root DIR --out augmentation

A mirrored digit is no digit: MNIST measures the harm of an unsuitable augmentation.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout's package

from benchmarks.studies.classify_study import classify_study  # noqa: E402
from benchmarks.studies.grid import Variant  # noqa: E402

# The names are those in the published figures.
VARIANTS = (
    Variant("as they are"),
    Variant("mirrored and moved", training={"flips_and_shifts": True}),
)

if __name__ == "__main__":
    sys.exit(classify_study("Augmentation", __doc__, VARIANTS))
