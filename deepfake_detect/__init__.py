"""Detect deepfaked faces in videos and images, with a calibrated confidence.

The full pipeline is video -> frames -> faces -> crops -> manifest -> dataset -> model -> training ->
evaluation. To score a clip you need only clip -> verdict:

    >>> import deepfake_detect as dfd
    >>> detector = dfd.load_detector()
    >>> score = detector.score_video("examples/demo.mp4")
    >>> score.verdict in ("real", "fake", "uncertain", "no_face")
    True

The packages, in import order: each may import only from the lines above it:

    errors, plurals  every exception raised on purpose; counts in text
    records       the data that packages pass to one another
    extras, options, device, images, logs, progress, plugins  options as dataclass fields; small helpers
    registry      registered parts: backbones, heads, losses, metrics, and so on
    io, metrics, work  files, URLs and downloads; numbers with intervals; the task runner
    provenance    a file's Content Credentials
    video         file -> frames
    faces         frames -> faces -> crops, people tracked over time
    data          dataset layouts, official splits, the manifest, crops as tensors
    forgery       self-blended images
    models        crop -> logit, pretrained weights, the detector file
    runtimes      detectors in ONNX Runtime and OpenVINO, without PyTorch
    explanation   which pixels a model's output depends on
    evaluation    scores -> metrics with intervals, aggregation over a clip, calibration
    report        figures, tables, HTML reports and annotated clips, from finished numbers
    training      manifest -> detector
    features      features in HDF5 files and classical classifiers trained on them
    scoring       clip -> verdict, many clips, live streams
    extraction    dataset -> crops and manifest, resumable and parallel
    app           a web page and an HTTP API on this computer
    cli           the command line
    lab           GANs, the small-image classifier, Deep Dream and other experiments
"""

import logging
import warnings

import lazy_loader

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent until the caller or -v adds a handler
# Libraries that are imported later ask a notebook for ipywidgets, to show progress bars that are never used.
warnings.filterwarnings("ignore", message="IProgress not found")
# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
