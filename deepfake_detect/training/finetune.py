"""Finetune modes: which parameters are trained, one word each, joined by ``+``.

=========  =====================================================================================
word       what is trained
=========  =====================================================================================
features   only the head; the backbone is frozen
top        the head first, then with it the blocks nearest the output
full       the head first, then everything; blocks may be unfrozen gradually from the top, and
           lower blocks may learn more slowly
scratch    everything from the first step, on random weights
norm       the head first, then with it the scales and shifts of normalization layers
lora       the head first, then with it small matrices added to the weights of layers
           (Hu et al. 2021, arXiv:2106.09685)
svd        the head first, then with it the weakest singular directions of the weights of layers
           (Effort, arXiv:2411.15633)
=========  =====================================================================================

The gradients of a random head would destroy pretrained features; therefore it is trained first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from deepfake_detect.errors import OptionError

if TYPE_CHECKING:
    from torch import nn

FinetuneWord = Literal["features", "top", "full", "scratch", "norm", "lora", "svd"]
FINETUNE_MODES: tuple[FinetuneWord, ...] = get_args(FinetuneWord)
# These cover everything that is trained, so nothing can be added to them.
_WHOLE = ("features", "full", "scratch")
# These change the weights of the same layers.
_UPDATES = {"lora", "svd"}
# A dataset with this many samples counts as large: a fine-tuned MobileNetV2 gains over frozen
# features from a few thousand DFDC crops on.
_LARGE = 2_000


@dataclass(frozen=True)
class Part:
    """Parameters that share a learning rate.

    Attributes:
        name: Of the block, or ``head``.
        module: The block; its batch-norm layers adapt when it is trained.
        parameters: Those of its parameters that are trained.
        depth: Blocks between it and the head; 0 for the topmost block and for the head.
        is_head: The head has its own learning rate and is always trained.
    """

    name: str
    module: nn.Module
    parameters: tuple[nn.Parameter, ...]
    depth: int = 0
    is_head: bool = False


@dataclass(frozen=True)
class Recommendation:
    """A finetune mode, and why."""

    finetune: str
    reason: str


def parse_finetune(finetune: str, *, parameter: str = "finetune") -> tuple[FinetuneWord, ...]:
    """Return the words of a finetune mode, which ``parameter`` names in errors.

    Raises:
        OptionError: A word is unknown, occurs twice, or cannot be joined with another.

    Example:
        >>> parse_finetune("top+norm")
        ('top', 'norm')
    """
    words = finetune.split("+")
    if unknown := [word for word in words if word not in FINETUNE_MODES]:
        raise OptionError(
            parameter, f"{unknown[0]!r} is unknown", f"must be of {', '.join(FINETUNE_MODES)}, joined with +"
        )
    whole = [word for word in words if word in _WHOLE]
    if len(set(words)) < len(words) or (whole and len(words) > 1) or set(words) >= _UPDATES:
        remedy = f"pass {', '.join(_WHOLE)} alone, others once each, and one of lora and svd"
        raise OptionError(parameter, f"{finetune!r} cannot be joined", remedy)
    return tuple(word for word in FINETUNE_MODES if word in words)


def trained_parts(model: Any, finetune: str, *, top_blocks: int) -> list[Part]:
    """Return what a finetune mode trains after the head's own epochs: the head, then from the top down.

    The model has the updates of LoRA or SVD where the mode names them; ``top_blocks`` are those that
    ``top`` trains.

    Raises:
        OptionError: The mode is unknown, or trains nothing of this network.
    """
    words = parse_finetune(finetune)
    blocks = list(reversed(model.blocks()))
    parts = [head_part(model)]
    seen: set[nn.Parameter] = set()
    for depth, (name, block) in enumerate(blocks):
        parameters = [p for p in _trained(block, words, depth < top_blocks) if p not in seen]
        seen.update(parameters)
        if parameters:
            parts.append(Part(name, block, tuple(parameters), depth))
    if len(parts) == 1 and words != ("features",):
        raise OptionError(
            "finetune", f"{finetune} has nothing to train in this backbone", "choose top or full"
        )
    return parts


def head_part(model: Any) -> Part:
    """Return the head of a network of ``create_model``."""
    return Part("head", model.head, tuple(model.head.parameters()), is_head=True)


def freeze(model: nn.Module, parts: Sequence[Part]) -> None:
    """Let gradients reach the parameters of ``parts`` and nothing else."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for part in parts:
        for parameter in part.parameters:
            parameter.requires_grad_(True)


def clear_gradients(parts: Sequence[Part]) -> None:
    """Clear the gradients of frozen parts: they must not affect clipping or the optimizer's averages."""
    for part in parts:
        for parameter in part.parameters:
            parameter.grad = None


def set_modes(model: nn.Module, trained: Sequence[Part], *, adapts: bool) -> None:
    """Put layers that are trained into training mode and all others into evaluation mode.

    So frozen layers keep their batch-norm statistics and have no dropout. Without ``adapts`` no layer
    updates its statistics.
    """
    from torch.nn.modules.batchnorm import _BatchNorm  # the public classes' common base

    model.eval()
    for part in trained:
        part.module.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            own = list(module.parameters(recurse=False))
            is_frozen = bool(own) and not any(parameter.requires_grad for parameter in own)
            if is_frozen or not adapts:
                module.eval()


def recommend_finetune(num_samples: int, similarity: Literal["similar", "different"]) -> Recommendation:
    """Recommend a finetune mode from dataset size and similarity (the four cases of transfer learning).

    Args:
        num_samples: Training crops (of different videos; crops of one video are nearly the same).
        similarity: Of the training data to what the backbone was trained on: faces to a face network
            are similar, faces to an ImageNet network are different.

    Raises:
        OptionError: ``num_samples`` is below 1, or the word is unknown.

    Example:
        >>> recommend_finetune(500, "similar").finetune
        'features'
    """
    if not num_samples >= 1:
        raise OptionError("num_samples", f"is {num_samples}", "must be 1 or more")
    if similarity not in ("similar", "different"):
        raise OptionError("similarity", f"is {similarity!r}", "must be similar or different")
    size = "small" if num_samples < _LARGE else "large"
    return _QUADRANTS[size, similarity]


_QUADRANTS = {
    ("small", "similar"): Recommendation(
        "features",
        "little data, close to the pretraining data: its features fit, and training it would overfit; "
        "a classical classifier on them does as well",
    ),
    ("small", "different"): Recommendation(
        "features",
        "little data, far from the pretraining data: many weights would overfit and the last features are "
        "too specialized, so use a classical classifier on features of a lower layer; of the modes here, "
        "norm changes the least",
    ),
    ("large", "similar"): Recommendation(
        "full", "much data, close to the pretraining data: fine-tune everything, at little risk"
    ),
    ("large", "different"): Recommendation(
        "full",
        "much data, far from the pretraining data: everything has to change; pretrained weights are still "
        "the better start, compare with scratch",
    ),
}


def _trained(block: nn.Module, words: Sequence[FinetuneWord], is_top: bool) -> list[nn.Parameter]:
    """Return the parameters of a block that the words name, each once."""
    if words == ("features",):
        return []
    if "full" in words or "scratch" in words:
        return list(block.parameters())
    from deepfake_detect.models.lora import LoRAUpdate  # here: options name modes without loading torch
    from deepfake_detect.models.svd import SVDUpdate

    updates = {"lora": LoRAUpdate, "svd": SVDUpdate}
    wanted = tuple(updates[word] for word in words if word in updates)
    found = list(block.parameters()) if "top" in words and is_top else []
    for module in block.modules():
        if ("norm" in words and is_norm(module)) or isinstance(module, wanted):
            found += module.parameters(recurse=False)
    return list(dict.fromkeys(found))


def is_norm(module: nn.Module) -> bool:
    """Return whether a module is a normalization layer: one of torch or timm, or derived from one.

    timm has no common base of its layers; each kind is a class of one of these modules.
    """
    return any(base.__module__ in _NORM_MODULES for base in type(module).__mro__)


_NORM_MODULES = {
    *(f"torch.nn.modules.{name}" for name in ("batchnorm", "instancenorm", "normalization")),
    *(f"timm.layers.{name}" for name in ("norm", "norm_act", "evo_norm", "filter_response_norm", "grn")),
}
