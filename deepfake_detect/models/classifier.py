"""``create_model``: a backbone, a head, and their preprocessing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.models.backbones import (
    MODULE_PREFIX,
    build_encoder,
    check_backbone,
    default_dropout,
    default_preprocessing,
    first_line,
    has_fixed_input,
    is_flattened,
    known_smallest,
    out_of_pixels,
)
from deepfake_detect.models.blocks import encoder_blocks
from deepfake_detect.models.encoder_weights import TIMM_WEIGHTS, find_weights, load_encoder, published_tensors
from deepfake_detect.models.heads import head_dropout, make_head
from deepfake_detect.models.shapes import feature_shape, num_features, smallest_size
from deepfake_detect.models.spec import ModelSpec, Pooling, Stem
from deepfake_detect.models.stems import make_stem
from deepfake_detect.models.weights import preprocessing_hints
from deepfake_detect.records import Preprocessing


class ForgeryClassifier(nn.Module):
    """Face crops in, one logit each out; a positive logit means fake.

    Args:
        spec: How to build this network again.
        encoder: Images (N, C, H, W) to features (N, F).
        num_features: F where it is known; counted by a run of the encoder's shapes where not.
        head: Features (N, F) to logits (N, num_classes); one of the spec is made when ``None``.
    """

    def __init__(
        self,
        spec: ModelSpec,
        encoder: nn.Module,
        *,
        num_features: int | None = None,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.stem = make_stem(spec)
        self.encoder = encoder
        self.head = head or self._make_head(num_features or _count_features(spec, encoder))
        self._only_size = spec.preprocessing.image_size if is_flattened(spec) else None

    def _make_head(self, num_features: int) -> nn.Module:
        spec = self.spec
        return make_head(spec.head, num_features, spec.num_classes, dropout=spec.dropout)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of normalized images, float32 (N, C, H, W): (N,) with one class, else
        (N, num_classes).

        Raises:
            OptionError: The network's features are flattened, and the images are of another size
                than the one it was built for.
        """
        logits: torch.Tensor = self.head(self.features(images))  # (N, num_classes)
        return logits.squeeze(1) if self.spec.num_classes == 1 else logits

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features (N, F) of normalized images (N, C, H, W); errors as of ``forward``."""
        size = self._only_size
        if size is not None and tuple(images.shape[-2:]) != (size, size):
            given = " x ".join(map(str, images.shape[-2:]))
            cause = f"have {given} pixels, but flattened features are those of {size} x {size}"
            remedy = "resize them, or build the network with pooling='avg' or another image_size"
            raise OptionError("images", cause, remedy)
        features: torch.Tensor = self.encoder(self.stem(images))
        return features

    def feature_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return height, width and channels of the last feature map, before pooling, of an input in pixels.

        For a transformer: tokens down, tokens across, and their length.

        Raises:
            OptionError: The input runs out of pixels; the smallest square that does not is named.

        Example:
            >>> create_model("vgg16").feature_shape(100, 200)
            (3, 6, 512)
        """
        smallest, in_chans = known_smallest(self.spec.backbone), self.spec.in_chans
        return feature_shape(self.encoder, height=height, width=width, in_chans=in_chans, smallest=smallest)

    def blocks(self) -> list[tuple[str, nn.Module]]:
        """Return the encoder's blocks by name, from input to output.

        Every parameter of the encoder is in exactly one block. Some blocks hold layers that do not
        follow one another and cannot be called. Only VGG's poolings are blocks without parameters; its
        block ``i`` is layer ``i + 1`` of Keras' VGG.

        Example:
            >>> create_model("vgg19").blocks()[14][0]  # Keras' layer 15
            'block4_conv4'
        """
        return encoder_blocks(self.encoder)


def create_model(
    backbone: str | nn.Module,
    *,
    weights: str | os.PathLike[str] | None = None,
    dropout: float | None = None,
    image_size: int | None = None,
    preprocessing: Preprocessing | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    head: str = "dropout",
    pooling: Pooling | None = None,
    stem: Stem = "rgb",
    num_classes: int = 1,
    in_chans: int = 3,
) -> ForgeryClassifier:
    """Build a classifier on a backbone.

    Args:
        backbone: ``"facenet"`` (InceptionResnetV1 of facenet-pytorch, with the head of
            Megatvini/DeepFaceForgeryDetection: ReLU, dropout, one logit), ``"small_cnn"``,
            ``"mesoinception4"``, ``"xception"``, any name that ``register_backbone`` knows or of
            ``timm.list_models()`` (of VGG the convolutional base), ``"torchvision."`` and a name of
            torchvision; or a module from images (N, C, H, W) to features (N, F), which is used unchanged.
        weights: ``None`` for random ones; a path to a state dict; or a published name, which is
            downloaded: ``"vggface2"`` and ``"casia-webface"`` for FaceNet, ``"imagenet"`` for
            VGG16 and VGG19, ``"pretrained"`` for timm's own. A ``.safetensors`` file may carry its
            input size, mean, std and padding in its metadata; they are then used.
        dropout: In the head, 0 to 1; the default of head and backbone when ``None``.
        image_size: Side of the input in pixels; the weights' own default when ``None``.
        preprocessing: Input size and normalization, instead of those of backbone and weights; required
            for a module.
        backbone_options: Extra options of ``timm.create_model``, or of ``networks.SmallCNN``.
        head: ``"linear"``, ``"dropout"`` (dropout, then linear), ``"l2"`` (features of length 1, then
            as dropout), ``"vgg"`` (4096-4096-classes), or a name that ``register_head`` knows.
        pooling: ``"avg"``: the mean of the last feature map; the network accepts inputs of other sizes
            too, where its backbone does. ``"flatten"``: the complete map, for inputs of ``image_size``
            only. ``None``: as the backbone was published, which is flattened for ``small_cnn`` and
            ``mesoinception4``.
        stem: What the backbone sees: ``"rgb"``, the colors; ``"srm"``, noise residuals; ``"dct"``, three
            bands of the frequencies of blocks; see :mod:`models.stems`.
        num_classes: Outputs; with 1 the network returns logits (N,), with more (N, num_classes).
        in_chans: Channels of the input; face crops have 3.

    Returns:
        The network in training mode, float32, on the CPU.

    Raises:
        OptionError: Unknown backbone, weights name, or a value out of range; ``image_size`` is too
            small for the backbone, and the smallest workable one is named.
        WeightsError: The weights cannot be fetched or do not fit the backbone.

    Example:
        >>> model = create_model("resnet18")
        >>> tuple(model.eval()(torch.zeros(2, 3, 64, 64)).shape)
        (2,)
        >>> digits = create_model("small_cnn", num_classes=10, in_chans=1, image_size=28)
        >>> sum(parameter.numel() for parameter in digits.parameters())
        263418
    """
    if isinstance(backbone, nn.Module):
        unusable = {"weights": weights, "pooling": pooling, "backbone_options": backbone_options}
        spec, default = _spec_of_module(backbone, preprocessing, image_size, in_chans, unusable), 0.0
        encoder = backbone
    else:
        name = check_backbone(backbone)
        default = default_dropout(name)
        spec, encoder = prepare_encoder(
            name,
            weights=weights,
            image_size=image_size if preprocessing is None else preprocessing.image_size,
            backbone_options=backbone_options,
            pooling=pooling,
            in_chans=in_chans,
        )
        spec = replace(spec, preprocessing=preprocessing or spec.preprocessing)
    chosen = head_dropout(head, dropout, default)
    spec = replace(spec, head=head, dropout=chosen, num_classes=num_classes, stem=stem)
    return ForgeryClassifier(spec, encoder).train()


def _spec_of_module(
    module: nn.Module,
    preprocessing: Preprocessing | None,
    image_size: int | None,
    in_chans: int,
    unusable: Mapping[str, object],
) -> ModelSpec:
    """Return the spec of a network that was passed as a module."""
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    if given := [name for name, value in unusable.items() if value is not None]:
        raise OptionError(given[0], f"cannot be used with the module {kind}", "omit it")
    if preprocessing is None:
        cause = f"is missing, and the module {kind} has none of its own"
        raise OptionError("preprocessing", cause, "pass Preprocessing(image_size, mean, std)")
    sized = preprocessing if image_size is None else replace(preprocessing, image_size=image_size)
    return ModelSpec(f"{MODULE_PREFIX}{kind}", sized, in_chans=in_chans)


def prepare_encoder(
    backbone: str,
    *,
    weights: str | os.PathLike[str] | None,
    image_size: int | None,
    backbone_options: Mapping[str, Any] | None,
    pooling: Pooling | None = None,
    in_chans: int = 3,
) -> tuple[ModelSpec, nn.Module]:
    """Return an encoder with its weights, and its spec without the head.

    Arguments and errors are those of :func:`create_model`; the backbone's name is one that
    ``check_backbone`` returned.
    """
    if image_size is not None and image_size < 1:
        raise OptionError("image_size", f"is {image_size}", "must be 1 or more")
    file = find_weights(backbone, weights)
    hints = preprocessing_hints(file.metadata) if file else {}
    options = {**hints.get("backbone_options", {}), **(backbone_options or {})}
    published = published_tensors(backbone, file.tensors) if file else None
    if file is not None and published is not None:
        file, options = replace(file, tensors=published[0]), {**published[1], **options}
    if image_size is not None and has_fixed_input(backbone):
        options["img_size"] = image_size
    usual = default_preprocessing(backbone)
    preprocessing = Preprocessing(
        image_size=image_size or hints.get("image_size") or usual.image_size,
        mean=hints.get("mean", usual.mean),
        std=hints.get("std", usual.std),
    )
    spec = ModelSpec(backbone, preprocessing, backbone_options=options, pooling=pooling, in_chans=in_chans)
    pretrained = file is None and weights is not None and str(weights) == TIMM_WEIGHTS
    encoder = build_encoder(spec, pretrained=pretrained)
    if file is not None:
        load_encoder(backbone, encoder, file, str(weights))
    return spec, encoder


def _count_features(spec: ModelSpec, encoder: nn.Module) -> int:
    """Return the number of features of an input of the encoder's own size."""
    size = spec.preprocessing.image_size

    def try_size(size: int) -> int:
        if not has_fixed_input(spec.backbone):
            return num_features(encoder, in_chans=spec.in_chans, size=size)
        options = {**spec.backbone_options, "img_size": size}
        with torch.device("meta"):
            rebuilt = build_encoder(replace(spec, backbone_options=options))
        return num_features(rebuilt, in_chans=spec.in_chans, size=size)

    try:
        return num_features(encoder, in_chans=spec.in_chans, size=size)
    except Exception as error:  # each network has its own error for too few pixels
        smallest = known_smallest(spec.backbone) or smallest_size(try_size)
        raise out_of_pixels("image_size", str(size), first_line(error), smallest) from error
