"""Deep Dream: an image is changed until chosen layers of a network answer to it more strongly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from deepfake_detect.errors import OptionError
from deepfake_detect.images import rgb_uint8
from deepfake_detect.lab.dream_options import DreamOptions
from deepfake_detect.models.backbones import first_line, has_fixed_input
from deepfake_detect.models.classifier import ForgeryClassifier
from deepfake_detect.models.layers import find_layer, outputs_of, undisturbed
from deepfake_detect.progress import progress_bar

_NOISE = 0.05  # deviation of a start from noise, around mid gray
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class DreamResult:
    """A dream.

    Attributes:
        image: RGB uint8 (H, W, 3).
        frames: The way there, RGB uint8 (H, W, 3) each, of one size, the start first.
        answers: By layer: the mean square of its output at the start and at the end.
    """

    image: np.ndarray
    frames: tuple[np.ndarray, ...]
    answers: dict[str, tuple[float, float]]


def dream(
    model: ForgeryClassifier,
    *,
    layers: Mapping[str, float],
    image: Any = None,
    size: tuple[int, int] | None = None,
    show_progress: bool = True,
    **options: Any,
) -> DreamResult:
    """Change an image by gradient ascent until chosen layers answer more strongly.

    What rises is the weighted sum of the logarithms of the layers' mean squares, so that weights mean
    the same for layers of any scale; the continuity and the L2 term are taken off. After Mordvintsev
    et al. 2015 ("Inceptionism"): from small sizes to large ones, the detail that the image lost in
    shrinking put back, each step taken by its mean absolute value.

    The network is left as it was. On a CPU the same seed gives the same picture, bit for bit.

    Args:
        model: A network of RGB images, trained; any of ``create_model``.
        layers: Weight of each layer, by its name in ``layers.named_layers``, such as
            ``{"block2_conv2": 1.0, "block5_conv1": 1.5}`` of VGG16. A negative weight makes it
            answer less.
        image: Where to start, RGB (H, W, 3) as for ``images.rgb_uint8``; noise when ``None``.
        size: Height and width of the result in pixels; those of the image, or of the network's
            input, when ``None``.
        show_progress: Whether to draw a progress bar.
        **options: Of :class:`lab.dream_options.DreamOptions`.

    Raises:
        ImageError: The image is no RGB image.
        OptionError: A layer is unknown, none is named or all weigh 0, a weight is not finite, an
            option is out of range, the smallest size is too small for the network, or it takes no
            other size than its own.

    Example:
        >>> from deepfake_detect.models.classifier import create_model
        >>> model = create_model("test_resnet", image_size=64)
        >>> found = dream(model, layers={"layer2": 1.0}, octaves=1, steps=2, show_progress=False)
        >>> found.image.shape, len(found.frames)
        ((64, 64, 3), 3)
    """
    chosen = DreamOptions(**options)
    _check_network(model, layers)
    generator = torch.Generator().manual_seed(chosen.seed)
    start = _start(model, image, size, generator)
    sizes = _octave_sizes(model, (start.shape[2], start.shape[3]), chosen)
    deterministic = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
    with undisturbed(model), deterministic:
        dreamer = _Dreamer(model, layers, chosen, generator)
        dreamer.probe(sizes[0])
        before = dreamer.answers(start)
        end, frames = _climb(dreamer, start, sizes, chosen, show_progress)
        after = dreamer.answers(end)
    answers = {name: (before[name], after[name]) for name in layers}
    return DreamResult(_to_picture(end), tuple(frames), answers)


def total_variation(image: torch.Tensor) -> torch.Tensor:
    """Return the mean square of differences of neighboring values of images (N, C, H, W)."""
    down, across = image[:, :, 1:] - image[:, :, :-1], image[..., 1:] - image[..., :-1]
    return down.square().mean() + across.square().mean()


class _Dreamer:
    """A network with what is to rise in it."""

    def __init__(
        self,
        model: ForgeryClassifier,
        layers: Mapping[str, float],
        options: DreamOptions,
        generator: torch.Generator,
    ) -> None:
        self.model = model
        self.layers = layers
        self.options = options
        self.generator = generator
        self.device = next(model.parameters()).device
        mean, std = model.spec.preprocessing.mean, model.spec.preprocessing.std
        self._mean, self._std = (
            torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (mean, std)
        )

    def step(self, image: torch.Tensor) -> torch.Tensor:
        """Return an image (1, 3, H, W) in [0, 1] after one step of ascent."""
        reach = self.options.jitter
        down, across = torch.randint(-reach, reach + 1, (2,), generator=self.generator).tolist()
        moved = image.roll((down, across), (2, 3)).detach().requires_grad_()
        with torch.enable_grad():
            rise = self._rise(moved)
        (gradient,) = torch.autograd.grad(rise, moved)
        change = self.options.rate * gradient / gradient.abs().mean().clamp(min=_TINY)
        return (moved.detach() + change).clamp(0, 1).roll((-down, -across), (2, 3))

    def _rise(self, image: torch.Tensor) -> torch.Tensor:
        outputs = outputs_of(self.model, self.layers, self._normalized(image))
        rise = torch.stack(
            [weight * (outputs[name].square().mean() + _TINY).log() for name, weight in self.layers.items()]
        ).sum()
        rise = rise - self.options.total_variation * total_variation(image)
        return rise - self.options.l2 * (image - 0.5).square().mean()

    def answers(self, image: torch.Tensor) -> dict[str, float]:
        """Return the mean square of each layer's output."""
        with torch.no_grad():
            outputs = outputs_of(self.model, self.layers, self._normalized(image.to(self.device)))
        return {name: float(output.square().mean()) for name, output in outputs.items()}

    def probe(self, size: tuple[int, int]) -> None:
        """Make sure that images of a size reach every layer.

        Raises:
            OptionError: They run out of pixels before.
        """
        try:
            self.answers(torch.zeros(1, 3, *size))
        except OptionError:
            raise
        except Exception as error:  # each network has its own way to run out of pixels
            cause = f"of {size[0]} x {size[1]} pixels at its smallest runs out of them ({first_line(error)})"
            raise OptionError("image", cause, "pass a larger one, or fewer octaves") from error

    def _normalized(self, image: torch.Tensor) -> torch.Tensor:
        return (image - self._mean) / self._std


def _climb(
    dreamer: _Dreamer,
    start: torch.Tensor,
    sizes: list[tuple[int, int]],
    options: DreamOptions,
    show_progress: bool,
) -> tuple[torch.Tensor, list[np.ndarray]]:
    """Return the image (1, 3, H, W) at the end, and the frames on the way."""
    full = sizes[-1]
    frames = [_to_picture(start)] if options.frame_every else []
    start = start.to(dreamer.device)
    image, shrunk = _resized(start, sizes[0]), _resized(start, sizes[0])
    number = 0
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("dreaming", total=len(sizes) * options.steps, note="")
        for size in sizes:
            here = _resized(start, size)
            # What the smaller size could not show of the start.
            image = (_resized(image, size) + here - _resized(shrunk, size)).clamp(0, 1)
            shrunk = here
            for _ in range(options.steps):
                image = dreamer.step(image)
                number += 1
                if options.frame_every and number % options.frame_every == 0:
                    frames.append(_to_picture(_resized(image, full)))
                progress.update(task, advance=1, note=f"{size[1]} x {size[0]}")
    return image, frames


def _check_network(model: ForgeryClassifier, layers: Mapping[str, float]) -> None:
    if model.spec.in_chans != 3:
        raise OptionError("network", f"reads {model.spec.in_chans} channels", "pass one of RGB images")
    if odd := [name for name, weight in layers.items() if not math.isfinite(weight)]:
        raise OptionError("layers", f"{odd[0]} weighs {layers[odd[0]]}", "pass numbers")
    if not any(layers.values()):
        raise OptionError("layers", "none is named with a weight", "pass such as {'layer2': 1.0}")
    for name in layers:
        find_layer(model, name)


def _start(
    model: ForgeryClassifier, image: Any, size: tuple[int, int] | None, generator: torch.Generator
) -> torch.Tensor:
    """Return where to start, float32 (1, 3, H, W) in [0, 1]."""
    if size is not None and min(size) < 1:
        raise OptionError("size", f"is {size[0]} x {size[1]}", "pass 1 pixel or more")
    if image is None:
        side = model.spec.preprocessing.image_size
        noise = torch.randn(1, 3, *(size or (side, side)), generator=generator)
        return (0.5 + _NOISE * noise).clamp(0, 1)
    picture = np.ascontiguousarray(rgb_uint8(image).transpose(2, 0, 1))
    tensor = torch.from_numpy(picture)[None].float() / 255
    return tensor if size is None else _resized(tensor, size)


def _octave_sizes(
    model: ForgeryClassifier, full: tuple[int, int], options: DreamOptions
) -> list[tuple[int, int]]:
    """Return the sizes from small to large."""
    side = model.spec.preprocessing.image_size
    if has_fixed_input(model.spec.backbone) and (options.octaves > 1 or full != (side, side)):
        raise OptionError(
            "image",
            f"{model.spec.backbone} takes {side} x {side} pixels alone",
            f"pass octaves 1 and size {side} x {side}",
        )
    shares = [options.octave_scale ** -(options.octaves - 1 - number) for number in range(options.octaves)]
    return [(max(1, round(full[0] * share)), max(1, round(full[1] * share))) for share in shares]


def _resized(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(image.shape[2:]) == size:
        return image
    return nn.functional.interpolate(image, size=size, mode="bilinear", antialias=True).clamp(0, 1)


def _to_picture(image: torch.Tensor) -> np.ndarray:
    """Return an image (1, 3, H, W) in [0, 1] as RGB uint8 (H, W, 3)."""
    picture: np.ndarray = (image[0] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(picture)
