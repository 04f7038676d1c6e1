"""Teachers: detectors whose logit of each crop a student learns in addition to its label."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import nn

from deepfake_detect.data.crops import scores_whole
from deepfake_detect.errors import OptionError
from deepfake_detect.io.files import sha256_of_file
from deepfake_detect.models.checkpoint import read_detector
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.config import DetectorConfig, TeacherFacts
from deepfake_detect.models.zoo.store import local_detector
from deepfake_detect.records import CropGeometry, Preprocessing


class Teachers:
    """Several detectors as one: the mean of their logits, each divided by its temperature.

    They score the same images as the student, with the same augmentation and mixing: a teacher that
    saw another view would teach what cannot be seen in this one (Beyer et al. 2022, arXiv:2106.05237).

    Args:
        paths: Detector files of single crops, one or more.
        preprocessing, geometry: Of the student's crops.
        device: Where to run.

    Raises:
        CheckpointError: A file cannot be read.
        OptionError: A detector scores sequences, or crops that are cut otherwise.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        preprocessing: Preprocessing,
        geometry: CropGeometry,
        device: torch.device,
    ) -> None:
        self._preprocessing = preprocessing
        self._members: list[tuple[ForgeryClassifier, DetectorConfig]] = []
        self.facts: list[TeacherFacts] = []
        for path in paths:
            file = local_detector(path)
            model, config = read_detector(file)
            if config.model.sequence is not None:
                raise OptionError("teachers", f"{path} scores sequences", "pass detectors of single crops")
            if not scores_whole(geometry, config.geometry):
                cause = f"{path} scores crops cut with {config.geometry}, these were cut with {geometry}"
                raise OptionError("teachers", cause, "pass detectors that were trained on such crops")
            model.to(device).to(memory_format=torch.channels_last).eval()
            self._members.append((model, config))
            self.facts.append(TeacherFacts(config.name, config.version, sha256_of_file(file)))
        self.trainings = [config.training for _, config in self._members]

    @torch.no_grad()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the mean logit float32 (N,) of the student's images, float32 (N, 3, S, S)."""
        logits = [
            model(self._converted(images, config.model.preprocessing)).float() / config.temperature
            for model, config in self._members
        ]
        return torch.stack(logits).mean(dim=0)

    def _converted(self, images: torch.Tensor, wanted: Preprocessing) -> torch.Tensor:
        """Return the images in another size and normalization."""
        own = self._preprocessing
        if (own.mean, own.std) != (wanted.mean, wanted.std):
            own_mean, own_std, mean, std = (
                images.new_tensor(values)[:, None, None]
                for values in (own.mean, own.std, wanted.mean, wanted.std)
            )
            images = (images * own_std + own_mean - mean) / std
        if images.shape[-1] != wanted.image_size:
            side = (wanted.image_size, wanted.image_size)
            images = nn.functional.interpolate(images, side, mode="bilinear", antialias=True)
        return images.contiguous(memory_format=torch.channels_last)

    def check_unseen(self, digests: Sequence[str]) -> None:
        """Check that no teacher was trained on validation videos (digests as of :mod:`data.video_digests`),
        which select the student's epoch.

        Raises:
            OptionError: One was.
        """
        for fact, training in zip(self.facts, self.trainings, strict=True):
            if shared := set(digests) & training.digests("train"):
                cause = f"{fact.name} {fact.version} was trained on {len(shared):,} validation videos"
                remedy = "pass detectors that were trained on this training split"
                raise OptionError("teachers", cause, remedy)
