"""Which parameters are trained: one word each, joined by ``+``.

=========  =====================================================================================
word       what is trained
=========  =====================================================================================
features   the head alone; the backbone is frozen
top        the head first, then with it the blocks nearest the output
full       the head first, then everything; blocks may join in from the top, and lower blocks
           may learn more slowly
scratch    everything from the first step, on random weights
norm       the head first, then with it the scales and shifts of normalization layers
lora       the head first, then with it small matrices added to the layers' weights
           (Hu et al. 2021, arXiv:2106.09685)
=========  =====================================================================================

A random head's gradients would destroy pretrained features; therefore it is trained first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from deepfake_detect.errors import OptionError

if TYPE_CHECKING:
    from torch import nn

RegimeWord = Literal["features", "top", "full", "scratch", "norm", "lora"]
FINETUNE_MODES: tuple[RegimeWord, ...] = get_args(RegimeWord)
# These say all that is trained, so nothing can be added to them.
_WHOLE = ("features", "full", "scratch")
# From so many samples on a data set counts as large: a fine-tuned MobileNetV2 gains over frozen
# features from a few thousand DFDC crops on.
_LARGE = 2_000


@dataclass(frozen=True)
class Part:
    """Parameters that share a learning rate.

    Attributes:
        name: Of the block, or ``head``.
        module: What they belong to; its batch-norm layers adapt when it is trained.
        parameters: Those of its parameters that are trained.
        depth: Blocks between it and the head; 0 for the topmost block and for the head.
        is_head: Whether it is the head, which has a rate of its own and is always trained.
    """

    name: str
    module: nn.Module
    parameters: tuple[nn.Parameter, ...]
    depth: int = 0
    is_head: bool = False


@dataclass(frozen=True)
class Recommendation:
    """A finetune, and why."""

    finetune: str
    reason: str


def parse_finetune(finetune: str) -> tuple[RegimeWord, ...]:
    """Return the words of a finetune.

    Raises:
        OptionError: A word is unknown, stands twice, or cannot be joined with another.

    Example:
        >>> parse_finetune("top+norm")
        ('top', 'norm')
    """
    words = finetune.split("+")
    if unknown := [word for word in words if word not in FINETUNE_MODES]:
        raise OptionError(
            "finetune", f"{unknown[0]!r} is unknown", f"join of {', '.join(FINETUNE_MODES)} by +"
        )
    whole = [word for word in words if word in _WHOLE]
    if len(set(words)) < len(words) or (whole and len(words) > 1):
        raise OptionError(
            "finetune", f"{finetune!r} cannot be joined", f"{', '.join(_WHOLE)} stand alone, others once each"
        )
    return tuple(word for word in FINETUNE_MODES if word in words)


def trained_parts(model: Any, finetune: str, *, top_blocks: int = 3) -> list[Part]:
    """Return what a finetune trains after the head's own epochs, the head first, then from the top down.

    Args:
        model: A network of ``create_model``, with LoRA's matrices where the finetune names it.
        finetune: As for :func:`parse_finetune`.
        top_blocks: Of ``top``.

    Raises:
        OptionError: The finetune is unknown, or trains nothing of this network.
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
            "finetune", f"{finetune} finds nothing to train in the backbone", "choose top or full"
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


def set_modes(model: nn.Module, trained: Sequence[Part], *, adapts: bool) -> None:
    """Put layers that are trained into training mode and all others into evaluation mode.

    So frozen layers keep frozen batch-norm statistics and drop nothing.

    Args:
        model: The whole network.
        trained: What is trained at the moment.
        adapts: Whether batch-norm layers inside ``trained`` measure their statistics anew.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

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
    """Recommend a finetune by the rule of four quadrants of transfer learning.

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
        raise OptionError("num_samples", f"is {num_samples}", "pass 1 or more")
    if similarity not in ("similar", "different"):
        raise OptionError("similarity", f"{similarity!r} is unknown", "choose similar, different")
    size = "small" if num_samples < _LARGE else "large"
    return _QUADRANTS[size, similarity]


_QUADRANTS = {
    ("small", "similar"): Recommendation(
        "features",
        "few data, close to what the backbone knows: its features fit, and training it would overfit; "
        "a classical classifier on them does as well",
    ),
    ("small", "different"): Recommendation(
        "features",
        "few data, far from what the backbone knows: its many weights would overfit and its last features "
        "are too specialized, so a classical classifier on features of a lower layer is the way; of what "
        "is trained here, finetune norm moves least",
    ),
    ("large", "similar"): Recommendation(
        "full", "many data, close to what the backbone knows: fine-tune all of it, with little to lose"
    ),
    ("large", "different"): Recommendation(
        "full",
        "many data, far from what the backbone knows: everything has to move; pretrained weights are still "
        "the better start, compare with scratch",
    ),
}


def _trained(block: nn.Module, words: Sequence[RegimeWord], is_top: bool) -> list[nn.Parameter]:
    """Return the parameters of a block that the words name, each once."""
    if words == ("features",):
        return []
    if "full" in words or "scratch" in words:
        return list(block.parameters())
    found: dict[nn.Parameter, None] = {}
    if "top" in words and is_top:
        found.update(dict.fromkeys(block.parameters()))
    for module in block.modules():
        if "norm" in words and _is_norm(module):
            found.update(dict.fromkeys(module.parameters(recurse=False)))
        if "lora" in words and "lora" in type(module).__name__.lower():
            found.update(dict.fromkeys(module.parameters(recurse=False)))
    return list(found)


def _is_norm(module: nn.Module) -> bool:
    """Tell whether a module normalizes: torch's own and timm's classes all say so in their names."""
    return "norm" in type(module).__name__.lower()
