"""Batches of the study of unseen people: pairs of a real and a fake, cut and damaged alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from benchmarks.studies.unseen_people_crops import DFDC, FFPP, MARGINS, Crop, window
from benchmarks.studies.unseen_people_damage import sampled_damage, without_traces
from benchmarks.studies.unseen_people_forgeries import (
    FaceCrop,
    Pair,
    autoencoded,
    partly_replaced,
    reenacted,
    self_blended,
    swapped,
)
from deepfake_detect.forgery.landmarks import nearest_normalized, normalized_landmarks
from deepfake_detect.records import REAL

MADE, TRACELESS = "made", "traceless"
_KINDS = {"self-blended": 0.35, "autoencoded": 0.2, "swapped": 0.25, "reenacted": 0.2}
_HALF = 0.5
_PARTLY = 0.25  # of the aligned forgeries of FaceForensics++
_CANDIDATES, _ALIKE = 60, 6  # other faces looked at, and those of them in the most similar pose
_OFF_CENTER = 0.04
# Margins that a network sees: DFDC's crops hold no more than .85.
_WIDE, _TIGHT = (0.85, 1.5), (0.68, 0.86)


@dataclass(frozen=True)
class Plan:
    """What a training sees.

    Attributes:
        side: Of the input in pixels.
        pairs: Per batch and process, by FaceForensics++, DFDC and ``made``: forgeries made from reals.
        made_from: Fraction of each dataset's reals in those.
        traceless: Fraction of the pairs, except DFDC's, that are downscaled until no trace is left, so that
            the network does not learn the person or the scene.
    """

    side: int
    pairs: Mapping[str, int]
    made_from: Mapping[str, float]
    traceless: float = 0.08


class PairStream(torch.utils.data.IterableDataset):
    """An endless stream of batches: uint8 (2 N, side, side, 3), N reals and their N fakes, and N kinds.

    A kind is the dataset of a published pair, ``made``, or ``traceless``.
    """

    def __init__(self, crops: Sequence[Crop], plan: Plan, *, seed: int) -> None:
        self.plan, self.seed = plan, seed
        self.reals: dict[str, dict[str, list[Crop]]] = defaultdict(lambda: defaultdict(list))
        self.fakes: dict[str, dict[str, list[Crop]]] = defaultdict(lambda: defaultdict(list))
        for crop in crops:
            if crop.label == REAL:
                self.reals[crop.dataset][crop.person].append(crop)
            elif crop.dataset == FFPP or crop.original is not None:
                self.fakes[crop.method][crop.person].append(crop)
        self.banks = {name: _Bank([crop for some in people.values() for crop in some])
                      for name, people in self.reals.items()}  # fmt: skip

    def __iter__(self) -> Iterator[tuple[torch.Tensor, list[str]]]:
        cv2.setNumThreads(1)
        rng = np.random.default_rng(self.seed)
        makers = {FFPP: self._ffpp_pair, DFDC: self._dfdc_pair, MADE: self._made_pair}
        while True:
            pairs = [makers[name](rng) for name, count in self.plan.pairs.items() for _ in range(count)]
            reals, fakes, kinds = zip(*pairs, strict=True)
            yield torch.from_numpy(np.stack([*reals, *fakes])), list(kinds)

    def _ffpp_pair(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, str]:
        methods = [name for name in self.fakes if name != DFDC]
        fake = _any(rng, self.fakes[methods[rng.integers(len(methods))]])
        real = fake.original or _any(rng, _of_one(self.reals[FFPP], fake.person))
        pair = real.image(), fake.image()
        if fake.original is not None and rng.random() < _PARTLY:
            pair = partly_replaced(*pair, real.face().landmarks_xy, rng)
        return self._seen(pair, FFPP, FFPP, rng)

    def _dfdc_pair(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, str]:
        fake = _any(rng, self.fakes[DFDC])
        assert fake.original is not None
        return self._seen((fake.original.image(), fake.image()), DFDC, DFDC, rng)

    def _made_pair(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, str]:
        dataset = _sampled(rng, self.plan.made_from)
        real = _any(rng, self.reals[dataset])
        face = real.face()
        if dataset == DFDC and rng.random() < _HALF:
            face = _smaller(face, int(rng.integers(80, 200)))  # as small as faces of FaceForensics++
        pair = self._made(face, real, self.banks[dataset], rng)
        return self._seen(pair, dataset, MADE, rng)

    def _made(self, face: FaceCrop, real: Crop, bank: _Bank, rng: np.random.Generator) -> Pair:
        kind = _sampled(rng, _KINDS)
        if kind == "self-blended":
            return self_blended(face, rng)
        if kind == "swapped":
            return swapped(face, rng, bank.other(real, rng))
        other = bank.other(real, rng) if rng.random() < _HALF else None
        return autoencoded(face, rng, other) if kind == "autoencoded" else reenacted(face, rng, other)

    def _seen(
        self, pair: Pair, dataset: str, kind: str, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """Return a pair as the network sees it."""
        if dataset == DFDC:
            low, high = _TIGHT if rng.random() < 0.9 else (0.85, 1.15)
        else:
            low, high = _WIDE
        fraction = rng.uniform(low, high) / MARGINS[dataset]
        x, y = 0.5 + rng.uniform(-_OFF_CENTER, _OFF_CENTER, 2) * min(1, fraction)
        damage = sampled_damage(rng, self.plan.side)
        real, fake = (damage(window(image, fraction, x, y)) for image in pair)
        if kind != DFDC and rng.random() < self.plan.traceless:
            return *without_traces((real, fake), rng), TRACELESS
        return real, fake, kind


class _Bank:
    """Faces of other people that may be put onto one."""

    def __init__(self, crops: Sequence[Crop]) -> None:
        self.crops = crops
        self.landmarks = normalized_landmarks(np.stack([crop.landmarks for crop in crops]))
        self.people = np.array([crop.person for crop in crops])

    def other(self, crop: Crop, rng: np.random.Generator) -> FaceCrop:
        """Return the face of another person, in a similar pose, and the one of the most similar color."""
        some = rng.choice(len(self.crops), _CANDIDATES)
        some = some[self.people[some] != crop.person]
        own = normalized_landmarks(crop.landmarks)
        near = some[nearest_normalized(own, self.landmarks[some], k=min(_ALIKE, len(some)))]
        color = _mean_color(crop.image())
        best = min(near, key=lambda one: np.abs(_mean_color(self.crops[one].image()) - color).sum())
        return self.crops[best].face()


def _mean_color(image: np.ndarray) -> np.ndarray:
    return image[::8, ::8].reshape(-1, 3).mean(0)


def _smaller(face: FaceCrop, side: int) -> FaceCrop:
    image = cv2.resize(face.image, (side, side), interpolation=cv2.INTER_AREA)
    return FaceCrop(image, face.landmarks_xy * side / len(face.image))


def _any(rng: np.random.Generator, people: Mapping[str, Sequence[Crop]]) -> Crop:
    """Return a crop of a person: people are equally likely, however many crops they have."""
    crops = list(people.values())[rng.integers(len(people))]
    return crops[rng.integers(len(crops))]


def _of_one(people: Mapping[str, Sequence[Crop]], person: str) -> Mapping[str, Sequence[Crop]]:
    """Return the crops of a person, or of all where there are none (392 has no original)."""
    return {person: people[person]} if person in people else people


def _sampled(rng: np.random.Generator, probabilities: Mapping[str, float]) -> str:
    return str(rng.choice(list(probabilities), p=list(probabilities.values())))
