"""The description of a GAN's networks, from which they are built again to load their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from deepfake_detect.errors import OptionError

Arch = Literal["dense", "conv", "dcgan"]
GanLoss = Literal["bce", "hinge"]
_DCGAN_SIZES = (64, 128)


@dataclass(frozen=True)
class GanSpec:
    """Everything that is needed to build both networks again.

    Attributes:
        arch: ``"dense"``, ``"conv"`` or ``"dcgan"``.
        latent_size: Length Z of a latent vector.
        image_size: Side S of an image in pixels: any for dense, a multiple of 4 for conv, 64 or 128
            for dcgan.
        channels: 1 (gray) or 3 (RGB); dcgan has only RGB.
        spectral_norm: Whether dcgan's discriminator is normalized by its largest singular values
            (Miyato et al. 2018, arXiv:1802.05957) instead of batch norm.
        batch_norm: Whether conv's generator has batch norm, as dcgan's always does; its
            discriminator is then a deeper one without dropout.

    Raises:
        OptionError: One of them is not possible.
    """

    arch: Arch
    latent_size: int = 100
    image_size: int = 28
    channels: int = 1
    spectral_norm: bool = False
    batch_norm: bool = False

    def __post_init__(self) -> None:
        if self.arch not in get_args(Arch):
            raise OptionError("arch", f"is {self.arch!r}", f"must be one of {', '.join(get_args(Arch))}")
        if self.latent_size < 1:
            raise OptionError("latent_size", f"is {self.latent_size}", "must be 1 or more")
        if self.channels not in (1, 3) or (self.arch == "dcgan" and self.channels != 3):
            allowed = "3" if self.arch == "dcgan" else "1 or 3"
            raise OptionError("channels", f"is {self.channels}", f"must be {allowed} for {self.arch}")
        for name, arch in (("spectral_norm", "dcgan"), ("batch_norm", "conv")):
            if getattr(self, name) and self.arch != arch:
                raise OptionError(name, f"is not for {self.arch}", f"omit it, or choose {arch}")
        self._check_size()

    def _check_size(self) -> None:
        size = self.image_size
        is_allowed, allowed = {
            "dense": (size >= 1, "1 or more"),
            "conv": (size >= 4 and size % 4 == 0, "a multiple of 4"),
            "dcgan": (size in _DCGAN_SIZES, "64 or 128"),
        }[self.arch]
        if not is_allowed:
            raise OptionError("image_size", f"is {size}", f"must be {allowed} for {self.arch}")
