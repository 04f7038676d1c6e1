"""yermandy/GenD, and what its authors collected of others: FS-VFM and its adapter."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from deepfake_detect.records import Face
from zoo_authors.case import Case, load_module, resized_pil, stand_ins

_CLIP = "openai/clip-vit-large-patch14"
_BACKBONES = {
    "gend-clip-l": _CLIP,
    "gend-pe-l": "vit_pe_core_large_patch14_336",
    "gend-dinov3-l": "facebook/dinov3-vitl16-pretrain-lvd1689m",
}


def without_clip_download() -> None:
    """Let transformers build CLIP ViT-L/14 without fetching it."""
    import transformers

    vision = {
        **{"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24},
        **{"num_attention_heads": 16, "patch_size": 14, "projection_dim": 768},
    }
    text = {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 1}
    config = transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=768)
    transformers.CLIPModel.from_pretrained = lambda *_, **__: transformers.CLIPModel(config)
    transformers.CLIPProcessor.from_pretrained = lambda *_, **__: None


def _without_dinov3_download() -> None:
    import transformers

    config = transformers.DINOv3ViTConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        num_register_tokens=4,
        image_size=224,
    )
    transformers.AutoModel.from_pretrained = lambda _: transformers.DINOv3ViTModel(config)
    transformers.AutoImageProcessor.from_pretrained = lambda _: None


def without_timm_download() -> None:
    """Let timm build its networks without fetching weights."""
    import timm

    build = timm.create_model
    timm.create_model = lambda name, **options: build(name, **{**options, "pretrained": False})


def _build(folder: Path, *, backbone: str) -> nn.Module:
    without_clip_download()
    _without_dinov3_download()
    without_timm_download()
    module = load_module(folder / "src" / "hf" / "modeling_gend.py", "modeling_gend")
    return module.GenD(module.GenDConfig(backbone=backbone, head="LinearNorm"))


def _save(content: dict[str, torch.Tensor], path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in content.items()}, path)


def _crop(folder: Path, image: np.ndarray, face: Face) -> np.ndarray:
    """Return their aligned face at the resolution of the frame, resized as CLIP's processor does."""
    with stand_ins("imageio", "imageio.v3", "src", "src.retinaface", "tqdm"):
        detector = load_module(folder / "detector.py", "gend_detector")
    crop, _ = detector.align_face(image, np.asarray(face.landmarks_xy, np.float32), scale=1.3)
    return resized_pil(crop, 224, "BICUBIC")


CASES = tuple(
    Case(
        entry,
        "gend",
        partial(_build, backbone=backbone),
        remark="`src/hf/modeling_gend.py`",
        crop=_crop,
        num_crops=2,
        suffix=".safetensors",
        save=_save,
    )
    for entry, backbone in _BACKBONES.items()
)
