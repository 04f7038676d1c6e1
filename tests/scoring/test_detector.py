from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import deepfake_detect as dfd
from deepfake_detect.errors import (
    CheckpointError,
    OptionError,
    VideoError,
    VideoNotFoundError,
    VideoTruncatedError,
    VideoUnreadableError,
)
from deepfake_detect.faces import crop_face
from deepfake_detect.models.checkpoint import DetectorConfig
from deepfake_detect.models.sequence import create_sequence_model
from deepfake_detect.records import CropGeometry, DetectorInfo
from deepfake_detect.report.annotate import annotate_video
from deepfake_detect.scoring import verdict_of
from deepfake_detect.scoring.quality import WARNING_KINDS
from deepfake_detect.scoring.torch_detector import TorchClipDetector
from deepfake_detect.video import AllFrames, DecodingLimits, EvenlySpaced, VideoWriter
from tests import media
from tests.documents import check_document


@pytest.fixture(scope="module")
def detector(small_detector: Path) -> dfd.Detector:
    return dfd.load_detector(small_detector, device="cpu")


def test_a_clip_becomes_a_verdict_with_its_evidence(detector: dfd.Detector, portrait_clip: Path) -> None:
    score = detector.score_video(portrait_clip, num_frames=6)
    assert score.video == str(portrait_clip)
    assert [frame.frame_index for frame in score.frames] == [0, 5, 9, 14, 18, 23]
    assert score.num_frames_scored == 6
    (track,) = score.tracks
    assert (track.num_frames, track.decides) == (6, True)
    probabilities = [face.fake_probability for frame in score.frames for face in frame.faces]
    assert score.fake_probability == pytest.approx(np.mean(probabilities))
    assert len(set(probabilities)) > 1
    assert score.verdict == verdict_of(score.fake_probability, score.detector)
    assert track.verdict == score.verdict
    assert score.deciding_track == track
    low, high = score.fake_probability_interval
    assert min(probabilities) <= low < score.fake_probability < high <= max(probabilities)
    assert track.fake_probability_interval == pytest.approx((low, high), abs=0.3 * (high - low))
    assert [limit.kind for limit in score.warnings] == ["few_frames"]
    assert all(0 < face.sharpness < 5 for frame in score.frames for face in frame.faces)


def test_a_face_in_a_clip_is_scored_as_its_crop_is(detector: dfd.Detector, portrait_clip: Path) -> None:
    """Crop, size and normalization are one and the same on every way to the network."""
    score = detector.score_video(portrait_clip, num_frames=3)
    for frame, scored in zip(
        dfd.read_frames(portrait_clip, sampling=EvenlySpaced(3)), score.frames, strict=True
    ):
        face = dfd.detect_faces([frame])[0][0]
        crop = crop_face(frame.image, face, detector.config.geometry)
        assert scored.faces[0].fake_probability == pytest.approx(detector.score_crops([crop])[0], abs=1e-5)


def test_every_kind_of_result_follows_the_schema(
    detector: dfd.Detector, faceless_clip: Path, portrait_clip: Path, portrait: np.ndarray
) -> None:
    results = [
        detector.score_video(faceless_clip, num_frames=2),
        detector.score_video(portrait_clip.read_bytes(), num_frames=1),
        detector.score_image(portrait),
        detector.score_frames([portrait, portrait], frames_per_second=25.0),
        detector.score_frames([], frames_per_second=25.0),
    ]
    for result in results:
        check_document(json.loads(result.to_json()))
    assert [result.file is None for result in results] == [False, False, True, True, True]
    assert [result.frame_size for result in results[2:]] == [(512, 512), (512, 512), None]


def test_the_json_holds_the_contract(
    detector: dfd.Detector, small_detector: Path, portrait_clip: Path
) -> None:
    values = json.loads(detector.score_video(portrait_clip, num_frames=2).to_json())
    check_document(values)
    assert values["frame_size"] == {"width": 320, "height": 240}
    content = portrait_clip.read_bytes()
    assert values["file"] == {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    assert values["detector"]["sha256"] == hashlib.sha256(small_detector.read_bytes()).hexdigest()
    assert values["decision_rule"] == {"uncertain_low": 0.2, "uncertain_high": 0.8}
    assert "threshold" not in json.dumps(values)
    assert {
        "video",
        "verdict",
        "fake_probability",
        "num_frames_scored",
        "frames",
        "detector",
    } <= values.keys()
    assert {"name", "version", "sha256"} <= values["detector"].keys()
    frame = values["frames"][1]
    assert {"frame_index", "time_seconds", "faces"} <= frame.keys()
    assert frame["time_seconds"] == pytest.approx(23 / 12)
    assert {"box_xyxy", "track_id", "fake_probability"} <= frame["faces"][0].keys()
    left, top, right, bottom = frame["faces"][0]["box_xyxy"]
    assert 0 < left < right < 320
    assert 0 < top < bottom < 240


def test_no_face_is_said_and_never_scored(detector: dfd.Detector, faceless_clip: Path) -> None:
    score = detector.score_video(faceless_clip)
    assert (score.verdict, score.fake_probability, score.num_frames_scored) == ("no_face", None, 0)
    assert len(score.frames) == 12
    assert all(frame.faces == () for frame in score.frames)
    assert json.loads(score.to_json())["fake_probability"] is None


def test_all_frames_in_bounded_batches_equal_sampled_ones(
    detector: dfd.Detector, portrait_clip: Path
) -> None:
    every = detector.score_video(portrait_clip, sampling=AllFrames())
    assert every.num_frames_scored == 24
    few = detector.score_video(portrait_clip, num_frames=2)
    for one in few.frames:
        same = every.frames[one.frame_index]
        assert one.faces[0].fake_probability == pytest.approx(same.faces[0].fake_probability, abs=1e-5)


def test_the_rule_is_selectable_and_named(detector: dfd.Detector, portrait_clip: Path) -> None:
    score = detector.score_video(portrait_clip, num_frames=2, aggregation_rule="mean")
    assert score.detector.aggregation_rule == "mean"
    with pytest.raises(OptionError, match="most_suspicious_track"):
        detector.score_video(portrait_clip, aggregation_rule="guess")


def test_verdicts_follow_the_decision_rule() -> None:
    info = DetectorInfo("x", "1", 0.3, 0.6, "mean")
    assert [verdict_of(p, info) for p in (0.0, 0.3, 0.31, 0.59, 0.6, 1.0)] == [
        *("real", "real", "uncertain", "uncertain", "fake", "fake")
    ]
    without_band = replace(info, uncertain_low=0.5, uncertain_high=0.5)
    assert [verdict_of(p, without_band) for p in (0.49, 0.5)] == ["real", "fake"]


def clip_of(path: Path, frames: list[np.ndarray]) -> Path:
    height, width = frames[0].shape[:2]
    with VideoWriter(path, width=width, height=height, frames_per_second=10) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    return path


def test_one_frame_is_enough(detector: dfd.Detector, portrait: np.ndarray, tmp_path: Path) -> None:
    score = detector.score_video(clip_of(tmp_path / "one.mp4", [portrait[:256, :400]]))
    assert (score.num_frames_scored, len(score.frames)) == (1, 1)
    assert score.verdict != "no_face"


def test_a_picture_is_a_clip_of_one_frame(
    detector: dfd.Detector, portrait: np.ndarray, tmp_path: Path
) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "p.png"), portrait[..., ::-1])
    assert detector.score_video(tmp_path / "p.png").num_frames_scored == 1


def test_4k_odd_sizes_and_twenty_faces(detector: dfd.Detector, portrait: np.ndarray, tmp_path: Path) -> None:
    import cv2

    large = cv2.resize(portrait[:288], (3840, 2160))
    assert detector.score_video(clip_of(tmp_path / "4k.mp4", [large] * 2)).num_frames_scored == 2
    crowd = np.tile(portrait[30:270, 100:340], (4, 5, 1))
    score = detector.score_video(clip_of(tmp_path / "crowd.mp4", [crowd] * 3))
    assert [len(frame.faces) for frame in score.frames] == [20] * 3
    assert [track.num_frames for track in score.tracks] == [3] * 20
    cv2.imwrite(str(tmp_path / "odd.png"), portrait[:301, :401, ::-1])
    assert detector.score_video(tmp_path / "odd.png").num_frames_scored == 1


def test_a_turned_clip_is_scored_upright(
    detector: dfd.Detector, portrait: np.ndarray, tmp_path: Path
) -> None:
    upright = clip_of(tmp_path / "upright.mp4", [portrait[:256, :384]] * 2)
    lying = clip_of(tmp_path / "turned.mp4", [np.rot90(portrait[:256, :384], -1)] * 2)
    turned = media.set_rotation(lying, counter_clockwise_degrees=90)
    straight, back = detector.score_video(upright), detector.score_video(turned)
    np.testing.assert_allclose(straight.frames[0].faces[0].box_xyxy, back.frames[0].faces[0].box_xyxy, atol=4)


def test_bad_files_are_typed_errors(detector: dfd.Detector, portrait_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoNotFoundError, match="absent.mp4: there is no such file"):
        detector.score_video(tmp_path / "absent.mp4")
    with pytest.raises(FileNotFoundError):
        detector.score_video(tmp_path / "absent.mp4")
    for name, content in (("text.mp4", b"hello, world\n" * 50), ("empty.mp4", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VideoUnreadableError, match=name):
            detector.score_video(tmp_path / name)
    with pytest.raises(VideoUnreadableError, match="folder|directory"):
        detector.score_video(tmp_path)
    whole = portrait_clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises((VideoTruncatedError, VideoUnreadableError), match="cut.mp4"):
        detector.score_video(tmp_path / "cut.mp4")


def test_detectors_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder; pass the detector file in it"):
        dfd.load_detector(tmp_path)
    with pytest.raises(CheckpointError, match="there is no such detector file"):
        dfd.load_detector(tmp_path / "absent.safetensors")


def test_the_annotated_clip_and_the_timeline(
    detector: dfd.Detector, portrait_clip: Path, tmp_path: Path
) -> None:
    import cv2

    from deepfake_detect.report.annotate import annotate_video
    from deepfake_detect.report.timeline import plot_timeline

    score = detector.score_video(portrait_clip, num_frames=6)
    done: list[tuple[int, int]] = []
    annotate_video(score, tmp_path / "a.mp4", on_frame=lambda *count: done.append(count))
    assert done[-1] == (24, 24)
    originals = list(dfd.read_frames(portrait_clip))
    drawn = list(dfd.read_frames(tmp_path / "a.mp4"))
    assert [frame.time_seconds for frame in drawn] == [frame.time_seconds for frame in originals]
    for number in (0, 11, 23):  # also between the scored frames a box follows the face
        face = dfd.detect_faces([originals[number]])[0][0]
        left, top, right, _ = face.box_xyxy.round().astype(int)
        edge = np.s_[top - 2 : top + 3, left : right - 5]  # under the label, then the line
        changed = np.abs(drawn[number].image[edge].astype(int) - originals[number].image[edge]).max(
            axis=(0, 2)
        )
        assert (changed > 60).mean() > 0.6
    plot_timeline(score).save(tmp_path / "t.png")
    assert cv2.imread(str(tmp_path / "t.png")).shape[1] > 800


def test_a_timeline_without_a_face_can_be_drawn(
    detector: dfd.Detector, faceless_clip: Path, tmp_path: Path
) -> None:
    from deepfake_detect.report.annotate import annotate_video
    from deepfake_detect.report.timeline import plot_timeline

    score: dfd.ClipResult = detector.score_video(faceless_clip, num_frames=3)
    plot_timeline(score).save(tmp_path / "t.png")
    annotate_video(score, tmp_path / "a.mp4")
    assert dfd.read_metadata(tmp_path / "a.mp4").num_frames == 12


def test_real_clips_of_real_people(detector: dfd.Detector, real_data: Callable[[str], Path]) -> None:
    score = detector.score_video(real_data("videos/anndvqgoko.mp4"), num_frames=4)
    assert score.num_frames_scored >= 3
    assert max(track.num_frames for track in score.tracks) >= 3


def test_sequences_have_no_interval_over_their_frames(portrait_clip: Path) -> None:
    """All of a sequence's faces share one probability: drawn again they would seem sure of it."""
    model = create_sequence_model("test_resnet", temporal="lstm", hidden=8, image_size=64)
    config = DetectorConfig("s", "1", model.spec, CropGeometry())
    detector = TorchClipDetector(model, config, device=torch.device("cpu"))
    score = detector.score_video(portrait_clip, num_frames=4)
    assert score.fake_probability is not None
    assert score.fake_probability_interval is None
    assert [track.fake_probability_interval for track in score.tracks] == [None]


def test_another_rule_than_the_detectors_limits_a_verdict(
    detector: dfd.Detector, portrait_clip: Path
) -> None:
    own = detector.score_video(portrait_clip, num_frames=8)
    assert "another_rule" not in {limit.kind for limit in own.warnings}
    other = detector.score_video(portrait_clip, num_frames=8, aggregation_rule="median")
    (limit,) = (limit for limit in other.warnings if limit.kind == "another_rule")
    assert limit.kind in WARNING_KINDS
    assert "aggregated with median, but the verdict's limits were fitted with most" in limit.text


def test_pictures_that_come_unevenly_stay_with_their_sound(detector: dfd.Detector, tmp_path: Path) -> None:
    times = [*range(0, 500, 20), *range(600, 3600, 200)]  # 25 pictures in the first half second of 3.4
    clip = media.write_clip(tmp_path / "a.mp4", times_ms=times, width=320, height=240)
    annotate_video(detector.score_video(clip, num_frames=2), tmp_path / "b.mp4")
    drawn = list(dfd.read_frames(tmp_path / "b.mp4"))
    assert len(drawn) == len(times)
    rate = dfd.read_metadata(clip).frames_per_second
    assert media.read_number(drawn[-1].image) == len(times) - 1
    for frame in drawn[:-1]:
        last = max(n for n, time in enumerate(times) if time / 1000 <= frame.time_seconds + 0.5 / rate)
        assert media.read_number(frame.image) == last


def test_a_clip_that_stands_still_for_minutes_is_annotated(detector: dfd.Detector, tmp_path: Path) -> None:
    """Its average rate, 0.008 frames per second, is one that no video is written at."""
    clip = media.write_clip(tmp_path / "a.mp4", times_ms=[0, 40, 80, 600_000, 600_040])
    annotate_video(detector.score_video(clip, num_frames=2), tmp_path / "b.mp4")
    written = dfd.read_metadata(tmp_path / "b.mp4")
    assert written.frames_per_second == 1
    assert abs(written.duration_seconds - 600) <= 2


def test_a_damaged_clip_is_refused_or_scored_with_the_fraction_of_bad_frames(
    detector: dfd.Detector, portrait_clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "rotten.mp4"
    path.write_bytes(portrait_clip.read_bytes())
    media.damage_packets(path, range(10, 16))
    with pytest.raises(VideoTruncatedError, match="is damaged: not all of its 24 frames decode"):
        detector.score_video(path, num_frames=12)
    score = detector.score_video(path, num_frames=12, allow_truncated=True)
    assert 0 < len(score.frames) < 12
    (warning,) = (one for one in score.warnings if one.kind == "damaged_file")
    assert "% of its frames are missing or damaged and were skipped" in warning.text


def test_a_clip_beyond_the_limits_is_refused(detector: dfd.Detector, portrait_clip: Path) -> None:
    with pytest.raises(VideoError, match="has more than 9 frames; cut out a part, or raise `max_frames`"):
        detector.score_video(portrait_clip, limits=DecodingLimits(max_frames=9))
