"""polimi-ispl's ten detectors: five networks, each trained on DFDC and on FaceForensics++."""

from __future__ import annotations

from deepfake_detect.models.zoo.entry import IMAGENET_MEAN, IMAGENET_STD, Figure, ZooEntry, ZooFile
from deepfake_detect.records import CropGeometry, Preprocessing

_ADDRESS = "https://f002.backblazeb2.com/file/icpr2020/"
_PREPROCESSING = Preprocessing(224, IMAGENET_MEAN, IMAGENET_STD, "linear")
# Their crop is the square around BlazeFace's box, which leaves out the forehead, with a fifth of its height
# on three sides and two fifths on top: on frames of FaceForensics++ 1.4 times the height of MTCNN's box.
_GEOMETRY = CropGeometry(margin=1.4, border="cut")
_SOURCE = "the authors' notebook/Analyze results net fusion paper.ipynb, 32 frames a video"
_NOTES = (
    "The authors detect faces with BlazeFace and score the most confident face of each frame; for a clip "
    "they use the sigmoid of the mean logit, here the mean of the probabilities is used. Networks of "
    "EfficientNet-B4 are padded as efficientnet_pytorch 0.7 does; the authors name no version."
)
_DATA = {
    "dfdc": ("DFDC", "DFDC, training folders 0 to 34"),
    "ffpp": ("FFPP", "FaceForensics++ c23, 720 originals and four methods"),
}
# Layout, title, MB, the SHA-256 at the end of the files' names, and the authors' AUC over frames and videos
# of the test part of the data trained on.
_NETWORKS = {
    "EfficientNetB4": (
        "polimi-b4",
        "EfficientNet-B4",
        71,
        {
            "dfdc": "c9f3663e2116d3356d056a0ce6453e0fc412a8df68ebd0902f07104d9129a09a",
            "ffpp": "93aaad84946829e793d1a67ed7e0309b535e2f2395acb4f8d16b92c0616ba8d7",
        },
        {"dfdc": (0.8766, 0.9473), "ffpp": (0.9382, 0.9664)},
    ),
    "EfficientNetB4ST": (
        "polimi-b4-siamese",
        "EfficientNet-B4, siamese training",
        71,
        {
            "dfdc": "86f0a0701b18694dfb5e7837bd09fa8e48a5146c193227edccf59f1b038181c6",
            "ffpp": "ccd016668071be5bf5fff68e446d055441739ec7113fb1a6eee998f08396ae92",
        },
        {"dfdc": (0.8658, 0.9414), "ffpp": (0.9337, 0.9674)},
    ),
    "EfficientNetAutoAttB4": (
        "polimi-b4-attention",
        "EfficientNet-B4 with attention",
        71,
        {
            "dfdc": "72ed969b2a395fffe11a0d5bf0a635e7260ba2588c28683630d97ff7153389fc",
            "ffpp": "b0c9e9522a7143cf119843e910234be5e30f77dc527b1b427cdffa5ce3bdbc25",
        },
        {"dfdc": (0.8642, 0.9430), "ffpp": (0.9360, 0.9650)},
    ),
    "EfficientNetAutoAttB4ST": (
        "polimi-b4-attention-siamese",
        "EfficientNet-B4 with attention, siamese training",
        71,
        {
            "dfdc": "4df0ef7d2f380a5955affa78c35d0942ac1cd65229510353b252737775515a33",
            "ffpp": "ddb357503b9b902e1b925c2550415604c4252b9b9ecafeb7369dc58cc16e9edd",
        },
        {"dfdc": (0.8360, 0.9229), "ffpp": (0.9293, 0.9633)},
    ),
    "Xception": (
        "polimi-xception",
        "Xception",
        84,
        {
            "dfdc": "e826cdb64d73ef491e6b8ff8fce0e1e1b7fc1d8e2715bc51a56280fff17596f9",
            "ffpp": "bb119e4913cb8f816cd28a03f81f4c603d6351bf8e3f8e3eb99eebc923aecd22",
        },
        {"dfdc": (0.8784, 0.9497), "ffpp": (0.9273, 0.9583)},
    ),
}


def _entry(network: str, data: str) -> ZooEntry:
    layout, title, size_mb, hashes, figures = _NETWORKS[network]
    label, training_data = _DATA[data]
    of_frames, of_videos = figures[data]
    test = f"test part of {training_data.partition(',')[0]}"
    return ZooEntry(
        name=f"polimi-{network.lower()}-{data}",
        title=f"{title}, {label}",
        paper="Bonettini, Cannas, Mandelli, Bondi, Bestagini, Tubaro 2020, arXiv:2004.07676",
        repository="https://github.com/polimi-ispl/icpr2020dfdc",
        files=(ZooFile(f"{_ADDRESS}{network}_{label}_bestval-{hashes[data]}.pth", hashes[data], size_mb),),
        license="not stated for the weights; the code is GPL-3.0",
        is_noncommercial=False,
        training_data=training_data,
        network=layout,
        preprocessing=_PREPROCESSING,
        geometry=_GEOMETRY,
        aggregation_rule="mean",
        published=(
            Figure(test, "frame AUC", of_frames, _SOURCE),
            Figure(test, "video AUC", of_videos, _SOURCE),
        ),
        notes=_NOTES,
    )


ENTRIES = tuple(_entry(network, data) for network in _NETWORKS for data in _DATA)
