"""MesoNet's four detectors."""

from __future__ import annotations

from deepfake_detect.models.zoo.entry import NO_MEAN, NO_STD, Figure, ZooEntry, ZooFile
from deepfake_detect.records import CropGeometry, Preprocessing

_PAPER = "Afchar, Nozick, Yamagishi, Echizen 2018, MesoNet, arXiv:1809.00888"
_ADDRESS = "https://github.com/DariusAf/MesoNet/raw/2144d56a30e48cdcac1976ff13a1c5cdc86376c6/weights/"
# Their crop is 1.3 * 2.2 times the larger of eye distance and distance from eyes to mouth, turned level.
_GEOMETRY = CropGeometry(margin=1.05, aligned=True)
_PREPROCESSING = Preprocessing(256, NO_MEAN, NO_STD, "cubic")
_NOTES = (
    "The authors' output is the probability of a real face. They center crops on the nose and turn them "
    "by dlib's landmarks; here the five landmarks of MTCNN are aligned to a frontal face of the same size."
)


def _entry(
    name: str,
    title: str,
    file: str,
    sha256: str,
    network: str,
    data: str,
    *,
    converted_sha256: str | None = None,
) -> ZooEntry:
    return ZooEntry(
        name=name,
        title=title,
        paper=_PAPER,
        repository="https://github.com/DariusAf/MesoNet",
        files=(ZooFile(_ADDRESS + file, sha256, 0.2 if "inception" in name else 0.16),),
        license="Apache-2.0",
        is_noncommercial=False,
        training_data=data,
        network=network,
        preprocessing=_PREPROCESSING,
        geometry=_GEOMETRY,
        polarity="real",
        aggregation_rule="mean",
        published=(_PUBLISHED[name],),
        measured=_MEASURED[name],
        notes=_NOTES,
        equivalents=() if converted_sha256 is None else (_converted(converted_sha256),),
    )


_DF = "the authors' faces of deepfakes from the web: 5,111 forged and 7,250 real ones"
_F2F = "FaceForensics (2018), Face2Face"
_TABLE = "paper: accuracy over the frames of a video"
_PUBLISHED = {
    "meso4-df": Figure("the authors' deepfakes", "video accuracy", 0.969, _TABLE),
    "mesoinception4-df": Figure("the authors' deepfakes", "video accuracy", 0.984, _TABLE),
    "meso4-f2f": Figure("FaceForensics, Face2Face", "video accuracy", 0.953, _TABLE),
    "mesoinception4-f2f": Figure("FaceForensics, Face2Face", "video accuracy", 0.953, _TABLE),
}


# python benchmarks/zoo_measured.py, 24 frames a clip; intervals over people. The F2F networks may have been
# trained on some of these videos, which are of the training split of FaceForensics++.
_HOW = "measured here: 24 frames a clip, official training split"
_MEASURED = {
    "meso4-df": (
        Figure("FF++ c23, Deepfakes", "video AUC", 0.800, _HOW, (0.637, 0.901), 56),
        Figure("FF++ c23, Face2Face", "video AUC", 0.429, _HOW, (0.312, 0.554), 44),
        Figure("FF++ c23, FaceSwap", "video AUC", 0.357, _HOW, (0.202, 0.549), 44),
    ),
    "meso4-f2f": (
        Figure("FF++ c23, Deepfakes", "video AUC", 0.791, _HOW, (0.658, 0.881), 56),
        Figure("FF++ c23, Face2Face", "video AUC", 0.960, _HOW, (0.880, 0.987), 44),
        Figure("FF++ c23, FaceSwap", "video AUC", 0.520, _HOW, (0.349, 0.687), 44),
    ),
    "mesoinception4-df": (
        Figure("FF++ c23, Deepfakes", "video AUC", 0.798, _HOW, (0.652, 0.893), 56),
        Figure("FF++ c23, Face2Face", "video AUC", 0.455, _HOW, (0.335, 0.581), 44),
        Figure("FF++ c23, FaceSwap", "video AUC", 0.375, _HOW, (0.243, 0.528), 44),
    ),
    "mesoinception4-f2f": (
        Figure("FF++ c23, Deepfakes", "video AUC", 0.665, _HOW, (0.573, 0.745), 56),
        Figure("FF++ c23, Face2Face", "video AUC", 0.991, _HOW, (0.928, 0.999), 44),
        Figure("FF++ c23, FaceSwap", "video AUC", 0.446, _HOW, (0.315, 0.585), 44),
    ),
}


def _converted(sha256: str) -> ZooFile:
    """Return a file with the same weights as safetensors, under plain names."""
    return ZooFile("", sha256, 0.11, network="meso4-plain")


ENTRIES = (
    _entry(
        "meso4-df",
        "Meso4, deepfakes",
        "Meso4_DF.h5",
        "036ed30d04ffd9c7506f825b97c86aa64915f5818931da96817b169aad790af5",
        "meso4-keras",
        _DF,
        converted_sha256="ecd939c69cd9f30ae8f12e51e6096289fe2ea595e4640780dd9ca2483f937578",
    ),
    _entry(
        "meso4-f2f",
        "Meso4, Face2Face",
        "Meso4_F2F.h5",
        "bcfda015d217b9f8d6557693edbdf9f4e79cfd22672541968dd0e2954462b5d7",
        "meso4-keras",
        _F2F,
        converted_sha256="4cf94086ae526767f791d3e1391c6f150d28cdf4124889109715cedc962ca544",
    ),
    _entry(
        "mesoinception4-df",
        "MesoInception4, deepfakes",
        "MesoInception_DF.h5",
        "234586d40058e76ef8b6f27ca4b63c06e31c2a5a69c0d8ba6f30b1468ab7bafa",
        "mesoinception4-keras",
        _DF,
    ),
    _entry(
        "mesoinception4-f2f",
        "MesoInception4, Face2Face",
        "MesoInception_F2F.h5",
        "d4533ac8a3197dc35c47405d23d99e888c1d0135e267e03540c7451feaccff3f",
        "mesoinception4-keras",
        _F2F,
    ),
)
