"""A package outside this library with one part of each kind, and the folder it is installed in."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

# What a build would leave: a build takes seconds.
METADATA = {
    "METADATA": "Metadata-Version: 2.1\nName: dfd-tiny\nVersion: 1.5\n",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "entry_points.txt": "[deepfake_detect.plugins]\ntiny = dfd_tiny:register\n",
    "RECORD": "",
}

MODULE = """
import deepfake_detect as dfd
from deepfake_detect.data.layouts import Layout
from deepfake_detect.data.layouts.base import VideoListing
from torch import nn


class TinyNet(nn.Sequential):
    def __init__(self, width=8):
        super().__init__(nn.Conv2d(3, width, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def tiny_head(num_features, num_classes, dropout):
    return nn.Sequential(nn.LayerNorm(num_features), nn.Linear(num_features, num_classes))


def tiny_loss(logits, targets):
    return (logits.sigmoid() - targets) ** 2


def tiny_flip():
    return lambda crop, rng: crop[:, ::-1].copy() if rng.random() < 0.5 else crop


def tiny_recall(labels, scores, threshold):
    return float((scores[labels == 1] >= threshold).mean()) if labels.any() else float("nan")


def tiny_highest(faces):
    return float(faces.probabilities.max()), None


def tiny_videos(root, selection):
    return VideoListing(videos=())


def register():
    dfd.register_backbone("tiny_net", TinyNet, image_size=32)
    dfd.register_head("tiny_head", tiny_head)
    dfd.register_loss("tiny_loss", tiny_loss)
    dfd.register_augmentation("tiny_flip", tiny_flip)
    dfd.register_metric("tiny_recall", tiny_recall, title="fakes found")
    dfd.register_aggregation("tiny_highest", tiny_highest)
    dfd.register_layout(
        Layout(
            name="tiny",
            dataset="Tiny",
            summary="genuine/*.mp4, forged/*.mp4",
            label_source="folders",
            split_source="none",
            published="2 videos",
            recognize=lambda root: None,
            list_videos=tiny_videos,
        )
    )
"""


def install(folder: Path) -> Path:
    """Install the package with pip; return the folder to put on ``PYTHONPATH``."""
    wheel, target = folder / "dfd_tiny-1.5-py3-none-any.whl", folder / "installed"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("dfd_tiny.py", MODULE)
        for name, text in METADATA.items():
            archive.writestr(f"dfd_tiny-1.5.dist-info/{name}", text)
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    return target
