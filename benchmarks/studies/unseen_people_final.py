"""The detector that comes of the study: a mean with the initial one, calibrated, with limits for verdicts."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from benchmarks.studies.unseen_people_crops import DFDC, FFPP, LFW, MARGINS, Crop, window
from deepfake_detect import __version__, average_detectors, load_detector
from deepfake_detect.data.video_digests import DIGEST_LENGTH, seen_by_all
from deepfake_detect.models.checkpoint import read_detector, save_detector
from deepfake_detect.models.config import PlattCalibration, TrainingFacts

NARROWEST = 0.7
"""Margin of the narrowest crops that the trainings see."""
_FRAMES = 12  # of each clip of FaceForensics++
# A limit is the first that at most so many of each set's reals exceed, and at most so many of its clips
# are left undecided.
_ACCUSED, _UNDECIDED = 0.02, 0.22


@dataclass(frozen=True, eq=False)
class Scored:
    """Logits (N,) of a set's crops, their labels, and the clip that each is of."""

    logits: np.ndarray
    labels: np.ndarray
    clips: np.ndarray


def finished(
    folds: Sequence[Path], initial: Path, crops: Sequence[Crop], out: Path, *, fraction: float, margin: float
) -> tuple[list[Path], Path]:
    """Write the calibrated detector; return its parts, one for each fold, and its file.

    Its weights are a mean (arXiv:2109.01903): ``fraction`` is the part of the folds' own mean, the rest that
    of the initial detector.
    Probabilities and limits are fitted on validation: people of FaceForensics++, each scored by the mean with
    the fold that has not seen them, and originals of DFDC and people of LFW that no training has seen.
    """
    parts = [_mixed([fold], initial, out / f"mixed-{number}.safetensors", fraction)
             for number, fold in enumerate(folds)]  # fmt: skip
    whole = _mixed(folds, initial, out / "uncalibrated.safetensors", fraction)
    sets = {name: _scored([whole], name, crops, margin) for name in (DFDC, LFW)}
    sets[FFPP] = _scored(parts, FFPP, crops, margin)
    calibration = _line(list(sets.values()))
    clips = {name: _clips(one, calibration) for name, one in sets.items()}
    low, high = _limits(list(clips.values()))
    model, config = read_detector(whole)
    file = out / "final.safetensors"
    final = replace(
        config,
        name="faces-mobilenetv2",
        version="3.0",
        calibration=calibration,
        threshold=float(expit((_logit(low) + _logit(high)) / 2)),
        uncertain_low=low,
        uncertain_high=high,
        is_calibrated=True,
        training=TrainingFacts(
            library_version=__version__,
            datasets=(DFDC, LFW, FFPP),
            average_of=config.training.average_of,
            video_sha256_prefixes=seen_by_all([config.training.video_sha256_prefixes or {}, _seen(crops)]),
        ),
    )
    save_detector(file, model, final)
    return parts, file


def _seen(crops: Sequence[Crop]) -> dict[str, list[str]]:
    """Return digests of the clips of FaceForensics++ by the ids that its index has."""
    names = {
        f"{FFPP}/{one.method}/c23/{'_'.join(filter(None, (one.person, one.source)))}"
        for one in crops
        if one.dataset == FFPP
    }
    return {"train": [hashlib.sha256(name.encode()).hexdigest()[:DIGEST_LENGTH] for name in names]}


def _mixed(parts: Sequence[Path], initial: Path, file: Path, fraction: float) -> Path:
    weights = [*(fraction / len(parts) for _ in parts), 1 - fraction]
    average_detectors([*parts, initial], mixing_weights=weights, out=file)
    return file


def _scored(detectors: Sequence[Path], dataset: str, crops: Sequence[Crop], margin: float) -> Scored:
    """Return the logits of validation crops: of FaceForensics++, one detector for each fold's people."""
    logits, labels, clips = [], [], []
    for number, file in enumerate(detectors):
        split = f"fold {number}" if dataset == FFPP else "val"
        chosen = _thinned([one for one in crops if one.dataset == dataset and one.split == split])
        detector = load_detector(file, device="cpu")
        fraction = min(1.0, margin / MARGINS[dataset])
        logits.append(detector.logits([window(one.image(), fraction) for one in chosen]))
        labels += [one.label for one in chosen]
        clips += [_clip(one) if dataset == FFPP else str(count) for count, one in enumerate(chosen)]
    return Scored(np.concatenate(logits), np.array(labels), np.array(clips))


def _clip(crop: Crop) -> str:
    return f"{crop.method}/{crop.person}_{crop.source}"


def _thinned(crops: Sequence[Crop]) -> list[Crop]:
    """Return a dozen frames of each clip, evenly."""
    clips: dict[str, list[Crop]] = defaultdict(list)
    for crop in crops:
        clips[_clip(crop) if crop.dataset == FFPP else str(id(crop))].append(crop)
    return [
        sorted(clip, key=lambda crop: crop.frame)[number]
        for clip in clips.values()
        for number in np.linspace(0, len(clip) - 1, min(_FRAMES, len(clip))).round().astype(int)
    ]


def _line(sets: Sequence[Scored]) -> PlattCalibration:
    """Return Platt's line, with reals and fakes of every set as heavy as those of any other."""
    weights = [
        np.where(one.labels == 1, 1 / max(1, one.labels.sum()), 1 / (1 - one.labels).sum()) for one in sets
    ]
    logits, labels = (np.concatenate([getattr(one, name) for one in sets]) for name in ("logits", "labels"))
    model = LogisticRegression(C=1e4).fit(logits[:, None], labels, np.concatenate(weights) * len(labels))
    return PlattCalibration(slope=float(model.coef_[0, 0]), intercept=float(model.intercept_[0]))


def _clips(one: Scored, line: PlattCalibration) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and mean probabilities of clips."""
    _, first, of_crop = np.unique(one.clips, return_index=True, return_inverse=True)
    probabilities = expit(line.slope * one.logits + line.intercept)
    return one.labels[first], np.bincount(of_crop, probabilities) / np.bincount(of_crop)


def _limits(sets: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Return the limits of the verdicts real and fake, in probabilities."""
    grid = np.linspace(0.005, 0.995, 199)
    high = next(at for at in grid if all((p[y == 0] >= at).mean() <= _accused(y) for y, p in sets))
    low = next(at for at in grid if all(((p > at) & (p < high)).mean() <= _UNDECIDED for _, p in sets))
    return float(min(low, high)), float(high)


def _accused(labels: np.ndarray) -> float:
    """Return the fraction of reals that may be called fake: one of few clips, or 2%."""
    return max(_ACCUSED, 1.01 / (labels == 0).sum())


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))
