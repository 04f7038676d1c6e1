"""GenD's three detectors."""

from __future__ import annotations

from deepfake_detect.models.zoo.entry import (
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Figure,
    ZooEntry,
    ZooFile,
)
from deepfake_detect.records import CropGeometry, Preprocessing

_HUB = "https://huggingface.co/yermandy/"
_NOTES = (
    "The authors detect faces with RetinaFace and align the largest of each frame by its five landmarks to a "
    "template that differs from insightface's by less than a hundredth of the side; they take the mean of 32 "
    "frames."
)
_FIGURES = tuple(
    Figure(data, "video AUC", value, "arXiv:2508.06248, as quoted by others; the paper's best encoder")
    for data, value in (("Celeb-DF v2", 0.960), ("DFD", 0.97), ("DFDC", 0.871), ("FFIW", 0.945))
)


def _entry(
    name: str, title: str, file: ZooFile, license: str, preprocessing: Preprocessing, notes: str = ""
) -> ZooEntry:
    return ZooEntry(
        name=name,
        title=title,
        paper="Yermakov, Cech, Matas, Fritz 2026, arXiv:2508.06248",
        repository="https://github.com/yermandy/GenD",
        files=(file,),
        license=license,
        is_noncommercial=False,
        training_data="FaceForensics++ c23",
        network=name,
        preprocessing=preprocessing,
        geometry=CropGeometry(margin=1.3, aligned=True, template="arcface", border="black"),
        aggregation_rule="mean",
        published=_FIGURES,
        notes=f"{_NOTES} {notes}".strip(),
    )


ENTRIES = (
    _entry(
        "gend-clip-l",
        "GenD on CLIP ViT-L/14",
        # The hash is that of the hub's file, as recorded by several projects that pin this revision.
        ZooFile(
            f"{_HUB}GenD_CLIP_L_14/resolve/891ce014a0308386c4d7d25b3dcf436a22db5504/model.safetensors",
            "d76f0bdfd74a29fe1b1c1b84a80ac92486993e426878e8c7a3944281fbb96833",
            1216,
            name="GenD_CLIP_L_14.safetensors",
        ),
        "MIT",
        Preprocessing(224, CLIP_MEAN, CLIP_STD, "area"),
    ),
    _entry(
        "gend-pe-l",
        "GenD on Perception Encoder L/14",
        ZooFile(
            f"{_HUB}GenD_PE_L/resolve/main/model.safetensors", size_mb=1268, name="GenD_PE_L.safetensors"
        ),
        "MIT; the encoder Apache-2.0",
        Preprocessing(224, HALF, HALF, "area"),
        "Images of 224 pixels are read, as in training; the encoder was made for 336.",
    ),
    _entry(
        "gend-dinov3-l",
        "GenD on DINOv3 ViT-L/16",
        ZooFile(
            f"{_HUB}GenD_DINOv3_L/resolve/main/model.safetensors",
            size_mb=1213,
            name="GenD_DINOv3_L.safetensors",
        ),
        "MIT; the encoder DINOv3 License",
        Preprocessing(224, IMAGENET_MEAN, IMAGENET_STD, "area"),
    ),
)
