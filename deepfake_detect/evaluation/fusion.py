"""What was learned about several detectors together: from their probabilities of a clip to one.

It is applied without PyTorch and SciPy; :mod:`evaluation.combine` fits it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detect._version import __version__
from deepfake_detect.errors import CheckpointError, OptionError
from deepfake_detect.io.plain import from_plain
from deepfake_detect.models.config import FigureFacts, sigmoid
from deepfake_detect.records import FusedVerdict, Verdict

FUSION_FORMAT = "deepfake_detect.fusion"
_FORMAT_VERSION = 1
_EPSILON = 1e-7  # as of metrics.PROBABILITY_EPSILON, which loads SciPy


@dataclass(frozen=True)
class FusionMember:
    """One detector of a fusion.

    Attributes:
        name: Name and version, or the name of its file of scores.
        sha256: Of its file; ``None`` where its scores do not say.
        aggregation_rule: From its faces to a clip's probability.
        weight: Of the logit of that probability.
        auc: Of it alone, on the same videos.
    """

    name: str
    sha256: str | None
    aggregation_rule: str
    weight: float
    auc: FigureFacts


@dataclass(frozen=True)
class Fusion:
    """A weighted sum of detectors' logits, whose sigmoid is a calibrated probability.

    Attributes:
        members: The detectors, in the order of their probabilities.
        intercept: Added to the sum.
        threshold: Probability from which a clip counts as fake where two classes are wanted.
        uncertain_low, uncertain_high: Probabilities strictly between are called uncertain.
        auc: Of the fused probability, cross-validated.
        num_folds: Of the cross-validation.
        library_version: Of this library.
    """

    members: tuple[FusionMember, ...]
    intercept: float
    threshold: float
    uncertain_low: float
    uncertain_high: float
    auc: FigureFacts
    num_folds: int
    library_version: str = __version__

    def probabilities(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the fused probabilities (N,) of the detectors' (N, K).

        Example:
            >>> figure = FigureFacts(0.9, None, None, 20, 20)
            >>> members = tuple(FusionMember(name, None, "mean", 0.5, figure) for name in "ab")
            >>> fusion = Fusion(members, 0.0, 0.5, 0.4, 0.6, figure, 5)
            >>> fusion.probabilities(np.array([[0.9, 0.9], [0.2, 0.8]])).round(3).tolist()
            [0.9, 0.5]
        """
        weights = np.array([member.weight for member in self.members])
        return sigmoid(logits_of(probabilities) @ weights + self.intercept)

    def verdict(self, probabilities: Sequence[float]) -> FusedVerdict:
        """Return the fused probability of one clip, and its verdict."""
        fused = float(self.probabilities(np.array([probabilities]))[0])
        verdict: Verdict = "uncertain"
        if fused >= self.uncertain_high:
            verdict = "fake"
        elif fused <= self.uncertain_low:
            verdict = "real"
        return FusedVerdict(fused, verdict, self.uncertain_low, self.uncertain_high)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as its file holds them."""
        return {"format": FUSION_FORMAT, "format_version": _FORMAT_VERSION, **asdict(self)}


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    """Return the logits of probabilities, 1e-7 away from 0 and 1."""
    clipped = np.clip(probabilities, _EPSILON, 1 - _EPSILON)
    logits: np.ndarray = np.log(clipped) - np.log1p(-clipped)
    return logits


def read_fusion(path: str | os.PathLike[str]) -> Fusion:
    """Read a fusion that :func:`combine` wrote.

    Raises:
        CheckpointError: There is no such file, it is damaged or something else, or of a later version.
    """
    remedy = "pass the file that combine wrote"
    try:
        values = json.loads(Path(path).read_text("utf-8"))
        if not isinstance(values, dict) or values.pop("format", None) != FUSION_FORMAT:
            raise ValueError("it is a different kind of file")
        if (version := values.pop("format_version", None)) != _FORMAT_VERSION:
            raise CheckpointError(path, f"has format version {version}", "update deepfake_detect to read it")
        fusion = from_plain(Fusion, values, name="fusion")
        limits = (fusion.uncertain_low, fusion.threshold, fusion.uncertain_high)
        if not fusion.members or not 0 <= limits[0] <= limits[2] <= 1:
            raise ValueError("its members or limits are out of range")
        return fusion
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error.strerror})", remedy) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(path, f"is not a fusion file ({error})", remedy) from error


def arrange(fusion: Fusion, detectors: Sequence[tuple[str, frozenset[str], str]]) -> Fusion:
    """Return a fusion with its members in the order of the detectors that will be scored with.

    Members whose scores name the file of their detector are found by its hash; others are taken in the
    order in which ``combine`` got their scores.

    Args:
        fusion: As it was read.
        detectors: Of each the name, the hashes of its file (of an export also of what was exported), and
            the aggregation rule that it will use.

    Raises:
        OptionError: The detectors are others, or use other rules, than those it was learned with.
    """
    if len(fusion.members) != len(detectors):
        learned = ", ".join(member.name for member in fusion.members)
        cause = f"was learned for {len(fusion.members)} detectors ({learned}), and there are {len(detectors)}"
        raise OptionError("fusion", cause, "set `detector` once for each of them")
    unknown = [member for member in fusion.members if member.sha256 is None]
    members = []
    for name, hashes, rule in detectors:
        found = next((one for one in fusion.members if one.sha256 in hashes), None)
        if found is None and not unknown:
            learned = ", ".join(member.name for member in fusion.members)
            cause = f"was learned with {learned}, not with this file of {name}"
            raise OptionError("fusion", cause, "pass those detectors, or run combine on scores of these")
        if found is None:
            found = unknown.pop(0)
        elif found.aggregation_rule != rule:
            cause = f"was learned with the aggregation rule {found.aggregation_rule} of {name}, not {rule}"
            raise OptionError("fusion", cause, "omit `aggregation_rule`")
        members.append(found)
    return replace(fusion, members=tuple(members))
