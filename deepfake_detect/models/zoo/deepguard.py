"""DeepGuard's six detectors: two networks, each trained on three datasets."""

from __future__ import annotations

from deepfake_detect.models.zoo.entry import IMAGENET_MEAN, IMAGENET_STD, Figure, ZooEntry, ZooFile
from deepfake_detect.records import CropGeometry, Preprocessing

_RELEASES = "https://github.com/HanMoonSub/DeepGuard/releases/download/"
# Release, part of the file's name, and the dataset.
_DATA = {
    "celebdf": ("v0.1.0", "celeb_df_v2", "Celeb-DF v2"),
    "ffpp": ("v0.1.0", "ff++", "FaceForensics++"),
    "kodf": ("v0.2.0", "kodf", "KoDF"),
}
_SIZES = {"b0": 224, "b5": 384}
# Of the authors, on the test part of the data trained on. For B5 on KoDF they repeat the figures of
# FaceForensics++, so it has none here.
_AUC = {
    ("b0", "celebdf"): 0.9965,
    ("b5", "celebdf"): 0.9984,
    ("b0", "ffpp"): 0.9969,
    ("b5", "ffpp"): 0.9974,
    ("b0", "kodf"): 0.9792,
}
_NOTES = (
    "The authors detect faces with YOLOv8, cut the box with a fifth of its sides around it, and pad the "
    "resized crop with black; here it is padded before it is resized. Of a clip they take the mean of the "
    "faces above 0.8 if these are two in five; the confident rule here wants more than 11 of them, too."
)


def _entry(scale: str, data: str) -> ZooEntry:
    release, part, dataset = _DATA[data]
    figures = [_AUC[scale, data]] if (scale, data) in _AUC else []
    return ZooEntry(
        name=f"deepguard-{scale}-{data}",
        title=f"DeepGuard MS-EffGCViT-{scale.upper()}, {dataset}",
        paper="none; the network is described in the repository",
        repository="https://github.com/HanMoonSub/DeepGuard",
        files=(ZooFile(f"{_RELEASES}{release}/ms_eff_gcvit_{scale}_{part}.bin"),),
        license="MIT",
        is_noncommercial=False,
        training_data=dataset,
        network=f"deepguard-{scale}",
        preprocessing=Preprocessing(_SIZES[scale], IMAGENET_MEAN, IMAGENET_STD, "linear"),
        geometry=CropGeometry(margin=1.4, shape="padded", border="cut"),
        aggregation_rule="confident",
        published=tuple(
            Figure(f"test part of {dataset}", "AUC", value, "the authors' README") for value in figures
        ),
        notes=_NOTES,
    )


ENTRIES = tuple(_entry(scale, data) for scale in _SIZES for data in _DATA)
