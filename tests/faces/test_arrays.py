"""Arrays and tensors give the same; the rest of these functions is seen in tests/runtimes/test_faces.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepfake_detect.faces import arrays
from deepfake_detect.faces.arrays import nms, to_device
from deepfake_detect.faces.integral import crop_windows, integral_images
from deepfake_detect.faces.mosaic import frame_scales, mosaic_plan, strip_pixels


@pytest.mark.parametrize("count", [0, 1, 200])
def test_nms_is_that_of_torchvision(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_NMS_BLOCK", 16)  # so that there are several blocks in a group
    rng = np.random.default_rng(count)
    starts = rng.integers(0, 60, (count, 2))
    boxes = np.concatenate([starts, starts + rng.integers(1, 40, (count, 2))], 1).astype(np.float32)
    scores, groups = rng.random(count, np.float32), rng.integers(0, 3, count)
    for overlap in (0.3, 0.7):
        tensors = (to_device(one, torch.device("cpu")) for one in (boxes, scores, groups))
        wanted = nms(*tensors, overlap)
        assert nms(boxes, scores, groups, overlap).tolist() == wanted.tolist()


def test_tables_crops_and_mosaics_are_the_same_to_the_last_bit() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 97, 131, 3), dtype=np.uint8)
    tables, tensors = integral_images(frames), integral_images(torch.from_numpy(frames))
    np.testing.assert_array_equal(tables, tensors)
    numbers, windows = np.array([0, 1, 1]), np.array([[3, 5, 80, 82], [10, 10, 17, 17], [30, 2, 54, 26]])
    crops = crop_windows(tables, numbers, windows, 24)
    wanted = crop_windows(tensors, torch.from_numpy(numbers), torch.from_numpy(windows), 24)
    np.testing.assert_array_equal(crops, wanted)
    scales = frame_scales(97, 131, smallest=20, factor=0.709)
    ours = mosaic_plan(97, 131, scales, is_whole=True, device=None)
    theirs = mosaic_plan(97, 131, scales, is_whole=True, device=torch.device("cpu"))
    (strip,), (other,) = ours.strips, theirs.strips
    np.testing.assert_array_equal(
        strip_pixels(tables, strip, ours.width), strip_pixels(tensors, other, theirs.width)
    )
