"""The frozen records that rooms exchange, and the meaning of a label.

**Fake is the positive class.** ``FAKE = 1`` and ``REAL = 0`` in every label, logit and probability
of this library; a reader of a dataset with another polarity converts its labels.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from deepfake_detect._version import __version__
from deepfake_detect.errors import OptionError, VideoError
from deepfake_detect.plurals import counted

if TYPE_CHECKING:
    import numpy as np
    import pandas

REAL = 0
FAKE = 1

Verdict = Literal["real", "fake", "uncertain", "no_face", "score"]
"""Of a clip. ``"score"`` is all that a detector says whose probabilities were never calibrated."""

SCHEMA_VERSION = 1
"""Of the JSON document of a clip; it grows when a key changes its meaning or is removed."""

InferencePrecision = Literal["fp32", "bf16"]
"""What a detector's layers compute in when it scores."""
INFERENCE_PRECISIONS: tuple[InferencePrecision, ...] = ("fp32", "bf16")


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame of a video.

    Attributes:
        image: RGB uint8 array (H, W, 3), upright (the file's rotation is applied).
        frame_index: Position in presentation order, from 0.
        time_seconds: Presentation time from the start of the video stream, in seconds; NaN for
            frames that are stored as images.
    """

    image: np.ndarray
    frame_index: int
    time_seconds: float


@dataclass(frozen=True)
class VideoMetadata:
    """What a video file declares, checked against the frames it really holds.

    Attributes:
        path: The file.
        codec: FFmpeg's name of the video codec, such as ``"h264"``, or the format of an image.
        pixel_format: FFmpeg's name of the stored pixel format, such as ``"yuv420p"``, or an image's mode.
        width, height: Size of a frame in pixels as it is shown: upright, with square pixels.
        rotation_degrees: Counter-clockwise turn applied to show frames upright: 0, 90, 180 or 270.
        frames_per_second: Average frame rate in 1/s; 0.0 if the file does not declare one.
        num_frames: Frames that can be decoded.
        num_frames_declared: Frames that the container declares; ``None`` if it declares none.
        duration_seconds: Time from the first frame to the end of the last, in seconds.
        is_truncated: Whether frames are missing from the file, or it is seen to be damaged without decoding.
        is_mirrored: Whether frames are mirrored left to right after the turn, to show them as meant.
        other_streams: Further video streams, which are not read, such as ``"160 x 90 h264"``.
    """

    path: Path
    codec: str
    pixel_format: str
    width: int
    height: int
    rotation_degrees: int
    frames_per_second: float
    num_frames: int
    num_frames_declared: int | None
    duration_seconds: float
    is_truncated: bool
    is_mirrored: bool = False
    other_streams: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Face:
    """One face detected in one frame.

    Attributes:
        box_xyxy: float32 (4,): left, top, right, bottom in pixels of the frame; may extend
            beyond the frame where the face does.
        score: Detection probability of MTCNN's last stage, 0 to 1.
        landmarks_xy: float32 (5, 2): left eye, right eye, nose, left and right mouth corner
            (left as seen in the image), in pixels of the frame.
    """

    box_xyxy: np.ndarray
    score: float
    landmarks_xy: np.ndarray


@dataclass(frozen=True, eq=False)
class FaceScore:
    """One scored face of one frame.

    Attributes:
        box_xyxy: float32 (4,) in pixels of the frame.
        track_id: Number of the person's track in this clip, from 0.
        detection_score: Of the face detector, 0 to 1.
        fake_probability: Calibrated probability that the face was forged, 0 to 1.
        sharpness: Of the crop, see :func:`scoring.quality.sharpness_of`; ``None`` where not measured.
    """

    box_xyxy: np.ndarray
    track_id: int
    detection_score: float
    fake_probability: float
    sharpness: float | None = None


@dataclass(frozen=True, eq=False)
class FrameScore:
    """One sampled frame: its position in the clip, and its scored faces (possibly none)."""

    frame_index: int
    time_seconds: float
    faces: tuple[FaceScore, ...]


@dataclass(frozen=True)
class TrackScore:
    """One person tracked through the clip.

    Attributes:
        track_id: Number of the track, from 0.
        num_frames: Sampled frames in which the person is visible.
        fake_probability: Mean of the face probabilities of the track, 0 to 1.
        decides: Whether the clip's probability is this track's, or that of a segment of it.
        verdict: On this person alone, as for a clip; ``None`` outside of scored clips.
        fake_probability_interval: 95% interval of the mean over the frames, as for a clip.
    """

    track_id: int
    num_frames: int
    fake_probability: float
    decides: bool
    verdict: Verdict | None = None
    fake_probability_interval: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as the JSON file holds them."""
        return {**vars(self), "fake_probability_interval": _as_list(self.fake_probability_interval)}


@dataclass(frozen=True)
class Segment:
    """A part of a clip in which one person shows signs of forgery.

    Attributes:
        track_id: The person's track, from 0.
        start_seconds, end_seconds: From when to when, in seconds of the clip.
        fake_probability: Mean of the person's face probabilities in it, 0 to 1.
        fake_probability_interval: 95% interval of the mean over its frames, as for a clip.
        num_frames: Scored frames of the person in it.
        is_whole: Whether it is all of the clip that shows the person.
    """

    track_id: int
    start_seconds: float
    end_seconds: float
    fake_probability: float
    fake_probability_interval: tuple[float, float] | None
    num_frames: int
    is_whole: bool


@dataclass(frozen=True)
class QualityWarning:
    """Something about a clip that makes its verdict less certain than its number suggests.

    Attributes:
        kind: A key of ``scoring.quality.WARNING_KINDS``.
        text: The same in plain words, with the measured value.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class DetectorInfo:
    """The detector of a result, and its decision rule.

    Attributes:
        name, version: Of the detector.
        uncertain_low, uncertain_high: Strictly between them a clip is called uncertain, from
            ``uncertain_high`` fake, and else real.
        aggregation_rule: From face probabilities to the clip's.
        sha256: Of the detector's file, hexadecimal; of the bundled detector the same with every
            runtime. ``None`` where there is no file.
        is_calibrated: Whether its probabilities and limits were fitted on validation videos. Published
            detectors are not until the user calibrates them; their verdict is ``"score"``.
    """

    name: str
    version: str
    uncertain_low: float
    uncertain_high: float
    aggregation_rule: str
    sha256: str | None = None
    is_calibrated: bool = True


@dataclass(frozen=True)
class FileFacts:
    """Which bytes were scored.

    Attributes:
        sha256: Of the content, hexadecimal.
        size_bytes: Length.
        modified_time: UTC, ISO 8601, to the microsecond; empty for bytes that were in no file.
    """

    sha256: str
    size_bytes: int
    modified_time: str = ""


@dataclass(frozen=True)
class DetectorOpinion:
    """What one of several detectors says about a clip.

    Attributes:
        detector: The detector, and its decision rule.
        verdict, fake_probability, fake_probability_interval: As of a :class:`ClipResult`.
        tracks: Every person, by number, as this detector scores them.
        runtime: What ran its networks.
    """

    detector: DetectorInfo
    verdict: Verdict
    fake_probability: float | None
    fake_probability_interval: tuple[float, float] | None
    tracks: tuple[TrackScore, ...]
    runtime: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as the list ``detectors`` of the JSON file holds them."""
        return {
            **asdict(self.detector),
            "verdict": self.verdict,
            "fake_probability": self.fake_probability,
            "fake_probability_interval": _as_list(self.fake_probability_interval),
            "tracks": [track.to_dict() for track in self.tracks],
            "runtime": self.runtime,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectorOpinion:
        """Return the opinion of :meth:`to_dict`'s values."""
        rest = dict(values)
        own = {name: rest.pop(name) for name in ("verdict", "fake_probability", "runtime")}
        interval = _as_pair(rest.pop("fake_probability_interval"))
        tracks = tuple(_track_score(track) for track in rest.pop("tracks"))
        return cls(_detector_info(rest), fake_probability_interval=interval, tracks=tracks, **own)


@dataclass(frozen=True)
class FusedVerdict:
    """The probability that a fusion learned to make of several detectors', and its verdict.

    Attributes:
        fake_probability: Calibrated, 0 to 1.
        verdict: ``"fake"``, ``"real"`` or ``"uncertain"``.
        uncertain_low, uncertain_high: Strictly between them it is uncertain.
    """

    fake_probability: float
    verdict: Verdict
    uncertain_low: float
    uncertain_high: float


@dataclass(frozen=True, eq=False, repr=False)
class ClipResult:
    """The result of scoring a clip; in a notebook it shows its timeline.

    Attributes:
        video: Name of the clip as given.
        verdict: ``"fake"``, ``"real"``, ``"uncertain"``, ``"no_face"`` without a detectable face, or
            ``"score"`` of a detector that is not calibrated.
        fake_probability: 0 to 1, calibrated if the detector is; ``None`` without a face.
        num_frames_scored: Sampled frames with at least one scored face.
        frames: Every sampled frame, with its faces.
        tracks: Every tracked person, by number.
        detector: The detector that scored it.
        fake_probability_interval: How much the probability depends on the choice of frames: 95% bootstrap
            interval over the scored frames. It does not include how often the detector is
            wrong. ``None`` if fewer than two frames have a face.
        warnings: What makes the verdict less certain than its number suggests; ``limits`` in JSON.
        runtime: What ran the detector's networks: ``"torch"``, ``"onnx"`` or ``"openvino"``.
        file: The file that was scored; ``None`` for frames from memory.
        frame_size: Width and height of an upright frame in pixels; ``None`` without a frame.
        library_version: Version of this library that scored the clip.
        segments: Segments with signs of forgery, by person and time. If only part of the clip is forged,
            that part's probability is the clip's, and the verdict is fake.
        extra_frames: Extra frames sampled around suspicious changes to locate the borders of segments; no
            other number includes them.
        opinions: Results of each detector if several scored the clip; the fields above are from the first.
        fused: Result of the fusion; ``None`` without one, or without a face.
    """

    video: str
    verdict: Verdict
    fake_probability: float | None
    num_frames_scored: int
    frames: tuple[FrameScore, ...]
    tracks: tuple[TrackScore, ...]
    detector: DetectorInfo
    fake_probability_interval: tuple[float, float] | None = None
    warnings: tuple[QualityWarning, ...] = ()
    runtime: str = ""
    file: FileFacts | None = None
    frame_size: tuple[int, int] | None = None
    library_version: str = __version__
    segments: tuple[Segment, ...] = ()
    extra_frames: tuple[FrameScore, ...] = ()
    opinions: tuple[DetectorOpinion, ...] = ()
    fused: FusedVerdict | None = None

    @property
    def detectors(self) -> tuple[DetectorOpinion, ...]:
        """The result of each detector, even if there is only one."""
        interval = self.fake_probability_interval
        own = (self.detector, self.verdict, self.fake_probability, interval, self.tracks, self.runtime)
        return self.opinions or (DetectorOpinion(*own),)

    @property
    def agreement(self) -> float | None:
        """Fraction of the pairs of detectors with the same verdict, 0 to 1; ``None`` with fewer than two.

        Detectors that are not calibrated give no verdict and are excluded.
        """
        verdicts = [one.verdict for one in self.detectors if one.verdict != "score"]
        pairs = [first == second for first, second in itertools.combinations(verdicts, 2)]
        return sum(pairs) / len(pairs) if pairs else None

    @property
    def deciding_track(self) -> TrackScore | None:
        """The person whose probability is the clip's; ``None`` if all faces count, or without a face."""
        return next((track for track in self.tracks if track.decides), None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values as in the JSON file; :meth:`from_dict` reads them.

        :func:`result_schema` describes them.
        """
        detector = self.detector
        return {
            "schema_version": SCHEMA_VERSION,
            "library_version": self.library_version,
            "video": self.video,
            "file": self.file and {"sha256": self.file.sha256, "size_bytes": self.file.size_bytes},
            "frame_size": self.frame_size and dict(zip(("width", "height"), self.frame_size, strict=True)),
            "verdict": self.verdict,
            "fake_probability": self.fake_probability,
            "fake_probability_interval": _as_list(self.fake_probability_interval),
            "num_frames_scored": self.num_frames_scored,
            "frames": [_frame_dict(frame) for frame in self.frames],
            "tracks": [track.to_dict() for track in self.tracks],
            "segments": [
                {**vars(one), "fake_probability_interval": _as_list(one.fake_probability_interval)}
                for one in self.segments
            ],
            "extra_frames": [_frame_dict(frame) for frame in self.extra_frames],
            "limits": [vars(warning) for warning in self.warnings],
            "detector": asdict(detector),
            "decision_rule": {
                "uncertain_low": detector.uncertain_low,
                "uncertain_high": detector.uncertain_high,
            },
            "runtime": self.runtime,
            "detectors": [one.to_dict() for one in self.detectors],
            "agreement": self.agreement,
            "fused_probability": self.fused and self.fused.fake_probability,
            "fused": self.fused and asdict(self.fused),
        }

    def to_json(self) -> str:
        """Return :meth:`to_dict` as indented JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClipResult:
        """Build a result from the values of :meth:`to_dict`; other keys, such as provenance, are ignored.

        Old documents without a ``schema_version`` are read too.

        Raises:
            OptionError: A value is missing or of another type, or a later version wrote them.

        Example:
            >>> info = DetectorInfo("x", "1", 0.4, 0.7, "mean")
            >>> result = ClipResult("a.mp4", "no_face", None, 0, (), (), info)
            >>> ClipResult.from_dict(result.to_dict())
            ClipResult('a.mp4': no_face in 0 frames)
        """
        if (version := values.get("schema_version", 0)) not in range(SCHEMA_VERSION + 1):
            raise OptionError("values", f"has schema version {version}", "update deepfake_detect to read it")
        try:
            size = values.get("frame_size")
            return cls(
                video=values["video"],
                verdict=values["verdict"],
                fake_probability=values["fake_probability"],
                num_frames_scored=values["num_frames_scored"],
                frames=tuple(_frame_score(frame) for frame in values["frames"]),
                tracks=tuple(_track_score(track) for track in values["tracks"]),
                detector=_detector_info(values["detector"]),
                fake_probability_interval=_as_pair(values["fake_probability_interval"]),
                warnings=tuple(QualityWarning(**warning) for warning in values["limits"]),
                runtime=values.get("runtime", ""),
                file=FileFacts(**values["file"]) if values.get("file") else None,
                frame_size=(size["width"], size["height"]) if size else None,
                library_version=values.get("library_version", ""),
                segments=tuple(_segment(one) for one in values.get("segments", ())),
                extra_frames=tuple(_frame_score(frame) for frame in values.get("extra_frames", ())),
                opinions=_opinions(values.get("detectors", ())),
                fused=FusedVerdict(**values["fused"]) if values.get("fused") else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            cause = f"is not a clip's result ({type(error).__name__}: {error})"
            raise OptionError("values", cause, "pass what to_dict() returned") from error

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with one row per scored face: frame, person, box, probability.

        Raises:
            OptionError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise OptionError(
                "to_pandas", "needs pandas, which is not installed", "pip install pandas"
            ) from error
        columns = ["video", "frame_index", "time_seconds", "track_id", "fake_probability"]
        columns += ["detection_score", "sharpness", "left", "top", "right", "bottom"]
        rows = [
            (self.video, frame.frame_index, frame.time_seconds, face.track_id, face.fake_probability)
            + (face.detection_score, face.sharpness, *map(float, face.box_xyxy))
            for frame in self.frames
            for face in frame.faces
        ]
        return pandas.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        frames = f"{self.num_frames_scored} of {counted(len(self.frames), 'frame')}"
        if self.fake_probability is None:
            return f"ClipResult({self.video!r}: {self.verdict} in {counted(len(self.frames), 'frame')})"
        people = counted(len(self.tracks), "person", "people")
        probability = f"fake probability {self.fake_probability:.3f}"
        return f"ClipResult({self.video!r}: {self.verdict}, {probability}, {people} in {frames})"

    def check_file(self) -> None:
        """Check that the file is still the one that was scored, by its size and modification time.

        Raises:
            VideoError: It has been modified, replaced or removed.
        """
        file = self.file
        if file is None or not file.modified_time:
            return
        path = Path(self.video)
        now = (path.stat().st_size, modified_time(path)) if path.exists() else None
        if now != (file.size_bytes, file.modified_time):
            raise VideoError(path, "has changed since it was read for scoring", "score it again")

    def _repr_html_(self) -> str:
        # The view in notebooks; the only import of a later room, listed in tests/test_imports.py.
        from deepfake_detect.report.clip import clip_summary

        return clip_summary(self)


def result_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a clip's JSON document.

    All JSON documents of the library, the commands, the page and the HTTP API follow it.

    Example:
        >>> result_schema()["$defs"]["verdict"]["enum"]
        ['fake', 'real', 'uncertain', 'no_face', 'score']
    """
    from importlib import resources  # here, since its import takes longer than this module's

    text = resources.files("deepfake_detect").joinpath("result.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def modified_time(path: str | os.PathLike[str]) -> str:
    """Return when a file was last modified: UTC, ISO 8601, to the microsecond."""
    seconds, rest = divmod(os.stat(path).st_mtime_ns, 10**9)
    moment = datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=rest // 1000)
    return moment.isoformat(timespec="microseconds")


def _frame_dict(frame: FrameScore) -> dict[str, Any]:
    return {
        "frame_index": frame.frame_index,
        "time_seconds": frame.time_seconds,
        "faces": [
            {
                "box_xyxy": [round(float(value), 2) for value in face.box_xyxy],
                "track_id": face.track_id,
                "detection_score": face.detection_score,
                "fake_probability": face.fake_probability,
                "sharpness": face.sharpness,
            }
            for face in frame.faces
        ],
    }


def _frame_score(values: Mapping[str, Any]) -> FrameScore:
    import numpy as np  # here: the command line uses records without arrays, and starts without NumPy

    faces = tuple(
        FaceScore(**{**face, "box_xyxy": np.array(face["box_xyxy"], np.float32)}) for face in values["faces"]
    )
    return FrameScore(values["frame_index"], values["time_seconds"], faces)


def _detector_info(values: Mapping[str, Any]) -> DetectorInfo:
    older = ("threshold",)  # in documents of before there was a schema_version
    return DetectorInfo(**{name: value for name, value in values.items() if name not in older})


def _opinions(values: Sequence[Mapping[str, Any]]) -> tuple[DetectorOpinion, ...]:
    """Return the opinions of several detectors; that of a single one is the result itself."""
    return tuple(map(DetectorOpinion.from_dict, values)) if len(values) > 1 else ()


def _track_score(values: Mapping[str, Any]) -> TrackScore:
    interval = _as_pair(values["fake_probability_interval"])
    return TrackScore(**{**values, "fake_probability_interval": interval})


def _segment(values: Mapping[str, Any]) -> Segment:
    interval = _as_pair(values["fake_probability_interval"])
    return Segment(**{**values, "fake_probability_interval": interval})


def _as_pair(interval: Sequence[float] | None) -> tuple[float, float] | None:
    return None if interval is None else (interval[0], interval[1])


def _as_list(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


CropShape = Literal["square", "box", "padded"]
CropBorder = Literal["mirror", "cut", "black"]
CropTemplate = Literal["frontal", "arcface"]
Interpolation = Literal["area", "linear", "cubic", "nearest"]


@dataclass(frozen=True, repr=False)
class CropGeometry:
    """How a face crop is cut from its frame; must be equal in training and scoring.

    Attributes:
        margin: Side of the square crop divided by the longer side of the face box, 0.5 to 4. Of a
            ``"box"`` or ``"padded"`` crop: each side divided by that of the box. Of a crop aligned to
            ``"arcface"``: side divided by that of the template.
        aligned: Whether the crop is rotated so that the line between the eyes is level.
        shape: ``"square"``; ``"box"``, with the proportions of the face box, which become square when the
            crop is resized for the network; ``"padded"``, a box in the middle of a black square.
        border: Past the frame's border: ``"mirror"`` the image, ``"cut"`` the crop there, or ``"black"``.
        template: Position of the five landmarks in an aligned crop: of a ``"frontal"`` face by MTCNN, or
            the ``"arcface"`` template of insightface.
        side: Side in pixels of every aligned crop; ``None`` keeps the resolution of the frame.
        narrowest: Of a detector's crops: the smallest margin of stored crops that it was trained to score
            whole, at most ``margin``; ``None`` is ``margin`` itself.
    """

    margin: float = 1.3
    aligned: bool = False
    shape: CropShape = "square"
    border: CropBorder = "mirror"
    template: CropTemplate = "frontal"
    side: int | None = None
    narrowest: float | None = None

    def __repr__(self) -> str:
        return f"CropGeometry({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as files hold them: margin, alignment, and what is not the default."""
        return _without_defaults(self, keep=("margin", "aligned"))


@dataclass(frozen=True)
class Preprocessing:
    """How a crop becomes a network's input: resized to a square, scaled to [0, 1], normalized.

    Attributes:
        image_size: Side of the square input in pixels.
        mean, std: Per RGB channel, in units of the [0, 1] range: ``(x / 255 - mean) / std``.
        interpolation: ``"area"`` averages areas where a crop shrinks and is linear where it grows;
            ``"linear"``, ``"cubic"`` and ``"nearest"`` are OpenCV's, both ways.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "area"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as files hold them: without an interpolation that is the default."""
        return _without_defaults(self, keep=("image_size", "mean", "std"))


def _without_defaults(record: Any, *, keep: Sequence[str]) -> dict[str, Any]:
    """Return a dataclass as a dictionary without the later fields at their default.

    So files of today are those of before these fields, byte by byte, unless they need them.
    """
    defaults = {field.name: field.default for field in fields(record)}
    values = {name: getattr(record, name) for name in defaults}
    return {name: value for name, value in values.items() if name in keep or value != defaults[name]}


@dataclass(frozen=True)
class DatasetVideo:
    """One video of a dataset, as described by its publishers.

    Attributes:
        dataset: Name of the dataset.
        video_id: ``dataset/method/compression/name``, unique over methods and datasets.
        method: Forgery method, or the name of the pristine source.
        label: ``FAKE`` or ``REAL``.
        split: ``"train"``, ``"val"``, ``"test"``, or ``None`` without an official split.
        compression: The dataset's name for it, or ``None``.
        target_id: Identity whose body and scene are visible; ``None`` where unknown. Names of people
            are the dataset's own; one that is another dataset's is ``"<dataset>:<name>"``.
        source_id: Identity whose face was inserted; ``None`` for a real video, or where unknown.
        path: The video file, or an image, or a folder of frames, or a folder of frames inside a
            tar (``.../0.tar.gz/0/fake/12``: the path continues inside the archive).
        mask_path: Video of the manipulated region, where the dataset has one and it was found.
        group_id: Videos of one group (such as a part of DFDC) are kept in one split when a split is
            made here; ``None`` where only identities bind.
        fake_segments: Forged stretches of the picture as (start, end) in seconds, sorted; empty for a
            real; ``None`` where the dataset gives no times and all of a fake is forged.
    """

    dataset: str
    video_id: str
    method: str
    label: int
    split: str | None
    compression: str | None
    target_id: str | None
    source_id: str | None
    path: Path
    mask_path: Path | None = None
    group_id: str | None = None
    fake_segments: tuple[tuple[float, float], ...] | None = None

    def label_at(self, time_seconds: float) -> int:
        """Return the label of a frame: in a video with forged stretches, a frame outside of them is real.

        Stretches include their ends. A frame without a time (NaN) has the label of its video.

        Example:
            >>> video = DatasetVideo("D", "D/m/a", "m", FAKE, *[None] * 4, Path("a"), fake_segments=((1, 2),))
            >>> [video.label_at(seconds) for seconds in (0.5, 1.5, 2.5)]
            [0, 1, 0]
        """
        if not self.fake_segments or time_seconds != time_seconds:
            return self.label
        is_forged = any(start <= time_seconds <= end for start, end in self.fake_segments)
        return FAKE if is_forged else REAL
