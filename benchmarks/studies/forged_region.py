"""Where in the face, and which kind: what a small head on the frozen detector finds on people it never saw.

    python benchmarks/studies/forged_region.py --ffpp ffpp_c23 --out study [--detector FILE]

Fakes of FaceForensics++ c23 are compared with their originals at the same frames; where they differ by more
than compression is the truth. A head is trained on feature maps of the detector for all people but six, and
measured on those six, beside Grad-CAM, Grad-CAM++ and three face-shaped priors. Which crops it is trained
on, and all thresholds, are chosen on the training people: in folds, no person in two. Then the family of
methods is read from the detector's features by multinomial logistic regression, in the same way.

A head exceeds the baselines if the 95% intervals of the differences in pixel AUC and IoU, from resampling
people, lie above 0. Since a head may learn what a face looks like instead of what a forgery does, it is also
measured on fakes of which half of the face is the original's.

It resumes when started again: what the detector makes of the crops is kept in OUT.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # this checkout's package

from benchmarks.measuring import add_json_option, record  # noqa: E402
from benchmarks.studies import forged_region_data as data  # noqa: E402
from benchmarks.studies import forged_region_measures as measures  # noqa: E402
from benchmarks.studies.forged_region_head import Examples, examples_of, predict, train_head  # noqa: E402
from deepfake_detect.data.transforms import crops_to_tensor  # noqa: E402
from deepfake_detect.explanation.heat_maps import heat_maps  # noqa: E402
from deepfake_detect.io.files import make_folder  # noqa: E402
from deepfake_detect.models.bundled import bundled_detector  # noqa: E402
from deepfake_detect.models.checkpoint import read_detector  # noqa: E402

_FRAMES = {"val": 8, "train": 12, "blends": 4, "halves": 4}  # of each clip
_FOLDS = 3
_EPOCHS = 10
_STEP = 10  # every so many training crops choose a baseline's threshold
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
CLASSES = sorted(set(data.FAMILIES.values()))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ffpp", type=Path, required=True, help="folder with crops.tar and labels.csv")
    parser.add_argument("--detector", type=Path, help="detector file (default: the bundled one)")
    parser.add_argument("--out", type=Path, required=True, help="folder for what the detector makes of crops")
    add_json_option(parser, "forged_region")
    given = parser.parse_args()
    with bundled_detector() as bundled:
        model, config = read_detector(given.detector or bundled)
    model = model.to(memory_format=torch.channels_last)
    seen = _seen(given.ffpp, config.geometry.margin / data.STORED_MARGIN)
    out = make_folder(given.out)
    found = {
        name: examples_of(model, views, kept=out / f"{config.name}-{config.version}-{name}.safetensors")
        for name, views in seen.items()
    }
    figures = {
        "detector": f"{config.name} {config.version}",
        "margin": config.geometry.margin,
        **_regions(model, found),
        "family": _families(found),
    }
    record("forged_region", given, figures, packages=("torch", "timm", "grad-cam", "scikit-learn"))
    return 0


def _seen(folder: Path, fraction: float) -> dict[str, list[data.View]]:
    """Return what is measured, and what is trained on through moved windows."""
    crops, rng = data.read_crops(folder), np.random.default_rng(0)
    parts = {
        "val": [crop for crop in crops if crop.target in data.HELD_OUT],
        "train": [crop for crop in crops if not crop.people & data.HELD_OUT],
    }
    seen = {}
    for part, chosen in parts.items():
        reals = [crop for crop in chosen if crop.method == data.ORIGINAL]
        made = data.blends(data.thinned(reals, _FRAMES["blends"]), seed=len(seen))
        for name, some in ((part, data.thinned(chosen, _FRAMES[part])), (f"{part}-blends", made)):
            centered = data.Window(fraction)
            seen[name] = [
                data.View(crop, centered if part == "val" else data.moved(fraction, rng)) for crop in some
            ]
    for part, chosen in parts.items():
        fakes = [crop for crop in chosen if crop.original is not None]
        made = data.halves(data.thinned(fakes, _FRAMES["halves"]), seed=len(seen))
        window = data.Window(fraction)
        seen[f"{part}-halves"] = [
            data.View(crop, window if part == "val" else data.moved(fraction, rng)) for crop in made
        ]
    return seen


def _regions(model: Any, found: Mapping[str, Examples]) -> dict[str, Any]:
    """Return the figures of the head and of all baselines on held-out people."""
    located = {name: one.where(one.is_located) for name, one in found.items()}
    val, train = located["val"], located["train"]
    blends, halves = located["train-blends"], located["train-halves"]
    forged, everything = train.is_forged, np.ones(len(train), bool)
    kinds = {
        "forged crops": (forged, _none(blends)),
        "forged crops and blends": (forged, blends),
        "forged crops and halves": (forged, halves),
        "forged crops and reals": (everything, _none(blends)),
    }
    tried = {name: _cross_validated(name, train, *kind) for name, kind in kinds.items()}
    best = max(tried, key=lambda name: tried[name][1]["all"]["iou"]["value"])
    heads = {
        name: train_head(train.where(chosen) + others, epochs=_EPOCHS)
        for name, (chosen, others) in kinds.items()
        if name in (best, "forged crops and halves")
    }
    print("chosen:", best, flush=True)
    measured, differences = {}, {}
    baselines = _baselines(model, train.where(forged), [val, located["val-halves"]])
    for number, (name, some) in enumerate({"whole": val, "halves": located["val-halves"]}.items()):
        scored = {f"head, {kind}": (predict(head, some), tried[kind][0]) for kind, head in heads.items()}
        first = f"head, {best}"
        others = {key: (maps[number], threshold) for key, (maps, threshold) in baselines.items()}
        scored |= others
        measured[name] = {key: _measured(some, *one) for key, one in scored.items()}
        differences[name] = {key: _differences(some, scored[first], one) for key, one in others.items()}
    return {
        "trained_on": best,
        "cross_validated": {name: result for name, (_, result) in tried.items()},
        "maps": measured,
        "differences": differences,
        "exceeds_all": {
            key: all(one["low"] > 0 for both in some.values() for one in both.values())
            for key, some in differences.items()
        },
    }


def _none(examples: Examples) -> Examples:
    return examples.where(np.zeros(len(examples), bool))


def _cross_validated(
    name: str, train: Examples, chosen: np.ndarray, blends: Examples
) -> tuple[float, dict[str, Any]]:
    """Return the best threshold of a head on people it was not trained on, and its figures."""
    folds = measures.folds_of([view.crop.people for view in (*train.views, *blends.views)], _FOLDS)
    folds, blend_folds = folds[: len(train)], folds[len(train) :]
    maps = np.empty(train.regions.shape, np.float32)
    for fold in range(_FOLDS):
        learned = train.where(chosen & (folds != fold)) + blends.where(blend_folds != fold)
        maps[folds == fold] = predict(train_head(learned, epochs=_EPOCHS), train.where(folds == fold))
    is_forged = train.is_forged
    threshold = measures.best_threshold(maps[is_forged], train.changed[is_forged])
    measured = _measured(train, maps, threshold)
    print(name, measured["all"], flush=True)
    return threshold, measured


def _baselines(
    model: Any, train: Examples, measured: Sequence[Examples]
) -> dict[str, tuple[list[np.ndarray], float]]:
    """Return the maps of baselines on what is measured, with thresholds of training people."""
    few = train.where(np.arange(len(train)) % _STEP == 0)
    landmarks = np.mean([view.crop.landmarks_xy for view in train.views], axis=0)
    crops = [view.crop for view in train.views]
    centered, placed = data.mean_region(crops), data.mean_region(crops, landmarks)
    ways: dict[str, Callable[[Examples], np.ndarray]] = {
        "Grad-CAM": lambda some: _heat(model, some, "gradcam"),
        "Grad-CAM++": lambda some: _heat(model, some, "gradcam++"),
        "hull of the landmarks": lambda some: _of_views(
            some, lambda crop: data.face_depth(crop.landmarks_xy)
        ),
        "mean training region": lambda some: _of_views(some, lambda _: centered),
        "mean region, placed by landmarks": lambda some: _of_views(
            some, lambda crop: data.moved_onto(placed, landmarks, crop.landmarks_xy)
        ),
    }
    found = {}
    for name, maps_of in ways.items():
        threshold = measures.best_threshold(maps_of(few), few.changed)
        found[name] = ([maps_of(one) for one in measured], threshold)
        print(
            name, [_measured(*both, threshold)["all"] for both in zip(measured, found[name][0], strict=True)]
        )
    return found


def _of_views(examples: Examples, image_of: Callable[[data.Crop], np.ndarray]) -> np.ndarray:
    return np.stack([view.on_grid(image_of(view.crop)) for view in examples.views])


def _heat(model: Any, examples: Examples, method: Any) -> np.ndarray:
    images = crops_to_tensor([view.image() for view in examples.views], model.spec.preprocessing)
    maps = heat_maps(model, images, method=method, show_progress=False)
    return np.stack([data.small(one) for one in maps])


def _measured(examples: Examples, maps: np.ndarray, threshold: float) -> dict[str, Any]:
    """Return figures of maps: on forged crops, of each method, and how much of reals is marked."""
    forged = {"all": examples.is_forged}
    forged |= {
        name: examples.methods == name for name in np.unique(examples.methods[examples.is_forged]).tolist()
    }
    aucs, ious, areas = _per_crop(examples, maps, threshold)
    people = _people(examples)

    def over(values: np.ndarray, which: np.ndarray) -> dict[str, Any]:
        return measures.by_person(values[which], people[which])

    return {
        "threshold": round(threshold, 4),
        **{name: {"auc": over(aucs, which), "iou": over(ious, which)} for name, which in forged.items()},
        "marked_of_forged": over(areas, examples.is_forged),
        "marked_of_real": over(areas, ~examples.is_forged),
    }


def _per_crop(
    examples: Examples, maps: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each crop: pixel AUC, IoU, fraction marked."""
    marked = maps >= threshold
    aucs = measures.pixel_aucs(maps, examples.changed)
    return aucs, measures.overlaps(marked, examples.changed), marked.mean((1, 2))


def _differences(
    examples: Examples, head: tuple[np.ndarray, float], other: tuple[np.ndarray, float]
) -> dict[str, dict[str, Any]]:
    """Return by how much a head exceeds a baseline on forged crops."""
    forged = examples.is_forged
    first, second = (_per_crop(examples, *scored) for scored in (head, other))
    return {
        name: measures.by_person((first[number] - second[number])[forged], _people(examples)[forged])
        for number, name in enumerate(("auc", "iou"))
    }


def _families(found: Mapping[str, Examples]) -> dict[str, Any]:
    """Return how well the family of methods is read from the detector's features, and from true regions."""
    train, val = (found[name] + found[f"{name}-blends"] for name in ("train", "val"))
    train, val = train.where(train.is_forged), val.where(val.is_forged)
    located = train.where(train.is_located), val.where(val.is_located)
    expected, people = _kinds(val), _people(val)
    chance = np.tile([(_kinds(train) == name).mean() for name in CLASSES], (len(val), 1))
    return {
        "crops": {name: int((expected == name).sum()) for name in CLASSES},
        **_named(train, val, lambda some: some.pooled.numpy()),
        "regions": _named(*located, _coarse)["per_crop"],
        "without_looking": measures.family_figures(chance, expected, CLASSES, people),
    }


def _named(train: Examples, val: Examples, read: Callable[[Examples], np.ndarray]) -> dict[str, Any]:
    """Return how well families are told by a regression on what is read of examples."""
    truth = _kinds(train)
    folds = measures.folds_of([view.crop.people for view in train.views], _FOLDS)

    def loss(strength: float) -> float:
        """Return the log loss on people that the regression was not fitted on."""
        held = measures.out_of_fold(
            folds, lambda chosen: _fitted(strength, read(train)[chosen], truth[chosen]), read(train)
        )
        figures = measures.family_figures(held, truth, CLASSES, _people(train))
        return float(figures["log_loss"]["value"])

    strength = min(_STRENGTHS, key=loss)
    probabilities = _fitted(strength, read(train), truth)(read(val))
    expected, people = _kinds(val), _people(val)
    clips, by_clip = measures.mean_by([view.crop.clip for view in val.views], probabilities)
    chosen = [[view.crop.clip for view in val.views].index(clip) for clip in clips]
    return {
        "strength": strength,
        "per_crop": measures.family_figures(probabilities, expected, CLASSES, people),
        "per_clip": measures.family_figures(by_clip, expected[chosen], CLASSES, people[chosen]),
    }


def _coarse(examples: Examples) -> np.ndarray:
    """Return how much was changed in each of 8 x 8 fields: float32 (N, 64)."""
    return torch.nn.functional.adaptive_avg_pool2d(examples.regions, 8).flatten(1).numpy()


def _kinds(examples: Examples) -> np.ndarray:
    return np.array([data.FAMILIES[method] for method in examples.methods])


def _fitted(
    strength: float, features: np.ndarray, families: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a regression of standardized features: the probability of each of CLASSES."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    predict_families: Callable[[np.ndarray], np.ndarray] = model.fit(features, families).predict_proba
    return predict_families


def _people(examples: Examples) -> np.ndarray:
    return np.array([view.crop.person for view in examples.views])


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    sys.exit(main())
