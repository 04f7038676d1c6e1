"""Write the bundled detector's figures into README.md and its model card, from evaluations.

    python benchmarks/update_figures.py "DFDC val"=report/metrics.json ...

Each argument names a data set and the metrics.json that tools/evaluate.py wrote on it. The tables
stand between the markers ``<!-- figures -->`` and ``<!-- end of figures -->``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package

from benchmarks.markers import replace_between  # noqa: E402

TARGETS = (ROOT / "README.md", ROOT / "deepfake_detect" / "weights" / "README.md")
COLUMNS = {
    "auc": "AUC",
    "accuracy": "accuracy at the threshold",
    "eer": "equal error rate",
    "log_loss": "log loss",
    "brier": "Brier score",
}


def interval(metric: dict[str, Any]) -> str:
    """Return ``value [low, high]``."""
    if metric["value"] is None:
        return "n/a"
    if metric["low"] is None:
        return f"{metric['value']:.3f} [too few]"
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


def table(evaluations: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table, a row per evaluation, videos as samples."""
    lines = [
        "| data | videos scored | " + " | ".join(COLUMNS.values()) + " |",
        "|---|---|" + "---|" * len(COLUMNS),
    ]
    for name, metrics in evaluations.items():
        coverage = metrics["coverage"]
        scored = f"{coverage['videos_scored']:,} of {coverage['videos_expected']:,}"
        cells = [interval(metrics["video"][key]) for key in COLUMNS]
        lines.append(f"| {name} | {scored} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "95% intervals over videos, as `docs/evaluation.md` describes them."])


def main(arguments: list[str]) -> int:
    if not arguments or not all("=" in argument for argument in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    pairs = (argument.split("=", 1) for argument in arguments)
    text = table({name: json.loads(Path(path).read_text("utf-8")) for name, path in pairs})
    is_done = [replace_between(target, "figures", text) for target in TARGETS]
    return 0 if all(is_done) else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
