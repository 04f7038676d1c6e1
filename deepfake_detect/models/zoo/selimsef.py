"""The seven networks that won DFDC, and all of them together."""

from __future__ import annotations

from deepfake_detect.models.zoo.entry import IMAGENET_MEAN, IMAGENET_STD, Figure, ZooEntry, ZooFile
from deepfake_detect.records import CropGeometry, Preprocessing

_ADDRESS = "https://github.com/selimsef/dfdc_deepfake_challenge/releases/download/0.0.1/"
_FILES = {
    f"{seed}-{epoch}": ZooFile(
        f"{_ADDRESS}final_{seed}_DeepFakeClassifier_tf_efficientnet_b7_ns_0_{epoch}", size_mb=267
    )
    for seed, epoch in ((111, 36), (555, 19), (777, 29), (777, 31), (888, 37), (888, 40), (999, 23))
}
_NOTES = (
    "The authors cut MTCNN's box with a third of its sides around it, and pad the resized crop with black; "
    "here it is padded before it is resized, and a small crop grows linearly where theirs is cubic."
)
_ENSEMBLE_NOTES = (
    f"{_NOTES} They apply the confident rule to each network and take the mean of the results; here the "
    "seven probabilities of each face are averaged first."
)


def _entry(name: str, title: str, files: tuple[ZooFile, ...], network: str, **more: object) -> ZooEntry:
    return ZooEntry(
        name=name,
        title=title,
        paper="Seferbekov 2020, first place of the Deepfake Detection Challenge, arXiv:2006.07397",
        repository="https://github.com/selimsef/dfdc_deepfake_challenge",
        files=files,
        license="MIT",
        is_noncommercial=False,
        training_data="DFDC",
        network=network,
        preprocessing=Preprocessing(380, IMAGENET_MEAN, IMAGENET_STD),
        geometry=CropGeometry(margin=5 / 3, shape="padded", border="cut"),
        aggregation_rule="confident",
        **more,  # type: ignore[arg-type]
    )


ENTRIES = (
    *(
        _entry(
            f"selimsef-b7-{run}",
            f"EfficientNet-B7, seed {run.replace('-', ', epoch ')}",
            (file,),
            "selimsef-b7",
            notes=_NOTES,
        )
        for run, file in _FILES.items()
    ),
    _entry(
        "selimsef-b7-ensemble",
        "the winner of DFDC: seven EfficientNet-B7",
        tuple(_FILES.values()),
        "selimsef-b7-ensemble",
        published=(Figure("DFDC, private test set", "log loss", 0.42798, "leaderboard of the challenge"),),
        notes=_ENSEMBLE_NOTES,
    ),
)
