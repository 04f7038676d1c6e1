"""Learn to fuse several detectors, from their scores of the same validation videos."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake_detect.errors import ManifestError, OptionError
from deepfake_detect.evaluation.calibrate import uncertain_band
from deepfake_detect.evaluation.calibration import choose_threshold
from deepfake_detect.evaluation.fusion import Fusion, FusionMember, logits_of
from deepfake_detect.evaluation.options import CalibrationOptions
from deepfake_detect.evaluation.resampling import resampling_groups
from deepfake_detect.evaluation.score_files import ScoreFile, read_scores
from deepfake_detect.evaluation.score_table import VideoSamples, video_samples
from deepfake_detect.io.files import write_json
from deepfake_detect.metrics import bootstrap_intervals
from deepfake_detect.models.config import FigureFacts, PlattCalibration, sigmoid
from deepfake_detect.plurals import counted

_NUM_FOLDS = 5
_FEWEST_VIDEOS = 10  # of each class: two a fold
_HELD_OUT = {"test", "testing"}
_RIDGE = 1.0  # in units of the logits' standard deviations


def combine(
    scores: Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    target_accuracy: float = CalibrationOptions.target_accuracy,
    seed: int = 0,
) -> Fusion:
    """Learn to fuse the scores of several detectors into one calibrated probability, by logistic stacking.

    Each detector's scores are aggregated over a video by its own rule; the fused probability is the
    sigmoid of a weighted sum of the logits of these probabilities. Weights are fitted on the validation
    videos that all detectors scored. Calibration and AUC come from five-fold cross-validation: predictions
    for videos that were held out of the fit. If the scores name people, all videos of a person are in the
    same fold. Apply it with ``score_video(..., detector=[A, B], fusion="fusion.json")``.

    Args:
        scores: Folders that :func:`evaluate` wrote, or files of scores, of the same validation videos,
            one for each detector; two or more.
        out: JSON file to write; ``None`` writes nothing.
        target_accuracy: Accuracy of the verdicts outside the uncertain band.
        seed: Random seed of the division into folds.

    Returns:
        The fusion, with its cross-validated AUC and that of each detector, with intervals.

    Raises:
        ManifestError: Scores cannot be read, disagree on a label, or have too few videos in common.
        OptionError: Fewer than two files; scores of a test or training split.
        OutputError: The file cannot be written.

    Source: stacked generalization with a logistic second level: Wolpert, Neural Networks 5 (1992); Ting and
    Witten, J. Artif. Intell. Res. 10 (1999).
    """
    if len(scores) < 2:
        raise OptionError("scores", f"has {len(scores)}", "pass the scores of two or more detectors")
    files = [read_scores(path) for path in scores]
    for path, file in zip(scores, files, strict=True):
        _check_split(path, file)
    data = _common_videos(scores, files)
    held_out, num_folds = _held_out_logits(data, seed=seed)
    line = _calibration(held_out, data.labels)
    probabilities = line.apply(held_out)
    threshold = choose_threshold(data.labels, probabilities)
    low, high = uncertain_band(data.labels, probabilities, threshold, target_accuracy)
    weights, intercept = _fitted(data.logits, data.labels)
    fusion = Fusion(
        members=tuple(
            FusionMember(
                name=file.decision.name,
                sha256=file.decision.detector_sha256,
                aggregation_rule=file.decision.aggregation_rule,
                weight=float(line.slope * weight),
                auc=_auc(data, sigmoid(logits)),
            )
            for file, weight, logits in zip(files, weights, data.logits.T, strict=True)
        ),
        intercept=float(line.slope * intercept + line.intercept),
        threshold=threshold,
        uncertain_low=low,
        uncertain_high=high,
        auc=_auc(data, probabilities),
        num_folds=num_folds,
    )
    if out is not None:
        write_json(out, fusion.to_json())
    return fusion


@dataclass(frozen=True, eq=False)
class _Videos:
    """Labels (V,), groups (V,) and each detector's logits (V, K) of the videos that all scored."""

    labels: np.ndarray
    groups: np.ndarray
    logits: np.ndarray


def _check_split(path: str | os.PathLike[str], file: ScoreFile) -> None:
    """Check that scores are of validation, as far as they say."""
    if "split" not in file.table.details:
        warnings.warn(
            f"{path}: has no column split; a fusion is learned on validation videos, never on test videos",
            stacklevel=3,
        )
        return
    splits = {str(one).lower() for one in file.table.details["split"].tolist()}
    if splits & _HELD_OUT:
        cause = f"{path} has test videos, which are only for evaluation"
        raise OptionError("scores", cause, "evaluate with `split` val, and combine those scores")
    if "train" in splits:
        cause = f"{path} has training videos, which the detectors were trained on"
        raise OptionError("scores", cause, "evaluate with `split` val, and combine those scores")


def _common_videos(paths: Sequence[str | os.PathLike[str]], files: Sequence[ScoreFile]) -> _Videos:
    found = [
        video_samples(
            file.table,
            aggregation_rule=file.decision.aggregation_rule,
            weights=file.decision.aggregation_weights,
        )
        for file in files
    ]
    common = sorted(set.intersection(*(set(one.video_id.tolist()) for one in found)))
    every = set.union(*(set(one.video_id.tolist()) for one in found))
    rows = [np.searchsorted(one.video_id, common) for one in found]
    labels = found[0].label[rows[0]]
    for path, one, of_common in zip(paths, found, rows, strict=True):
        if (other := one.label[of_common] != labels).any():
            video = common[int(other.argmax())]
            raise ManifestError(path, f"and {paths[0]} disagree on the label of {video}", "correct one")
    counts = np.bincount(labels, minlength=2)
    if min(counts) < _FEWEST_VIDEOS:
        cause = f"{counts[0]:,} real and {counts[1]:,} fake videos are scored by all"
        remedy = f"score at least {_FEWEST_VIDEOS} of each with every detector"
        raise ManifestError(Path(paths[0]), cause, remedy)
    if len(common) < len(every):
        warnings.warn(
            f"{len(every) - len(common):,} of {counted(len(every), 'video')} not scored by every "
            "detector: skipped",
            stacklevel=3,
        )
    logits = logits_of(
        np.stack([one.fake_probability[of_common] for one, of_common in zip(found, rows, strict=True)], 1)
    )
    return _Videos(labels, _groups(files, found, np.array(common)), logits)


def _groups(files: Sequence[ScoreFile], found: Sequence[VideoSamples], video_ids: np.ndarray) -> np.ndarray:
    """Return the person of each video where scores name people, else the video."""
    sources = [(file.table, videos) for file, videos in zip(files, found, strict=True)]
    try:
        return resampling_groups(sources, video_ids, "identities")[0]
    except OptionError:  # no person is known
        return np.arange(len(video_ids))


def _held_out_logits(data: _Videos, *, seed: int) -> tuple[np.ndarray, int]:
    """Return each video's fused logit (V,), fitted without its fold, and the number of folds."""
    from sklearn.model_selection import StratifiedGroupKFold  # a second to import

    folds = StratifiedGroupKFold(_NUM_FOLDS, shuffle=True, random_state=seed)
    held_out = np.empty(len(data.labels))
    for fit, rest in folds.split(data.logits, data.labels, data.groups):
        if len(set(data.labels[fit].tolist())) < 2:
            cause = "has too few people to hold some out"
            raise ManifestError("scores", cause, "score more videos of other people")
        weights, intercept = _fitted(data.logits[fit], data.labels[fit])
        held_out[rest] = data.logits[rest] @ weights + intercept
    return held_out, _NUM_FOLDS


def _calibration(held_out: np.ndarray, labels: np.ndarray) -> PlattCalibration:
    """Return the line that calibrates held-out logits (V,); few separable videos do not make it sure."""
    (slope,), intercept = _fitted(held_out[:, None], labels)
    if slope <= 0:
        cause = "do not predict held-out videos: the fused score is not higher for fakes"
        raise OptionError("scores", cause, "check that label 1 means fake, or score more videos")
    return PlattCalibration(float(slope), intercept)


def _fitted(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the weights (K,) of logits (V, K), and the intercept, of least log loss with a ridge."""
    from sklearn.linear_model import LogisticRegression

    scale = np.maximum(logits.std(axis=0), 1e-9)
    model = LogisticRegression(C=1.0 / _RIDGE, max_iter=1000).fit(logits / scale, labels)
    return model.coef_[0] / scale, float(model.intercept_[0])


def _auc(data: _Videos, probabilities: np.ndarray) -> FigureFacts:
    """Return the AUC of probabilities (V,), with an interval that resamples people or videos."""
    area = bootstrap_intervals(data.labels, probabilities, data.groups, threshold=0.5)["auc"]
    low, high = (None if math.isnan(bound) else bound for bound in (area.low, area.high))
    num_reals, num_fakes = np.bincount(data.labels, minlength=2).tolist()
    return FigureFacts(area.value, low, high, num_reals, num_fakes)
