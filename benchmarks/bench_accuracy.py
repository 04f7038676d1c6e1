"""The bundled detector's accuracy, from reports of `evaluate`, into README, model card and docs.

    python benchmarks/bench_accuracy.py "DFDC crops, test"=REPORT "DFDC crops, validation"=REPORT ...

Each argument names a data set and the folder that `deepfake-detect evaluate --out REPORT` wrote, with the
bundled detector, on it. The first is the one that the summary of docs/benchmarks.md begins with. Reports of
another detector are an error.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

from benchmarks.measuring import add_json_option, record  # noqa: E402
from benchmarks.quality_tables import METRICS  # noqa: E402
from benchmarks.results import ROOT  # noqa: E402
from deepfake_detect.errors import DeepfakeDetectError, OptionError  # noqa: E402
from deepfake_detect.io.files import read_json, sha256_of_file  # noqa: E402
from deepfake_detect.runtimes.load import read_config  # noqa: E402

_BUNDLED = ROOT / "deepfake_detect" / "weights" / "default.safetensors"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("reports", nargs="+", metavar="DATA=REPORT")
    add_json_option(parser, "accuracy")
    given = parser.parse_args(arguments)
    pairs = [(data, Path(folder)) for data, _, folder in (one.rpartition("=") for one in given.reports)]
    if not all(data for data, _ in pairs):
        parser.error("write DATA=REPORT for each report")
    try:
        figures = {"detector": _bundled(), "rows": [_row(data, folder) for data, folder in pairs]}
    except DeepfakeDetectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    given.reports = [data for data, _ in pairs]
    oldest = min(date.fromisoformat(one["date"]) for one in figures["rows"])
    record("accuracy", given, figures, measured_on=oldest)
    return 0


def _bundled() -> dict[str, str]:
    config = read_config(None)
    return {"name": config.name, "version": config.version, "sha256": sha256_of_file(_BUNDLED)}


def _row(data: str, folder: Path) -> dict[str, Any]:
    """Return the figures of a report, videos as samples."""
    metrics, used = read_json(folder / "metrics.json"), read_json(folder / "config.json")["detector_config"]
    bundled = _bundled()
    if (used["name"], used["version"]) != (bundled["name"], bundled["version"]):
        own, other = (f"{one['name']} {one['version']}" for one in (bundled, used))
        raise OptionError(str(folder), f"is a report of {other}", f"evaluate the bundled detector, {own}")
    coverage, abstention = metrics["coverage"], metrics["abstention"]
    return {
        "data": data,
        "date": str(date.fromtimestamp((folder / "metrics.json").stat().st_mtime)),
        "videos_scored": coverage["videos_scored"],
        "videos_expected": coverage["videos_expected"],
        "metrics": {key: metrics["video"][key] for key in METRICS},
        "verdicts": {"given": abstention["share_certain"], "right": abstention["accuracy_certain"]},
    }


if __name__ == "__main__":
    sys.exit(main())
