"""Crops of the study of unseen people: FaceForensics++ c23, DFDC and LFW, with 68 landmarks of each real."""

from __future__ import annotations

import csv
import hashlib
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from benchmarks.studies.unseen_people_forgeries import FaceCrop
from deepfake_detect import MtcnnDetector, import_crops
from deepfake_detect.data.manifest import read_manifest
from deepfake_detect.faces.crops import crop_face
from deepfake_detect.records import FAKE, REAL, CropGeometry

FFPP, DFDC, LFW = "FaceForensics++", "DFDC", "LFW"
MARGINS = {FFPP: 1.6, DFDC: 0.85, LFW: 1.6}
"""Side of a stored crop over that of MTCNN's face box."""
ORIGINAL = "original"
FOLDS = (
    ("055", "147", "252", "266", "828", "830"),
    ("033", "097", "469", "481", "644", "657", "866", "878"),
    ("183", "253", "210", "241", "712", "716", "811", "920"),
    ("339", "392", "942", "943", "648", "654", "986", "994"),
)
"""Videos of FaceForensics++ by fold: no pair, and no person, is in two (648 and 986 are one person)."""
# Face2Face clips that show the face elsewhere than the original does at the same frame.
_SHIFTED = {"033_097", "210_241", "241_210", "266_252", "469_481", "830_828", "392_339"}
_LANDMARK_MARGIN = 1.1  # of the square in which the landmark network errs least on FaceForensics++
_LANDMARK_SIDE = 64


@dataclass(frozen=True, eq=False)
class Crop:
    """A stored crop.

    Attributes:
        dataset, method, label, split: Method is ``original`` for reals.
        person: Video of FaceForensics++ whose face is replaced, original of DFDC, person of LFW.
        source: Video whose face was put there.
        frame: Number within the clip.
        coded: JPEG or PNG.
        landmarks: float (68, 2), fractions of the side; ``None`` for DFDC's fakes.
        original: Crop of the original at the same place: of the same frame, for FaceForensics++.
    """

    dataset: str
    method: str
    label: int
    split: str
    person: str
    coded: bytes
    source: str = ""
    frame: int = 0
    landmarks: np.ndarray | None = None
    original: Crop | None = None

    def image(self) -> np.ndarray:
        """Return RGB uint8 (S, S, 3)."""
        return cv2.imdecode(np.frombuffer(self.coded, np.uint8), cv2.IMREAD_COLOR_RGB)

    def face(self) -> FaceCrop:
        assert self.landmarks is not None
        image = self.image()
        return FaceCrop(image, self.landmarks * len(image))


def read_ffpp(folder: Path) -> list[Crop]:
    """Return the crops of a folder with crops.tar, labels.csv and landmarks68.npz; split is the fold."""
    coded = dict(_files_of(folder / "crops.tar"))
    with np.load(folder / "landmarks68.npz") as stored:
        landmarks = dict(zip(stored["names"].tolist(), stored["xy"].astype(np.float32), strict=True))
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    crops = [_ffpp_crop(row, coded[row["name"]], landmarks[row["name"]]) for row in rows]
    originals = {(crop.person, crop.frame): crop for crop in crops if crop.label == REAL}
    return [_with_original(crop, originals.get((crop.person, crop.frame))) for crop in crops]


def _ffpp_crop(row: Mapping[str, str], coded: bytes, landmarks: np.ndarray) -> Crop:
    (fold,) = (number for number, people in enumerate(FOLDS) if row["target_id"] in people)
    return Crop(
        FFPP,
        row["method"],
        int(row["label"]),
        f"fold {fold}",
        row["target_id"],
        coded,
        row["source_id"],
        int(row["frame"]),
        landmarks,
    )


def _with_original(crop: Crop, original: Crop | None) -> Crop:
    is_shifted = crop.method == "Face2Face" and f"{crop.person}_{crop.source}" in _SHIFTED
    return crop if crop.label == REAL or is_shifted else replace(crop, original=original)


def read_dfdc(folder: Path, out: Path, landmarks: Path) -> list[Crop]:
    """Return DFDC's crops, each fake with its original; 8% of the originals are for validation."""
    imported = out / "dfdc"
    if not (imported / "manifest.parquet").exists():
        options = {"dataset": DFDC, "margin": MARGINS[DFDC], "in_place": True}
        import_crops(folder, imported, rename_split=("val=test",), val_fraction=0.08, **options)
    coded = {Path(name).stem: data for tar in sorted(folder.glob("*.tar")) for name, data in _files_of(tar)}
    find = _landmark_finder(landmarks, MARGINS[DFDC])
    rows = [row for row in read_manifest(imported).columns(None).to_pylist() if row["split"] != "test"]
    reals = {}
    for row in rows:
        if row["label"] == REAL:
            crop = Crop(DFDC, ORIGINAL, REAL, row["split"], row["target_id"], coded[Path(row["path"]).stem])
            reals[crop.person] = replace(crop, landmarks=find(crop.image()))
    fakes = [
        Crop(
            DFDC, DFDC, FAKE, row["split"], row["target_id"], coded[Path(row["path"]).stem],
            original=reals.get(row["target_id"]),
        )
        for row in rows
        if row["label"] == FAKE
    ]  # fmt: skip
    return [*reals.values(), *fakes]


def read_lfw(tar: Path, landmarks: Path) -> list[Crop]:
    """Return the largest face of each of LFW's images, divided by person: 60% train, 10% val, 30% test."""
    detector, find = MtcnnDetector(device="cpu"), _landmark_finder(landmarks, MARGINS[LFW])
    crops = []
    for name, data in _files_of(tar):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        faces = detector.detect(image)
        if faces:
            largest = max(faces, key=lambda face: float(np.prod(face.box_xyxy[2:] - face.box_xyxy[:2])))
            crop = crop_face(image, largest, CropGeometry(margin=MARGINS[LFW]))
            person = Path(name).parent.name or Path(name).stem[:-5]
            coded = cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))[1].tobytes()
            crops.append(Crop(LFW, ORIGINAL, REAL, _lfw_split(person), person, coded, landmarks=find(crop)))
    return crops


def _lfw_split(person: str) -> str:
    fraction = int(hashlib.sha256(f"d3/{person}".encode()).hexdigest()[:8], 16) / 2**32
    return "train" if fraction < 0.6 else "val" if fraction < 0.7 else "test"


def _landmark_finder(network: Path, margin: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from a crop of a margin to 68 landmarks, fractions of its side."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
    (wanted,) = session.get_inputs()
    fraction = _LANDMARK_MARGIN / margin

    def find(image: np.ndarray) -> np.ndarray:
        square = window(image, fraction)
        small = cv2.resize(square, (_LANDMARK_SIDE, _LANDMARK_SIDE), interpolation=cv2.INTER_AREA)
        gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32) / 256
        (points,) = session.run(None, {wanted.name: gray[None, None]})
        return ((points.reshape(-1, 2) - 0.5) * fraction + 0.5).astype(np.float32)

    return find


def window(image: np.ndarray, fraction: float, x: float = 0.5, y: float = 0.5) -> np.ndarray:
    """Return a square of an image (S, S, 3) about a point; beyond the border it is mirrored."""
    side = len(image)
    size = max(8, round(side * fraction))
    left, top = round(x * side - size / 2), round(y * side - size / 2)
    pad = max(-left, -top, left + size - side, top + size - side, 0)
    if pad:
        image = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REFLECT_101)
    return np.ascontiguousarray(image[top + pad : top + pad + size, left + pad : left + pad + size])


def _files_of(tar: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(tar) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                name = member.name
                yield (name if "lfw" in tar.name else Path(name).name), file.read()
