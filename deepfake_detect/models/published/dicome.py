"""DiCoME: CLIP ViT-L/14, whose features and what an autoencoder does not explain of them give evidence.

Source: Kang et al. 2026, arXiv:2606.01885; kxl0825/DiCoME. In scoring the low-rank updates (LoRA) of queries
and values are part of their weights.
"""

from __future__ import annotations

import re

import torch
from torch import nn

from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.published.encoders import clip_names
from deepfake_detect.models.published.layout import Converted, Layout, State
from deepfake_detect.records import Preprocessing

_CLIP_WIDTH, _WIDTH, _LATENT, _HIDDEN, _EVIDENCE = 1024, 64, 32, 32, 64
_LORA_SCALE = 16 / 8  # alpha over rank in the authors' configuration
_ENCODER = re.compile(r"model\.primary_encoder\.vision_model\.(?:base_model\.model\.)?(?:vision_model\.)?")
# Names in older files -> those of today, as the authors' code has it.
_OLDER = {
    "model.beta_vae.": "model.semantic_manifold_projector.",
    "model.evidential_head_1.": "model.semantic_head.",
    "model.evidential_head_2.": "model.artifact_head.",
    "model.view1_norm.": "model.semantic_norm.",
    "model.view2_norm.": "model.artifact_norm.",
}
_PLACES = {
    "model.primary_encoder.projection.": "project.",
    "model.semantic_manifold_projector.encoder_mlp.": "compress.",
    "model.semantic_manifold_projector.fc_mu.": "mean.",
    "model.semantic_manifold_projector.decoder_mlp.": "expand.",
    "model.semantic_norm.": "semantic.0.",
    "model.semantic_head.fc1.": "semantic.1.",
    "model.semantic_head.fc2.": "semantic.3.",
    "model.artifact_norm.": "artifact.0.",
    "model.artifact_head.fc1.": "artifact.1.",
    "model.artifact_head.fc2.": "artifact.3.",
}
_SPREAD = "model.semantic_manifold_projector.fc_log_var."  # of the autoencoder, in training only


def _evidence() -> nn.Sequential:
    hidden = nn.Linear(_WIDTH, _EVIDENCE)
    return nn.Sequential(nn.LayerNorm(_WIDTH), hidden, nn.ReLU(), nn.Linear(_EVIDENCE, 2), nn.Softplus())


def combined_evidence(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the Dirichlet parameters of two views' evidence for two classes, by Dempster's rule.

    The rule normalizes by the conflict of the views, which cancels.
    """
    return 1 + first + second + first * second / 2


class DiCoME(nn.Module):
    """Images (N, 3, 224, 224) to the logit of the expected probability of a fake, (N, 1)."""

    def __init__(self) -> None:
        import timm

        super().__init__()
        self.encoder = timm.create_model("vit_large_patch14_clip_quickgelu_224", num_classes=0)
        self.project = nn.Linear(_CLIP_WIDTH, _WIDTH)
        self.compress = nn.Sequential(nn.Linear(_WIDTH, _HIDDEN), nn.ReLU())
        self.mean = nn.Linear(_HIDDEN, _LATENT)
        self.expand = nn.Sequential(nn.Linear(_LATENT, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _WIDTH))
        self.semantic, self.artifact = _evidence(), _evidence()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.project(self.encoder(images))
        rest = features - self.expand(self.mean(self.compress(features)))
        along = (rest * features).sum(1, keepdim=True) / (features.square().sum(1, keepdim=True) + 1e-8)
        artifact = rest - along * features
        parameters = combined_evidence(self.semantic(features), self.artifact(artifact))  # (N, 2)
        real, fake = parameters.log().unbind(1)
        return (fake - real)[:, None]


def _convert(state: State) -> Converted:
    state = {_newer(name): tensor for name, tensor in state.items()}
    vision = {_ENCODER.sub("", name): tensor for name, tensor in state.items() if _ENCODER.match(name)}
    tensors = {f"encoder.encoder.{name}": one for name, one in clip_names(_merged(vision)).items()}
    for theirs, ours in _PLACES.items():
        found = [name for name in state if name.startswith(theirs)]
        tensors |= {f"encoder.{ours}{name.removeprefix(theirs)}": state[name] for name in found}
    head = {"head.weight": torch.ones(1, 1), "head.bias": torch.zeros(1)}
    return Converted({**tensors, **head}, tuple(name for name in state if name.startswith(_SPREAD)))


def _newer(name: str) -> str:
    older = next((one for one in _OLDER if name.startswith(one)), "")
    return _OLDER.get(older, "") + name.removeprefix(older)


def _merged(state: State) -> dict[str, torch.Tensor]:
    """Return the encoder's tensors with the low-rank updates in the weights that they belong to."""
    merged = {name.replace(".base_layer.", "."): one for name, one in state.items() if ".lora_" not in name}
    for name in state:
        if name.endswith(".lora_A.default.weight"):
            layer = name.removesuffix(".lora_A.default.weight")
            update = state[f"{layer}.lora_B.default.weight"] @ state[name]
            merged[f"{layer}.weight"] = merged[f"{layer}.weight"] + _LORA_SCALE * update
    return {name: one for name, one in merged.items() if not name.endswith("position_ids")}


_PREPROCESSING = Preprocessing(224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
BACKBONES = {"dicome_clip_l14": Backbone(DiCoME, _PREPROCESSING, smallest=224)}
LAYOUTS = {"dicome-clip-l": Layout("DiCoME on CLIP ViT-L/14", "dicome_clip_l14", _convert)}
