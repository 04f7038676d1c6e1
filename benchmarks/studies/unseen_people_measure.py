"""What the study of unseen people measures: video AUCs with 95% intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.studies import few_people_data
from benchmarks.studies.unseen_people_crops import FOLDS
from deepfake_detect import evaluate
from deepfake_detect.io.files import make_folder


def aucs_of(
    detectors: Sequence[Path], whole: Path, margin: float, *, ffpp: Path, dfdc: Path, out: Path
) -> dict[str, Any]:
    """Return the AUCs of a training that is done once for each fold.

    Args:
        detectors: One for each fold, which has not seen its people; they score them.
        whole: The detector that is measured on DFDC's validation originals.
        margin: Of the crops of FaceForensics++.
        ffpp, dfdc: Folder of crops.tar, and of an imported manifest.
        out: Folder for scores and reports.

    Returns:
        For all methods of FaceForensics++ and each, with intervals from resampling people, and for DFDC.
    """
    folder = make_folder(out / "measured" / whole.stem)
    options: dict[str, Any] = {"num_workers": 0, "device": "cpu", "show_progress": False}
    rows = few_people_data.ffpp_rows(ffpp, out, margin)
    scores = []
    for number, (people, detector) in enumerate(zip(FOLDS, detectors, strict=True)):
        held = [{**row, "split": "val"} for row in rows if row["target_id"] in people]
        manifest = few_people_data.save_rows(out / f"fold-{number}-{margin:g}.parquet", held, margin)
        part = make_folder(folder / f"fold-{number}")
        evaluate(manifest, detector, out=part, split="val", aggregation_rule="mean", **options)
        scores.append(pq.read_table(part / "scores.parquet").replace_schema_metadata())
    pq.write_table(pa.concat_tables(scores, promote_options="default"), folder / "scores.parquet")
    found = evaluate(
        scores=folder, out=folder, aggregation_rule="mean", resample="identities", show_progress=False
    )
    methods = {name: one.video.to_json()["auc"] for name, one in found.per_method.items()}
    on_dfdc = evaluate(dfdc, whole, split="val", **options).video
    return {"all": found.video.to_json()["auc"], **methods, "DFDC": on_dfdc.to_json()["auc"]}
