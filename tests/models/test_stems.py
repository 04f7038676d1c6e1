from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from scipy.signal import correlate2d

from deepfake_detect.errors import OptionError
from deepfake_detect.models.classifier import create_model
from deepfake_detect.models.spec import ModelSpec
from deepfake_detect.models.stem_layers import DctStem, SrmStem
from deepfake_detect.models.stems import BAND_SCALES, band_masks, make_stem, srm_filters
from deepfake_detect.records import Preprocessing

PREPROCESSING = Preprocessing(24, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(120, 130, (24, 24, 3)).astype(np.float64)


def normalized(pixels: np.ndarray) -> torch.Tensor:
    values = (pixels / 255 - PREPROCESSING.mean) / PREPROCESSING.std
    return torch.tensor(values).permute(2, 0, 1)[None].float()


def test_residuals_are_those_of_the_filters(pixels: np.ndarray) -> None:
    found = SrmStem(PREPROCESSING)(normalized(pixels))[0].numpy()
    luminance = np.pad(pixels @ (0.299, 0.587, 0.114), 2, mode="edge")
    for channel, kernel in zip(found, srm_filters(), strict=True):
        expected = correlate2d(luminance, kernel, mode="valid").clip(-3, 3) / 3
        np.testing.assert_allclose(channel, expected, atol=1e-4)


def test_flat_areas_and_gradients_have_no_residuals() -> None:
    ramp = np.broadcast_to(np.arange(24.0)[:, None, None] * 5, (24, 24, 3))
    found = SrmStem(PREPROCESSING)(normalized(ramp))[..., 3:-3, 3:-3]
    assert float(found.abs().max()) < 1e-3


def test_bands_are_the_frequencies_of_blocks(pixels: np.ndarray) -> None:
    found = DctStem(PREPROCESSING)(normalized(pixels))[0].numpy()
    luminance = pixels @ (0.299, 0.587, 0.114) - 128
    for band, mask, scale in zip(found, band_masks(), BAND_SCALES, strict=True):
        block = dctn(band[8:16, 0:8] * scale, norm="ortho")
        expected = dctn(luminance[8:16, 0:8], norm="ortho") * mask.reshape(8, 8)
        np.testing.assert_allclose(block, expected, atol=1e-2)
    whole = sum(band * scale for band, scale in zip(found, BAND_SCALES, strict=True))
    np.testing.assert_allclose(whole, luminance, atol=1e-2)


def test_sizes_that_are_no_multiple_of_a_block_are_kept() -> None:
    assert DctStem(PREPROCESSING)(torch.zeros(2, 3, 30, 21)).shape == (2, 3, 30, 21)


@pytest.mark.parametrize("stem", ["srm", "dct"])
def test_a_stem_is_in_front_of_every_use_of_the_encoder(stem: str) -> None:
    from deepfake_detect.models.layers import outputs_of

    model = create_model("test_resnet", stem=stem, image_size=32).eval()  # type: ignore[arg-type]
    images = torch.randn(2, 3, 32, 32)
    assert set(model.state_dict()) == set(create_model("test_resnet").state_dict())
    assert torch.equal(model.features(images), model.encoder(model.stem(images)))
    name = next(iter(dict(model.encoder.named_children())))
    first = outputs_of(model, [name], images)[name]
    assert torch.equal(first, model.encoder.get_submodule(name)(model.stem(images)))


def test_wrong_stems_are_named() -> None:
    with pytest.raises(OptionError, match="stem: 'hsv' is unknown; must be one of rgb, srm, dct"):
        ModelSpec("test_resnet", PREPROCESSING, stem="hsv")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="stem: srm is for color images; omit `in_chans`"):
        ModelSpec("test_resnet", PREPROCESSING, stem="srm", in_chans=1)
    assert isinstance(make_stem(ModelSpec("test_resnet", PREPROCESSING)), torch.nn.Identity)
