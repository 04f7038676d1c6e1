"""The untrained network of a run."""

from __future__ import annotations

from typing import Any

from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.lora import add_lora
from deepfake_detect.models.sequence import create_sequence_model
from deepfake_detect.training.config import TrainingConfig
from deepfake_detect.training.finetune import parse_finetune


def create_network(config: TrainingConfig) -> Any:
    """Return the untrained network that the options describe."""
    model: Any  # a classifier or a sequence model
    if config.temporal:
        model = create_sequence_model(
            config.backbone,
            temporal=config.temporal,
            num_frames=config.clip_frames,
            weights=config.weights,
            dropout=config.dropout,
            image_size=config.image_size,
        )
    else:
        model = create_model(
            config.backbone,
            head=config.head,
            pooling=config.pooling,
            weights=config.weights,
            dropout=config.dropout,
            image_size=config.image_size,
        )
    if "lora" in parse_finetune(config.finetune):
        add_lora(model, rank=config.lora_rank)
    return model
