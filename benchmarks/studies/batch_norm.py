"""Batch normalization after each convolution of the small CNN, on and off.

python benchmarks/studies/batch_norm.py --mnist-root DIR --out batch_norm
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout's package

from benchmarks.studies.classify_study import classify_study  # noqa: E402
from benchmarks.studies.grid import Variant  # noqa: E402

VARIANTS = (
    Variant("without batch norm", {"backbone_options": {"batch_norm": False}}),
    Variant("with batch norm", {"backbone_options": {"batch_norm": True}}),
)

if __name__ == "__main__":
    sys.exit(classify_study("Batch normalization", __doc__, VARIANTS))
