"""Manifests of the study of few people: FaceForensics++ and DFDC crops, LFW pairs, all small and balanced."""

from __future__ import annotations

import csv
import io
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfake_detect import import_crops
from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.manifest import Manifest, read_manifest, rows_to_table, write_manifest
from deepfake_detect.data.sheets import save_image
from deepfake_detect.data.transforms import center_crop
from deepfake_detect.io.files import make_folder
from deepfake_detect.records import FAKE, REAL, CropGeometry

HELD_OUT = ("055", "147", "183", "252", "253", "266", "712", "716", "828", "830", "942", "943")
"""Videos whose people are in no training set of the study: six pairs of swapped faces."""
STORED_MARGIN, DFDC_MARGIN = 1.6, 0.85
_FRAMES_PER_SECOND = 25
_FRAMES_PER_HELD_CLIP = 8

Rows = list[dict[str, Any]]


def ffpp_rows(folder: Path, out: Path, margin: float) -> Rows:
    """Cut the published crops (margin 1.6) to a margin, once, and return their rows; val is held out."""
    crops = make_folder(out / f"ffpp_{margin:g}")
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        listed = {row["name"]: row for row in csv.DictReader(file)}
    if len(list(crops.iterdir())) < len(listed):
        for name, image in _images_of(folder / "crops.tar"):
            save_image(crops / f"{Path(name).stem}.png", center_crop(image, margin / STORED_MARGIN))
    return [_ffpp_row(row, f"{crops.name}/{Path(row['name']).stem}.png") for row in listed.values()]


def _ffpp_row(row: Mapping[str, str], path: str) -> dict[str, Any]:
    people = {row["target_id"], row["source_id"]} - {""}
    return {
        "dataset": "FaceForensics++",
        "video_id": f"FaceForensics++/{row['method']}/{row['video']}",
        "method": row["method"],
        "label": int(row["label"]),
        "split": "val" if people <= set(HELD_OUT) else "train",
        "target_id": row["target_id"],
        "source_id": row["source_id"] or None,
        "frame_index": int(row["frame"]),
        "time_seconds": int(row["frame"]) / _FRAMES_PER_SECOND,
        "track_id": 0,
        "path": path,
        "native_size": int(row["native_side_px"]),
    }


def _images_of(tar: Path) -> Iterable[tuple[str, np.ndarray]]:
    with tarfile.open(tar) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                coded = np.frombuffer(io.BytesIO(file.read()).getbuffer(), np.uint8)
                yield member.name, cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def dfdc_rows(folder: Path, out: Path, *, num_train: int, num_val: int) -> Rows:
    """Return rows of DFDC crops: as many reals, and one fake of each, as asked for."""
    imported = out / "dfdc"
    if not (imported / "manifest.parquet").exists():
        options: dict[str, Any] = {"dataset": "DFDC", "margin": DFDC_MARGIN, "in_place": True}
        import_crops(folder, imported, rename_split=("val=test",), val_fraction=0.08, **options)
    rows = read_manifest(imported).columns(None).to_pylist()
    crops = make_folder(out / "dfdc_crops")
    chosen = [
        row
        for split, count in (("train", num_train), ("val", num_val))
        for row in _pairs_of([one for one in rows if one["split"] == split], count)
    ]
    for row in chosen:
        path = crops / f"{Path(row['path']).stem}.png"
        if not path.exists():
            save_image(path, read_crop(imported / row["path"]))
        row["path"] = f"{crops.name}/{path.name}"
    return chosen


def _pairs_of(rows: Rows, count: int) -> Rows:
    by_person: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        by_person[row["target_id"]].setdefault(row["label"], row)
    whole = [pair for _, pair in sorted(by_person.items()) if len(pair) == 2]
    picked = np.random.default_rng(0).permutation(len(whole))[:count]
    return [whole[number][label] for number in picked for label in (REAL, FAKE)]


def balanced(rows: Rows, num_fakes: int) -> Rows:
    """Return training rows: all reals' frames evenly thinned, and as many fakes, evenly over their clips."""
    reals, fakes = ([row for row in rows if row["label"] == label] for label in (REAL, FAKE))
    return [*_thinned(reals, num_fakes), *_thinned(fakes, num_fakes)]


def _thinned(rows: Rows, count: int) -> Rows:
    """Return rows, evenly over clips and within each over its frames."""
    clips: dict[str, Rows] = defaultdict(list)
    for row in rows:
        clips[row["video_id"]].append(row)
    queues = [_spread(sorted(clip, key=lambda row: row["frame_index"])) for _, clip in sorted(clips.items())]
    turns = [
        queue[turn]
        for turn in range(max(map(len, queues), default=0))
        for queue in queues
        if turn < len(queue)
    ]
    return turns[:count]


def _spread(rows: Rows) -> Rows:
    """Return rows so that the first few are spread over all: every 2nd half first, and so on."""
    order = sorted(range(len(rows)), key=lambda number: int(f"{number:08b}"[::-1], 2))
    return [rows[number] for number in order]


def held_out(rows: Rows) -> Rows:
    """Return the rows of val, a few frames of each FaceForensics++ clip."""
    clips: dict[str, Rows] = defaultdict(list)
    for row in rows:
        if row["split"] == "val":
            clips[row["video_id"]].append(row)
    return [
        row
        for clip in clips.values()
        for row in sorted(clip, key=lambda one: one["frame_index"])[
            :: max(1, len(clip) // _FRAMES_PER_HELD_CLIP)
        ]
    ]


def save_rows(path: Path, rows: Rows, margin: float) -> Manifest:
    """Write rows as a manifest."""
    write_manifest(path, rows_to_table(rows), geometry=CropGeometry(margin=margin))
    return read_manifest(path)


def write_lfw_pairs(tar: Path, out: Path, *, num_folds: int, num_pairs: int) -> Path:
    """Write pairs of LFW's images, no person in two folds, in the form of pairs.txt."""
    with tarfile.open(tar) as archive:
        names = sorted({Path(name).stem for name in archive.getnames() if name.lower().endswith(".jpg")})
    people: dict[str, list[int]] = defaultdict(list)
    for name in names:
        person, _, number = name.rpartition("_")
        people[person].append(int(number))
    rng = np.random.default_rng(0)
    several = rng.permutation([person for person, numbers in sorted(people.items()) if len(numbers) > 1])
    single = rng.permutation([person for person, numbers in sorted(people.items()) if len(numbers) == 1])
    lines = [f"{num_folds}\t{num_pairs}"]
    for fold in range(num_folds):
        lines += [_same(person, people) for person in several[fold * num_pairs : (fold + 1) * num_pairs]]
        first = 2 * fold * num_pairs
        lines += _different(single[first : first + 2 * num_pairs], people)
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return out


def _same(person: str, people: Mapping[str, Sequence[int]]) -> str:
    return f"{person}\t{people[person][0]}\t{people[person][1]}"


def _different(chosen: Sequence[str], people: Mapping[str, Sequence[int]]) -> list[str]:
    pairs = zip(chosen[::2], chosen[1::2], strict=True)
    return [f"{one}\t{people[one][0]}\t{other}\t{people[other][0]}" for one, other in pairs]
