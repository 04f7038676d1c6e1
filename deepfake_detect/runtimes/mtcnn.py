"""Exporting MTCNN's networks to the ONNX files that come with the package.

The networks and their weights are those of facenet-pytorch 2.5.3 (MIT license, Tim Esler), which
converted them from David Sandberg's FaceNet (MIT license).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepfake_detect.faces.networks import original_networks
from deepfake_detect.io.files import atomic_path, make_folder
from deepfake_detect.runtimes.faces import FACE_FILES
from deepfake_detect.runtimes.onnx_files import write_onnx

_SIDES = {"mtcnn_refine.onnx": 24, "mtcnn_output.onnx": 48}


class _PNet(nn.Module):
    """P-Net on a mosaic of frames, with its seams masked."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, pixels: torch.Tensor, is_seam: torch.Tensor) -> torch.Tensor:
        """Return (B, cells, 5), log odds of a face and box regression offsets, of pixels (B, H, W, 3).

        Args:
            pixels: float32, H and W even.
            is_seam: bool (1, 1, H - 2, W - 2): outputs of the first layer that no pooling window reads.
        """
        network = self.network
        first = network.prelu1(network.conv1(pixels.permute(0, 3, 1, 2)))
        first = torch.where(is_seam, first.new_tensor(-torch.inf), first)
        middle = network.prelu2(network.conv2(nn.functional.max_pool2d(first, 2)))
        last = network.prelu3(network.conv3(middle))
        sides = network.conv4_1(last)
        features = torch.cat([sides[:, 1:] - sides[:, :1], network.conv4_2(last)], 1)
        return features.permute(0, 2, 3, 1).flatten(1, 2)


class _OnCrops(nn.Module):
    """R-Net or O-Net with P(face) as the first output, and channels last."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return P(face) (N,), box offsets (N, 4) and any landmarks (N, 10) of crops (N, S, S, 3)."""
        *others, probabilities = self.network(crops.permute(0, 3, 1, 2))
        return probabilities[:, 1], *others


def export_face_networks(folder: str | os.PathLike[str]) -> list[Path]:
    """Write P-Net, R-Net and O-Net as ONNX files.

    Args:
        folder: Folder to write to; created if missing.

    Returns:
        The three files.

    Raises:
        OutputError: A file cannot be written.
    """
    folder = make_folder(folder)
    proposal, refine, output = original_networks()
    paths = [folder / name for name in FACE_FILES]
    free = {0: "frames", 1: "height", 2: "width"}
    with atomic_path(paths[0]) as temporary:
        write_onnx(
            _PNet(proposal),
            (torch.zeros(1, 24, 24, 3), torch.zeros(1, 1, 22, 22, dtype=torch.bool)),
            temporary,
            names=("pixels", "is_seam", "answers"),
            free_axes={
                "pixels": free,
                "is_seam": {2: "rows", 3: "columns"},
                "answers": {0: "frames", 1: "cells"},
            },
        )
    for path, network in zip(paths[1:], (refine, output), strict=True):
        side = _SIDES[path.name]
        names = ("crops", "probability", "corrections", "landmarks")[: 4 if network is output else 3]
        with atomic_path(path) as temporary:
            write_onnx(
                _OnCrops(network),
                (torch.zeros(2, side, side, 3),),
                temporary,
                names=names,
                free_axes={name: {0: "faces"} for name in names},
            )
    return paths
