"""AUC of published detectors on stored crops of FaceForensics++ c23, by forgery method.

    python benchmarks/zoo_measured.py FOLDER --detectors meso4-df meso4-f2f --out /tmp/measured

FOLDER holds crops.tar (squares of 1.6 times the face box), labels.csv (name, label, method, target_id,
source_id, video, frame, box_left ... box_bottom) and landmarks68.npz (68 points, fractions of a crop). Each
detector gets its own crops, cut out of these; `evaluate` scores them, and its intervals resample people.
The detectors must have been fetched. The figures are copied into the zoo's entries; a test compares them.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout's package

import deepfake_detect as dfd  # noqa: E402
from benchmarks.measuring import add_json_option, record  # noqa: E402
from deepfake_detect.data.manifest import rows_to_table, write_manifest  # noqa: E402
from deepfake_detect.faces import crop_face  # noqa: E402
from deepfake_detect.records import CropGeometry, Face  # noqa: E402
from deepfake_detect.runtimes.load import read_config  # noqa: E402

_STORED_MARGIN = 1.6
# Means of these of the 68 points are MTCNN's five: eyes, nose, mouth corners.
_FIVE = (range(36, 42), range(42, 48), range(30, 31), range(48, 49), range(54, 55))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detectors", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--out", type=Path, required=True)
    add_json_option(parser, "zoo_measured")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.detectors:
        manifest = cut(arguments.folder, arguments.out / name, read_config(f"zoo:{name}").geometry)
        found = dfd.evaluate(
            manifest, f"zoo:{name}", split="test", resample="identities", show_progress=False
        )
        for method, result in found.per_method.items():
            auc = result.video.metrics["auc"]
            videos = {"real": result.num_videos_real, "fake": result.num_videos_fake}
            value = {"value": auc.value, "low": auc.low, "high": auc.high}
            rows.append({"detector": name, "method": method, "video_auc": value, "videos": videos})
    record("zoo_measured", arguments, {"rows": rows}, packages=("torch", "timm", "opencv-python-headless"))
    return 0


def cut(folder: Path, out: Path, geometry: CropGeometry) -> Path:
    """Cut crops of a geometry out of the stored ones; return their manifest."""
    landmarks = np.load(folder / "landmarks68.npz")
    points = dict(zip(landmarks["names"].tolist(), landmarks["xy"].astype(np.float64), strict=True))
    with open(folder / "labels.csv", encoding="utf-8") as file:
        labels = {row["name"]: row for row in csv.DictReader(file)}
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    with tarfile.open(folder / "crops.tar") as archive:
        for member in archive:
            stream, name = archive.extractfile(member), Path(member.name).name
            if stream is not None and name in labels:
                image = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_COLOR)
                crop = crop_face(image, _face(labels[name], points[name], len(image)), geometry)
                cv2.imwrite(str(out / f"{name}.png"), crop)
                rows.append(_row(labels[name], f"{name}.png", len(crop)))
    write_manifest(out / "manifest.parquet", rows_to_table(rows), geometry=geometry)
    return out / "manifest.parquet"


def _face(label: dict[str, str], points: np.ndarray, side: int) -> Face:
    """Return the face of a stored crop in its pixels."""
    left, top, right, bottom = (float(label[f"box_{edge}"]) for edge in ("left", "top", "right", "bottom"))
    scale = side / (_STORED_MARGIN * max(right - left, bottom - top)) / 2
    half = np.array([right - left, bottom - top]) * scale
    five = np.stack([points[list(group)].mean(0) for group in _FIVE]) * side
    return Face(np.float32([*(side / 2 - half), *(side / 2 + half)]), 1.0, five.astype(np.float32))


def _row(label: dict[str, str], path: str, side: int) -> dict[str, Any]:
    return {
        "dataset": "FaceForensics++",
        "video_id": f"FaceForensics++/{label['method']}/c23/{label['video']}",
        "method": label["method"],
        "label": int(label["label"]),
        "split": "test",
        "target_id": label["target_id"],
        "source_id": label["source_id"] or None,
        "frame_index": int(label["frame"]),
        "track_id": 0,
        "path": path,
        "native_size": side,
    }


if __name__ == "__main__":
    sys.exit(main())
