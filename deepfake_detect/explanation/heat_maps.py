"""Where in a crop the evidence lies: Grad-CAM and related methods of pytorch-grad-cam, in batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from deepfake_detect.errors import ImageError, OptionError
from deepfake_detect.explanation.attention import attention_relevance
from deepfake_detect.explanation.options import METHODS, Method, Target
from deepfake_detect.images import rgb_uint8
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.layers import as_map, find_layer, last_map_layer, layout_of, undisturbed
from deepfake_detect.progress import progress_bar

_BATCH_SIZE = 16


def heat_maps(
    model: ForgeryClassifier,
    images: torch.Tensor,
    *,
    method: Method = "gradcam",
    layer: str | None = None,
    target: Target = "fake",
    show_progress: bool = True,
) -> np.ndarray:
    """Return where in each image the evidence for the target lies.

    Each map is scaled to its own image: 1 is its strongest position, however weak, and the strengths
    of two maps cannot be compared. A map of zeros means no evidence for the target.

    Weights, gradients and modes of the network are left unchanged.

    Args:
        model: Any network of ``create_model``. A sequence model reads the images as the crops of one
            clip, in order, and each map shows the evidence in its crop for the clip's logit.
        images: float32 (N, C, H, W), normalized for the network (``crop_to_tensor``).
        method: One of ``METHODS``.
        layer: Name of the layer whose maps are weighed, see ``models.layers.named_layers``; the last
            with a map when ``None``. ``attention`` reads all blocks, so pass none.
        target: ``"fake"`` for the logit, ``"real"`` for its negative; the index of a class where the
            network has several.
        show_progress: Whether to show a progress bar.

    Returns:
        float32 (N, H, W), 0 to 1.

    Raises:
        OptionError: The method, the target or the layer is unknown or not possible with this
            network; the images are not of this shape.

    Example:
        >>> from deepfake_detect.models.classifier import create_model
        >>> maps = heat_maps(create_model("resnet18"), torch.rand(2, 3, 64, 64), show_progress=False)
        >>> maps.shape, maps.dtype
        ((2, 64, 64), dtype('float32'))
    """
    _check(model, images, method, layer)
    pick = _picker(model, target)
    images = images.detach().to(next(model.parameters()).device)
    # A sequence is one case; Score-CAM is bounded by a single image's masks.
    size = len(images) if model.spec.sequence else (1 if method == "scorecam" else _BATCH_SIZE)
    # cuDNN's recurrent layers have no gradients in evaluation mode.
    with undisturbed(model), torch.backends.cudnn.flags(enabled=model.spec.sequence is None):
        maps = _make(model, method, layer, pick, images)
        kept = []
        with progress_bar(enabled=show_progress) as progress:
            task = progress.add_task(f"heat maps ({method})", total=len(images), note="")
            for batch in torch.split(images, size):
                kept.append(maps(batch))
                progress.advance(task, len(batch))
    return np.clip(np.concatenate(kept), 0, 1)  # type: ignore[no-any-return]


def overlay(image: Any, heat: np.ndarray, *, alpha: float = 0.45) -> np.ndarray:
    """Return an image overlaid with a heat map, from blue (0) through green to red (1).

    Args:
        image: RGB (H, W, 3), as for ``images.rgb_uint8``.
        heat: float (h, w), 0 to 1; resized to the image.
        alpha: Opacity of the colors, 0 to 1.

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        ImageError: The image is not RGB, or the map has another shape or range.
        OptionError: ``alpha`` is out of range.

    Example:
        >>> overlay(np.zeros((4, 6, 3), np.uint8), np.ones((2, 2)), alpha=0.5).shape
        (4, 6, 3)
    """
    checked = rgb_uint8(image)
    if not 0 <= alpha <= 1:
        raise OptionError("alpha", f"is {alpha}", "must be 0 to 1")
    if heat.ndim != 2 or 0 in heat.shape or not (heat.min() >= 0 and heat.max() <= 1):
        raise ImageError("heat map", "is not (h, w) with values in [0, 1]", "pass one map of heat_maps")
    height, width = checked.shape[:2]
    resized = cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    levels = np.rint(255 * np.clip(resized, 0, 1)).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    return cv2.addWeighted(checked, 1 - alpha, colors, alpha, 0)


class _Outputs(nn.Module):
    """A network in the form of pytorch-grad-cam: images (N, C, H, W) to a row of outputs per case."""

    def __init__(self, model: ForgeryClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        laid_out = images.contiguous(memory_format=torch.channels_last)  # faster
        logits: torch.Tensor = self.model(images[None] if self.model.spec.sequence else laid_out)
        return logits[:, None] if logits.ndim == 1 else logits

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing: weights get no gradients here, and the caller's gradients must stay."""


def _check(model: ForgeryClassifier, images: torch.Tensor, method: str, layer: str | None) -> None:
    if method not in METHODS:
        raise OptionError("method", f"{method!r} is unknown", f"must be one of {', '.join(METHODS)}")
    if images.ndim != 4 or not len(images) or images.shape[1] != model.spec.in_chans:
        wanted = f"one or more images (N, {model.spec.in_chans}, H, W)"
        raise OptionError("images", f"have the shape {tuple(images.shape)}", f"pass {wanted}")
    if method == "attention" and layer is not None:
        raise OptionError("layer", "attention reads all blocks", "omit it, or choose gradcam")
    if method == "scorecam" and model.spec.sequence:
        raise OptionError("method", "scorecam explains single crops", "choose gradcam for a sequence model")


def _picker(model: ForgeryClassifier, target: Target) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function from a row of outputs to the number to explain."""
    count = model.spec.num_classes
    if count == 1 and target in ("fake", "real"):
        sign = 1 if target == "fake" else -1
        return lambda row: sign * row[0]
    if count > 1 and isinstance(target, int) and 0 <= target < count:
        return lambda row: row[target]
    allowed = "fake or real" if count == 1 else f"the index of a class, 0 to {count - 1}"
    raise OptionError("target", f"{target!r} is not a target of this model", f"must be {allowed}")


def _make(
    model: ForgeryClassifier,
    method: Method,
    layer: str | None,
    pick: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
) -> Callable[[torch.Tensor], np.ndarray]:
    """Return the function from a batch (N, C, H, W) to maps float32 (N, H, W)."""
    from pytorch_grad_cam import GradCAM, GradCAMPlusPlus
    from pytorch_grad_cam.utils.image import scale_cam_image

    from deepfake_detect.explanation.score_cam import BoundedScoreCAM

    outputs = _Outputs(model)
    if method == "attention":

        def relevance(batch: torch.Tensor) -> np.ndarray:
            grid = attention_relevance(model, batch, lambda some: sum(map(pick, outputs(some))))  # type: ignore[arg-type, return-value]
            enlarged = scale_cam_image(grid, (batch.shape[3], batch.shape[2]))
            scaled: np.ndarray = scale_cam_image(enlarged)  # its peak may be between pixels
            return scaled

        return relevance
    kinds = {"gradcam": GradCAM, "gradcam++": GradCAMPlusPlus, "scorecam": BoundedScoreCAM}
    module = find_layer(model, layer or last_map_layer(model, images))
    if model.spec.classical is not None:  # it may read an earlier layer
        calls: list[object] = []
        hook = module.register_forward_hook(lambda *call: calls.append(call[0]))
        try:
            with torch.no_grad():
                model.features(images[:1])
        finally:
            hook.remove()
        if not calls:
            cause = f"comes after {model.spec.classical.layer}, which the classifier reads"
            raise OptionError("layer", cause, "name an earlier layer, or omit it")
    layout = layout_of(model, images.shape)

    def weigh(batch: torch.Tensor) -> np.ndarray:
        # Copies, because the next layer may change its input in place.
        cam = kinds[method](outputs, [module], reshape_transform=lambda out: as_map(out, layout).clone())
        num_cases = 1 if model.spec.sequence else len(batch)
        needs_gradients = method != "scorecam"
        try:
            with torch.enable_grad():
                found: np.ndarray = cam(batch.detach().requires_grad_(needs_gradients), [pick] * num_cases)
        finally:
            cam.activations_and_grads.release()
        return found

    return weigh
