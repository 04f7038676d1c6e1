"""DeepfakeBench's files, with random numbers, become our networks; what they add to Xception is checked."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import timm
import torch
from scipy.fft import dctn, idctn
from torch import nn

from deepfake_detect.models.published import LAYOUTS
from deepfake_detect.models.published.frequency import _bands, _with_phase
from deepfake_detect.models.published.recce import _Gather
from deepfake_detect.models.published.srm import _Exchange, srm_filters
from deepfake_detect.models.zoo.convert import build_published
from deepfake_detect.models.zoo.entries import ZOO
from deepfake_detect.records import Preprocessing

HALF = Preprocessing(256, (0.5,) * 3, (0.5,) * 3, "cubic")
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape) * 0.1


def named(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def norm(name: str, width: int) -> dict[str, torch.Tensor]:
    return named(f"{name}.", nn.BatchNorm2d(width).state_dict())


def convolution(
    name: str, after: int, before: int, kernel: int, bias: bool = False
) -> dict[str, torch.Tensor]:
    found = {f"{name}.weight": random(after, before, kernel, kernel)}
    return found | ({f"{name}.bias": random(after)} if bias else {})


@functools.cache
def encoder(in_chans: int) -> dict[str, torch.Tensor]:
    return timm.create_model("legacy_xception", num_classes=0, in_chans=in_chans).state_dict()


def xception(prefix: str, in_chans: int = 3, last: str = "last_linear") -> dict[str, torch.Tensor]:
    state = dict(encoder(in_chans))
    state |= convolution("adjust_channel.0", 512, 2048, 1, bias=True) | norm("adjust_channel.1", 512)
    return named(prefix, state | {f"{last}.weight": random(2, 2048), f"{last}.bias": random(2)})


def linear(name: str, after: int, before: int, bias: bool = True) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": random(after, before)} | ({f"{name}.bias": random(after)} if bias else {})


def f3net() -> dict[str, torch.Tensor]:
    state = xception("backbone.", 12, "last_linear.1") | {
        f"FAD_head._DCT_all{end}": torch.zeros(256, 256) for end in ("", "_T")
    }
    for band in range(4):
        state[f"FAD_head.filters.{band}.base"] = _bands(256)[band]
        state[f"FAD_head.filters.{band}.learnable"] = random(256, 256)
    return state


def srm() -> dict[str, torch.Tensor]:
    state = xception("backbone_rgb.") | xception("backbone_srm.") | {"blur.weight": random(3, 1, 7, 7)}
    state |= {"srm_conv0.kernel": random(3, 3, 5, 5), "srm_sa.srm.kernel": random(3, 3, 5, 5)}
    for name, width in (("srm_conv1", 32), ("srm_conv2", 64)):
        state[f"{name}.kernel"] = random(3 * width, 1, 5, 5)
        state |= convolution(f"{name}.out_conv.0", width, 3 * width, 1) | norm(f"{name}.out_conv.1", width)
    state |= convolution("srm_sa.conv.0", 32, 3, 3) | norm("srm_sa.conv.1", 32)
    state |= convolution("srm_sa.conv.3", 64, 32, 3) | norm("srm_sa.conv.4", 64)
    state |= convolution("srm_sa.pa.conv", 1, 2, 7) | norm("srm_sa_post.0", 64)
    for name in ("dual_cma0", "dual_cma1"):
        for key in ("key_conv1", "key_conv2"):
            state |= convolution(f"{name}.{key}", 91, 728, 1, bias=True)
        state |= convolution(f"{name}.key_conv_share", 91, 91, 1, bias=True)
        state |= linear(f"{name}.linear1", 256, 256) | linear(f"{name}.linear2", 256, 256)
        for value in ("value_conv1", "value_conv2"):
            state |= convolution(f"{name}.{value}", 728, 728, 1, bias=True)
        state |= {f"{name}.gamma1": random(1), f"{name}.gamma2": random(1)}
    state |= convolution("fusion.convblk.0", 2048, 4096, 1) | norm("fusion.convblk.1", 2048)
    state |= convolution("fusion.ca.sharedMLP.0", 128, 2048, 1)
    return state | convolution("fusion.ca.sharedMLP.2", 2048, 128, 1)


def ucf() -> dict[str, torch.Tensor]:
    state = xception("encoder_f.") | {
        "encoder_c.conv1.weight": random(1),
        "con_gan.conv_last.weight": random(1),
    }
    for block in ("block_sha", "block_spe"):
        for number, before in ((0, 512), (2, 256), (4, 256)):
            state |= convolution(f"{block}.conv2d.{number}", 256, before, 1, bias=True)
    for head in ("head_sha", "head_spe"):
        state |= linear(f"{head}.mlp.0", 512, 256) | linear(f"{head}.mlp.2", 2, 512)
    return state


def recce() -> dict[str, torch.Tensor]:
    body = {name: one for name, one in xception("", last="fc").items() if "adjust" not in name}
    head = {name: body.pop(name) for name in ("fc.weight", "fc.bias")}
    state = named("encoder.", body) | {"encoder.fc.weight": random(1000, 2048)} | head
    for number, (before, after) in ((1, (728, 256)), (3, (256, 128)), (5, (128, 64))):
        state[f"decoder{number}.1.conv1.weight"] = random(before, 1, 3, 3)
        state |= convolution(f"decoder{number}.1.pointwise", after, before, 1) | norm(
            f"decoder{number}.2", after
        )
    for number, width in ((2, 256), (4, 128)):
        for step in (1, 4, 7):
            state[f"decoder{number}.rep.{step}.conv1.weight"] = random(width, 1, 3, 3)
            state |= convolution(f"decoder{number}.rep.{step}.pointwise", width, width, 1)
            state |= norm(f"decoder{number}.rep.{step + 1}", width)
    state |= convolution("decoder6.0", 3, 64, 1)
    state |= convolution("reasoning.va_embedding.0", 256, 728, 1) | convolution(
        "reasoning.va_embedding.2", 256, 256, 1
    )
    for letter, width in (("b", 256), ("c", 128)):
        state |= convolution(f"reasoning.va_gated_{letter}.0", 256, 728, 1)
        state |= linear(f"reasoning.v{letter}_embedding.0", 256, width, bias=False)
        state |= linear(f"reasoning.v{letter}_embedding.2", 256, 256, bias=False)
        state |= linear(f"reasoning.reweight_a{letter}.0", 1, 512, bias=False)
    state |= convolution("reasoning.reproject.0", 728, 768, 1) | convolution(
        "reasoning.reproject.2", 728, 728, 1
    )
    state |= convolution("attention.gated.0", 3, 3, 3) | convolution("attention.gated.2", 1, 3, 1)
    state |= convolution("attention.h.0", 728, 728, 1) | norm("attention.h.1", 728)
    return named("model.", state) | xception("backbone.")


def meso4(prefix: str = "backbone.") -> dict[str, torch.Tensor]:
    shapes = ((8, 3, 3), (8, 8, 5), (16, 8, 5), (16, 16, 5))
    state: dict[str, torch.Tensor] = {}
    for number, (after, before, kernel) in enumerate(shapes, start=1):
        state |= convolution(f"conv{number}", after, before, kernel)
    state |= norm("bn1", 8) | norm("bn2", 16) | linear("fc1", 16, 1024) | linear("fc2", 2, 16)
    return named(prefix, state)


def meso_inception4(prefix: str = "backbone.") -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    for block, (before, first) in enumerate(((3, 1), (11, 2)), start=1):
        state |= convolution(f"Incption{block}_conv1", first, before, 1)
        for branch, width in ((2, 4), (3, 4), (4, 2)):
            state |= convolution(f"Incption{block}_conv{branch}_1", width, before, 1)
            state |= convolution(f"Incption{block}_conv{branch}_2", width, width, 3)
        state |= norm(f"Incption{block}_bn", first + 10)
    state |= convolution("conv1", 16, 12, 5) | convolution("conv2", 16, 16, 5) | norm("bn1", 16)
    return named(prefix, state | linear("fc1", 16, 1024) | linear("fc2", 2, 16))


def efficientnet_b4() -> dict[str, torch.Tensor]:
    """Return a state dict in the names of efficientnet_pytorch, made of timm's by the rule of both."""
    own = timm.create_model("tf_efficientnet_b4", num_classes=0).state_dict()
    plain = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    wide = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
    wide |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    outer = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    blocks = list(dict.fromkeys(tuple(name.split(".")[1:3]) for name in own if name.startswith("blocks.")))
    state = {}
    for name, tensor in own.items():
        first, *rest = name.split(".")
        if first == "blocks":
            layer = (
                "_se_" + rest[3].removeprefix("conv_")
                if rest[2] == "se"
                else (plain if rest[0] == "0" else wide)[rest[2]]
            )
            end = rest[4:] if rest[2] == "se" else rest[3:]
            theirs = ".".join(["_blocks", str(blocks.index((rest[0], rest[1]))), layer, *end])
        else:
            theirs = ".".join([outer[first], *rest])
        state[theirs] = tensor
    return named("backbone.efficientnet.", state) | linear("backbone.last_layer", 2, 1792)


FILES = {
    "deepfakebench-efficientnetb4": efficientnet_b4,
    "deepfakebench-xception": lambda: xception("backbone."),
    "deepfakebench-f3net": f3net,
    "deepfakebench-spsl": lambda: xception("backbone.", 4),
    "deepfakebench-srm": srm,
    "deepfakebench-ucf": ucf,
    "deepfakebench-recce": recce,
    "deepfakebench-meso4": meso4,
    "deepfakebench-mesoinception4": meso_inception4,
    "meso4-pytorch": lambda: meso4(""),
    "mesoinception4-pytorch": lambda: meso_inception4(""),
}


@pytest.mark.parametrize("layout", FILES)
def test_a_published_file_becomes_our_network(layout: str) -> None:
    torch.manual_seed(0)
    state = FILES[layout]()
    model, dropped = build_published(
        state, LAYOUTS[layout], preprocessing=HALF, polarity="fake", source=layout
    )
    with torch.inference_mode():
        logits = model(torch.rand(1, 3, 256, 256) * 2 - 1)
    assert torch.isfinite(logits).all()
    assert set(dropped) <= state.keys()
    used = "FAD_head", "fusion", "head_sha", "model.reasoning", "fc1"
    assert not [name for name in dropped if name.startswith(used) and "_DCT_all" not in name]


def test_every_detector_of_the_benchmark_has_a_layout() -> None:
    entries = [entry for name, entry in ZOO.items() if name.startswith("deepfakebench-")]
    assert len(entries) >= 9
    assert all(entry.network in LAYOUTS and entry.is_noncommercial for entry in entries)


def test_bands_of_frequencies_are_those_of_scipy() -> None:
    image = np.random.default_rng(0).normal(size=(3, 32, 32))
    frequency = np.add.outer(np.arange(32), np.arange(32))
    network = LAYOUTS["deepfakebench-f3net"]
    assert network.backbone == "f3net"
    from deepfake_detect.models.published.frequency import F3Net

    ours = F3Net(size=32)._decomposed(torch.from_numpy(image[None]).float())[0].detach().numpy()
    spectrum = dctn(image, axes=(1, 2), norm="ortho")
    for band, (low, high) in enumerate(((0, 11), (11, 16), (16, 64), (0, 64))):
        kept = spectrum * ((frequency >= low) & (frequency <= high))
        expected = idctn(kept, axes=(1, 2), norm="ortho")
        np.testing.assert_allclose(ours[3 * band : 3 * band + 3], expected, atol=1e-5)


def test_the_fourth_channel_has_the_phase_of_the_gray_image_and_magnitude_one() -> None:
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    rebuilt = np.fft.fft2(_with_phase(image)[0, 3].numpy())
    gray = np.fft.fft2(image[0].mean(0).numpy())
    np.testing.assert_allclose(np.abs(rebuilt), 1, atol=1e-5)
    np.testing.assert_allclose(rebuilt, gray / np.abs(gray), atol=1e-5)


def test_filters_of_the_spatial_rich_model_vanish_on_a_ramp() -> None:
    filters = srm_filters()
    ramp = torch.arange(5.0)[:, None] * 2 + torch.arange(5.0) * 3 + 1
    assert torch.allclose((filters * ramp).sum((1, 2)), torch.zeros(3), atol=1e-5)
    assert filters[1].amin().item() == -1  # -12 / 12, the center of the square of side 5
    assert torch.equal(filters[1], filters[1].T)


def test_maps_attend_to_each_other_as_written_out_for_one_position() -> None:
    torch.manual_seed(0)
    layer = _Exchange(8, side=2)
    layer.gain_x.data.fill_(1)
    x, y = torch.randn(2, 1, 8, 2, 2)
    keys = [layer.key_shared(key(maps)).flatten(2)[0] for key, maps in ((layer.key_x, x), (layer.key_y, y))]
    weights = layer.to_x(torch.stack([(keys[0][:, 1] * keys[1][:, n]).sum() for n in range(4)])).softmax(0)
    value = layer.value_y(y).flatten(2)[0]
    expected = sum(weights[n] * value[:, n] for n in range(4)) + x.flatten(2)[0, :, 1]
    assert torch.allclose(layer(x, y)[0].flatten(2)[0, :, 1], expected, atol=1e-5)


def test_a_position_gathers_the_pixels_of_its_window() -> None:
    torch.manual_seed(0)
    layer = _Gather(4, ratio=2)
    maps, embedded, larger = torch.randn(1, 728, 2, 2), torch.randn(1, 256, 2, 2), torch.randn(1, 4, 4, 4)
    pixels = layer.embed(larger[0, :, 0:2, 2:4].flatten(1).T)  # of the position in row 0, column 1
    own = embedded[0, :, 0, 1].expand(4, -1)
    weights = layer.weigh(torch.cat([own, pixels], 1)).relu().softmax(0)
    gate = 1 - layer.gate(maps)[0, :, 0, 1].sigmoid()
    expected = (weights * pixels).sum(0) * gate
    assert torch.allclose(layer(maps, embedded, larger)[0, :, 0, 1], expected, atol=1e-5)
