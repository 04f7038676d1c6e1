"""What a checkpoint of another library holds, by the names and shapes of its tensors.

Published layouts are tried first; then a network by its name, with any prefix in front of its tensors and
a linear layer to one or two outputs after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from deepfake_detect.errors import OptionError, WeightsError
from deepfake_detect.models.backbones import (
    build_encoder,
    check_backbone,
    default_preprocessing,
    inner_network,
)
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.encoder_weights import (
    Fitted,
    converted_by,
    fit_network,
    misfits,
    without_shared_prefix,
)
from deepfake_detect.models.networks import TORCHVISION_PREFIX, in_torchvision
from deepfake_detect.models.options import ConversionOptions
from deepfake_detect.models.published import LAYOUTS
from deepfake_detect.models.published.layout import Converted, Layout, logit_layer
from deepfake_detect.models.shapes import num_features
from deepfake_detect.models.spec import DETECTOR_FORMAT, ModelSpec
from deepfake_detect.models.state_dicts import StateDict, read_state_dict
from deepfake_detect.models.tensor_file import read_tensors
from deepfake_detect.models.weights import preprocessing_hints, read_weights_file
from deepfake_detect.records import Preprocessing

_State = Mapping[str, torch.Tensor]
# What trainings keep next to a network and scoring does not use.
_UNUSED = re.compile(
    r"(^|\.)(adjust_channel|\w*criterion\w*|\w*loss\w*|AuxLogits|aux\d?|aux_logits|logits|n_averaged"
    r"|num_batches_tracked|metrics?|\w*_metrics?)(\.|$)"
)
# A name that only this network has -> the network. The number of outputs of conv_head tells EfficientNets.
_MARKS = {
    "repeat_1.0.branch0.conv.weight": "facenet",
    "block12.rep.1.conv1.weight": "legacy_xception",
    "layer3.22.conv3.weight": "resnet101",
    "layer3.5.conv3.weight": "resnet50",
    "layer3.5.conv2.weight": "resnet34",
    "layer4.1.conv2.weight": "resnet18",
    "features.denseblock4.denselayer16.conv2.weight": "densenet121",
}
_EFFICIENTNETS = {1280: "b0", 1408: "b2", 1536: "b3", 1792: "b4", 2048: "b5", 2304: "b6", 2560: "b7"}


@dataclass(frozen=True, eq=False)
class Recognized:
    """A network that was recognized.

    Attributes:
        spec: How to build it, with the preprocessing of the published backbone.
        tensors: Of a :class:`ForgeryClassifier` of the spec. A positive logit is the file's only output, or
            class 1.
        num_outputs: Of the file's last layer.
        layout: Its name where it is a published one.
        dropped: Names in the file that scoring does not use.
        assumed: What the file does not say and was taken to be so, in words.
    """

    spec: ModelSpec
    tensors: dict[str, torch.Tensor]
    num_outputs: int
    layout: str | None = None
    dropped: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    def build(self, preprocessing: Preprocessing, *, is_fake_positive: bool) -> ForgeryClassifier:
        """Return the network in evaluation mode; its positive logit means fake.

        Args:
            preprocessing: Of its input.
            is_fake_positive: Whether the file's only output, or its class 1, means fake.
        """
        spec = replace(self.spec, preprocessing=preprocessing)
        head = self.tensors["head.weight"]
        model = ForgeryClassifier(spec, build_encoder(spec), num_features=head.shape[1])
        model.load_state_dict(self.tensors, strict=False)
        if not is_fake_positive:
            for parameter in model.head.parameters():
                parameter.data.neg_()
        return model.eval()


def read_foreign(file: Path) -> tuple[StateDict, dict[str, Any]]:
    """Read a checkpoint of another library, of any kind; nothing is unpickled.

    Returns:
        Its tensors and what else it holds; and what its metadata say about the input, as of
        :func:`models.weights.preprocessing_hints`.

    Raises:
        WeightsError: It cannot be read, or is a detector of this library.
    """
    if file.suffix not in (".safetensors", ".h5", ".hdf5"):
        return read_state_dict(file), {}
    if file.suffix == ".safetensors" and read_tensors(file, WeightsError)[1].get("format") == DETECTOR_FORMAT:
        raise WeightsError(file, "is a detector already", "pass it as `detector`")
    found = read_weights_file(file)
    return StateDict(found.tensors), preprocessing_hints(found.metadata)


def recognize(tensors: _State, options: ConversionOptions) -> Recognized:
    """Return what tensors are of: a published layout, or a network with a head.

    Args:
        tensors: Of a file, by name.
        options: ``network``, ``activation`` and ``drop`` are used.

    Raises:
        OptionError: ``network`` is unknown, or is needed.
        WeightsError: The tensors are not those of the network, or are not finite.
    """
    network = options.network
    numbers = {name: one.float() if one.is_floating_point() else one for name, one in tensors.items()}
    if infinite := next((name for name, one in numbers.items() if not bool(torch.isfinite(one).all())), None):
        raise WeightsError(
            "weights", f"contain numbers that are not finite ({infinite})", "pass another file"
        )
    if network is None or network in LAYOUTS:
        found = recognize_layout(numbers, None if network is None else (network,))
        if found is not None:
            return found
        if network is not None:
            cause = f"are not those of {LAYOUTS[network].title} as {network} has them"
            raise WeightsError("weights", cause, "omit `network`, or name another")
        network = guess_network(numbers)
    if network is None:
        names = ", ".join(sorted(numbers)[:3])
        cause = f"is missing: the file's {len(numbers)} tensors ({names}, ...) match no known network"
        raise OptionError("network", cause, "pass a backbone or layout; list_backbones lists the first")
    return recognize_network(numbers, network, activation=options.activation, drop=options.drop)


def recognize_layout(tensors: _State, layouts: Iterable[str] | None = None) -> Recognized | None:
    """Return the network of the first published layout that tensors are of; ``None`` where they are of none.

    Args:
        tensors: Of a file, by name; anything may stand in front of all names.
        layouts: Names of ``LAYOUTS`` to try; all when ``None``.
    """
    for under in without_shared_prefix(tensors):
        for name in layouts or LAYOUTS:
            converted = converted_by(LAYOUTS[name], under)
            spec = None if converted is None else _spec_of(LAYOUTS[name])
            if converted is not None and spec is not None and not _problems(spec, converted):
                num_outputs = 2 if _has_two_outputs(under, converted) else 1
                return Recognized(spec, converted.tensors, num_outputs, name, converted.dropped)
    return None


def recognize_network(
    tensors: _State, network: str, *, activation: str | None = None, drop: tuple[str, ...] = ()
) -> Recognized:
    """Return a network with the head that a file has for it.

    Args:
        tensors: Of the file, by name.
        network: A backbone, as for :func:`models.classifier.create_model`; torchvision's of the same name is
            taken where timm's does not fit.
        activation: Between FaceNet and its last layer, ``"relu"`` or ``"none"``, where the file's names do
            not tell.
        drop: Beginnings of names that scoring does not use.

    Raises:
        OptionError: There is no such network, or ``activation`` is needed.
        WeightsError: The tensors are not those of the network with a head of one or two outputs.
    """
    kept = {name: one for name, one in tensors.items() if not (drop and name.startswith(drop))}
    first: WeightsError | None = None
    for name in _candidates(network):
        try:
            found = _recognize(kept, name, activation)
            return replace(found, dropped=tuple(sorted({*found.dropped, *(tensors.keys() - kept.keys())})))
        except WeightsError as error:
            first = first or error
    assert first is not None
    raise first


def _recognize(tensors: _State, backbone: str, activation: str | None) -> Recognized:
    """Return one backbone with the head that a file has for it; errors as of :func:`recognize_network`."""
    spec = ModelSpec(backbone, default_preprocessing(backbone), head="linear")
    encoder = _on_meta(spec)
    fitted = fit_network(backbone, inner_network(encoder), tensors)
    if fitted.problems:
        cause = f"do not fit {backbone}: {', '.join(fitted.problems)}"
        raise WeightsError("weights", cause, "name the network that they are of")
    last = _last_layer(
        fitted, num_features(encoder, in_chans=3, size=spec.preprocessing.image_size), backbone
    )
    dropped = sorted(fitted.rest.keys() - {f"{last}weight", f"{last}bias"})
    if alien := [name for name in dropped if not _UNUSED.search(name)]:
        cause = (
            f"contain {len(alien)} tensors that are not of {backbone} and its last layer, such as {alien[0]}"
        )
        raise WeightsError("weights", cause, "name the network they are of, or what scoring lacks as `drop`")
    assumed: tuple[str, ...] = ()
    if backbone == "facenet":
        options, assumed = _facenet_options(last, fitted.prefix, activation)
        spec = replace(spec, backbone_options=options)
    weight = fitted.rest[f"{last}weight"]
    inner = "encoder." if inner_network(encoder) is encoder else "encoder.0."
    ours = {f"{inner}{name}": one for name, one in fitted.tensors.items()}
    ours |= logit_layer(weight, fitted.rest.get(f"{last}bias"))
    return Recognized(spec, ours, len(weight), None, tuple(dropped), assumed)


def _candidates(network: str) -> list[str]:
    """Return the backbones of a name: ours or timm's, and torchvision's, whose tensors have other names."""
    others = [f"{TORCHVISION_PREFIX}{network}"] if in_torchvision(network) else []
    try:
        return [check_backbone(network), *others]
    except OptionError:
        if others:
            return others
        raise


def guess_network(tensors: _State) -> str | None:
    """Return the backbone that tensors look like; ``None`` where they look like none that is known.

    Example:
        >>> guess_network({"module.layer4.1.conv2.weight": torch.zeros(1)})
        'resnet18'
    """
    for mark, network in _MARKS.items():
        if any(name == mark or name.endswith(f".{mark}") for name in tensors):
            return network
    heads = [one for name, one in tensors.items() if re.search(r"(^|\.)conv_head\.weight$", name)]
    variant = _EFFICIENTNETS.get(len(heads[0])) if heads else None
    return None if variant is None else f"efficientnet_{variant}"


def _spec_of(layout: Layout) -> ModelSpec:
    return ModelSpec(
        layout.backbone,
        default_preprocessing(layout.backbone),
        backbone_options=layout.backbone_options,
        head="linear",
        pooling=layout.pooling,
    )


def _on_meta(spec: ModelSpec) -> torch.nn.Module:
    with torch.device("meta"):
        return build_encoder(spec)


def _problems(spec: ModelSpec, converted: Converted) -> list[str]:
    with torch.device("meta"):
        model = ForgeryClassifier(
            spec, build_encoder(spec), num_features=converted.tensors["head.weight"].shape[1]
        )
    return misfits(model, converted.tensors)


def _has_two_outputs(tensors: _State, converted: Converted) -> bool:
    width = converted.tensors["head.weight"].shape[1]
    return any(tuple(one.shape) == (2, width) for one in tensors.values())


def _last_layer(fitted: Fitted, width: int, network: str) -> str:
    """Return the beginning of the names of the layer from features to one or two outputs."""
    linear = {
        name.removesuffix("weight"): len(one)
        for name, one in fitted.rest.items()
        if name.endswith("weight") and one.ndim >= 2 and one.flatten(1).shape[1] == width
    }
    found = [name for name, outputs in linear.items() if outputs <= 2]
    if len(found) == 1:
        return found[0]
    if found:
        cause = (
            f"contain several layers from the {width} features of {network} to one or two outputs: {found}"
        )
        raise WeightsError("weights", cause, "name those that scoring does not use as `drop`")
    if linear:
        name, outputs = next(iter(linear.items()))
        cause = f"end in {outputs} outputs ({name}weight), not in real and fake: this is not a detector"
        raise WeightsError("weights", cause, "use it as the `weights` of train or create_model")
    cause = f"contain {network} without a linear layer from its {width} features to one or two outputs"
    raise WeightsError("weights", cause, "use it as the `weights` of train or create_model")


def _facenet_options(
    last: str, prefix: str, activation: str | None
) -> tuple[Mapping[str, bool], tuple[str, ...]]:
    """Return how a FaceNet of facenet-pytorch goes over into its last layer, and what was assumed.

    With its own last layer (``logits``) it has neither; before another layer its features are of length 1.
    In ``Sequential(InceptionResnetV1, ReLU, Dropout, Linear)`` the numbers of the layers tell whether there
    is anything between.
    """
    if last == f"{prefix}logits.":
        return {"normalize": False, "relu": False}, ()
    gap = _layers_between(prefix[:-1], last[:-1])
    is_recipe = prefix.endswith("resnet.")  # Megatvini/DeepFaceForgeryDetection
    if activation is None and (gap == 1 or (gap is None and not is_recipe)):  # one is a ReLU or a dropout
        cause = f"is missing: the file does not say whether there is a ReLU between FaceNet and {last[:-1]}"
        raise OptionError("activation", cause, "pass relu or none")
    relu = activation == "relu" if activation is not None else gap != 0
    words = "a ReLU" if relu else "nothing"
    return (
        {"normalize": True, "relu": relu},
        (f"features of length 1, and {words} between FaceNet and its last layer",),
    )


def _layers_between(first: str, second: str) -> int | None:
    """Return how many layers are between two of a ``Sequential``; ``None`` where it is none.

    Example:
        >>> _layers_between("module.0", "module.3"), _layers_between("0", "fc")
        (2, None)
    """
    (parent, _, start), (other, _, end) = first.rpartition("."), second.rpartition(".")
    if parent != other or not (start.isdigit() and end.isdigit()):
        return None
    return int(end) - int(start) - 1
