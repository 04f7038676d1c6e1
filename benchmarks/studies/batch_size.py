"""Batch size: the same epochs in more or fewer steps, at the same learning rate.

    python benchmarks/studies/batch_size.py --mnist-root DIR --out batch_size

Larger batches take fewer steps per epoch, which explains what they lose.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout's package

from benchmarks.studies.classify_study import classify_study  # noqa: E402
from benchmarks.studies.grid import Variant  # noqa: E402

VARIANTS = (*(Variant(f"batch of {size}", training={"batch_size": size}) for size in (16, 64, 256)),)

if __name__ == "__main__":
    sys.exit(classify_study("Batch size", __doc__, VARIANTS))
