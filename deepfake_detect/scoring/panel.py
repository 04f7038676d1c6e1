"""Several detectors as one: faces are found once, and each detector scores their crops."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.fusion import Fusion, arrange, read_fusion
from deepfake_detect.faces import FaceDetector
from deepfake_detect.faces.tracked_crops import track_faces_for
from deepfake_detect.models.metadata import SOURCE_KEY
from deepfake_detect.records import ClipResult, Frame, FusedVerdict, QualityWarning
from deepfake_detect.report.words import percent
from deepfake_detect.runtimes.load import RuntimeDetector
from deepfake_detect.scoring.pipeline import Detector, Scored, people_only
from deepfake_detect.scoring.quality import Clip


class DetectorPanel(Detector):
    """Several detectors that score the same faces; face detection runs once per frame.

    A face is cropped once for each geometry. The result is that of the first detector, plus the opinion of
    each, their agreement, and a fused probability if a fusion was learned for them.

    Args:
        detectors: Detectors of :func:`load_detector`, two or more.
        fusion: What :func:`combine` returned or wrote for these detectors; ``None`` fuses nothing.

    Raises:
        CheckpointError: The fusion cannot be read.
        OptionError: There are fewer than two detectors, or the fusion is of others.

    Example:
        >>> import deepfake_detect as dfd
        >>> panel = DetectorPanel([dfd.load_detector(), dfd.load_detector()])
        >>> result = panel.score_video("examples/demo.mp4", num_frames=2)
        >>> [one.verdict == result.verdict for one in result.opinions], result.agreement
        ([True, True], 1.0)
    """

    def __init__(
        self, detectors: Sequence[Detector], *, fusion: Fusion | str | os.PathLike[str] | None = None
    ) -> None:
        if len(detectors) < 2:
            raise OptionError("detector", f"has {len(detectors)}", "pass two or more detectors")
        self.detectors = tuple(detectors)
        self.config = self.detectors[0].config
        self.runtime = self.detectors[0].runtime
        self.sha256 = "+".join(one.sha256 or "" for one in self.detectors)
        self.fusion = read_fusion(fusion) if isinstance(fusion, (str, os.PathLike)) else fusion
        self.check_rule(None)

    @property
    def name(self) -> str:
        """Names and versions of the detectors."""
        return " + ".join(one.name for one in self.detectors)

    @property
    def first(self) -> Detector:
        """The detector whose result is the clip's."""
        return self.detectors[0]

    @property
    def is_on_gpu(self) -> bool:
        """Whether a detector runs on a GPU."""
        return any(one.is_on_gpu for one in self.detectors)

    def face_finder(self, min_face: float | None) -> FaceDetector:
        """Return the face detector of the first detector."""
        return self.first.face_finder(min_face)

    def check_rule(self, aggregation_rule: str | None) -> None:
        """Raise OptionError for a rule that a detector cannot use, or the fusion was not learned with."""
        for one in self.detectors:
            one.check_rule(aggregation_rule)
        if self.fusion is not None:
            arrange(self.fusion, [_identity(one, aggregation_rule) for one in self.detectors])

    def chunk_logits(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Raise OptionError: each detector has crops of its own."""
        self._raise_for_crops()

    def score_sequence(self, crops: Sequence[Any]) -> float:
        """Raise OptionError: each detector has crops of its own."""
        self._raise_for_crops()

    def _raise_for_crops(self) -> NoReturn:
        remedy = "score the crops with each of `detectors`"
        raise OptionError("detector", "is several detectors, whose crops may differ", remedy)

    def _score_faces(
        self, frames: Iterable[Frame], faces: FaceDetector, on_frame: Callable[[int], None]
    ) -> Scored:
        geometries = list(dict.fromkeys(one.config.geometry for one in self.detectors))
        scorers = [(one.frame_scorer(), geometries.index(one.config.geometry)) for one in self.detectors]
        followed = track_faces_for(frames, detector=faces, geometries=geometries)
        for number, cropped in enumerate(followed, start=1):
            for scorer, geometry in scorers:
                scorer.add(cropped[geometry])
            on_frame(number)
        return tuple(people_only(scorer.finish()) for scorer, _ in scorers)

    def _clip_result(
        self,
        name: str,
        scored: Scored,
        aggregation_rule: str | None,
        clip: Clip,
        *,
        refined: Callable[[Detector, ClipResult], ClipResult] = lambda detector, result: result,
    ) -> ClipResult:
        whole = [
            one.result_of(name, frames, aggregation_rule, clip)
            for one, frames in zip(self.detectors, scored, strict=True)
        ]
        results = [refined(one, result) for one, result in zip(self.detectors, whole, strict=True)]
        opinions = tuple(opinion for one in results for opinion in one.detectors)
        # The fusion was learned on probabilities of whole clips.
        fused = self._fused([one.fake_probability for one in whole], aggregation_rule)
        found = replace(results[0], opinions=opinions, fused=fused)
        return replace(found, warnings=(*found.warnings, *_disagreement(found)))

    def _fused(self, found: Sequence[float | None], aggregation_rule: str | None) -> FusedVerdict | None:
        probabilities = [one for one in found if one is not None]
        if self.fusion is None or not probabilities:
            return None
        members = [_identity(one, aggregation_rule) for one in self.detectors]
        return arrange(self.fusion, members).verdict(probabilities)


def _identity(detector: Detector, aggregation_rule: str | None) -> tuple[str, frozenset[str], str]:
    """Return what a fusion knows a detector by: its name, its hashes and its rule."""
    hashes = {detector.sha256}
    if isinstance(detector, RuntimeDetector):
        hashes.add(detector.metadata.get(SOURCE_KEY))
    known = frozenset(one for one in hashes if one is not None)
    return detector.name, known, aggregation_rule or detector.config.aggregation_rule


def _disagreement(result: ClipResult) -> tuple[QualityWarning, ...]:
    """Return the warning that detectors differ in their verdicts, where they do."""
    if result.agreement in (None, 1.0):
        return ()
    named = ", ".join(
        f"{one.detector.name} {one.detector.version} {percent(one.fake_probability)}"
        for one in result.opinions
        if one.fake_probability is not None
    )
    return (QualityWarning("detectors_differ", f"the detectors disagree: {named}"),)
