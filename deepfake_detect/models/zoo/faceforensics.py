"""FaceForensics++' own Xception, which cannot be used."""

from __future__ import annotations

from deepfake_detect.models.zoo.entry import HALF, Figure, ZooEntry, ZooFile
from deepfake_detect.records import CropGeometry, Preprocessing

_REASON = (
    "the archive contains whole pickled modules and no state dict, and reading one runs whatever code it "
    "names, which are classes of the authors' repository and of a PyTorch of 2018. Load it with their code "
    "where that can do no harm, save model.state_dict() with torch.save, and pass that file to "
    "convert-checkpoint"
)
ENTRIES = (
    ZooEntry(
        name="faceforensics-xception",
        title="Xception of FaceForensics++",
        paper="Rössler, Cozzolino, Verdoliva, Riess, Thies, Nießner 2019, arXiv:1901.08971",
        repository="https://github.com/ondyari/FaceForensics",
        files=(ZooFile("http://kaldir.vc.in.tum.de/FaceForensics/models/faceforensics++_models.zip"),),
        license="the terms of FaceForensics++: research without commercial use",
        is_noncommercial=True,
        training_data="FaceForensics++",
        network="polimi-xception",
        preprocessing=Preprocessing(299, HALF, HALF, "cubic"),
        geometry=CropGeometry(margin=1.3, border="cut"),
        published=(
            Figure("FaceForensics++ benchmark, hidden", "accuracy", 0.710, "benchmark of FaceForensics++"),
        ),
        refused=_REASON,
    ),
)
