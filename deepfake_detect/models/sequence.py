"""Sequence models: the features of a clip's crops, in order -> one logit of the clip."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.models.backbones import check_backbone, default_dropout
from deepfake_detect.models.classifier import ForgeryClassifier, prepare_encoder
from deepfake_detect.models.spec import NUM_ATTENTION_HEADS, ModelSpec, SequenceSpec, Temporal

# Default state size and layers.
_DEFAULTS: dict[Temporal, tuple[int, int]] = {"lstm": (1024, 1), "transformer": (256, 2)}


class LSTMHead(nn.Module):
    """The state of an LSTM after a clip's last crop, then 1024-32-1 with ReLU between."""

    def __init__(self, num_features: int, spec: SequenceSpec, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(num_features, spec.hidden, spec.num_layers, batch_first=True)
        self.project = nn.Sequential(
            nn.Linear(spec.hidden, 1024),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(1024, 32),
            nn.ReLU(),
            nn.Linear(32, 1),
        )

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 1) of features (N, T, F), of which the first ``lengths`` (N,) count."""
        packed = nn.utils.rnn.pack_padded_sequence(
            features, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        _, (states, _) = self.lstm(packed)  # (num_layers, N, hidden)
        return self.project(states[-1])  # type: ignore[no-any-return]


class TransformerHead(nn.Module):
    """A transformer over a clip's crops with sines as positions, their mean, then one layer."""

    def __init__(self, num_features: int, spec: SequenceSpec, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Linear(num_features, spec.hidden)
        layer = nn.TransformerEncoderLayer(
            spec.hidden,
            NUM_ATTENTION_HEADS,
            dim_feedforward=2 * spec.hidden,
            dropout=dropout,
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, spec.num_layers, enable_nested_tensor=False)
        self.project = nn.Sequential(
            nn.LayerNorm(spec.hidden), nn.Dropout(dropout), nn.Linear(spec.hidden, 1)
        )

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 1) of features (N, T, F), of which the first ``lengths`` (N,) count."""
        tokens = self.embed(features)  # (N, T, hidden)
        tokens = tokens + _positions(tokens.shape[1], tokens.shape[2]).to(tokens)
        is_crop = _is_crop(lengths, tokens.shape[1])  # (N, T)
        tokens = self.encoder(tokens, src_key_padding_mask=~is_crop)
        kept = tokens.masked_fill(~is_crop[..., None], 0)
        return self.project(kept.sum(1) / lengths[:, None])  # type: ignore[no-any-return]


_HEADS: dict[Temporal, type[LSTMHead] | type[TransformerHead]] = {
    "lstm": LSTMHead,
    "transformer": TransformerHead,
}


class SequenceClassifier(ForgeryClassifier):
    """Clips in, one logit each out; a positive logit means fake.

    Only the head, features (N, T, F) and lengths (N,) to logits (N, 1), models time.
    """

    def _make_head(self, num_features: int) -> nn.Module:
        sequence = self.spec.sequence
        assert sequence is not None
        return _HEADS[sequence.temporal](num_features, sequence, self.spec.dropout)

    def forward(self, images: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits (N,) of clips.

        Padding has no effect: it does not reach the encoder or its batch-norm statistics.

        Args:
            images: float32 (N, T, 3, H, W), normalized crops in the order of time.
            lengths: int64 (N,), how many of a clip's T crops count, 1 to T; the others are padding.
                ``None``: all.

        Raises:
            OptionError: The images or lengths are not of these shapes, or a length is out of range.
        """
        if images.ndim != 5:
            cause = f"have the shape {tuple(images.shape)}"
            raise OptionError("images", cause, "pass clips (N, T, 3, H, W) of crops")
        num_clips, num_steps = images.shape[:2]
        lengths = _checked_lengths(lengths, num_clips, num_steps).to(images.device)
        is_crop = _is_crop(lengths, num_steps)  # (N, T)
        # Channels last is faster, and possible for crops but not for clips.
        crops = images[is_crop].contiguous(memory_format=torch.channels_last)
        of_crops = self.features(crops)  # (sum of lengths, F)
        features = of_crops.new_zeros(num_clips, num_steps, of_crops.shape[1])
        features[is_crop] = of_crops
        logits: torch.Tensor = self.head(features, lengths)  # (N, 1)
        return logits.squeeze(1)


def create_sequence_model(
    backbone: str,
    *,
    temporal: Temporal = "lstm",
    hidden: int | None = None,
    num_layers: int | None = None,
    num_frames: int = 16,
    weights: str | os.PathLike[str] | None = None,
    dropout: float | None = None,
    image_size: int | None = None,
    backbone_options: Mapping[str, Any] | None = None,
) -> SequenceClassifier:
    """Build a clip classifier: a backbone computes features of each crop, then a sequence model reads them.

    Args:
        backbone, weights, image_size, backbone_options: As for ``create_model``.
        temporal: ``"lstm"``: the state after the last crop, then 1024-32-1; or ``"transformer"``:
            the mean over its crops.
        hidden: Size of the state; 1024 for the LSTM, 256 for the transformer when ``None``. The
            transformer's is a multiple of 4.
        num_layers: 1 for the LSTM, 2 for the transformer when ``None``.
        num_frames: Most crops of a clip that scoring reads, evenly spaced.
        dropout: In the temporal part, 0 to 1; the backbone's default when ``None``.

    Returns:
        The network in training mode, float32, on the CPU.

    Raises:
        OptionError, WeightsError: As for ``create_model``.

    Example:
        >>> model = create_sequence_model("resnet18", hidden=64).eval()
        >>> clips = torch.zeros(2, 5, 3, 64, 64)
        >>> tuple(model(clips, torch.tensor([5, 3])).shape)
        (2,)
    """
    default_hidden, default_layers = _DEFAULTS.get(temporal, (1, 1))
    sequence = SequenceSpec(
        temporal,
        default_hidden if hidden is None else hidden,
        default_layers if num_layers is None else num_layers,
        num_frames,
    )
    name = check_backbone(backbone)
    spec, encoder = prepare_encoder(
        name, weights=weights, image_size=image_size, backbone_options=backbone_options
    )
    chosen_dropout = default_dropout(name) if dropout is None else dropout
    return SequenceClassifier(replace(spec, dropout=chosen_dropout, sequence=sequence), encoder).train()


def build_untrained(
    spec: ModelSpec, encoder: nn.Module, *, num_features: int | None = None
) -> ForgeryClassifier:
    """Return the network of a spec around an encoder: of clips or of crops, as in the spec."""
    build = ForgeryClassifier if spec.sequence is None else SequenceClassifier
    return build(spec, encoder, num_features=num_features)


def _checked_lengths(lengths: torch.Tensor | None, num_clips: int, num_steps: int) -> torch.Tensor:
    if lengths is None:
        return torch.full((num_clips,), num_steps)
    if lengths.shape != (num_clips,):
        cause = f"have the shape {tuple(lengths.shape)}"
        raise OptionError("lengths", cause, f"pass one for each of {num_clips} clips")
    if num_clips and not 1 <= int(lengths.min()) <= int(lengths.max()) <= num_steps:
        cause = f"are {lengths.tolist()} for clips of {num_steps}"
        raise OptionError("lengths", cause, f"pass 1 to {num_steps}")
    return lengths


def _is_crop(lengths: torch.Tensor, num_steps: int) -> torch.Tensor:
    """Return bool (N, T): which steps hold a crop rather than padding."""
    return torch.arange(num_steps, device=lengths.device) < lengths[:, None]


def _positions(num_steps: int, width: int) -> torch.Tensor:
    """Return sines and cosines of falling frequency (T, width), after Vaswani et al. 2017,
    arXiv:1706.03762; there is one for any length of clip.
    """
    rates = torch.exp(-math.log(10_000) * torch.arange(0, width, 2) / width)  # (width / 2,)
    angles = torch.arange(num_steps)[:, None] * rates  # (T, width / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
