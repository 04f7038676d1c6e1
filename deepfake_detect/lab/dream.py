"""Deep Dream: change an image until chosen layers of a network respond to it more strongly."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deepfake_detect.data.sheets import save_image
from deepfake_detect.device import choose_device
from deepfake_detect.errors import OptionError
from deepfake_detect.explanation.sources import first_image
from deepfake_detect.images import rgb_uint8
from deepfake_detect.io.files import make_folder, write_json
from deepfake_detect.lab.networks import read_detector_network
from deepfake_detect.lab.options import DreamImageOptions, DreamOptions
from deepfake_detect.models.backbones import first_line, has_fixed_input
from deepfake_detect.models.classifier import ForgeryClassifier, create_model
from deepfake_detect.models.layers import find_layer, outputs_of, undisturbed
from deepfake_detect.models.zoo.store import local_detector
from deepfake_detect.progress import progress_bar
from deepfake_detect.video import VideoWriter

RANDOM_WEIGHTS = "random"
_NOISE = 0.05  # standard deviation of the noise around mid gray that a dream without an image starts from
_TINY = 1e-12
_FRAMES_PER_SECOND = 12


@dataclass(frozen=True, eq=False)
class DreamResult:
    """A changed image.

    Attributes:
        image: RGB uint8 (H, W, 3).
        frames: Intermediate images, RGB uint8 (H, W, 3) each, starting with the initial one.
        responses: By layer: the mean square of its output at the start and at the end.
    """

    image: np.ndarray
    frames: tuple[np.ndarray, ...]
    responses: dict[str, tuple[float, float]]


def dream_image(
    out: str | os.PathLike[str],
    layers: Mapping[str, float],
    *,
    backbone: str | None = None,
    weights: str | None = None,
    detector: str | os.PathLike[str] | None = None,
    image: str | os.PathLike[str] | None = None,
    options: DreamImageOptions | None = None,
    log: Callable[[str], None] | None = None,
) -> DreamResult:
    """Run Deep Dream with a backbone or a detector, and write the result to a folder.

    Writes ``dream.png``, ``dream.mp4`` (the intermediate images) and ``dream.json``.

    Args:
        out: Folder to write to.
        layers: Weight of each layer, as for :func:`dream`.
        backbone: Name of a backbone, with its ``weights``.
        weights: Path or published name of the backbone's weights, or ``"random"``.
        detector: Detector file, or run of ``train``, instead of a backbone.
        image: Image, or video whose first frame is used; the start is noise when ``None``. It is shrunk
            to ``options.longest_side``, but never enlarged.
        options: Options; the defaults when ``None``.
        log: Called with each line about the result, such as ``print``.

    Raises:
        OptionError: As for :func:`dream`; or neither or both of ``backbone`` and ``detector`` are given,
            or weights are missing, or given for a detector.
        CheckpointError, WeightsError: The detector or the weights cannot be read.
        VideoError: The image cannot be read.
    """
    options = options or DreamImageOptions()
    device = choose_device(options.device)
    start = None if image is None else first_image(image)
    model = _network(backbone, weights, detector, seed=options.seed).to(device)
    folder = make_folder(Path(out))
    size = _result_size(None if start is None else start.shape[:2], options.longest_side)
    of_dream = {one.name: getattr(options, one.name) for one in fields(DreamOptions)}
    result = dream(model, layers=layers, image=start, size=size, **of_dream)
    source = {"backbone": backbone, "weights": weights, "detector": detector}
    named = {name: str(value) for name, value in source.items() if value is not None}
    responses = {name: {"start": first, "end": last} for name, (first, last) in result.responses.items()}
    stored = {**named, "layers": dict(layers), **of_dream, "size": size}
    written = _write_dream(folder, result)
    write_json(folder / "dream.json", {"options": stored, "mean_square_of_outputs": responses})
    if log is not None:
        for name, (first, last) in result.responses.items():
            log(f"{name}: mean square of its output {first:.4g} at the start, {last:.4g} at the end")
        log(f"wrote {', '.join(map(str, written))}")
    return result


def parse_layers(text: str) -> dict[str, float]:
    """Return the weight of each layer of ``name=weight,name=weight``; without a weight it is 1.

    Raises:
        OptionError: A weight is no number, or a layer is named twice.

    Example:
        >>> parse_layers("layer2,layer3=0.5")
        {'layer2': 1.0, 'layer3': 0.5}
    """
    layers: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        try:
            number = float(weight or 1)
        except ValueError as error:
            raise OptionError("layers", f"{part!r} has no number", "write name=weight,...") from error
        if name.strip() in layers:
            raise OptionError("layers", f"names {name.strip()} twice", "give each layer one weight")
        layers[name.strip()] = number
    return layers


def dream(
    model: ForgeryClassifier,
    *,
    layers: Mapping[str, float],
    image: Any = None,
    size: tuple[int, int] | None = None,
    show_progress: bool = True,
    **options: Any,
) -> DreamResult:
    """Change an image by gradient ascent until chosen layers respond more strongly.

    The objective is the weighted sum of the logarithms of the layers' mean squares, so that weights
    mean the same for layers of any scale, minus the continuity and L2 terms. After Mordvintsev et al.
    2015 ("Inceptionism"): sizes go from small to large, the detail that the image lost in shrinking is
    restored at each, and each step is divided by its mean absolute value.

    The network is left unchanged. On a CPU the same seed gives the same image, bit for bit.

    Args:
        model: Trained network of RGB images; any of ``create_model``.
        layers: Weight of each layer, by its name in ``layers.named_layers``, such as
            ``{"block2_conv2": 1.0, "block5_conv1": 1.5}`` of VGG16. A negative weight makes it
            respond less.
        image: Initial image, RGB (H, W, 3) as for ``images.rgb_uint8``; noise when ``None``.
        size: Height and width of the result in pixels; those of the image, or of the network's
            input, when ``None``.
        show_progress: Whether to show a progress bar.
        **options: Of :class:`lab.options.DreamOptions`.

    Raises:
        ImageError: The image is no RGB image.
        OptionError: A layer is unknown, none is named or all weights are 0, a weight is not finite, an
            option is out of range, the smallest size is too small for the network, or its input size
            is fixed.

    Example:
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
        before = dreamer.responses(start)
        end, frames = _ascend(dreamer, start, sizes, chosen, show_progress)
        after = dreamer.responses(end)
    responses = {name: (before[name], after[name]) for name in layers}
    return DreamResult(_to_rgb(end), tuple(frames), responses)


def total_variation(image: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of neighboring values of images (N, C, H, W)."""
    down, across = image[:, :, 1:] - image[:, :, :-1], image[..., 1:] - image[..., :-1]
    return down.square().mean() + across.square().mean()


class _Dreamer:
    """A network with the objective of its dream."""

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
        most = self.options.jitter
        down, across = torch.randint(-most, most + 1, (2,), generator=self.generator).tolist()
        shifted = image.roll((down, across), (2, 3)).detach().requires_grad_()
        with torch.enable_grad():
            objective = self._objective(shifted)
        (gradient,) = torch.autograd.grad(objective, shifted)
        change = self.options.rate * gradient / gradient.abs().mean().clamp(min=_TINY)
        return (shifted.detach() + change).clamp(0, 1).roll((-down, -across), (2, 3))

    def _objective(self, image: torch.Tensor) -> torch.Tensor:
        outputs = outputs_of(self.model, self.layers, self._normalized(image))
        response = torch.stack(
            [weight * (outputs[name].square().mean() + _TINY).log() for name, weight in self.layers.items()]
        ).sum()
        response = response - self.options.total_variation * total_variation(image)
        return response - self.options.l2 * (image - 0.5).square().mean()

    def responses(self, image: torch.Tensor) -> dict[str, float]:
        """Return the mean square of each layer's output."""
        with torch.no_grad():
            outputs = outputs_of(self.model, self.layers, self._normalized(image.to(self.device)))
        return {name: float(output.square().mean()) for name, output in outputs.items()}

    def probe(self, size: tuple[int, int]) -> None:
        """Check that images of a size are large enough for every layer.

        Raises:
            OptionError: They are not.
        """
        try:
            self.responses(torch.zeros(1, 3, *size))
        except OptionError:
            raise
        except Exception as error:  # each network fails in its own way
            cause = f"is too small at its smallest size, {size[0]} x {size[1]} pixels ({first_line(error)})"
            raise OptionError("image", cause, "pass a larger one, or fewer `octaves`") from error

    def _normalized(self, image: torch.Tensor) -> torch.Tensor:
        return (image - self._mean) / self._std


def _ascend(
    dreamer: _Dreamer,
    start: torch.Tensor,
    sizes: list[tuple[int, int]],
    options: DreamOptions,
    show_progress: bool,
) -> tuple[torch.Tensor, list[np.ndarray]]:
    """Return the final image (1, 3, H, W) and the intermediate frames."""
    full = sizes[-1]
    frames = [_to_rgb(start)] if options.frame_every else []
    start = start.to(dreamer.device)
    image, shrunk = _resized(start, sizes[0]), _resized(start, sizes[0])
    number = 0
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("dreaming", total=len(sizes) * options.steps, note="")
        for size in sizes:
            detailed = _resized(start, size)
            # Add the detail of the initial image that the smaller size could not show.
            image = (_resized(image, size) + detailed - _resized(shrunk, size)).clamp(0, 1)
            shrunk = detailed
            for _ in range(options.steps):
                image = dreamer.step(image)
                number += 1
                if options.frame_every and number % options.frame_every == 0:
                    frames.append(_to_rgb(_resized(image, full)))
                progress.update(task, advance=1, note=f"{size[1]} x {size[0]}")
    return image, frames


def _check_network(model: ForgeryClassifier, layers: Mapping[str, float]) -> None:
    if model.spec.in_chans != 3:
        cause = f"takes images of {model.spec.in_chans} channels"
        raise OptionError("network", cause, "pass one that takes RGB images")
    for name, weight in layers.items():
        if not math.isfinite(weight):
            raise OptionError("layers", f"the weight of {name} is {weight}", "must be a finite number")
    if not any(layers.values()):
        raise OptionError("layers", "no layer has a weight", "name one or more, such as {'layer2': 1.0}")
    for name in layers:
        find_layer(model, name)


def _start(
    model: ForgeryClassifier, image: Any, size: tuple[int, int] | None, generator: torch.Generator
) -> torch.Tensor:
    """Return the initial image, float32 (1, 3, H, W) in [0, 1]."""
    if size is not None and min(size) < 1:
        raise OptionError("size", f"is {size[0]} x {size[1]}", "must be 1 pixel or more")
    if image is None:
        side = model.spec.preprocessing.image_size
        noise = torch.randn(1, 3, *(size or (side, side)), generator=generator)
        return (0.5 + _NOISE * noise).clamp(0, 1)
    pixels = np.ascontiguousarray(rgb_uint8(image).transpose(2, 0, 1))
    tensor = torch.from_numpy(pixels)[None].float() / 255
    return tensor if size is None else _resized(tensor, size)


def _octave_sizes(
    model: ForgeryClassifier, full: tuple[int, int], options: DreamOptions
) -> list[tuple[int, int]]:
    """Return the sizes from small to large."""
    side = model.spec.preprocessing.image_size
    if has_fixed_input(model.spec.backbone) and (options.octaves > 1 or full != (side, side)):
        raise OptionError(
            "image",
            f"{model.spec.backbone} takes only {side} x {side} pixels",
            f"pass `octaves` 1 and an image of {side} x {side}",
        )
    scales = [options.octave_scale ** -(options.octaves - 1 - number) for number in range(options.octaves)]
    return [(max(1, round(full[0] * scale)), max(1, round(full[1] * scale))) for scale in scales]


def _resized(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(image.shape[2:]) == size:
        return image
    return nn.functional.interpolate(image, size=size, mode="bilinear", antialias=True).clamp(0, 1)


def _to_rgb(image: torch.Tensor) -> np.ndarray:
    """Return an image (1, 3, H, W) in [0, 1] as RGB uint8 (H, W, 3)."""
    pixels: np.ndarray = (image[0] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(pixels)


def _network(
    backbone: str | None, weights: str | None, detector: str | os.PathLike[str] | None, *, seed: int
) -> ForgeryClassifier:
    """Return the network to dream with, in evaluation mode."""
    if (backbone is None) == (detector is None):
        raise OptionError("backbone", "or `detector` must be given, not both", "pass one of them")
    if detector is not None:
        if weights is not None:
            cause = "cannot be chosen for a detector"
            raise OptionError("weights", cause, "omit it, or pass `backbone`")
        return read_detector_network(local_detector(detector)).model
    if weights is None:
        remedy = f"pass a path, a published name, or {RANDOM_WEIGHTS} to see only the network's structure"
        raise OptionError("weights", "is missing", remedy)
    torch.manual_seed(seed)
    return create_model(str(backbone), weights=None if weights == RANDOM_WEIGHTS else weights).eval()


def _result_size(of_image: tuple[int, ...] | None, longest_side: int) -> tuple[int, int]:
    """Return height and width of the result: at most those of the image, and a square without one."""
    if of_image is None:
        return longest_side, longest_side
    scale = min(1.0, longest_side / max(of_image))
    return max(1, round(of_image[0] * scale)), max(1, round(of_image[1] * scale))


def _write_dream(folder: Path, result: DreamResult) -> list[Path]:
    """Write the image and the film; return their paths."""
    written = [folder / "dream.png"]
    save_image(written[0], result.image)
    if result.frames:
        written.append(folder / "dream.mp4")
        height, width = result.image.shape[:2]
        with VideoWriter(
            written[1], width=width, height=height, frames_per_second=_FRAMES_PER_SECOND
        ) as writer:
            for frame in result.frames:
                writer.write(frame)
    return written
