"""Backbones by name: images (N, C, H, W) -> features (N, F)."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from deepfake_detect.errors import OptionError, WeightsError
from deepfake_detect.models.networks import FaceNet, MesoInception4, SmallCNN
from deepfake_detect.models.spec import ModelSpec, Pooling
from deepfake_detect.records import Preprocessing

_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class OwnBackbone:
    """A backbone that timm does not have.

    Attributes:
        build: Its class.
        preprocessing: Input size and normalization.
        dropout: What its publisher drops before the last layer.
        poolings: Ways from the last map to features, its own first.
        smallest: Smallest side of an input in pixels.
        depends_on_input: Whether it is built for a size and a number of channels; else for RGB of
            any size.
    """

    build: Callable[..., nn.Module]
    preprocessing: Preprocessing
    dropout: float
    poolings: tuple[Pooling, ...]
    smallest: int
    depends_on_input: bool


OWN_BACKBONES = {
    # facenet-pytorch's fixed standardization (x - 127.5) / 128, in units of the [0, 1] range; the
    # dropout of Megatvini/DeepFaceForgeryDetection.
    "facenet": OwnBackbone(FaceNet, Preprocessing(160, _HALF, (128 / 255,) * 3), 0.5, ("avg",), 75, False),
    # The dropout is that of Keras' MNIST example.
    "small_cnn": OwnBackbone(SmallCNN, Preprocessing(28, _HALF, _HALF), 0.5, ("flatten", "avg"), 8, True),
    "mesoinception4": OwnBackbone(
        MesoInception4,
        Preprocessing(256, _HALF, _HALF),
        0.5,
        ("flatten", "avg"),
        32,
        True,
    ),
}
# Names in use elsewhere for networks of timm.
ALIASES = {"xception": "legacy_xception"}


class Flattened(nn.Sequential):
    """A timm network without pooling, whose last map (or tokens) is laid out as features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, nn.Flatten())


def check_backbone(backbone: object) -> str:
    """Return the name under which a backbone is built.

    Raises:
        OptionError: There is no such backbone.
    """
    if not isinstance(backbone, str):
        raise OptionError("backbone", f"is a {type(backbone).__name__}", "pass its name, such as 'facenet'")
    name = ALIASES.get(backbone, backbone)
    import timm

    if name not in OWN_BACKBONES and not timm.is_model(name.split(".")[0]):
        own = list(OWN_BACKBONES)
        near = difflib.get_close_matches(name, [*own, *ALIASES, *timm.list_models()], n=3)
        raise OptionError(
            "backbone",
            f"{backbone!r} is neither {', '.join(own)} nor a timm model",
            f"did you mean {', '.join(near)}?" if near else "deepfake-detect models lists names",
        )
    if name not in OWN_BACKBONES:
        try:
            timm.get_pretrained_cfg(name)
        except RuntimeError as error:  # what stands after the dot names no weights
            raise _cannot_build(name, error) from error
    return name


def build_encoder(spec: ModelSpec, *, pretrained: bool = False) -> nn.Module:
    """Return the encoder of a spec with random weights, or with timm's own where ``pretrained``.

    Raises:
        OptionError: The backbone, an option or the pooling is not possible.
        WeightsError: timm's weights cannot be had.
    """
    own = OWN_BACKBONES.get(check_backbone(spec.backbone))
    return _timm_encoder(spec, pretrained=pretrained) if own is None else _own_encoder(own, spec)


def is_flattened(spec: ModelSpec) -> bool:
    """Tell whether the features of a spec's network depend on where in the picture something is, so
    that it takes pictures of one size alone."""
    own = OWN_BACKBONES.get(spec.backbone)
    return (spec.pooling or (own.poolings[0] if own else "avg")) == "flatten"


def has_fixed_input(backbone: str) -> bool:
    """Tell whether a timm network is built for one input size, as transformers with positions are."""
    import timm

    config = None if backbone in OWN_BACKBONES else timm.get_pretrained_cfg(backbone.split(".")[0])
    return bool(config is not None and config.fixed_input_size)


def default_preprocessing(backbone: str) -> Preprocessing:
    """Return the preprocessing with which a backbone was published."""
    if backbone in OWN_BACKBONES:
        return OWN_BACKBONES[backbone].preprocessing
    import timm
    from timm.data.config import resolve_data_config

    published: Any = timm.get_pretrained_cfg(backbone)
    facts = published.to_dict() if published else {}
    config: dict[str, Any] = resolve_data_config({"in_chans": 3}, facts)  # type: ignore[no-untyped-call]
    mean, std = tuple(config["mean"]), tuple(config["std"])
    return Preprocessing(config["input_size"][-1], mean, std)


def default_dropout(backbone: str) -> float:
    """Return what a backbone's publisher drops before the last layer."""
    own = OWN_BACKBONES.get(backbone)
    return own.dropout if own else 0.0


def known_smallest(backbone: str) -> int | None:
    """Return the smallest side of an input in pixels where it is known without trying."""
    own = OWN_BACKBONES.get(backbone)
    return own.smallest if own else None


def _own_encoder(own: OwnBackbone, spec: ModelSpec) -> nn.Module:
    size = spec.preprocessing.image_size
    if size < own.smallest:
        raise out_of_pixels("image_size", str(size), "it has too few", own.smallest)
    if spec.pooling not in (None, *own.poolings):
        raise OptionError(
            "pooling", f"{spec.backbone} has none named {spec.pooling}", f"choose {', '.join(own.poolings)}"
        )
    options = dict(spec.backbone_options)
    if own.depends_on_input:
        pooling = spec.pooling or own.poolings[0]
        options |= {"in_chans": spec.in_chans, "image_size": size, "pooling": pooling}
    elif spec.in_chans != 3:
        raise OptionError("in_chans", f"{spec.backbone} takes 3, got {spec.in_chans}", "pass color images")
    try:
        return own.build(**options)
    except TypeError as error:
        raise _refused(spec.backbone, spec.backbone_options, error) from error


def _timm_encoder(spec: ModelSpec, *, pretrained: bool) -> nn.Module:
    import timm

    options = dict(spec.backbone_options)
    if spec.pooling is not None:
        options["global_pool"] = {"avg": "avg", "flatten": ""}[spec.pooling]
    if spec.in_chans != 3:
        options["in_chans"] = spec.in_chans
    # VGG's two fully connected layers of 4096 hold nine tenths of its parameters and were made for
    # 1,000 object classes; the forgery head stands on the convolutions. So they are dropped below,
    # and not drawn at random before that, which takes longer than all the rest.
    is_vgg = spec.backbone.startswith("vgg")
    if is_vgg and not pretrained:
        options["mlp_ratio"] = 1 / 4096
    try:
        network: nn.Module = timm.create_model(spec.backbone, pretrained=pretrained, num_classes=0, **options)
    except TypeError as error:
        raise _refused(spec.backbone, spec.backbone_options, error) from error
    except Exception as error:
        if not pretrained:
            raise _cannot_build(spec.backbone, error) from error
        reason = first_line(error)
        raise WeightsError(
            f"timm {spec.backbone}", f"its weights cannot be had ({reason})", "pass a local path as weights"
        ) from error
    if is_vgg:
        network.pre_logits = nn.Identity()
    return Flattened(network) if spec.pooling == "flatten" else network


def _cannot_build(backbone: str, error: Exception) -> OptionError:
    cause = f"timm cannot build {backbone!r} ({first_line(error)})"
    return OptionError("backbone", cause, "deepfake-detect models --filter lists the names")


def _refused(backbone: str, options: Mapping[str, Any], error: Exception) -> OptionError:
    return OptionError("backbone_options", f"{backbone} refused {dict(options)} ({error})", "leave it out")


def out_of_pixels(subject: str, size: str, reason: str, smallest: int | None) -> OptionError:
    """Return the error of an input that a network cannot take, with the smallest one that it can."""
    remedy = "pass another size" if smallest is None else f"the smallest workable size is {smallest}"
    return OptionError(subject, f"the network takes no input of {size} pixels ({reason})", remedy)


def first_line(error: Exception) -> str:
    """Return the first line of an error's words, its kind where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
