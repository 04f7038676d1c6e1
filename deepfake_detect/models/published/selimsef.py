"""EfficientNet-B7 of selimsef/dfdc_deepfake_challenge, alone and seven together."""

from __future__ import annotations

import torch
from torch import nn

from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.published.layout import Converted, Layout, State, renamed
from deepfake_detect.records import Preprocessing

_NETWORK, _FEATURES = "tf_efficientnet_b7", 2560
_NUM_NETWORKS = 7


class Ensemble(nn.Module):
    """Seven networks as one: images (N, 3, H, W) to the logit of the mean of their probabilities, (N, 1)."""

    def __init__(self) -> None:
        import timm

        super().__init__()
        self.networks = nn.ModuleList(
            timm.create_model(_NETWORK, num_classes=0) for _ in range(_NUM_NETWORKS)
        )
        self.heads = nn.ModuleList(nn.Linear(_FEATURES, 1) for _ in range(_NUM_NETWORKS))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pairs = zip(self.networks, self.heads, strict=True)
        logits = torch.cat([head(network(images)) for network, head in pairs], dim=1)  # (N, 7)
        log_fake, log_real = (nn.functional.logsigmoid(sign * logits).logsumexp(1) for sign in (1, -1))
        return (log_fake - log_real)[:, None]


def _b7(state: State) -> Converted:
    prefix = "module." if "module.fc.weight" in state else ""  # of a network in parallel
    dropped = [f"{prefix}encoder.classifier."]
    return renamed(state, {f"{prefix}encoder.": ""}, head=f"{prefix}fc.", dropped=dropped)


def _ensemble(state: State) -> Converted:
    """Convert the tensors of seven files, which are named ``0.``, ``1.``, ... in front."""
    tensors = {"head.weight": torch.ones(1, 1), "head.bias": torch.zeros(1)}
    dropped: list[str] = []
    for index in range(_NUM_NETWORKS):
        prefix = f"{index}."
        one = _b7({name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)})
        dropped += [prefix + name for name in one.dropped]
        for name, tensor in one.tensors.items():
            kind, rest = name.split(".", 1)
            place = "networks" if kind == "encoder" else "heads"
            tensors[f"encoder.{place}.{index}.{rest}"] = tensor
    return Converted(tensors, tuple(dropped))


BACKBONES = {
    "selimsef_b7_ensemble": Backbone(
        Ensemble, Preprocessing(380, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), smallest=32
    )
}
LAYOUTS = {
    "selimsef-b7": Layout("EfficientNet-B7", _NETWORK, _b7),
    "selimsef-b7-ensemble": Layout("seven EfficientNet-B7", "selimsef_b7_ensemble", _ensemble),
}
