"""Overfitting: the small CNN on few images without dropout, and with a larger hidden layer.

    python benchmarks/studies/overfitting.py --mnist-root DIR --out overfitting

The loss on test images starts to rise while that on training images still falls.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout's package

from benchmarks.studies.classify_study import classify_study  # noqa: E402
from benchmarks.studies.grid import Variant  # noqa: E402

VARIANTS = (
    Variant("as published: dropout 0.25 and 0.5, FC 128"),
    Variant("no dropout", {"dropout": 0.0, "backbone_options": {"map_dropout": 0.0}}),
    Variant(
        "no dropout, FC 1024", {"dropout": 0.0, "backbone_options": {"map_dropout": 0.0, "hidden": 1024}}
    ),
)

if __name__ == "__main__":
    sys.exit(classify_study("Overfitting", __doc__, VARIANTS))
