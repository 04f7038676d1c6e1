"""SelfBlendedImages' two detectors."""

from __future__ import annotations

from deepfake_detect.models.zoo.entry import NO_MEAN, NO_STD, Figure, ZooEntry, ZooFile
from deepfake_detect.records import CropGeometry, Preprocessing

_DRIVE = "https://drive.google.com/uc?id="
_FILES = {
    "raw": ZooFile(f"{_DRIVE}12sLyqBp0VFwdpA-oZLdIOkOTkz_ZnIhV", name="FFraw.tar"),
    "c23": ZooFile(f"{_DRIVE}1X0-NYT8KPursLZZdxduRQju6E52hauV0", name="FFc23.tar"),
}
_DATASETS = ("Celeb-DF v2", "DFD", "DFDC", "DFDC preview", "FFIW")
_FIGURES = {
    "raw": (0.9382, 0.9787, 0.7301, 0.8570, 0.8452),
    "c23": (0.9287, 0.9816, 0.7196, 0.8551, 0.8322),
}
_NOTES = (
    "The authors detect faces with RetinaFace and leave out those of less than half the area of a frame's "
    "largest face; here MTCNN's faces are all read. The files are named .tar and are what torch.save wrote."
)


def _entry(compression: str) -> ZooEntry:
    source = "the authors' README"
    figures = zip(_DATASETS, _FIGURES[compression], strict=True)
    return ZooEntry(
        name=f"sbi-{compression}",
        title=f"self-blended images, EfficientNet-B4, {compression}",
        paper="Shiohara, Yamasaki 2022, arXiv:2204.08376",
        repository="https://github.com/mapooon/SelfBlendedImages",
        files=(_FILES[compression],),
        license="Yamasaki Lab's license: research without commercial use only",
        is_noncommercial=True,
        training_data=f"real videos of FaceForensics++ {compression}, blended with themselves",
        network="sbi-b4",
        preprocessing=Preprocessing(380, NO_MEAN, NO_STD, "linear"),
        geometry=CropGeometry(margin=1.25, shape="box", border="cut"),
        aggregation_rule="frame_maxima",
        published=tuple(Figure(data, "video AUC", value, source) for data, value in figures),
        notes=_NOTES,
    )


ENTRIES = tuple(_entry(compression) for compression in _FILES)
