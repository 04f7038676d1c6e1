"""The stages of a run: the head on the frozen backbone, then what the finetune mode names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.finetune import Part, head_part, parse_finetune, trained_parts
from deepfake_detect.training.history import EpochRecord

_HEAD = "head"


class Position(NamedTuple):
    """Where in a run a step is.

    Attributes:
        epoch: From 1, counted over both stages.
        batch: Number of its first batch in the epoch, from 0.
        fraction: Of the epoch that is done before it, 0 to 1.
    """

    epoch: int
    batch: int
    fraction: float


@dataclass(frozen=True, eq=False)
class Stage:
    """Epochs that share an optimizer; the head is the first part, then come blocks from the top."""

    name: str
    first: int
    last: int
    parts: Sequence[Part]

    def epochs_done(self, position: Position) -> float:
        """Return how many epochs of the stage are done."""
        return position.epoch - self.first + position.fraction

    def fraction_done(self, position: Position) -> float:
        """Return the fraction of the stage that is done, 0 to 1."""
        return self.epochs_done(position) / (self.last - self.first + 1)


def make_stages(model: Any, config: TrainingConfig) -> list[Stage]:
    """Return the stages of a run; a single one where both would train the same."""
    parts = trained_parts(model, config.finetune, top_blocks=config.top_blocks)
    num_head = config.head_epochs
    if parse_finetune(config.finetune) in (("features",), ("scratch",)):
        num_head = 0
    stages = [
        Stage(_HEAD, 1, num_head, [head_part(model)]),
        Stage(config.finetune, num_head + 1, config.num_epochs, parts),
    ]
    return [stage for stage in stages if stage.first <= stage.last]


def is_out_of_patience(history: Sequence[EpochRecord], patience: int) -> bool:
    """Return whether fine-tuning has run ``patience`` epochs, 0 being endless, without a better AUC."""
    aucs = [record.val_video_auc for record in history if record.stage != _HEAD]
    if not patience or not aucs:
        return False
    return len(aucs) - 1 - int(np.argmax(aucs)) >= patience
