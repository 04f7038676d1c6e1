"""The model card of a shared detector: Markdown with YAML front matter, as the Hugging Face Hub shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.models.bundled import bundled_detector
from deepfake_detect.models.card import config_facts, facts_table, read_card, shown_text
from deepfake_detect.models.config import DetectorConfig, parse_config
from deepfake_detect.models.metadata import read_bytes

_TITLES = {
    "auc": "AUC",
    "accuracy": "accuracy at the threshold",
    "balanced_accuracy": "balanced accuracy",
    "eer": "equal error rate",
    "average_precision": "average precision",
    "apcer": "fakes called real (APCER)",
    "bpcer": "reals called fake (BPCER)",
    "log_loss": "log loss",
    "brier": "Brier score",
}
_TAGS = ("deepfake-detection", "face-forgery-detection")
# Facts that a section of the card gives already.
_SAID_ABOVE = ("training: aggregation auc", "training: calibrated auc", "training: val video auc")
_LIMITS = """\
A probability is about the forgeries that the detector was trained on. On other methods, on stronger
compression and on other cameras a detector is right less often, and may be sure where it is wrong. A verdict
is a lead to follow, not proof. It says nothing about sound, about bodies,
or about an image without a face. Evaluate it on data like yours before you rely on it.
"""


def hub_card(
    file: Path, source: Path | None, *, address: str, figures: Mapping[str, Any], license: str | None
) -> str:
    """Return the card of a detector's file.

    Args:
        file: The file that is shared.
        source: What it is a copy of: the bundled detector has a card of its own.
        address: What the card's example loads.
        figures: An evaluation as plain values; empty for none.
        license: Of the weights, by its name on the hub; ``None`` names none.
    """
    config = parse_config(file, read_bytes(file, kind="detector").metadata)
    front = _front_matter(config, figures, license)
    usage = f'```python\nimport deepfake_detect as dfd\n\ndetector = dfd.load_detector("{address}")\n'
    usage += 'print(detector.score_video("clip.mp4").verdict)\n```\n'
    with bundled_detector() as bundled:
        is_bundled = source is not None and source.samefile(bundled)
    if is_bundled:
        title, _, rest = read_card().partition("\n")
        return f"{front}\n{title}\n\n{usage}{rest}"
    facts = {
        "file": f"{file.name}, {file.stat().st_size:,} bytes",
        "SHA-256": sha256_of_file(file),
        **{name: value for name, value in config_facts(config).items() if name not in _SAID_ABOVE},
    }
    sections = {
        "Data": _data(config),
        "Figures": _figures(config, figures),
        "Verdicts": _verdicts(config),
        "Limits": _LIMITS,
        "Facts": facts_table(facts),
    }
    title = f"# {shown_text(config.name)} {shown_text(config.version)}"
    what = "A detector of deepfaked faces for the library deepfake_detect: from a face crop to the calibrated"
    body = "\n".join(f"## {name}\n\n{text}" for name, text in sections.items())
    return f"{front}\n{title}\n\n{what}\nprobability that the face was forged.\n\n{usage}\n{body}"


def _front_matter(config: DetectorConfig, figures: Mapping[str, Any], license: str | None) -> str:
    """Return the card's metadata; JSON values are YAML, and hold whatever a name contains."""
    published = config.training.published
    licensed = {} if license is None else {"license": license}
    if license is None and published is not None:  # the hub's list of licenses may lack it
        licensed = {"license": "other", "license_name": published.license}
    values: dict[str, Any] = {
        **licensed,
        "library_name": "deepfake_detect",
        "pipeline_tag": "image-classification",
        "tags": [*_TAGS, config.model.backbone],
        "metrics": ["roc_auc"],
    }
    if results := list(_results(figures)):
        values["model-index"] = [{"name": f"{config.name} {config.version}", "results": results}]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(["---", *lines, "---"])


def _results(figures: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the results that the hub shows next to a model."""
    area = (figures.get("video") or {}).get("auc") or {}
    if area.get("value") is not None:
        metric = {"type": "roc_auc", "name": "AUC over videos", "value": round(area["value"], 4)}
        named = ", ".join(figures.get("per_method") or ()) or "videos of the evaluation"
        yield {
            "task": {"type": "image-classification", "name": "deepfake detection"},
            "dataset": {"type": "evaluation", "name": shown_text(named)},
            "metrics": [metric],
        }


def _data(config: DetectorConfig) -> str:
    training = config.training
    names = ", ".join(training.datasets or ()) or "not recorded"
    counts = {"train": training.num_train_crops, "validation": training.num_val_crops}
    rows = {
        "datasets": names,
        **{f"{part} crops": f"{count:,}" for part, count in counts.items() if count is not None},
        **{
            f"{use} videos": f"{len(digests):,}, listed in the file by hash"
            for use, digests in (training.video_sha256_prefixes or {}).items()
        },
    }
    return facts_table(rows)


def _figures(config: DetectorConfig, figures: Mapping[str, Any]) -> str:
    parts = []
    if figures:
        coverage = figures["coverage"]
        parts.append(
            "| videos | " + " | ".join(_TITLES.values()) + " |\n" + "|---" * (len(_TITLES) + 1) + "|\n"
        )
        levels = {"all": figures["video"]}
        levels |= {name: one["video"] for name, one in (figures.get("per_method") or {}).items()}
        for name, metrics in levels.items():
            cells = " | ".join(_interval(metrics.get(metric) or {}) for metric in _TITLES)
            parts[0] += f"| {shown_text(name)} | {cells} |\n"
        scored, total = coverage.get("videos_scored"), coverage.get("videos_expected")
        parts.append(f"95% intervals in brackets; {scored} of {total} videos were scored.\n")
        parts += [f"{shown_text(note)}.\n" for note in (*figures.get("seen", ()), *figures.get("notes", ()))]
    area = config.training.calibrated_auc
    if area is not None:
        parts.append(
            f"On validation, on which it was selected and calibrated: AUC {_interval(vars(area))} over "
            f"{area.num_real:,} real and {area.num_fake:,} fake videos.\n"
        )
    if not figures:
        parts.append("It comes without figures on data that it has not seen.\n")
    return "\n".join(parts)


def _interval(metric: Mapping[str, Any]) -> str:
    value, low, high = (metric.get(name) for name in ("value", "low", "high"))
    if value is None:
        return "n/a"
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")


def _verdicts(config: DetectorConfig) -> str:
    return (
        f"A clip's probability is aggregated from its faces by `{config.aggregation_rule}`.\n"
        f"The verdict is fake at {config.uncertain_high:.4g} or more, real below {config.uncertain_low:.4g}, "
        "and uncertain in between.\n"
        f"To force a decision between two classes, use the threshold {config.threshold:.4g}.\n"
    )
