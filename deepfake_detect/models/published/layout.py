"""From the tensors of a published file to those of a :class:`ForgeryClassifier`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch

from deepfake_detect.errors import WeightsError
from deepfake_detect.models.spec import Pooling, Scalar

State = Mapping[str, torch.Tensor]
"""Tensors of a file by name."""


@dataclass(frozen=True, eq=False)
class Converted:
    """Tensors under this library's names.

    Attributes:
        tensors: Of a :class:`ForgeryClassifier` with the head ``"linear"``: ``encoder.*``, ``head.weight``
            (1, F) and ``head.bias`` (1,).
        dropped: Names in the file that scoring does not need.
    """

    tensors: dict[str, torch.Tensor]
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """How a published network is stored.

    Attributes:
        title: The network in words.
        backbone: Registered backbone, or a name of timm.
        convert: From a file's tensors to ours. The logit is that of the file's only output, or of class 1
            over class 0; what it means, real or fake, is not known here.
        backbone_options: Of the backbone.
        pooling: From the last map to features; ``None`` is the backbone's own.
    """

    title: str
    backbone: str
    convert: Callable[[State], Converted]
    backbone_options: Mapping[str, Scalar | tuple[Scalar, ...]] = field(default_factory=dict)
    pooling: Pooling | None = None


def renamed(
    state: State, prefixes: Mapping[str, str], *, head: str, dropped: Iterable[str] = ()
) -> Converted:
    """Convert a file whose names differ in their beginning only.

    Args:
        state: The file's tensors.
        prefixes: Beginning of a name in the file -> its replacement within the encoder; the longest that
            fits counts.
        head: Beginning of the names of the last layer, with one or two outputs: ``"classifier."``.
        dropped: Beginnings of names that scoring does not need.

    Returns:
        Our tensors; names of no beginning are kept unchanged in the encoder, where they are reported.

    Raises:
        WeightsError: There is no last layer of that name, or it has more than two outputs.

    Example:
        >>> state = {"net.a": torch.ones(1), "fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)}
        >>> sorted(renamed(state, {"net.": ""}, head="fc.").tensors)
        ['encoder.a', 'head.bias', 'head.weight']
    """
    unused = tuple(dropped)
    left_out = tuple(name for name in state if unused and name.startswith(unused))
    kept = {name: tensor for name, tensor in state.items() if name not in left_out}
    last = {name: kept.pop(name) for name in list(kept) if name.startswith(head)}
    if f"{head}weight" not in last:
        raise WeightsError("weights", f"contain no {head}weight", "pass a file of this network")
    tensors = {f"encoder.{_replaced(name, prefixes)}": tensor for name, tensor in kept.items()}
    return Converted({**tensors, **logit_layer(last[f"{head}weight"], last.get(f"{head}bias"))}, left_out)


def logit_layer(weight: torch.Tensor, bias: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Return the linear layer to one logit: of two outputs, the second minus the first.

    The sigmoid of the difference is the softmax of the second.

    Args:
        weight: (1, F) or (2, F); trailing sides of 1, of a convolution, are removed.
        bias: (1,) or (2,); zeros when ``None``.

    Raises:
        WeightsError: There are more than two outputs.
    """
    weight = weight.flatten(1)
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    if len(weight) == 2:
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    if len(weight) != 1:
        cause = f"end in {len(weight)} outputs"
        raise WeightsError("weights", cause, "pass a network with one output, or with real and fake")
    return {"head.weight": weight, "head.bias": bias}


def _replaced(name: str, prefixes: Mapping[str, str]) -> str:
    fitting = [prefix for prefix in prefixes if name.startswith(prefix)]
    if not fitting:
        return name
    longest = max(fitting, key=len)
    return prefixes[longest] + name.removeprefix(longest)
