from __future__ import annotations

import pytest
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

from deepfake_detect.faces.networks import load_networks

CPU = torch.device("cpu")


@pytest.mark.parametrize(("height", "width"), [(12, 12), (14, 40), (60, 62)])
def test_pnet_gives_the_outputs_of_the_original(height: int, width: int) -> None:
    pixels = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    network = load_networks(CPU).pnet
    with torch.inference_mode():
        corrections, probabilities = PNet()(pixels)
        features = network.features(pixels, torch.zeros(0, dtype=torch.int64))
        scores, moves = network.heads(features.flatten(0, 1))
        odds = network.log_odds(features).flatten()
    wanted = probabilities[:, 1].flatten()
    torch.testing.assert_close(scores, wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(moves, corrections.permute(0, 2, 3, 1).reshape(-1, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(odds, torch.logit(wanted.double()).float(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(15, 12), (12, 15), (27, 33)])
def test_a_seam_acts_as_the_edge_of_an_odd_image(height: int, width: int) -> None:
    """Beyond an odd side the image continues with noise, which must not change any output."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 3, height + height % 2, width + width % 2, generator=generator)
    seam = torch.zeros(noise.shape[2] - 2, noise.shape[3] - 2, dtype=torch.bool)
    seam[height - 2 :], seam[:, width - 2 :] = True, True
    network = load_networks(CPU).pnet
    with torch.inference_mode():
        _, wanted = PNet()(noise[:, :, :height, :width])
        pixels = noise.contiguous(memory_format=torch.channels_last)
        features = network.features(pixels, seam.flatten().nonzero()[:, 0])
        scores, _ = network.heads(features.flatten(0, 1))
    torch.testing.assert_close(scores, wanted[:, 1].flatten(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [1, 16, 70])
def test_rnet_and_onet_give_the_outputs_of_the_originals(count: int) -> None:
    networks = load_networks(CPU)
    generator = torch.Generator().manual_seed(0)
    small, large = (torch.rand(count, 3, side, side, generator=generator) * 2 - 1 for side in (24, 48))
    with torch.inference_mode():
        moves, probabilities = RNet()(small)
        for ours, wanted in zip(networks.rnet(small), (probabilities[:, 1], moves), strict=True):
            torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)
        moves, landmarks, probabilities = ONet()(large)
        for ours, wanted in zip(networks.onet(large), (probabilities[:, 1], moves, landmarks), strict=True):
            torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)


def test_networks_are_loaded_once() -> None:
    assert load_networks(CPU) is load_networks(CPU)
