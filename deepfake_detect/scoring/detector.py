"""load_detector, and the functions that score one clip with a freshly loaded detector."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from deepfake_detect.errors import OptionError
from deepfake_detect.faces import FaceDetector
from deepfake_detect.records import ClipResult, InferencePrecision
from deepfake_detect.runtimes.faces import face_finder
from deepfake_detect.runtimes.load import RuntimeDetector, find_detector
from deepfake_detect.runtimes.options import Runtime
from deepfake_detect.runtimes.sessions import default_num_threads
from deepfake_detect.scoring.inputs import VideoInput
from deepfake_detect.scoring.options import ScoringOptions, Segments
from deepfake_detect.scoring.pipeline import Detector
from deepfake_detect.video.limits import DEFAULT_LIMITS, DecodingLimits

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

DetectorInput = str | os.PathLike[str] | Detector | None
"""A loaded detector, or what :func:`load_detector` loads."""
DetectorsInput = DetectorInput | Sequence[DetectorInput]
"""One detector, or several that each score the clip."""


class RuntimeClipDetector(RuntimeDetector, Detector):
    """An exported detector, for clips and crops; made by :func:`load_detector`."""

    def face_finder(self, min_face: float | None) -> FaceDetector:
        """Return the face detector, in the detector's own runtime.

        Raises:
            OptionError: ``min_face`` is below 12 pixels.
        """
        return face_finder(self.runtime, num_threads=self.num_threads, min_face=min_face)


def load_detector(
    detector: str | os.PathLike[str] | None = None,
    *,
    runtime: Runtime = ScoringOptions.runtime,
    device: str | torch.device = ScoringOptions.device,
    precision: InferencePrecision = ScoringOptions.precision,
    num_threads: int | None = None,
) -> Detector:
    """Load a detector of any kind for scoring clips, images and face crops.

    Args:
        detector: A ``detector.safetensors`` (a network of crops or of sequences, or a classical
            classifier), an exported ``.onnx`` or ``.xml``, ``"zoo:NAME"`` for a published one that
            :func:`fetch_zoo` fetched, ``"hf://owner/name[@revision]"`` for one on the Hugging Face Hub, a
            checkpoint (``.pth`` and others) in a published layout, which :func:`convert_checkpoint` converts
            into the cache folder, or ``"default"`` for the bundled detector, as is ``None``.
        runtime: ``"torch"``, ``"onnx"`` or ``"openvino"``. ``"auto"`` takes the runtime of an exported
            file; else PyTorch on a GPU and ONNX Runtime elsewhere, for which a detector other than the
            bundled one is exported once into the cache folder; PyTorch where there is no export.
        device: ``"auto"`` (CUDA if available), ``"cpu"``, ``"cuda"`` or ``"cuda:N"``. Exports run on
            the CPU.
        precision: ``"fp32"``, or ``"bf16"`` in PyTorch: about twice as fast where the hardware has it.
            A crop's probability then changes by a few hundredths; the ranking hardly changes, see the model
            card.
        num_threads: Of ONNX Runtime and OpenVINO; the number of cores, or OMP_NUM_THREADS, if ``None``.

    Returns:
        The detector, ready to score. Results name its runtime.

    Raises:
        CheckpointError: The file is missing or damaged, or a checkpoint of another library that does not say
            all that scoring needs; the message names what is missing.
        DeviceError: The device is not available, or does not compute in the precision.
        FetchError: A detector on the hub does not exist, is private, or cannot be downloaded.
        OptionError: An option is unknown, or the runtime lacks the device or precision.

    Example:
        >>> load_detector(device="cpu").config.model.preprocessing.image_size
        192
    """
    file = find_detector(detector, runtime=runtime, device=device, precision=precision)
    if file.runtime == "torch":
        from deepfake_detect.device import choose_device
        from deepfake_detect.scoring.torch_detector import TorchClipDetector

        loaded: Detector = TorchClipDetector(
            *file.read_torch(), device=choose_device(device), precision=precision
        )
    else:
        threads = default_num_threads() if num_threads is None else num_threads
        session, config = file.open_export(num_threads=threads)
        loaded = RuntimeClipDetector(
            session, config, runtime=file.runtime, num_threads=threads, original=file.original
        )
    loaded.sha256, loaded.source = file.sha256, file.source
    _log.info("detector %s %s in %s", loaded.config.name, loaded.config.version, file.runtime)
    return loaded


def ready_detector(
    detector: DetectorInput,
    *,
    runtime: Runtime = ScoringOptions.runtime,
    device: str = ScoringOptions.device,
    precision: InferencePrecision = ScoringOptions.precision,
    num_threads: int | None = None,
) -> Detector:
    """Return a loaded detector unchanged, or load it; see :func:`load_detector`."""
    if isinstance(detector, Detector):
        return detector
    return load_detector(
        detector, runtime=runtime, device=device, precision=precision, num_threads=num_threads
    )


def ready_detectors(
    detector: DetectorsInput,
    *,
    fusion: str | os.PathLike[str] | None = ScoringOptions.fusion,
    **options: Any,  # of ready_detector
) -> Detector:
    """Return one detector ready to score, or several as a panel.

    Args:
        detector: One, or several; the bundled one if ``None`` or empty.
        fusion: For several, see :class:`DetectorPanel`.
        **options: See :func:`load_detector`.

    Raises:
        OptionError: A fusion is given for one detector.
        Exception: As for :func:`load_detector` and :class:`DetectorPanel`.
    """
    named = listed(detector)
    if len(named) > 1:
        from deepfake_detect.scoring.panel import DetectorPanel  # here: one detector needs none of it

        return DetectorPanel([ready_detector(one, **options) for one in named], fusion=fusion)
    if fusion is not None:
        raise OptionError("fusion", "is for several detectors", "set `detector` once for each of them")
    return ready_detector(named[0], **options)


def listed(detector: DetectorsInput) -> tuple[DetectorInput, ...]:
    """Return detectors as a tuple, of one or more."""
    is_several = isinstance(detector, Sequence) and not isinstance(detector, str)
    return (tuple(detector) if is_several else (detector,)) or (None,)  # type: ignore[arg-type,return-value]


def score_video(
    video: VideoInput,
    *,
    detector: DetectorsInput = ScoringOptions.detector,
    fusion: str | os.PathLike[str] | None = ScoringOptions.fusion,
    runtime: Runtime = ScoringOptions.runtime,
    device: str = ScoringOptions.device,
    precision: InferencePrecision = ScoringOptions.precision,
    num_frames: int = ScoringOptions.num_frames,
    aggregation_rule: str | None = ScoringOptions.aggregation_rule,
    min_face: float | None = ScoringOptions.min_face,
    allow_truncated: bool = ScoringOptions.allow_truncated,
    segments: Segments = ScoringOptions.segments,
    limits: DecodingLimits = DEFAULT_LIMITS,
) -> ClipResult:
    """Score one clip; for several, load the detector once or call :func:`score_videos`.

    Args:
        video: A clip or a still image: its path, its bytes, or a binary file opened for reading.
        detector: A loaded detector, or anything that :func:`load_detector` accepts; or several, each of
            which scores the clip.
        fusion: For several, see :class:`DetectorPanel`.
        runtime, device, precision: For a detector that is loaded here, see :func:`load_detector`.
        num_frames, aggregation_rule, min_face, allow_truncated, segments, limits:
            See :meth:`Detector.score_video`.

    Example:
        >>> with open("examples/demo.mp4", "rb") as file:
        ...     result = score_video(file, num_frames=2)
        >>> result.video, len(result.frames)
        ('examples/demo.mp4', 2)
    """
    loaded = ready_detectors(detector, fusion=fusion, runtime=runtime, device=device, precision=precision)
    return loaded.score_video(
        video,
        num_frames=num_frames,
        aggregation_rule=aggregation_rule,
        min_face=min_face,
        allow_truncated=allow_truncated,
        segments=segments,
        limits=limits,
    )


def score_image(
    image: Any,
    *,
    detector: DetectorsInput = ScoringOptions.detector,
    fusion: str | os.PathLike[str] | None = ScoringOptions.fusion,
    runtime: Runtime = ScoringOptions.runtime,
    device: str = ScoringOptions.device,
    precision: InferencePrecision = ScoringOptions.precision,
    aggregation_rule: str | None = ScoringOptions.aggregation_rule,
    min_face: float | None = ScoringOptions.min_face,
) -> ClipResult:
    """Score one still image.

    Args:
        image: Path, bytes, binary file, PIL image or RGB array (H, W, 3).
        detector: A loaded detector, or anything that :func:`load_detector` accepts; or several, each of
            which scores the clip.
        fusion: For several, see :class:`DetectorPanel`.
        runtime, device, precision: For a detector that is loaded here, see :func:`load_detector`.
        aggregation_rule, min_face: See :meth:`Detector.score_image`.
    """
    loaded = ready_detectors(detector, fusion=fusion, runtime=runtime, device=device, precision=precision)
    return loaded.score_image(image, aggregation_rule=aggregation_rule, min_face=min_face)


def score_frames(
    frames: Iterable[Any],
    *,
    frames_per_second: float,
    detector: DetectorsInput = ScoringOptions.detector,
    fusion: str | os.PathLike[str] | None = ScoringOptions.fusion,
    runtime: Runtime = ScoringOptions.runtime,
    device: str = ScoringOptions.device,
    precision: InferencePrecision = ScoringOptions.precision,
    aggregation_rule: str | None = ScoringOptions.aggregation_rule,
    min_face: float | None = ScoringOptions.min_face,
    on_frame: Callable[[int], None] = lambda done: None,
) -> ClipResult:
    """Score decoded frames of one clip.

    Args:
        frames: RGB arrays (H, W, 3), in order.
        frames_per_second: Frame rate, above 0.
        detector: A loaded detector, or anything that :func:`load_detector` accepts; or several, each of
            which scores the clip.
        fusion: For several, see :class:`DetectorPanel`.
        runtime, device, precision: For a detector that is loaded here, see :func:`load_detector`.
        aggregation_rule, min_face, on_frame: See :meth:`Detector.score_frames`.
    """
    loaded = ready_detectors(detector, fusion=fusion, runtime=runtime, device=device, precision=precision)
    return loaded.score_frames(
        frames,
        frames_per_second=frames_per_second,
        aggregation_rule=aggregation_rule,
        min_face=min_face,
        on_frame=on_frame,
    )
