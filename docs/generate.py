#!/usr/bin/env python3
"""Generate parts of README and docs from the code and benchmarks/results, or compare them (--check)."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]  # this checkout's package, and the modules next to this file

from _generate.datasets import dataset_pages  # noqa: E402
from _generate.http import http_tables  # noqa: E402

import deepfake_detect  # noqa: E402
from benchmarks.markers import filled  # noqa: E402
from benchmarks.pages import result_parts  # noqa: E402
from deepfake_detect.options import option_table  # noqa: E402
from deepfake_detect.report.zoo import zoo_tables  # noqa: E402

# Section of the page, and the dataclass whose fields are the options.
OPTIONS = {
    "Scoring clips (`score-video`)": "scoring.options.ScoringOptions",
    "Many clips (`score-video`)": "scoring.options.BatchOptions",
    "Limits of decoding (`score-video`)": "video.limits.DecodingLimits",
    "A camera or stream (`score-video --live`)": "scoring.options.LiveOptions",
    "A Ray cluster (`--engine ray`)": "work.ray_engine.RayOptions",
    "Heat maps (`explain`)": "explanation.options.ExplainOptions",
    "The page and the HTTP API (`app`)": "app.options.ServeOptions",
    "Limits of the page (`app`)": "app.options.Limits",
    "Reading a dataset (`index`, `extract-faces`)": "data.options.ReadingOptions",
    "Extracting faces (`extract-faces`)": "extraction.config.ExtractionConfig",
    "Running an extraction (`extract-faces`)": "extraction.config.RunOptions",
    "Importing crops (`import-crops`)": "data.options.CropImportOptions",
    "Merging manifests (`merge`)": "data.options.MergeOptions",
    "Exporting an index (`export-index`)": "data.options.IndexExportOptions",
    "Packing crops (`pack`)": "data.options.PackOptions",
    "Auditing splits (`audit`)": "data.options.AuditOptions",
    "Training (`train`)": "training.config.TrainingConfig",
    "Comparing backbones (`compare-backbones`)": "training.study_options.StudyOptions",
    "Features (`extract-features`)": "features.options.ExtractionOptions",
    "Classical classifiers (`train-features`)": "features.options.ClassifierOptions",
    "Similar faces (`neighbors`)": "features.options.NeighborOptions",
    "Evaluation (`evaluate`)": "evaluation.options.EvaluationOptions",
    "Intervals (`evaluate`, `compare`)": "evaluation.options.ResamplingOptions",
    "Calibration (`calibrate`)": "evaluation.options.CalibrationOptions",
    "Exports (`export`)": "runtimes.options.ExportOptions",
}


def options_page() -> str:
    """Return docs/options.md."""
    parts = [
        "# Options",
        "In Python and YAML, an option has the name of its flag, without the leading dashes and with "
        "underscores; `--frames` is `num_frames`. `docs/generate.py` generates this page from the code.",
    ]
    for title, name in OPTIONS.items():
        module, _, class_name = name.rpartition(".")
        cls = getattr(importlib.import_module(f"deepfake_detect.{module}"), class_name)
        parts += [f"## {title}", option_table(cls).strip()]
    return "\n\n".join(parts) + "\n"


def api_page() -> str:
    """Return docs/api.md: every public name, whose documentation the site takes from the code."""
    lines = [
        "# Python API",
        "",
        "Everything that `import deepfake_detect` exports. Anything else can change without notice. "
        "`docs/generate.py` generates this page.",
    ]
    for title, has_kind in API_SECTIONS.items():
        names = [name for name in _public_names() if has_kind(getattr(deepfake_detect, name))]
        lines += ["", f"## {title}", ""]
        lines += map(_entry, names)
    return "\n".join(lines) + "\n"


def _public_names() -> list[str]:
    return sorted((name for name in deepfake_detect.__all__ if name[0] != "_"), key=str.lower)


def _entry(name: str) -> str:
    """Return the line that the site replaces by a name's documentation; of a constant, its value."""
    value = getattr(deepfake_detect, name)
    is_constant = not (inspect.isroutine(value) or inspect.isclass(value))
    return f"- `{name}` is `{value!r}`" if is_constant else f"::: {value.__module__}.{name}"


API_SECTIONS = {
    "Functions": inspect.isroutine,
    "Errors": lambda value: inspect.isclass(value) and issubclass(value, Exception),
    "Classes": lambda value: inspect.isclass(value) and not issubclass(value, Exception),
    "Constants": lambda value: not inspect.isroutine(value) and not inspect.isclass(value),
}


def code_parts() -> dict[Path, dict[str, str]]:
    """Return page -> marker -> text, of pages of which a part is made from the code."""
    lines = re.findall(r"^    ([a-z_, ]+?)  +(\S.*)$", deepfake_detect.__doc__ or "", flags=re.M)
    rows = [f"| `{'`, `'.join(names.split(', '))}` | {what} |" for names, what in lines]
    table = "\n".join(["| package | what it does |", "|---|---|", *rows])
    return {
        DOCS / "zoo.md": dict(zoo_tables()),
        DOCS / "http-api.md": http_tables(),
        DOCS / "architecture.md": {"map": table},
    }


def pages() -> dict[Path, str]:
    """Return the text of every page that is generated, or has a part that is."""
    whole = {"options.md": options_page(), "api.md": api_page(), **dataset_pages()}
    texts = {DOCS / name: text for name, text in whole.items()}
    for parts in (code_parts(), result_parts()):
        for path, of_path in parts.items():
            texts[path] = filled(texts.get(path) or path.read_text("utf-8"), of_path)
    return texts


def main() -> int:
    """Write the pages; with ``--check`` name those that are out of date, and return 1 if any is."""
    texts = pages()
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv[1:]:
        print("\n".join(f"out of date: {path.relative_to(DOCS.parent)}" for path in stale))
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(texts[path], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
