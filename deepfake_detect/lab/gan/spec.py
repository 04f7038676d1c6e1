"""The description of a GAN's networks: with it the same ones are built again, for a file to fill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from deepfake_detect.errors import OptionError

Arch = Literal["dense", "conv", "dcgan"]
GanLoss = Literal["bce", "hinge"]
_DCGAN_SIZES = (64, 128)


@dataclass(frozen=True)
class GanSpec:
    """All that is needed to build the two networks again.

    Attributes:
        arch: ``"dense"``, ``"conv"`` or ``"dcgan"``.
        latent_size: Length Z of a latent vector.
        image_size: Side S of an image in pixels: any for dense, a multiple of 4 for conv, 64 or 128
            for dcgan.
        channels: 1 (gray) or 3 (RGB); dcgan makes RGB alone.
        spectral_norm: Whether dcgan's discriminator is normalized by its largest singular values
            (Miyato et al. 2018, arXiv:1802.05957) in place of its batches.
        batch_norm: Whether conv's generator is normalized by its batches, as dcgan's always is; its
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
            raise OptionError("arch", f"{self.arch!r} is unknown", f"choose {', '.join(get_args(Arch))}")
        if self.latent_size < 1:
            raise OptionError("latent_size", f"is {self.latent_size}", "pass 1 or more")
        if self.channels not in (1, 3) or (self.arch == "dcgan" and self.channels != 3):
            raise OptionError("channels", f"{self.arch} has no {self.channels}", "pass 3, or 1 but for dcgan")
        for option, arch in (("spectral_norm", "dcgan"), ("batch_norm", "conv")):
            if getattr(self, option) and self.arch != arch:
                raise OptionError(option, f"is not for {self.arch}", f"leave it out, or choose {arch}")
        self._check_size()

    def _check_size(self) -> None:
        allowed = {
            "dense": (self.image_size >= 1, "pass 1 or more"),
            "conv": (self.image_size >= 4 and self.image_size % 4 == 0, "pass a multiple of 4"),
            "dcgan": (self.image_size in _DCGAN_SIZES, "pass 64 or 128"),
        }
        is_allowed, remedy = allowed[self.arch]
        if not is_allowed:
            raise OptionError("image_size", f"{self.arch} makes none of {self.image_size} pixels", remedy)
