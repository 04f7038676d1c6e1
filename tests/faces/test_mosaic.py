from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from deepfake_detect.faces import mosaic
from deepfake_detect.faces.integral import integral_images
from deepfake_detect.faces.mosaic import MosaicPlan, frame_scales, mosaic_plan, shrunk, strip_pixels

CPU = torch.device("cpu")
# Even and odd, landscape and portrait, long and thin, just one size.
SIZES = [(120, 160), (119, 161), (161, 119), (30, 400), (20, 20), (97, 64)]


def plan_of(height: int, width: int, *, is_whole: bool) -> MosaicPlan:
    mosaic_plan.cache_clear()
    scales = frame_scales(height, width, smallest=20, factor=0.709)
    return mosaic_plan(height, width, scales, is_whole=is_whole, device=CPU)


def whole_mosaic(frames: torch.Tensor, plan: MosaicPlan) -> torch.Tensor:
    (strip,) = plan.strips
    return strip_pixels(integral_images(frames), strip, plan.width)


def test_scales_are_those_of_facenet_pytorch() -> None:
    # min_face_size 20: 12 / 20 and so on while the shorter side stays at 12 pixels or more.
    scales = frame_scales(100, 300, smallest=20, factor=0.709)
    assert scales == pytest.approx([0.6 * 0.709**k for k in range(5)], rel=1e-12)
    assert 100 * scales[-1] >= 12 > 100 * scales[-1] * 0.709
    assert frame_scales(19, 300, smallest=20, factor=0.709) == ()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_each_tile_is_the_frame_in_one_size(height: int, width: int) -> None:
    plan = plan_of(height, width, is_whole=True)
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8, generator=generator)
    pixels = whole_mosaic(frames, plan)
    for scale, top, left in zip(
        frame_scales(height, width, smallest=20, factor=0.709),
        (2 * plan.tops).tolist(),
        (2 * plan.lefts).tolist(),
        strict=True,
    ):
        size = shrunk(height, scale), shrunk(width, scale)
        wanted = (interpolate(frames.permute(0, 3, 1, 2).float(), size=size, mode="area") - 127.5) / 128
        tile = pixels[:, :, top : top + size[0], left : left + size[1]]
        torch.testing.assert_close(tile, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_cell_of_every_tile_is_there_once(height: int, width: int) -> None:
    plan = plan_of(height, width, is_whole=True)
    counts = plan.cell_tiles[plan.cell_tiles >= 0].bincount(minlength=len(plan.scales)).tolist()
    for scale, count in zip(frame_scales(height, width, smallest=20, factor=0.709), counts, strict=True):
        # What the network gives for the tile alone: 3 x 3, pooling by 2 rounded up, 3 x 3, 3 x 3.
        sides = [(shrunk(length, scale) - 2 + 1) // 2 - 4 for length in (height, width)]
        assert count == sides[0] * sides[1]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_strips_overlap_into_the_whole(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8)
    whole_plan = plan_of(height, width, is_whole=True)
    whole = whole_mosaic(frame, whole_plan)
    monkeypatch.setattr(mosaic, "_STRIP_PIXELS", 12 * whole_plan.width)
    plan = plan_of(height, width, is_whole=False)
    next_cell_row = 0
    for strip in plan.strips:
        assert strip.first_cell_row == next_cell_row
        top = 2 * strip.first_cell_row
        part = strip_pixels(integral_images(frame), strip, plan.width)
        assert torch.equal(part, whole[:, :, top : top + strip.height])
        next_cell_row += strip.height // 2 - 5
    assert next_cell_row * plan.num_cell_columns == len(plan.cell_tiles)
    mosaic_plan.cache_clear()
