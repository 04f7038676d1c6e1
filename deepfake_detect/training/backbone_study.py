"""The same protocol over backbones and regimes: train, select on validation, measure, rank."""

from __future__ import annotations

import gc
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepfake_detect.data.crops import read_crop
from deepfake_detect.data.leaks import check_no_leak
from deepfake_detect.data.manifest import Manifest, read_manifest
from deepfake_detect.data.transforms import crop_to_tensor
from deepfake_detect.device import choose_device
from deepfake_detect.errors import DeepfakeDetectError, ManifestError, OptionError
from deepfake_detect.evaluation.predict import score_held_out, score_manifest
from deepfake_detect.evaluation.score_table import video_samples
from deepfake_detect.io.files import read_json, sha256_of_file, write_json
from deepfake_detect.metrics import Interval, intervals_of, resample_groups, resampled_metrics
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.inference import TorchDetector
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.finetune import parse_finetune
from deepfake_detect.training.forged import validation_source
from deepfake_detect.training.history import TrainingResult
from deepfake_detect.training.loop import train

_NUM_DRAWS = 1000
_TIMED_CROPS = 16
_TIMED_ROUNDS = 5


@dataclass(frozen=True)
class BackboneRow:
    """One backbone under one regime.

    Attributes:
        backbone, regime: What was trained.
        weights: What it started from, ``"random"`` where nothing was given.
        reason: Why there are no figures; empty where there are, and the rest is then meaningful.
        val_auc: Mean over seeds of the AUC over validation videos, with a 95 % bootstrap interval
            over videos.
        test_auc: The same on the test split; ``None`` where it was not asked for.
        seed_aucs: Validation AUC of each seed.
        num_parameters: Of the whole network.
        trained_parameters: How many of them the regime trains, LoRA's matrices included.
        faces_per_second: Of the network alone; see :func:`measure_speeds`.
        seconds: Of training, validation included, mean over seeds.
    """

    backbone: str
    finetune: str
    weights: str
    reason: str = ""
    val_auc: Interval = Interval(float("nan"), float("nan"), float("nan"))
    test_auc: Interval | None = None
    seed_aucs: tuple[float, ...] = ()
    num_parameters: int = 0
    trained_parameters: int = 0
    faces_per_second: float = 0.0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Backbone and regime."""
        return f"{self.backbone} {self.finetune}"

    @property
    def megabytes(self) -> float:
        """Size of the parameters as float32, in units of 10^6 bytes."""
        return self.num_parameters * 4 / 1e6


@dataclass(frozen=True)
class BackboneComparison:
    """What was found.

    Attributes:
        rows: Best validation AUC first, then those that failed, in the order asked for.
        num_seeds: Runs of each row.
        num_val_videos: Over which the AUC is measured.
        has_test: Whether the test split was measured too.
        device: Where the faces a second were measured.
    """

    rows: tuple[BackboneRow, ...]
    num_seeds: int
    num_val_videos: int
    has_test: bool
    device: str

    @property
    def num_failed(self) -> int:
        """Rows without figures."""
        return sum(bool(row.reason) for row in self.rows)


def compare_backbones(
    template: TrainingConfig,
    backbones: Sequence[str],
    regimes: Sequence[str],
    *,
    weights: Mapping[str, str] | None = None,
    num_seeds: int = 1,
    has_test: bool = False,
    say: Callable[[str], None] | None = None,
    show_progress: bool = True,
) -> BackboneComparison:
    """Train and measure every backbone under every regime by one protocol.

    Each run has a folder of its own in ``runs``, and goes on where it was stopped; what a finished
    one's detector scored is kept beside it. The epoch is selected on ``val``, and rows are ranked by
    it, so its figures are optimiztic; the test split is read with ``has_test`` alone, and orders
    nothing. A network that cannot be built or trained becomes a row with the reason.

    Args:
        template: The protocol. Its ``backbone``, ``regime`` and ``weights`` are replaced; ``out`` is
            the folder of the study and ``seed`` the first seed.
        backbones: As for ``create_model``.
        regimes: As for :func:`training.regimes.parse_finetune`; ``scratch`` starts from random weights
            whatever ``weights`` names.
        weights: Backbone to its weights, as for ``create_model``; others start from random ones.
        num_seeds: Runs of each.
        has_test: Whether to measure the test split too.
        say: Called with each line of the runs' logs.
        show_progress: Whether to draw progress bars.

    Raises:
        OptionError: A list is empty, a regime is unknown, weights are given for a backbone that is
            not compared, or ``num_seeds`` is below 1.
        ManifestError: The manifest cannot be read, or its splits leak.
    """
    weights = weights or {}
    _check(template, backbones, regimes, weights, num_seeds)
    rows = read_manifest(template.manifest)
    rows = rows if template.where is None else rows.where(template.where)
    check_no_leak(rows, allowed=template.allow_leak, show_progress=show_progress)
    study = _Study(template, num_seeds, has_test, say, show_progress)
    pairs = [(one, regime) for one in dict.fromkeys(backbones) for regime in dict.fromkeys(regimes)]
    found = [study.row(one, regime, weights.get(one)) for one, regime in pairs]
    done = [row for row in found if not row.reason]
    device = choose_device(template.device)
    paths = [study.detector_path(row.backbone, row.finetune) for row in done]
    speeds = measure_speeds(paths, rows.split("val"), device=device) if paths else []
    timed = [replace(row, faces_per_second=speed) for row, speed in zip(done, speeds, strict=True)]
    timed.sort(key=lambda row: -row.val_auc.value)
    failed = [row for row in found if row.reason]
    words = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {_threads()}"
    return BackboneComparison((*timed, *failed), num_seeds, study.num_val_videos, has_test, words)


def measure_speeds(
    paths: Sequence[Path], rows: Manifest, *, device: torch.device, num_rounds: int = _TIMED_ROUNDS
) -> list[float]:
    """Return faces a second of several detectors' networks, float32, on the same crops.

    All take their turn in every round, so that whatever else the machine does slows them alike; the
    median round counts. Reading and resizing crops is not in it.

    Args:
        paths: Detector files; all are held in memory.
        rows: Crops, of which the first 16 that can be read are the batch, each network's at its own
            input size.
        device: Where to run.
        num_rounds: After one round that is not measured.

    Raises:
        ManifestError: Not one crop can be read.
    """
    crops = list(islice(_readable_crops(rows), _TIMED_CROPS))
    if not crops:
        raise ManifestError(rows.path, "not one of its crops can be read", "extract the videos again")
    ready = []
    for path in paths:
        scorer = TorchDetector(*read_detector(path), device=device)
        preprocessing = scorer.config.model.preprocessing
        ready.append((scorer, torch.stack([crop_to_tensor(crop, preprocessing) for crop in crops])))
    seconds: list[list[float]] = [[] for _ in ready]
    for number in range(num_rounds + 1):
        for (scorer, batch), taken in zip(ready, seconds, strict=True):
            started = time.perf_counter()
            scorer.batch_logits(batch)  # ends with the answer in main memory, so a GPU is waited for
            if number:
                taken.append(time.perf_counter() - started)
    return [len(crops) / statistics.median(taken) for taken in seconds]


def _readable_crops(rows: Manifest) -> Iterator[np.ndarray]:
    """Yield the crops that can be read, as training went by without the others too."""
    for name in rows.columns(["path"])["path"].to_pylist():
        with suppress(ManifestError):
            yield read_crop(rows.root / name)


class _Study:
    """The runs of one comparison."""

    def __init__(
        self,
        template: TrainingConfig,
        num_seeds: int,
        has_test: bool,
        say: Callable[[str], None] | None,
        show_progress: bool,
    ) -> None:
        self.template = template
        self.seeds = range(template.seed, template.seed + num_seeds)
        self.has_test = has_test
        self.say = say
        self.show_progress = show_progress
        self.num_val_videos = 0

    def detector_path(self, backbone: str, regime: str) -> Path:
        """Return the detector of the first seed."""
        return self._folder(backbone, regime, self.template.seed) / "detector.safetensors"

    def row(self, backbone: str, regime: str, weights: str | None) -> BackboneRow:
        """Train with every seed and measure; a failure is a row with its reason."""
        weights = None if regime == "scratch" else weights
        row = BackboneRow(backbone, regime, "random" if weights is None else Path(weights).name)
        try:
            return self._measured(row, weights)
        except DeepfakeDetectError as error:
            reason = str(error)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            reason = "out of memory; pass a smaller --batch-size or --image-size"
        gc.collect()  # what the failed network held
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return replace(row, reason=reason)

    def _measured(self, row: BackboneRow, weights: str | None) -> BackboneRow:
        results: list[TrainingResult] = []
        scores: dict[str, list[dict[str, Any]]] = {split: [] for split in self._splits()}
        for seed in self.seeds:
            out = self._folder(row.backbone, row.finetune, seed)
            options = {"backbone": row.backbone, "finetune": row.finetune, "weights": weights, "seed": seed}
            config = replace(self.template, out=out, **options)  # type: ignore[arg-type]
            results.append(train(config, show_progress=self.show_progress, say=self.say))
            for split, of_seeds in scores.items():
                of_seeds.append(self._scores(config, split))
        self.num_val_videos = len(scores["val"][0]["labels"])
        model, _ = read_detector(results[0].detector_path)
        area, areas = _mean_auc(scores["val"])
        return replace(
            row,
            val_auc=area,
            test_auc=_mean_auc(scores["test"])[0] if self.has_test else None,
            seed_aucs=areas,
            num_parameters=sum(parameter.numel() for parameter in model.parameters()),
            trained_parameters=max(record.trained_parameters for record in results[0].history),
            seconds=statistics.mean(sum(one.seconds for one in result.history) for result in results),
        )

    def _splits(self) -> tuple[str, ...]:
        return ("val", "test") if self.has_test else ("val",)

    def _folder(self, backbone: str, regime: str, seed: int) -> Path:
        name = re.sub(r"[^A-Za-z0-9_.]+", "_", f"{backbone}-{regime.replace('+', '-')}")
        return self.template.out / "runs" / f"{name}-seed{seed}"

    def _scores(self, config: TrainingConfig, split: str) -> dict[str, Any]:
        """Return labels and probabilities of a split's videos, read where this detector left them."""
        detector = config.out / "detector.safetensors"
        path = config.out / f"{split}_scores.json"
        manifest, where = validation_source(config) if split == "val" else (config.manifest, config.where)
        rows = read_manifest(manifest)
        rows = rows if where is None else rows.where(where)
        # The manifest may have other test videos by now; those of training are the loop's to refuse.
        judged = rows.split(split)
        about = {
            "detector_sha256": sha256_of_file(detector),
            "videos_sha256": judged.video_ids_sha256(),
            "num_crops": judged.num_rows,
        }
        if path.exists() and about.items() <= (stored := read_json(path)).items():
            return dict(stored)
        scorer = TorchDetector(*read_detector(detector), device=choose_device(config.device))
        shown = {"split": split, "num_workers": config.num_workers, "show_progress": self.show_progress}
        if split == "val":
            table, _ = score_manifest(scorer, rows, **shown)  # type: ignore[arg-type]
        else:
            table, _ = score_held_out(scorer, rows, allow_leak=config.allow_leak, **shown)  # type: ignore[arg-type]
        videos = video_samples(table, aggregation_rule="mean")
        scores = {
            **about,
            "labels": videos.label.tolist(),
            "probabilities": videos.fake_probability.tolist(),
        }
        write_json(path, scores)
        return scores


def _check(
    template: TrainingConfig,
    backbones: Sequence[str],
    regimes: Sequence[str],
    weights: Mapping[str, str],
    num_seeds: int,
) -> None:
    for option, values in (("backbones", backbones), ("regimes", regimes)):
        if not values:
            raise OptionError(option, "names none", "name one or more")
    for regime in regimes:
        parse_finetune(regime)
    if unknown := sorted(set(weights) - set(backbones)):
        raise OptionError(
            "weights", f"names {unknown[0]!r}, which is not compared", "add it to the backbones"
        )
    if num_seeds < 1:
        raise OptionError("seeds", f"is {num_seeds}", "pass 1 or more")
    if template.temporal:
        raise OptionError("temporal", "judges sequences, not faces", "leave it out")


def _mean_auc(of_seeds: Sequence[Mapping[str, Any]]) -> tuple[Interval, tuple[float, ...]]:
    """Return the mean AUC over seeds, its interval over videos drawn alike for all, and each AUC."""
    num_videos = len(of_seeds[0]["labels"])
    drawn = resample_groups(num_videos, num_resamples=_NUM_DRAWS, seed=0)
    found = [
        resampled_metrics(one["labels"], one["probabilities"], np.arange(num_videos), drawn, threshold=0.5)
        for one in of_seeds
    ]
    areas = tuple(intervals_of(values, draws)["auc"].value for values, draws in found)
    mean_values = np.mean([values for values, _ in found], axis=0)
    mean_draws = np.mean([draws for _, draws in found], axis=0)
    return intervals_of(mean_values, mean_draws)["auc"], areas


def _is_out_of_memory(error: Exception) -> bool:
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "can't allocate memory" in words


def _threads() -> str:
    count = torch.get_num_threads()
    return f"{count} thread{'' if count == 1 else 's'}"
