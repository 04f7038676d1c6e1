#!/usr/bin/env python3
"""`deepfake-detect export` from a checkout: see `tools/export.py --help`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this checkout, in place of this folder

from deepfake_detect.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
