"""Tell whether the face in a video was forged.

The way through the library: video -> frames -> faces -> crops -> manifest -> dataset -> model ->
training -> evaluation; and the short way, clip -> verdict:

    >>> import deepfake_detect as dfd
    >>> detector = dfd.load_detector()
    >>> score = detector.score_video("examples/demo.mp4")
    >>> score.verdict in ("real", "fake", "uncertain", "no_face")
    True

The rooms, in the order in which they may import one another:

    errors, records, metrics     what goes wrong, what crosses rooms, numbers about numbers
    cluster      tasks -> results, by workers on many machines
    urls         folders behind URLs
    video        file -> frames
    faces        frames -> faces -> crops, people followed over time
    data         dataset layouts, official splits, the manifest, crops as tensors
    forgery      making fakes: blends of reals, GANs
    models       crop -> logit, pretrained weights, the detector file
    training     manifest -> detector
    explain      where a network looks, what its layers answer to, Deep Dream
    evaluation   scores -> metrics with intervals, aggregation over a clip, calibration
    report       pictures and annotated clips from finished numbers
    features     features kept in HDF5, classical classifiers, like faces, maps
    extraction   dataset -> crops and manifest, resumable and parallel
    scoring      clip -> verdict
    runtimes     detectors in ONNX Runtime and OpenVINO, without PyTorch
    clips        many clips, addresses, streams: what to judge, tables of results
    app          a page and an HTTP interface for clips, on this computer
    cli          the command line, also behind tools/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepfake_detect._version import __version__
from deepfake_detect.lazy import lazy_names

if TYPE_CHECKING:
    from deepfake_detect.errors import DeepfakeDetectError
    from deepfake_detect.faces import detect_faces
    from deepfake_detect.models.classifier import create_model
    from deepfake_detect.models.sequence import create_sequence_model
    from deepfake_detect.records import FAKE, REAL, Face
    from deepfake_detect.scoring import ClipScore, Detector, load_detector, score_video
    from deepfake_detect.training.regimes import recommend_regime
    from deepfake_detect.video import read_frames, read_metadata

# Loaded on first use: importing torch takes seconds, which `import deepfake_detect` should not.
_HOMES = {
    "DeepfakeDetectError": "errors",
    "REAL": "records",
    "FAKE": "records",
    "Face": "records",
    "read_frames": "video",
    "read_metadata": "video",
    "detect_faces": "faces",
    "create_model": "models.classifier",
    "create_sequence_model": "models.sequence",
    "recommend_regime": "training.regimes",
    "ClipScore": "scoring",
    "Detector": "scoring",
    "load_detector": "scoring",
    "score_video": "scoring",
}

__all__ = [
    "FAKE",
    "REAL",
    "ClipScore",
    "DeepfakeDetectError",
    "Detector",
    "Face",
    "__version__",
    "create_model",
    "create_sequence_model",
    "detect_faces",
    "load_detector",
    "read_frames",
    "read_metadata",
    "recommend_regime",
    "score_video",
]


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
