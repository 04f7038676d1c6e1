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

import lazy_loader

# The names stand in __init__.pyi and load on first use: importing torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
