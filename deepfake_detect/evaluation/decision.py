"""How the scores of a detector become verdicts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deepfake_detect.errors import OptionError
from deepfake_detect.evaluation.aggregation import LEARNED_RULE, check_rule
from deepfake_detect.models.config import DetectorConfig


@dataclass(frozen=True)
class DecisionFacts:
    """What is stored with the scores of a detector; defaults are those for the scores of any tool.

    Attributes:
        name: Name of the detector or of the file.
        threshold: Probability at or above which a video is called fake.
        aggregation_rule: Name of the rule from faces to the video.
        aggregation_weights: Weights of the rule ``"logistic"``.
        uncertain_band: Probabilities strictly between are called uncertain; ``None`` for no band.
        has_logits: Whether the scores have a column ``logit``, before calibration.
        seen: Warnings about evaluated videos that the detector was trained or selected on.
        detector_sha256: Of the detector's file; ``None`` where there is none, or it is not known.
    """

    name: str
    threshold: float = 0.5
    aggregation_rule: str = "mean"
    aggregation_weights: tuple[float, ...] = ()
    uncertain_band: tuple[float, float] | None = None
    has_logits: bool = False
    seen: tuple[str, ...] = ()
    detector_sha256: str | None = None

    @classmethod
    def of_detector(cls, config: DetectorConfig) -> DecisionFacts:
        """Return the facts of a detector, with its own threshold and rule."""
        return cls(
            name=f"{config.name} {config.version}".strip(),
            threshold=config.threshold,
            aggregation_rule=config.aggregation_rule,
            aggregation_weights=config.aggregation_weights,
            uncertain_band=(config.uncertain_low, config.uncertain_high) if config.is_calibrated else None,
            has_logits=True,
        )

    def overridden(self, *, threshold: float | None, aggregation_rule: str | None) -> DecisionFacts:
        """Return the facts with another threshold or rule, where one is given.

        Raises:
            OptionError: The rule is unknown, or needs weights that the detector does not have.
        """
        changed = replace(self, aggregation_rule=aggregation_rule or self.aggregation_rule)
        if threshold is not None:  # the band belongs to the detector's own threshold
            changed = replace(changed, threshold=threshold, uncertain_band=None)
        check_rule(changed.aggregation_rule)
        if changed.aggregation_rule == LEARNED_RULE and not self.aggregation_weights:
            raise OptionError(
                "aggregation_rule",
                f"is {LEARNED_RULE}, which needs weights, and there are none",
                "fit them on validation: calibrate with `choose_aggregation`",
            )
        return changed
