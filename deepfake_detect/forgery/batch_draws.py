"""All that chance decides in a batch of self-blended images, drawn at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from deepfake_detect.forgery.config import MaskConfig, SelfBlendConfig

NOISE_SIDE = 56
_NUM_MASK_NUMBERS, _NUM_CHANGE_NUMBERS = 6, 18
# A mean color grayer than this has no hue or saturation worth the name.
_LEAST_SATURATION = 0.05
_MOST_SATURATION_GAIN = 4.0


@dataclass(frozen=True, eq=False)
class MaskDraws:
    """For each mask what :class:`config.MaskConfig` leaves to chance.

    Attributes:
        config: It.
        grid: (N, 2): pixels of the mask while it is made, across and down.
        first_width, second_width: (N,) of the two smoothings, in those pixels.
        sigma: (N,) of the second, in those pixels.
        ratio: (N,) that the mask is multiplied by.
        noise: float32 (N, 2, 56, 56) tensor, uniform in [-1, 1].
    """

    config: MaskConfig
    grid: np.ndarray
    first_width: np.ndarray
    second_width: np.ndarray
    sigma: np.ndarray
    ratio: np.ndarray
    noise: torch.Tensor


@dataclass(frozen=True, eq=False)
class SelfBlendDraws:
    """For each image what :class:`config.SelfBlendConfig` leaves to chance.

    Attributes:
        changes_source: bool (N,), else it is the target.
        rgb_shift: (N, 3) shares of white.
        hsv_shift: (N, 3) of hue in degrees, saturation and value as shares of 1.
        brightness, contrast: (N,): added share of white, and factor.
        factor: int (N,): the image is shrunk by it; 1 where it is sharpened instead.
        sharpen_gain, sharpen_amount: (N,): what the sharpened picture has of the pixel, and of its
            difference from the mean of the nine around it.
        scale, shift: (N, 2): the source's point p goes to scale * p + shift, in pixels.
        mask: The rest.
    """

    changes_source: np.ndarray
    rgb_shift: np.ndarray
    hsv_shift: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    factor: np.ndarray
    sharpen_gain: np.ndarray
    sharpen_amount: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    mask: MaskDraws


def draw_self_blends(
    count: int, size: tuple[int, int], config: SelfBlendConfig, generator: torch.Generator
) -> SelfBlendDraws:
    """Draw for ``count`` images of a height and width."""
    shape = (_NUM_CHANGE_NUMBERS, count)
    lots = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64).cpu().numpy()
    signed = 2 * lots - 1
    factors = np.array([1, *config.downscale_factors])
    # Sharpened or shrunk evenly, whatever the number of factors.
    which = 1 + (lots[11] * (len(factors) - 1)).astype(int)
    is_sharpened = (lots[10] < 0.5) | (len(factors) == 1)
    alpha, lightness = _between(config.sharpen_alpha, lots[12]), _between(config.sharpen_lightness, lots[13])
    middle = (np.array(size[::-1]) - 1) / 2
    scale = _between(config.scale, lots[14:16].T)
    moved = signed[16:18].T * (config.translate_x, config.translate_y) * size[::-1]
    shares = {"source": 1.0, "target": 0.0, "either": 0.5}
    levels = signed[5:8].T * (config.hue_shift, config.saturation_shift, config.value_shift)
    # As in 8-bit HSV, where one picture at a time is shifted: whole levels, hues rounded down.
    levels = np.column_stack([np.floor(levels[:, 0]), np.trunc(levels[:, 1:])])
    return SelfBlendDraws(
        changes_source=lots[0] < shares[config.changed],
        rgb_shift=signed[1:4].T
        * (config.rgb_shift / 255)
        * (lots[4] < config.rgb_shift_probability)[:, None],
        hsv_shift=levels * (2, 1 / 255, 1 / 255),
        brightness=signed[8] * config.brightness_limit,
        contrast=1 + signed[9] * config.contrast_limit,
        factor=np.where(is_sharpened, 1, factors[np.minimum(which, len(factors) - 1)]),
        sharpen_gain=1 - alpha + alpha * lightness,
        sharpen_amount=9 * alpha,
        scale=scale,
        shift=middle - scale * middle + moved,
        mask=_draw_masks(count, config, generator),
    )


def _draw_masks(count: int, config: MaskConfig, generator: torch.Generator) -> MaskDraws:
    shape = (_NUM_MASK_NUMBERS, count)
    lots = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64).cpu().numpy()
    noise = torch.rand((count, 2, NOISE_SIDE, NOISE_SIDE), generator=generator, device=generator.device)
    least, greatest = config.mask_side
    narrow, wide = config.mask_kernel
    first, second = (narrow + 2 * (lots[n] * ((wide - narrow) // 2 + 1)).astype(int) for n in (2, 3))
    ratios = np.array(config.blend_ratios)
    return MaskDraws(
        config=config,
        grid=least + (lots[:2].T * (greatest - least + 1)).astype(int),
        first_width=first,
        second_width=second,
        sigma=_between(config.mask_sigma, lots[4]),
        ratio=ratios[(lots[5] * len(ratios)).astype(int)],
        noise=noise.mul_(2).sub_(1),
    )


def _between(limits: tuple[float, float], lots: np.ndarray) -> np.ndarray:
    least, greatest = limits
    between: np.ndarray = least + lots * (greatest - least)
    return between


def color_maps(mean_colors: np.ndarray, draws: SelfBlendDraws) -> np.ndarray:
    """Return each image's change of color as one linear map.

    The RGB shift, brightness and contrast are linear. The shift of hue, saturation and value is
    replaced by its linear part about the mean color of the image's middle, where the face is.

    Args:
        mean_colors: (N, 3) RGB in [0, 1].
        draws: Of the same images.

    Returns:
        float64 (N, 3, 4): colors in [0, 1] times the left three columns, plus the last one times
        white.
    """
    count = len(mean_colors)
    shifted = np.clip(mean_colors + draws.rgb_shift, 0.02, 1)
    hue, saturation, value = draws.hsv_shift.T
    turn = _hue_maps(shifted, hue)
    turned = np.clip((turn @ shifted[..., None])[..., 0], 0.02, 1)
    brightest = turned.max(1)
    usual = np.maximum(1 - turned.min(1) / brightest, _LEAST_SATURATION)
    gain = np.clip((usual + saturation) / usual, 0, _MOST_SATURATION_GAIN)
    # c -> V - gain * (V - c), V being the channel that is brightest in the mean.
    stretch = (
        gain[:, None, None] * np.eye(3)
        + (1 - gain)[:, None, None] * (np.arange(3) == turned.argmax(1)[:, None])[:, None, :]
    )
    brighter = np.clip(brightest + value, 0, 1) / brightest
    matrix = (draws.contrast * brighter)[:, None, None] * (stretch @ turn)
    offset = (matrix @ draws.rgb_shift[..., None])[..., 0] + draws.brightness[:, None]
    is_sharpened = draws.factor == 1
    offset *= np.where(is_sharpened, draws.sharpen_gain, 1.0)[:, None]
    maps: np.ndarray = np.concatenate([matrix, offset.reshape(count, 3, 1)], axis=2)
    return maps


def _hue_maps(colors: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Return the maps (N, 3, 3) that shift the hue by so much, exactly so near each color (N, 3).

    With a hue in sixths of the circle, a channel is min + (max - min) * f(hue), and f climbs, stays
    at 1, falls and stays at 0. So the channel in the middle tells a pixel's hue, and each new channel
    is linear in the three old ones.
    """
    row = np.arange(len(colors))
    low, middle, high = np.argsort(colors, axis=1, kind="stable").T
    chroma = np.maximum(colors[row, high] - colors[row, low], 1e-6)
    height = (colors[row, middle] - colors[row, low]) / chroma
    climbs = np.where(middle == (high + 1) % 3, 1.0, -1.0)
    hue = 2 * high + climbs * height + degrees / 60
    tiny = 1e-4
    at = _hexagon(hue)
    slope = (_hexagon(hue + tiny) - _hexagon(hue - tiny)) / (2 * tiny) * climbs[:, None]
    of_high = at - slope * height[:, None]
    maps = np.zeros((len(colors), 3, 3))
    maps[row, :, high] += of_high
    maps[row, :, middle] += slope
    maps[row, :, low] += 1 - of_high - slope
    return maps


def _hexagon(hue: np.ndarray) -> np.ndarray:
    """Return where red, green and blue (N, 3) of a hue (N,) in sixths lie from the least to the most."""
    away = np.abs((hue[:, None] - (0, 2, 4) + 3) % 6 - 3)
    lying: np.ndarray = np.clip(2 - away, 0, 1)
    return lying
