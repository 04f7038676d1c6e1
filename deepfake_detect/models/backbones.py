"""Backbones by name: images (N, C, H, W) -> features (N, F)."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from deepfake_detect.errors import OptionError, WeightsError
from deepfake_detect.models.backbone import Backbone
from deepfake_detect.models.networks import (
    TORCHVISION_PREFIX,
    FaceNet,
    MesoInception4,
    SmallCNN,
    in_torchvision,
    torchvision_encoder,
    torchvision_preprocessing,
)
from deepfake_detect.models.published import PUBLISHED_BACKBONES
from deepfake_detect.models.spec import ModelSpec
from deepfake_detect.records import Preprocessing
from deepfake_detect.registry import Registry

_HALF = (0.5, 0.5, 0.5)


BACKBONES: Registry[Backbone] = Registry(
    "backbone",
    {
        # facenet-pytorch's fixed standardization (x - 127.5) / 128, in units of the [0, 1] range; the
        # dropout of Megatvini/DeepFaceForgeryDetection.
        "facenet": Backbone(FaceNet, Preprocessing(160, _HALF, (128 / 255,) * 3), 0.5, ("avg",), 75),
        # The dropout is that of Keras' MNIST example.
        "small_cnn": Backbone(SmallCNN, Preprocessing(28, _HALF, _HALF), 0.5, ("flatten", "avg"), 8, True),
        "mesoinception4": Backbone(
            MesoInception4, Preprocessing(256, _HALF, _HALF), 0.5, ("flatten", "avg"), 32, True
        ),
        **PUBLISHED_BACKBONES,
    },
)
OWN_BACKBONES = ("facenet", "small_cnn", "mesoinception4")
# What ``backbone_options`` may hold for a network of timm: numbers, and names of layers. They are written
# into detector files, which come from strangers, so options that name files or sources are not among them.
_TIMM_OPTIONS = {
    *("act_layer", "attn_drop_rate", "bn_eps", "bn_momentum", "bn_tf", "class_token", "drop_block_rate"),
    *("drop_path_rate", "drop_rate", "dynamic_img_pad", "dynamic_img_size", "fc_norm", "final_norm"),
    *("global_pool", "head_init_scale", "img_size", "init_values", "ls_init_value", "mlp_ratio"),
    *("no_embed_class", "norm_layer", "output_stride", "pad_type", "patch_drop_rate", "patch_size"),
    *("pos_drop_rate", "pos_embed", "proj_drop_rate", "qk_norm", "qkv_bias", "reg_tokens", "stem_type"),
    *("strict_img_size", "weight_init", "window_size", "zero_init_last"),
}
# Names in use elsewhere for networks of timm.
ALIASES = {"xception": "legacy_xception"}
MODULE_PREFIX = "module:"
"""In front of the class name of a network that was passed to ``create_model`` as a module."""


class Flattened(nn.Sequential):
    """A timm network without pooling, whose last map (or tokens) is flattened into features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, nn.Flatten())


def register_backbone(
    name: str,
    build: Callable[..., nn.Module],
    *,
    image_size: int,
    mean: tuple[float, float, float] = _HALF,
    std: tuple[float, float, float] = _HALF,
    dropout: float = 0.0,
) -> None:
    """Register a backbone that ``create_model``, training and detector files find by name.

    Args:
        name: A new name. To be read again, a detector whose network was passed to
            ``create_model`` as a module needs a backbone of the name that its error gives.
        build: Class or function without required arguments that makes a module from images
            (N, 3, H, W) to features (N, F). ``backbone_options`` are its keyword arguments.
        image_size: Default side of the input in pixels.
        mean, std: Normalization per RGB channel, in units of the [0, 1] range.
        dropout: Default dropout of the head.

    Raises:
        OptionError: The name is taken.

    Example:
        >>> def tiny(width: int = 4) -> nn.Module:
        ...     from torch import nn
        ...     return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> register_backbone("tiny", tiny, image_size=32)
        >>> from deepfake_detect import create_model
        >>> create_model("tiny", backbone_options={"width": 8}).head[1].in_features
        8
    """
    BACKBONES.register(name, Backbone(build, Preprocessing(image_size, mean, std), dropout), source=build)


def inner_network(encoder: nn.Module) -> nn.Module:
    """Return the network that an encoder is, or that it wraps; layers are named within it."""
    inner = encoder[0] if isinstance(encoder, (Flattened, FaceNet)) else encoder
    assert isinstance(inner, nn.Module)
    return inner


def check_backbone(backbone: object) -> str:
    """Return the name under which a backbone is built.

    Raises:
        OptionError: There is no such backbone.
    """
    if not isinstance(backbone, str):
        raise OptionError("backbone", f"is a {type(backbone).__name__}", "pass its name, such as 'facenet'")
    name = ALIASES.get(backbone, backbone)
    if find_backbone(name) is not None:
        return name
    import timm

    if name.startswith(MODULE_PREFIX):
        cause = f"{name.removeprefix(MODULE_PREFIX)} was passed as a module and cannot be built by name"
        raise OptionError("backbone", cause, f"register what builds it: register_backbone({name!r}, ...)")
    if not timm.is_model(name.split(".")[0]):
        known = list(BACKBONES)
        near = difflib.get_close_matches(name, [*known, *ALIASES, *timm.list_models()], n=3)
        remedy = f"did you mean {', '.join(near)}?" if near else "list_backbones() lists the names"
        raise OptionError("backbone", f"{backbone!r} is neither {', '.join(known)} nor a timm model", remedy)
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # the part after the dot names no weights
        raise _cannot_build(name, error) from error
    return name


def find_backbone(name: str) -> Backbone | None:
    """Return a backbone that timm does not have; ``None`` where timm has it, or nothing does.

    Plug-ins are loaded only for a name that neither this library nor timm knows.
    """
    found = BACKBONES.find_loaded(name)
    if found is not None:
        return found
    bare = name.removeprefix(TORCHVISION_PREFIX)
    if bare != name and in_torchvision(bare):
        return Backbone(functools.partial(torchvision_encoder, bare), torchvision_preprocessing(bare))
    import timm

    return None if timm.is_model(name.split(".")[0]) else BACKBONES.get(name)


def build_encoder(spec: ModelSpec, *, pretrained: bool = False) -> nn.Module:
    """Return the encoder of a spec with random weights, or with timm's own where ``pretrained``.

    Raises:
        OptionError: The backbone, an option or the pooling is not possible.
        WeightsError: timm's weights cannot be fetched.
    """
    own = find_backbone(check_backbone(spec.backbone))
    return _timm_encoder(spec, pretrained=pretrained) if own is None else _own_encoder(own, spec)


def is_flattened(spec: ModelSpec) -> bool:
    """Return whether features depend on their position in the image, so that all inputs are of one size."""
    own = find_backbone(spec.backbone)
    return (spec.pooling or (own.poolings[0] if own else "avg")) == "flatten"


def has_fixed_input(backbone: str) -> bool:
    """Return whether a timm network is built for one input size, as transformers with positions are."""
    if find_backbone(backbone) is not None or backbone.startswith(MODULE_PREFIX):
        return False
    import timm

    config = timm.get_pretrained_cfg(backbone.split(".")[0])
    return bool(config is not None and config.fixed_input_size)


def default_preprocessing(backbone: str) -> Preprocessing:
    """Return the preprocessing with which a backbone was published."""
    own = find_backbone(backbone)
    if own is not None:
        return own.preprocessing
    import timm
    from timm.data.config import resolve_data_config

    published: Any = timm.get_pretrained_cfg(backbone)
    facts = published.to_dict() if published else {}
    config: dict[str, Any] = resolve_data_config({"in_chans": 3}, facts)  # type: ignore[no-untyped-call]
    mean, std = tuple(config["mean"]), tuple(config["std"])
    return Preprocessing(config["input_size"][-1], mean, std)


def default_dropout(backbone: str) -> float:
    """Return the dropout before the last layer of a published backbone."""
    own = find_backbone(backbone)
    return own.dropout if own else 0.0


def known_smallest(backbone: str) -> int | None:
    """Return the smallest side of an input in pixels where it is known without trying."""
    own = BACKBONES.find_loaded(backbone) if backbone in OWN_BACKBONES else None
    return own.smallest if own else None


def _own_encoder(own: Backbone, spec: ModelSpec) -> nn.Module:
    size = spec.preprocessing.image_size
    if size < own.smallest:
        raise out_of_pixels("image_size", str(size), "it has too few", own.smallest)
    if spec.pooling not in (None, *own.poolings):
        cause = f"{spec.backbone} has none named {spec.pooling}"
        raise OptionError("pooling", cause, f"choose {', '.join(own.poolings)}")
    options = dict(spec.backbone_options)
    if own.depends_on_input:
        pooling = spec.pooling or own.poolings[0]
        options |= {"in_chans": spec.in_chans, "image_size": size, "pooling": pooling}
    elif spec.in_chans != 3:
        raise OptionError("in_chans", f"{spec.backbone} takes 3, got {spec.in_chans}", "pass color images")
    try:
        return own.build(**options)
    except TypeError as error:
        raise _wrong_options(spec.backbone, spec.backbone_options, error) from error


def _timm_encoder(spec: ModelSpec, *, pretrained: bool) -> nn.Module:
    import timm

    options: dict[str, Any] = dict(spec.backbone_options)  # Any: whatever the network's builder takes
    if unknown := sorted(options.keys() - _TIMM_OPTIONS):
        raise _wrong_options(spec.backbone, options, f"unknown: {', '.join(unknown)}")
    if spec.pooling is not None:
        options["global_pool"] = {"avg": "avg", "flatten": ""}[spec.pooling]
    if spec.in_chans != 3:
        options["in_chans"] = spec.in_chans
    # VGG's two fully connected layers of 4096 hold nine tenths of its parameters and were made for
    # 1,000 object classes; the forgery head follows the convolutions. They are dropped below, and
    # kept small until then, since their random values would take longer than all the rest.
    is_vgg = spec.backbone.startswith("vgg")
    if is_vgg and not pretrained:
        options["mlp_ratio"] = 1 / 4096
    try:
        network: nn.Module = timm.create_model(spec.backbone, pretrained=pretrained, num_classes=0, **options)
    except TypeError as error:
        raise _wrong_options(spec.backbone, spec.backbone_options, error) from error
    except Exception as error:
        if not pretrained:
            raise _cannot_build(spec.backbone, error) from error
        cause = f"its weights cannot be downloaded ({first_line(error)})"
        raise WeightsError(f"timm {spec.backbone}", cause, "pass a local path as weights") from error
    if is_vgg:
        network.pre_logits = nn.Identity()
    return Flattened(network) if spec.pooling == "flatten" else network


def _cannot_build(backbone: str, error: Exception) -> OptionError:
    cause = f"timm cannot build {backbone!r} ({first_line(error)})"
    return OptionError("backbone", cause, "list_backbones() lists the names")


def _wrong_options(backbone: str, options: Mapping[str, Any], reason: object) -> OptionError:
    cause = f"{backbone} does not take {dict(options)} ({reason})"
    return OptionError("backbone_options", cause, "omit them")


def out_of_pixels(subject: str, size: str, reason: str, smallest: int | None) -> OptionError:
    """Return the error for an input that a network cannot take, naming the smallest that it can."""
    remedy = "pass another size" if smallest is None else f"the smallest workable size is {smallest}"
    return OptionError(subject, f"the model cannot process {size} pixels ({reason})", remedy)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
