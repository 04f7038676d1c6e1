"""Several backbones by the same protocol: train, select on validation, measure, rank."""

from __future__ import annotations

import gc
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.leaks import check_no_leak
from deepfake_detect.data.manifest import Manifest
from deepfake_detect.data.transforms import crop_to_tensor
from deepfake_detect.device import choose_device
from deepfake_detect.errors import DeepfakeDetectError, ManifestError, OptionError
from deepfake_detect.evaluation.predict import score_held_out, score_manifest
from deepfake_detect.evaluation.score_table import video_samples
from deepfake_detect.io.files import file_lock, make_folder, read_json, sha256_of_file, write_json
from deepfake_detect.metrics import Interval, count_groups, intervals_of, resample_groups, resampled_metrics
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.training.backbone_table import BackboneComparison, BackboneRow, write_comparison
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.data_module import chosen_rows
from deepfake_detect.training.forged import validation_rows
from deepfake_detect.training.history import TrainingResult
from deepfake_detect.training.loop import train
from deepfake_detect.training.study_options import StudyOptions

_NUM_RESAMPLES = 1000
_TIMED_CROPS = 16
_TIMED_ROUNDS = 5


@dataclass(frozen=True)
class VideoScores:
    """A detector's scores of the videos of a split, each the mean of its crops, as kept with its run.

    The first three fields say what was scored; scores of other videos are not reused.
    """

    detector_sha256: str
    videos_sha256: str
    num_crops: int
    labels: list[int]
    probabilities: list[float]


def compare_backbones(
    config: TrainingConfig,
    options: StudyOptions,
    *,
    log: Callable[[str], None] | None = None,
    show_progress: bool = True,
) -> BackboneComparison:
    """Train and measure every backbone in every finetune mode by the same protocol.

    Each run has its own folder in ``runs`` and resumes where it stopped; the scores of a finished
    run's detector are kept next to it. The epoch is selected on ``val``, which also ranks the rows, so
    its figures are optimistic; the test split is read only with ``measure_test``, and ranks nothing. A
    network that cannot be built or trained becomes a row with the reason. ``comparison.csv``,
    ``comparison.md`` and ``comparison.png`` are written.

    Args:
        config: The protocol. Its ``backbone``, ``finetune`` and ``weights`` are replaced; ``out`` is
            the folder of the study and ``seed`` the first seed.
        options: What is compared.
        log: Called with each line of the runs' logs.
        show_progress: Whether to show progress bars.

    Raises:
        OptionError: The options cannot be compared.
        ManifestError: The manifest cannot be read, or its splits leak.
        OutputError: Another study writes to the folder, or it cannot be written to.
    """
    if config.temporal:
        raise OptionError("temporal", "scores sequences, not faces", "omit it")
    with file_lock(make_folder(config.out), what="study"):
        rows = chosen_rows(config)
        check_no_leak(rows, allowed=config.allowed_leaks, show_progress=show_progress)
        study = _Study(config, options, log, show_progress)
        modes = dict.fromkeys(options.finetune_modes)
        found = [study.row(one, mode) for one in dict.fromkeys(options.backbones) for mode in modes]
        done = [row for row in found if not row.reason]
        device = choose_device(config.device)
        paths = [study.detector_path(row) for row in done]
        speeds = measure_speeds(paths, rows.split("val"), device=device) if paths else []
        timed = [replace(row, faces_per_second=speed) for row, speed in zip(done, speeds, strict=True)]
        timed.sort(key=lambda row: -row.val_auc.value)
        comparison = BackboneComparison(
            rows=(*timed, *(row for row in found if row.reason)),
            num_seeds=options.num_seeds,
            has_test=options.measure_test,
            device=_device_name(device),
        )
        write_comparison(comparison, config.out)
        return comparison


def measure_speeds(
    paths: Sequence[Path], rows: Manifest, *, device: torch.device, num_rounds: int = _TIMED_ROUNDS
) -> list[float]:
    """Return faces per second of several detectors' networks, float32, on the same crops.

    All run in every round, so that other load on the machine slows them alike; the median round
    counts. Reading and resizing crops is not measured.

    Args:
        paths: Detector files; all are held in memory.
        rows: Crops; the first 16 that can be read are the batch, at each network's own input size.
        device: Where to run.
        num_rounds: After one round that is not measured.

    Raises:
        ManifestError: No crop can be read.
    """
    crops = list(islice(_readable_crops(rows), _TIMED_CROPS))
    if not crops:
        raise ManifestError(rows.path, "none of its crops can be read", "extract the videos again")
    ready = []
    for path in paths:
        detector = TorchDetector(*read_detector(path), device=device)
        preprocessing = detector.config.model.preprocessing
        ready.append((detector, torch.stack([crop_to_tensor(crop, preprocessing) for crop in crops])))
    seconds: list[list[float]] = [[] for _ in ready]
    for number in range(num_rounds + 1):
        for (detector, batch), measured in zip(ready, seconds, strict=True):
            started = time.perf_counter()
            detector.batch_logits(batch)  # ends with the logits in main memory, so it waits for a GPU
            if number:
                measured.append(time.perf_counter() - started)
    return [len(crops) / statistics.median(measured) for measured in seconds]


def _readable_crops(rows: Manifest) -> Iterator[np.ndarray]:
    for name in rows.columns(["path"])["path"].to_pylist():
        with suppress(ManifestError):
            yield read_crop(rows.root / name)


@dataclass(frozen=True)
class _Study:
    """The runs of one comparison."""

    config: TrainingConfig
    options: StudyOptions
    log: Callable[[str], None] | None
    show_progress: bool

    def detector_path(self, row: BackboneRow) -> Path:
        """Return the detector of the first seed."""
        return self._folder(row, self.config.seed) / "detector.safetensors"

    def row(self, backbone: str, finetune: str) -> BackboneRow:
        """Train with every seed and measure; a failure is a row with its reason."""
        weights = None if finetune == "scratch" else self.options.weights.get(backbone)
        row = BackboneRow(backbone, finetune, "random" if weights is None else Path(weights).name)
        try:
            return self._measured(row, weights)
        except DeepfakeDetectError as error:
            reason = str(error)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            reason = "out of memory; pass a smaller `batch_size` or `image_size`"
        gc.collect()  # what the failed network held
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return replace(row, reason=reason)

    def _measured(self, row: BackboneRow, weights: str | None) -> BackboneRow:
        results: list[TrainingResult] = []
        val_scores: list[VideoScores] = []
        test_scores: list[VideoScores] = []
        for seed in range(self.config.seed, self.config.seed + self.options.num_seeds):
            varied: dict[str, Any] = {"backbone": row.backbone, "finetune": row.finetune, "weights": weights}
            config = replace(self.config, out=self._folder(row, seed), seed=seed, **varied)
            # Not calibrated: a ranking by AUC needs no threshold, and each run would take longer.
            results.append(train(config, calibrate=False, show_progress=self.show_progress, log=self.log))
            val_scores.append(self._scores(config, "val"))
            if self.options.measure_test:
                test_scores.append(self._scores(config, "test"))
        model, _ = read_detector(results[0].detector_path)
        val_auc, seed_aucs = _mean_auc(val_scores)
        return replace(
            row,
            val_auc=val_auc,
            test_auc=_mean_auc(test_scores)[0] if test_scores else None,
            seed_aucs=seed_aucs,
            num_val_videos=len(val_scores[0].labels),
            num_parameters=sum(parameter.numel() for parameter in model.parameters()),
            trained_parameters=max(record.trained_parameters for record in results[0].history),
            seconds=statistics.mean(sum(one.seconds for one in result.history) for result in results),
        )

    def _folder(self, row: BackboneRow, seed: int) -> Path:
        name = re.sub(r"[^A-Za-z0-9_.]+", "_", f"{row.backbone}-{row.finetune.replace('+', '-')}")
        return self.config.out / "runs" / f"{name}-seed{seed}"

    def _scores(self, config: TrainingConfig, split: str) -> VideoScores:
        """Return the scores of a split's videos; those kept next to the detector where they still fit."""
        detector = config.out / "detector.safetensors"
        path = config.out / f"{split}_scores.json"
        rows = validation_rows(config) if split == "val" else chosen_rows(config)
        # The manifest may have other test videos by now; changed training videos are an error of train.
        scored = rows.split(split)
        about: dict[str, Any] = {
            "detector_sha256": sha256_of_file(detector),
            "videos_sha256": scored.video_ids_sha256(),
            "num_crops": scored.num_rows,
        }
        if path.exists() and about.items() <= (stored := read_json(path)).items():
            return VideoScores(**stored)
        scorer = TorchDetector(*read_detector(detector), device=choose_device(config.device))
        shown: dict[str, Any] = {"num_workers": config.num_workers, "show_progress": self.show_progress}
        if split == "val":
            table, _ = score_manifest(scorer, rows, split=split, **shown)
        else:
            table, _ = score_held_out(scorer, rows, split=split, allow_leak=config.allowed_leaks, **shown)
        videos = video_samples(table, aggregation_rule="mean")
        scores = VideoScores(
            **about, labels=videos.label.tolist(), probabilities=videos.fake_probability.tolist()
        )
        write_json(path, asdict(scores))
        return scores


def _mean_auc(seeds: Sequence[VideoScores]) -> tuple[Interval, tuple[float, ...]]:
    """Return the mean AUC over seeds, its interval over the same resamples of videos, and each AUC."""
    num_videos = len(seeds[0].labels)
    resamples = resample_groups(num_videos, num_resamples=_NUM_RESAMPLES, seed=0)
    found = [
        resampled_metrics(one.labels, one.probabilities, np.arange(num_videos), resamples, threshold=0.5)
        for one in seeds
    ]
    counts = count_groups(seeds[0].labels, np.arange(num_videos))
    aucs = tuple(intervals_of(*one, counts)["auc"].value for one in found)
    mean_values = np.mean([values for values, _ in found], axis=0)
    mean_resampled = np.mean([resampled for _, resampled in found], axis=0)
    return intervals_of(mean_values, mean_resampled, counts)["auc"], aucs


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    count = torch.get_num_threads()
    return f"CPU, {count} thread{'' if count == 1 else 's'}"
