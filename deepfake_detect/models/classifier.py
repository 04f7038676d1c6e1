"""``create_model``: a backbone, a head with one logit, and the preprocessing that belongs to both."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepfake_detect.errors import OptionError, WeightsError
from deepfake_detect.models.weights import (
    PUBLISHED_WEIGHTS,
    WeightsFile,
    fetch_weights,
    preprocessing_hints,
    read_weights_file,
)
from deepfake_detect.records import Preprocessing

# facenet-pytorch's fixed standardisation (x - 127.5) / 128, in units of the [0, 1] range.
_FACENET_PREPROCESSING = Preprocessing(160, (0.5, 0.5, 0.5), (128 / 255,) * 3)
_FACENET_DROPOUT = 0.5


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build the same network again, without its weights.

    Attributes:
        backbone: ``"facenet"``, ``"vgg16"``, ``"vgg19"`` or a timm model name.
        preprocessing: Input size and normalisation.
        dropout: Probability of dropping a feature before the head, 0 to 1.
        backbone_options: Extra options of ``timm.create_model``.
    """

    backbone: str
    preprocessing: Preprocessing
    dropout: float = 0.0
    backbone_options: Mapping[str, Any] = field(default_factory=dict)


class ForgeryClassifier(nn.Module):
    """Face crops in, one logit each out; a positive logit says fake.

    Attributes:
        spec: How to build this network again.
        encoder: Images (N, 3, H, W) to features (N, F).
        head: Features (N, F) to logits (N, 1).
    """

    def __init__(self, spec: ModelSpec, encoder: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Dropout(spec.dropout), nn.Linear(_num_features(encoder, spec.preprocessing.image_size), 1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N,) of normalised images (N, 3, H, W)."""
        features = self.encoder(images)  # (N, F)
        logits: torch.Tensor = self.head(features)  # (N, 1)
        return logits.squeeze(1)  # (N,)


def create_model(
    backbone: str,
    *,
    weights: str | os.PathLike[str] | None = None,
    dropout: float | None = None,
    image_size: int | None = None,
    backbone_options: Mapping[str, Any] | None = None,
) -> ForgeryClassifier:
    """Build a real/fake classifier on a backbone.

    Args:
        backbone: ``"facenet"`` (InceptionResnetV1 of facenet-pytorch, with the head of
            Megatvini/DeepFaceForgeryDetection: ReLU, dropout, one logit), ``"vgg16"``,
            ``"vgg19"`` (convolutional base, pooled), or any name of ``timm.list_models()``.
        weights: ``None`` for random ones; a path to a state dict; or a published name, which is
            downloaded: ``"vggface2"`` and ``"casia-webface"`` for FaceNet, ``"imagenet"`` for
            VGG, ``"pretrained"`` for timm's own. A ``.safetensors`` file may carry its input
            size, mean, std and padding in its metadata; they are then used.
        dropout: Before the head, 0 to 1; the backbone's own default when ``None``.
        image_size: Side of the input in pixels; the weights' own default when ``None``.
        backbone_options: Extra options of ``timm.create_model``.

    Returns:
        The network in training mode, float32, on the CPU.

    Raises:
        OptionError: Unknown backbone, weights name, or a value out of range.
        WeightsError: The weights cannot be had or do not fit the backbone.

    Example:
        >>> model = create_model("resnet18")
        >>> tuple(model.eval()(torch.zeros(2, 3, 64, 64)).shape)
        (2,)
    """
    if not isinstance(backbone, str):
        raise OptionError("backbone", f"is a {type(backbone).__name__}", "pass its name, such as 'facenet'")
    if image_size is not None and image_size < 1:
        raise OptionError("image_size", f"is {image_size}", "pass 1 pixel or more")
    if dropout is not None and not 0 <= dropout < 1:
        raise OptionError("dropout", f"is {dropout}", "pass 0 up to, but not including, 1")
    file = _find_weights(backbone, weights)
    hints = preprocessing_hints(file.metadata) if file else {}
    options = {**hints.get("backbone_options", {}), **(backbone_options or {})}
    if image_size is not None and _has_fixed_input(backbone):
        options["img_size"] = image_size
    spec, encoder = _build(backbone, options, pretrained=weights == "pretrained" and file is None)
    preprocessing = Preprocessing(
        image_size=image_size or hints.get("image_size") or spec.preprocessing.image_size,
        mean=hints.get("mean", spec.preprocessing.mean),
        std=hints.get("std", spec.preprocessing.std),
    )
    if file is not None:
        _load_encoder(backbone, encoder, file, str(weights))
    chosen_dropout = spec.dropout if dropout is None else dropout
    return ForgeryClassifier(ModelSpec(backbone, preprocessing, chosen_dropout, options), encoder).train()


def build_from_spec(spec: ModelSpec) -> ForgeryClassifier:
    """Build the network of a spec with random weights, for a checkpoint to fill."""
    _, encoder = _build(spec.backbone, dict(spec.backbone_options), pretrained=False)
    return ForgeryClassifier(spec, encoder)


def _build(backbone: str, options: dict[str, Any], *, pretrained: bool) -> tuple[ModelSpec, nn.Module]:
    if backbone == "facenet":
        if options:
            raise OptionError("backbone_options", f"FaceNet takes none, got {options}", "leave them out")
        return ModelSpec(backbone, _FACENET_PREPROCESSING, _FACENET_DROPOUT), _facenet_encoder()
    encoder = _timm_encoder(backbone, options, pretrained=pretrained)
    from timm.data.config import resolve_model_data_config

    config: dict[str, Any] = resolve_model_data_config(encoder)  # type: ignore[no-untyped-call]
    mean, std = tuple(config["mean"]), tuple(config["std"])
    return ModelSpec(backbone, Preprocessing(config["input_size"][-1], mean, std)), encoder


def _facenet_encoder() -> nn.Module:
    from facenet_pytorch import InceptionResnetV1

    network = InceptionResnetV1(pretrained=None)
    # With a pass-through classifier the network returns its 512 features as they are, not
    # scaled to length 1: the length tells forgeries apart too.
    network.logits = nn.Identity()
    network.classify = True
    return nn.Sequential(network, nn.ReLU())


def _timm_encoder(backbone: str, options: dict[str, Any], *, pretrained: bool) -> nn.Module:
    import timm

    if not timm.is_model(backbone.split(".")[0]):
        near = difflib.get_close_matches(backbone, ["facenet", *timm.list_models()], n=3)
        raise OptionError(
            "backbone",
            f"{backbone!r} is neither facenet nor a timm model",
            f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists the names",
        )
    try:
        encoder: nn.Module = timm.create_model(backbone, pretrained=pretrained, num_classes=0, **options)
    except TypeError as error:
        raise OptionError(
            "backbone_options", f"{backbone} refused {options} ({error})", "leave it out"
        ) from error
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if not pretrained:
            raise OptionError(
                "backbone", f"timm cannot build {backbone!r} ({reason})", "timm.list_models() lists the names"
            ) from error
        raise WeightsError(
            f"timm {backbone}", f"its weights cannot be had ({reason})", "pass a local path as weights"
        ) from error
    if backbone.startswith("vgg"):
        # The two fully connected layers of 4096 hold nine tenths of VGG's parameters and were
        # made for 1,000 object classes; the forgery head stands on the pooled convolutions.
        encoder.pre_logits = nn.Identity()
    return encoder


def _has_fixed_input(backbone: str) -> bool:
    """Whether a timm network is built for one input size, as transformers with positions are."""
    import timm

    if backbone == "facenet" or not timm.is_model(backbone.split(".")[0]):
        return False
    config = timm.get_pretrained_cfg(backbone.split(".")[0])
    return bool(config is not None and config.fixed_input_size)


def _num_features(encoder: nn.Module, image_size: int) -> int:
    """Ask the encoder itself: timm's ``num_features`` is not always what ``forward`` returns."""
    was_training = encoder.training
    try:
        with torch.no_grad():
            features = encoder.eval()(torch.zeros(1, 3, image_size, image_size))
    except Exception as error:  # each network has its own way to run out of pixels
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise OptionError(
            "image_size", f"the network takes no input of {image_size} pixels ({reason})", "pass another size"
        ) from error
    encoder.train(was_training)
    return int(features.shape[1])


def _find_weights(backbone: str, weights: str | os.PathLike[str] | None) -> WeightsFile | None:
    """Return the tensors to load, or None: random ones, or timm's own which timm loads itself."""
    if weights is None:
        return None
    published = PUBLISHED_WEIGHTS.get((backbone, str(weights)))
    if published is not None:
        return read_weights_file(fetch_weights(published))
    names = [name for owner, name in PUBLISHED_WEIGHTS if owner == backbone]
    if not names:
        names = ["pretrained"]
        if str(weights) == "pretrained":
            return None
    looks_like_path = os.sep in str(weights) or Path(weights).suffix or Path(weights).exists()
    if not looks_like_path:
        raise OptionError(
            "weights", f"{backbone} has none named {str(weights)!r}", f"pass {', '.join(names)} or a path"
        )
    return read_weights_file(weights)


def _load_encoder(backbone: str, encoder: nn.Module, file: WeightsFile, source: str) -> None:
    """Load a published state dict into the encoder; only its old classifier may be left over."""
    network = encoder[0] if isinstance(encoder, nn.Sequential) else encoder
    dropped = _classifier_prefixes(backbone, network)
    tensors = {name: t for name, t in file.tensors.items() if not name.startswith(dropped)}
    expected = network.state_dict()
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    wrong = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(expected[name].shape)}"
        for name in expected.keys() & tensors.keys()
        if tensors[name].shape != expected[name].shape
    ]
    # Files from before torch 0.4.1 lack the batch counters, which evaluation does not use.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected or wrong:
        problems = [
            f"{len(names)} {what} ({names[0]})"
            for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
            if names
        ]
        raise WeightsError(source, f"does not fit {backbone}: {', '.join(problems)}", "pass its own weights")
    network.load_state_dict(tensors, strict=False)


def _classifier_prefixes(backbone: str, network: nn.Module) -> tuple[str, ...]:
    if backbone == "facenet":
        return ("logits.",)
    if backbone.startswith("vgg"):
        return ("classifier.", "pre_logits.", "head.")
    names = getattr(network, "default_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))
