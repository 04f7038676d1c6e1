"""Fakes made from reals, so that a detector learns the trace of blending, not one forger's.

config      every choice of a blend
inputs      what the blends take in, checked
landmarks   a crop's landmarks, the outline of its face, faces that are held alike
find        landmarks for crops that came without
masks       the outline as a weight per pixel
single      a face blended into itself, one crop at a time
batch       the same on a batch of tensors, CPU or GPU
  batch_draws  all that chance decides there, and colour as one linear map
  batch_masks  its masks
cross       another person's face blended in
gan         generators trained here
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepfake_detect.lazy import lazy_names

if TYPE_CHECKING:
    from deepfake_detect.forgery.batch import blend_batch
    from deepfake_detect.forgery.config import PAPER, CrossBlendConfig, SelfBlendConfig
    from deepfake_detect.forgery.cross import cross_blend
    from deepfake_detect.forgery.find import find_landmarks
    from deepfake_detect.forgery.landmarks import crop_landmarks, nearest_landmarks
    from deepfake_detect.forgery.single import SelfBlendPair, self_blend, self_blend_pair

# Loaded on first use, as torch and albumentations take seconds.
_HOMES = {
    "PAPER": "config",
    "CrossBlendConfig": "config",
    "SelfBlendConfig": "config",
    "SelfBlendPair": "single",
    "blend_batch": "batch",
    "crop_landmarks": "landmarks",
    "cross_blend": "cross",
    "find_landmarks": "find",
    "nearest_landmarks": "landmarks",
    "self_blend": "single",
    "self_blend_pair": "single",
}

__all__ = [
    "PAPER",
    "CrossBlendConfig",
    "SelfBlendConfig",
    "SelfBlendPair",
    "blend_batch",
    "crop_landmarks",
    "cross_blend",
    "find_landmarks",
    "nearest_landmarks",
    "self_blend",
    "self_blend_pair",
]


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
