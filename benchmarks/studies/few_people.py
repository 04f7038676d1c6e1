r"""What a detector learns from few people: networks, finetune modes, transfer between forgeries, options.

    python benchmarks/studies/few_people.py --ffpp ffpp_c23 --dfdc dfdc_faces --lfw lfw_2000.tar \
        --facenet facenet.safetensors --mobilenet mobilenetv2.safetensors --lite lite0.safetensors --out study

Every row of a table is a short training with the same number of crops, of one seed; the last epoch is
measured, so nothing is selected. Its detector is measured on clips of twelve people of FaceForensics++ c23
(six pairs) whom no training has seen, and on DFDC crops where crops are as tight as these. Intervals are
95%, from resampling whole people. So short trainings show large effects only.

The study resumes when started again, from OUT/rows/*.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # this checkout's package

from benchmarks.measuring import add_json_option, record  # noqa: E402
from benchmarks.studies import few_people_data as data  # noqa: E402
from deepfake_detect import TrainingConfig, evaluate, extract_features, lab, train, train_features  # noqa: E402
from deepfake_detect.data.manifest import Manifest  # noqa: E402
from deepfake_detect.io.files import make_folder, read_json, write_json  # noqa: E402

# Fakes (and as many reals) that a training sees in an epoch, and epochs, of which the first is the head's.
_BUDGETS = {"networks": (192, 3), "transfer": (384, 5), "options": (384, 5)}
NUM_FAKES = 192
NUM_DFDC_VAL = 200
MARGIN = 1.2
IMAGE_SIZE = 128
_MOBILENET = {"backbone": "mobilenetv2_100"}
_LITE = {"backbone": "tf_efficientnet_lite0"}
_FACENET = {"backbone": "facenet", "image_size": 160}
_VGG = {"backbone": "vgg16", "image_size": 96}
_WITH_WEIGHTS = ("facenet", "mobilenetv2_100", "tf_efficientnet_lite0")
_METHODS = ("Deepfakes", "Face2Face", "FaceSwap")


@dataclass(frozen=True)
class Row:
    """A training and what it is measured on.

    Attributes:
        table, name: Where it stands.
        train_on: Datasets whose training rows it has.
        margin: Side of the crops over that of the face box.
        leave_out: Forgery method that it is not trained on.
        options: Of training, besides the common ones.
        is_measured_on_dfdc: Whether DFDC crops are measured too.
    """

    table: str
    name: str
    train_on: tuple[str, ...] = ("ffpp",)
    margin: float = MARGIN
    leave_out: str | None = None
    options: dict[str, Any] = field(default_factory=lambda: dict(_MOBILENET))
    is_measured_on_dfdc: bool = False


def _networks() -> list[Row]:
    rows = [
        Row("networks", f"FaceNet, {mode}", options={**_FACENET, "finetune": mode})
        for mode in ("features", "top", "norm", "lora", "full", "scratch")
    ]
    for name, base in (("MobileNetV2", _MOBILENET), ("EfficientNet-Lite0", _LITE)):
        rows += [
            Row("networks", f"{name}, {mode}", options={**base, "finetune": mode})
            for mode in ("features", "full")
        ]
    return [*rows, Row("networks", "VGG16, scratch", options={**_VGG, "finetune": "scratch"})]


def _transfer() -> list[Row]:
    sbi = {**_MOBILENET, "forgery": "sbi"}
    tight: dict[str, Any] = {"margin": data.DFDC_MARGIN, "is_measured_on_dfdc": True}
    return [
        Row("transfer", "all three methods"),
        *(Row("transfer", f"without {method}", leave_out=method) for method in _METHODS),
        Row("transfer", "self-blends of the reals alone", options=sbi),
        Row("transfer", "FaceForensics++, tight crops", **tight),
        Row("transfer", "DFDC, tight crops", train_on=("dfdc",), **tight),
        Row("transfer", "both, half of each, tight crops", train_on=("ffpp", "dfdc"), **tight),
    ]


def _options() -> list[Row]:
    """Return rows that each change one thing of the transfer table's first row."""
    changes: dict[str, dict[str, Any]] = {
        "strong augmentation": {"augmentation": "robust"},
        "self-blends in 30% of the pairs": {"forgery": "sbi", "forgery_share": 0.3},
        "moving average of weights, .98": {"ema": 0.98},
        "crops in random order, not pairs": {"balance": "sampler"},
        "EfficientNet-Lite0": _LITE,
        "sharpness-aware, radius .05": {"sam": 0.05},
        "input of 160 pixels": {"image_size": 160},
        "no label smoothing": {"label_smoothing": 0.0},
    }
    rows = [Row("options", name, options={**_MOBILENET, **change}) for name, change in changes.items()]
    return [rows[0], Row("options", "margin 1.6", margin=1.6), *rows[1:]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, words in {
        "ffpp": "folder with crops.tar and labels.csv",
        "dfdc": "folder with tars of crops and labels.csv",
        "lfw": "tar of LFW's images",
        "facenet": "weights of FaceNet, of convert-checkpoint",
        "mobilenet": "ImageNet weights of mobilenetv2_100",
        "lite": "ImageNet weights of tf_efficientnet_lite0",
        "out": "folder of the study",
    }.items():
        parser.add_argument(f"--{name}", type=Path, required=True, help=words)
    parser.add_argument(
        "--tables", nargs="+", default=["who", "networks", "transfer", "options"], metavar="TABLE"
    )
    add_json_option(parser, "few_people")
    given = parser.parse_args()
    make_folder(given.out)
    weights = {
        "facenet": given.facenet,
        "mobilenetv2_100": given.mobilenet,
        "tf_efficientnet_lite0": given.lite,
    }
    if "who" in given.tables:
        for backbone in _WITH_WEIGHTS:
            _once(given.out, "who", backbone, lambda name=backbone: _who(given, name, weights.get(name)))
    for row in [*_networks(), *_transfer(), *_options()]:
        if row.table in given.tables:
            _once(given.out, row.table, row.name, lambda one=row: _measure(given, one, weights))
    record("few_people", given, {"rows": _measured(given.out)}, packages=("torch", "timm"))
    return 0


def _measured(out: Path) -> list[dict[str, Any]]:
    """Return the rows that are there, in the order of the tables."""
    names = [("who", name) for name in _WITH_WEIGHTS]
    names += [(row.table, row.name) for row in [*_networks(), *_transfer(), *_options()]]
    return [read_json(path) for path in (_path_of(out, *one) for one in names) if path.exists()]


def _path_of(out: Path, table: str, name: str) -> Path:
    return out / "rows" / f"{table}-{''.join(c if c.isalnum() else '_' for c in name)}.json"


def _once(out: Path, table: str, name: str, measure: Any) -> None:
    """Measure a row, unless its file is there."""
    path = _path_of(out, table, name)
    if path.exists():
        return
    make_folder(path.parent)
    start, cpu = time.time(), time.process_time()
    found = {"table": table, "name": name, **measure()}
    found |= {"seconds": round(time.time() - start), "cpu_seconds": round(time.process_time() - cpu)}
    write_json(path, found)
    print(
        table, name, {key: value for key, value in found.items() if key not in ("table", "name")}, flush=True
    )


def _who(given: argparse.Namespace, backbone: str, weights: Path | None) -> dict[str, Any]:
    """Return how well frozen features tell people apart, and how well forgeries."""
    pairs = data.write_lfw_pairs(given.lfw, given.out / "pairs.txt", num_folds=10, num_pairs=12)
    network: dict[str, Any] = {"backbone": backbone, "weights": None if weights is None else str(weights)}
    options = lab.VerificationOptions(crop="center", device="cpu")
    people = lab.verify_pairs(pairs, given.lfw, options, **network, show_progress=False)
    rows = data.ffpp_rows(given.ffpp, given.out, MARGIN)
    train_rows = data.balanced([row for row in rows if row["split"] == "train"], NUM_FAKES)
    manifest = data.save_rows(given.out / "who.parquet", [*train_rows, *data.held_out(rows)], MARGIN)
    features = given.out / f"who-{backbone}.h5"
    extract_features(manifest, features, **network, num_workers=0, device="cpu", show_progress=False)
    run = train_features(features, given.out / f"who-{backbone}", classifiers=("logistic",))
    return {"people": people.to_dict(), **_on_ffpp(run.detector_path, manifest)}


def _measure(given: argparse.Namespace, row: Row, weights: dict[str, Path]) -> dict[str, Any]:
    rows = _rows_of(given, row)
    slug = "".join(c if c.isalnum() else "_" for c in f"{row.table}-{row.name}")
    manifest = data.save_rows(given.out / f"{slug}.parquet", rows, row.margin)
    options: dict[str, Any] = {"image_size": IMAGE_SIZE, **row.options}
    initial = weights.get(options["backbone"]) if options.get("finetune") != "scratch" else None
    num_epochs = _BUDGETS[row.table][1]
    config = TrainingConfig(
        manifest=manifest.path,
        out=given.out / "runs" / slug,
        weights=None if initial is None else str(initial),
        head_epochs=1,
        epochs=num_epochs - 1,
        save_epochs=(num_epochs,),
        recalibrate_batches=5,
        num_workers=0,
        sanity=False,
        device="cpu",
        **{"augmentation": "robust" if row.table == "networks" else "light", "dropout": 0.3, **options},
    )
    train(config, calibrate=False, show_progress=False)
    last = config.out / "epochs" / f"epoch-{num_epochs:04d}.safetensors"
    num_crops = num_epochs * sum(row["split"] == "train" for row in rows)
    found = {"num_crops": num_crops, **_on_ffpp(last, manifest)}
    return {**found, "dfdc": _on_dfdc(last, manifest)} if row.is_measured_on_dfdc else found


def _rows_of(given: argparse.Namespace, row: Row) -> data.Rows:
    """Return the rows of a training and of what measures it."""
    ffpp = data.ffpp_rows(given.ffpp, given.out, row.margin)
    num_fakes = _BUDGETS[row.table][0] // len(row.train_on)
    rows = data.held_out(ffpp)
    if "ffpp" in row.train_on:
        known = [one for one in ffpp if one["split"] == "train" and one["method"] != row.leave_out]
        rows += data.balanced(known, num_fakes)
    if row.is_measured_on_dfdc:
        dfdc = data.dfdc_rows(given.dfdc, given.out, num_train=num_fakes, num_val=NUM_DFDC_VAL)
        rows += [one for one in dfdc if one["split"] == "val" or "dfdc" in row.train_on]
    return rows


def _on_ffpp(detector: Path, manifest: Manifest) -> dict[str, Any]:
    """Return the video AUC of all forgeries and of each method, with intervals by person."""
    found = _evaluated(detector, manifest.where("dataset = 'FaceForensics++'"))
    per_method = {name: one.video.to_json()["auc"] for name, one in found.per_method.items()}
    return {"all": found.video.to_json()["auc"], **per_method}


def _on_dfdc(detector: Path, manifest: Manifest) -> dict[str, Any]:
    auc: dict[str, Any] = _evaluated(detector, manifest.where("dataset = 'DFDC'")).video.to_json()["auc"]
    return auc


def _evaluated(detector: Path, rows: Manifest) -> Any:
    return evaluate(
        rows,
        detector,
        split="val",
        aggregation_rule="mean",
        resample="identities",
        num_workers=0,
        device="cpu",
        show_progress=False,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
