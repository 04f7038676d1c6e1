"""The detectors of DeepfakeBench v1.0.1 that score single frames."""

from __future__ import annotations

from deepfake_detect.models.zoo.entry import HALF, Figure, ZooEntry, ZooFile
from deepfake_detect.records import CropGeometry, Preprocessing

_RELEASE = "https://github.com/SCLBD/DeepfakeBench/releases/download/v1.0.1/"
_BENCHMARK = "Yan et al. 2023, DeepfakeBench, arXiv:2307.01426"
_DATASETS = ("FF++ c23", "FF++ c40", "Celeb-DF v2", "DFD", "DFDC", "DFDC preview")
_NOTES = (
    "The authors align crops by dlib's eye, nose and mouth points, here they are MTCNN's; for a clip they "
    "average the probabilities of 32 frames of its largest face."
)


def _entry(name: str, title: str, file: ZooFile, paper: str, figures: tuple[float, ...]) -> ZooEntry:
    """Return an entry.

    Args:
        name: After ``deepfakebench-``, as its layout's.
        title: In words.
        file: Its file.
        paper: Of the method.
        figures: Frame AUC on each of ``_DATASETS``.
    """
    source = "the authors' README"
    return ZooEntry(
        name=f"deepfakebench-{name}",
        title=f"{title}, DeepfakeBench",
        paper=f"{paper}; {_BENCHMARK}",
        repository="https://github.com/SCLBD/DeepfakeBench",
        files=(file,),
        license="CC BY-NC 4.0",
        is_noncommercial=True,
        training_data="FaceForensics++ c23, all four methods, as the authors' README says",
        network=f"deepfakebench-{name}",
        preprocessing=Preprocessing(256, HALF, HALF, "cubic"),
        geometry=CropGeometry(margin=1.3, aligned=True, border="black", template="arcface", side=256),
        polarity="fake",
        aggregation_rule="mean",
        published=tuple(
            Figure(data, "frame AUC", value, source) for data, value in zip(_DATASETS, figures, strict=True)
        ),
        notes=_NOTES,
    )


def _file(name: str, size_mb: float) -> ZooFile:
    return ZooFile(f"{_RELEASE}{name}_best.pth", size_mb=size_mb)


ENTRIES = (
    _entry(
        "xception",
        "Xception",
        _file("xception", 87.8),
        "Chollet 2017, arXiv:1610.02357",
        (0.9637, 0.8261, 0.7365, 0.8163, 0.7077, 0.7374),
    ),
    _entry(
        "efficientnetb4",
        "EfficientNet-B4",
        _file("effnb4", 71.0),
        "Tan, Le 2019, arXiv:1905.11946",
        (0.9567, 0.8150, 0.7487, 0.8148, 0.6955, 0.7283),
    ),
    _entry(
        "meso4",
        "Meso4",
        _file("meso4", 0.12),
        "Afchar et al. 2018, arXiv:1809.00888",
        (0.6077, 0.5920, 0.6091, 0.5481, 0.5560, 0.5994),
    ),
    _entry(
        "mesoinception4",
        "MesoInception4",
        _file("meso4Incep", 0.13),
        "Afchar et al. 2018, arXiv:1809.00888",
        (0.7583, 0.7278, 0.6966, 0.6069, 0.6226, 0.7561),
    ),
    _entry(
        "f3net",
        "F3-Net",
        _file("f3net", 90.4),
        "Qian et al. 2020, arXiv:2007.09355",
        (0.9635, 0.8271, 0.7352, 0.7975, 0.7021, 0.7354),
    ),
    _entry(
        "spsl",
        "SPSL",
        _file("spsl", 87.8),
        "Liu et al. 2021, arXiv:2103.01856",
        (0.9610, 0.8174, 0.7650, 0.8122, 0.7040, 0.7408),
    ),
    _entry(
        "srm",
        "SRM",
        _file("srm", 222.1),
        "Luo et al. 2021, arXiv:2103.12376",
        (0.9576, 0.8114, 0.7552, 0.8120, 0.6995, 0.7408),
    ),
    _entry(
        "ucf",
        "UCF",
        _file("ucf", 188.0),
        "Yan et al. 2023, arXiv:2304.13949",
        (0.9705, 0.8399, 0.7527, 0.8074, 0.7191, 0.7594),
    ),
    _entry(
        "recce",
        "RECCE",
        _file("recce", 191.5),
        "Cao et al. 2022, CVPR, 4113-4122",
        (0.9621, 0.8190, 0.7319, 0.8119, 0.7133, 0.7419),
    ),
    _entry(
        "core",
        "CORE",
        _file("core", 87.8),
        "Ni et al. 2022, arXiv:2206.02749",
        (0.9638, 0.8194, 0.7428, 0.8018, 0.7049, 0.7341),
    ),
)
