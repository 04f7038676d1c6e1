"""Options of a blend, with the values of the papers as defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from deepfake_detect.errors import OptionError

Changed = Literal["source", "target", "either"]
Blending = Literal["alpha", "poisson"]

_Range = tuple[float, float]
_LIMITS: dict[str, _Range] = {
    "mask_side": (32, 1024),
    "elastic_alpha": (0, 1000),
    "elastic_sigma": (1, 100),
    "mask_kernel": (1, 99),
    "mask_sigma": (0.1, 1000),
    **dict.fromkeys(("rgb_shift", "saturation_shift", "value_shift"), (0, 255)),
    "hue_shift": (0, 90),
    **dict.fromkeys(("rgb_shift_probability", "brightness_limit", "contrast_limit"), (0, 1)),
    **dict.fromkeys(("translate_x", "translate_y"), (0, 0.5)),
    "sharpen_alpha": (0, 1),
    "sharpen_lightness": (0, 4),
    "scale": (0.5, 2),
    "color_transfer": (0, 1),
}


@dataclass(frozen=True)
class MaskConfig:
    """How the outline of a face becomes a weight per pixel (arXiv:2204.08376, and its authors' code).

    Attributes:
        mask_side: Range of the size of the mask while it is made, in pixels, sampled for width and
            height. All lengths here are in these pixels, so they scale with the image.
        elastic_alpha, elastic_sigma: Uniform noise in [-1, 1] is smoothed with a Gaussian of this
            sigma and multiplied by alpha to give the shift of each point of the mask.
        mask_kernel: Range of the odd widths of the two smoothings. The first keeps only what stays 1,
            which erodes half its width all around; the second softens the edge.
        mask_sigma: Range of the sigma of the second.
        blend_ratios: The mask is multiplied by one of them, equally likely.
    """

    mask_side: tuple[int, int] = (192, 256)
    elastic_alpha: float = 50.0
    elastic_sigma: float = 7.0
    mask_kernel: tuple[int, int] = (5, 25)
    mask_sigma: _Range = (5.0, 46.0)
    blend_ratios: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_limits(field.name, getattr(self, field.name))
        if not all(width % 2 for width in self.mask_kernel):
            raise OptionError("mask_kernel", f"is {self.mask_kernel}", "must be odd")
        if not self.blend_ratios or not all(0 < ratio <= 1 for ratio in self.blend_ratios):
            raise OptionError(
                "blend_ratios", f"is {self.blend_ratios}", "must be numbers above 0 and at most 1"
            )


@dataclass(frozen=True)
class SelfBlendConfig(MaskConfig):
    """How a self-blended image is made (arXiv:2204.08376, and its authors' code).

    Each limit is the largest change in either direction; 0 skips the step.

    Attributes:
        changed: Which copy changes in color and sharpness: the ``"source"``, which is blended in, the
            ``"target"``, which receives it, or ``"either"``, equally likely.
        rgb_shift: In gray levels of 255, sampled for each channel.
        rgb_shift_probability: 0 to 1.
        hue_shift, saturation_shift, value_shift: In levels of 8-bit HSV as OpenCV has it (hue 0 to
            179, the others 0 to 255), truncated to integers: the authors' 0.3 lowers the hue by one
            half of the time, and does not change the others.
        brightness_limit: Fraction of white that is added.
        contrast_limit: Fraction by which values are scaled up or down.
        downscale_factors: The image is downscaled by one of them and upscaled again, or it is
            sharpened, equally likely.
        sharpen_alpha: Range of the weight of the sharpened image.
        sharpen_lightness: Range of the sum of the sharpening kernel.
        translate_x, translate_y: Of the source, in widths and heights of the image.
        scale: Range of the scale of the source, sampled for width and height.
    """

    changed: Changed = "source"
    rgb_shift: float = 20.0
    rgb_shift_probability: float = 0.3
    hue_shift: float = 0.3
    saturation_shift: float = 0.3
    value_shift: float = 0.3
    brightness_limit: float = 0.1
    contrast_limit: float = 0.1
    downscale_factors: tuple[int, ...] = (2, 4)
    sharpen_alpha: _Range = (0.2, 0.5)
    sharpen_lightness: _Range = (0.5, 1.0)
    translate_x: float = 0.03
    translate_y: float = 0.015
    scale: _Range = (0.95, 1 / 0.95)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.changed not in get_args(Changed):
            raise OptionError("changed", f"is {self.changed!r}", "must be source, target or either")
        factors = self.downscale_factors
        if not all(isinstance(factor, int) and 2 <= factor <= 8 for factor in factors):
            raise OptionError("downscale_factors", f"is {factors}", "must be integers from 2 to 8")


@dataclass(frozen=True)
class CrossBlendConfig(MaskConfig):
    """How one person's face is blended into an image of another (Face X-ray, arXiv:1912.13458).

    Attributes:
        blending: ``"alpha"``, a weighted mean, or ``"poisson"``, in which the source's gradients
            are kept and its edge is the target's (Pérez et al. 2003).
        color_transfer: How far the source's colors move to the target's, 0 to 1, matched in mean and
            deviation in Lab inside the outline (Reinhard et al. 2001).
    """

    blending: Blending = "alpha"
    color_transfer: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blending not in get_args(Blending):
            raise OptionError("blending", f"is {self.blending!r}", "must be alpha or poisson")


def _check_limits(name: str, value: Any) -> None:
    """Check a number, or both ends of a range."""
    numbers = value if isinstance(value, tuple) else (value,)
    if not all(math.isfinite(number) for number in numbers if isinstance(number, float)):
        raise OptionError(name, f"is {value}", "must be finite")
    if name not in _LIMITS:
        return
    low, high = _LIMITS[name]
    if isinstance(value, tuple) and len(value) != 2 or not low <= numbers[0] <= numbers[-1] <= high:
        kind = "a range within " if isinstance(value, tuple) else ""
        raise OptionError(name, f"is {value}", f"must be {kind}{low:g} to {high:g}")


PAPER = SelfBlendConfig(changed="either")
"""As in the paper, which changes the source as often as the target."""
