from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from deepfake_detect.faces.integral import crop_windows, frames_tensor, integral_images, window_edges

CPU = torch.device("cpu")


def random_frames(count: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


def shrunk_by_torch(window: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The networks' input as facenet-pytorch makes it: (h, w, 3) uint8 -> (3, height, width)."""
    pixels = interpolate(window.permute(2, 0, 1)[None].float(), size=(height, width), mode="area")
    return (pixels[0] - 127.5) * 0.0078125


def test_a_table_holds_the_sum_of_every_corner_rectangle() -> None:
    frames = random_frames(2, 5, 7)
    tables = integral_images(frames)
    for image, table in zip(frames.long(), tables, strict=True):
        for row in range(6):
            for column in range(8):
                assert table[row, column].tolist() == image[:row, :column].sum((0, 1)).tolist()


@pytest.mark.parametrize(("length", "count"), [(7, 7), (7, 3), (10, 5), (5, 12), (1080, 649), (13, 1)])
def test_windows_are_those_of_area_interpolation(length: int, count: int) -> None:
    values = torch.rand(1, 1, length, 1, dtype=torch.float64)
    first, last = window_edges(length, count)
    means = [float(values[0, 0, a:b].mean()) for a, b in zip(first, last, strict=True)]
    wanted = interpolate(values, size=(count, 1), mode="area")[0, 0, :, 0]
    np.testing.assert_allclose(means, wanted.numpy(), rtol=1e-12)


# A crop smaller than its window, larger, as large, at the border, and one pixel stretched.
WINDOWS = [(3, 5, 80, 82), (10, 10, 17, 17), (30, 2, 54, 26), (0, 0, 90, 60), (89, 59, 90, 60), (5, 1, 9, 60)]


@pytest.mark.parametrize("side", [24, 48])
def test_crops_are_those_of_area_interpolation(side: int) -> None:
    frames = random_frames(2, 84, 90)
    windows = torch.tensor([list(window) for window in WINDOWS])
    numbers = torch.arange(len(WINDOWS)) % 2
    crops = crop_windows(integral_images(frames), numbers, windows, side)
    assert crops.shape == (len(WINDOWS), 3, side, side)
    assert crops.is_contiguous(memory_format=torch.channels_last)
    for crop, number, (left, top, right, bottom) in zip(crops, numbers, WINDOWS, strict=True):
        wanted = shrunk_by_torch(frames[number, top:bottom, left:right], side, side)
        torch.testing.assert_close(crop, wanted, atol=1e-6, rtol=0)


def test_sums_of_large_frames_wrap_and_those_over_windows_are_exact() -> None:
    frames = torch.full((1, 3100, 3200, 3), 255, dtype=torch.uint8)  # 2.5e9 in all
    frames[0, 3000:3040, 3100:3140] = 17
    windows = torch.tensor([[0, 0, 48, 48], [3100, 3000, 3140, 3040], [0, 0, 2800, 2800]])
    crops = crop_windows(integral_images(frames), torch.zeros(3, dtype=torch.int64), windows, 24)
    for crop, level in zip(crops, (255, 17, 255), strict=True):
        torch.testing.assert_close(crop, torch.full_like(crop, (level - 127.5) / 128), atol=1e-5, rtol=0)


def test_the_largest_sum_that_int32_holds_is_right() -> None:
    white = torch.full((1, 1, 2**31 // 255, 3), 255, dtype=torch.uint8)
    table = integral_images(white)
    assert table.dtype == torch.int32
    assert int(table[0, 1, -1, 0]) == 255 * (2**31 // 255)


def test_frames_in_any_memory_layout_become_a_tensor() -> None:
    image = random_frames(1, 6, 8)[0].numpy()
    frozen = image.copy()
    frozen.setflags(write=False)
    for kind in (image, frozen, np.asfortranarray(image), image[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(frames_tensor([kind], CPU)[0], image)
    assert frames_tensor([image, image], CPU).shape == (2, 6, 8, 3)


@pytest.mark.needs_cuda
def test_tables_on_a_gpu_are_the_same() -> None:
    frames = random_frames(2, 40, 50)
    on_gpu = integral_images(frames_tensor(list(frames.numpy()), torch.device("cuda")))
    assert torch.equal(on_gpu.cpu(), integral_images(frames))
