from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import markupsafe
import numpy as np
import pytest

import deepfake_detect as dfd
from deepfake_detect.errors import OptionError, VideoError
from deepfake_detect.explanation import crops as explanation_crops
from deepfake_detect.records import (
    CropGeometry,
    DetectorInfo,
    FaceScore,
    FrameScore,
    QualityWarning,
    TrackScore,
    Verdict,
)
from deepfake_detect.report.annotate import annotate_video
from deepfake_detect.report.clip import write_report
from deepfake_detect.report.key_frames import collect_key_frames, frames_with_everybody, pick_faces
from deepfake_detect.report.timeline import plot_timeline, timeline_chart
from deepfake_detect.report.words import CAVEAT, HEADLINES, percent, verdict_words
from deepfake_detect.video import AllFrames, VideoWriter, read_frames, read_metadata
from tests.app.browser import CHROMIUM, Browser


@pytest.fixture(scope="module")
def detector(small_detector: Path) -> dfd.Detector:
    return dfd.load_detector(small_detector, device="cpu")


@pytest.fixture(scope="module")
def score(detector: dfd.Detector, portrait_clip: Path) -> dfd.ClipResult:
    return detector.score_video(portrait_clip, num_frames=6)


def report_html(result: dfd.ClipResult, *, detector: dfd.Detector, **options: object) -> str:
    key_frames = collect_key_frames(result, detector)
    with tempfile.TemporaryDirectory() as folder:
        path = write_report(result, Path(folder) / "r.html", key_frames=key_frames, **options)  # type: ignore[arg-type]
        return path.read_text("utf-8")


def frames_of(page: str) -> list[dict[str, object]]:
    start = page.index('<script type="application/json">') + len('<script type="application/json">')
    frames: list[dict[str, object]] = json.loads(page[start : page.index("</script>", start)])
    return frames


def test_a_report_shows_the_result(detector: dfd.Detector, score: dfd.ClipResult, tmp_path: Path) -> None:
    steps: list[str] = []
    key_frames = collect_key_frames(score, detector, on_step=steps.append)
    path = write_report(score, tmp_path / "report.html", key_frames=key_frames, on_step=steps.append)
    page = path.read_text("utf-8")
    assert steps == ["reading the faces", "computing heat maps", "hashing the file", "writing the report"]
    for words in (
        *("Most suspicious frames", "Least suspicious frames", verdict_words(score).reasons_title),
        *("not proof", "neither the clip nor any part of it was sent anywhere", "Technical appendix"),
        *(
            percent(score.fake_probability or 0.0),
            score.detector.name,
            "h264",
            "320 x 240 pixels",
            "computed in fp32",
        ),
        *("the face is visible in only 6 of the sampled frames", "Grad-CAM"),
    ):
        assert words in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    frames = frames_of(page)
    assert [frame["index"] for frame in frames] == [0, 5, 9, 14, 18, 23]
    assert str(frames[0]["words"]).startswith("0.00 s, frame 0: person 1: ")
    assert all(str(frame["image"]).startswith("data:image/jpeg;base64,") for frame in frames)
    assert page.count("<figure>") == 6
    assert page.count('alt="heat map of person 1') == 6


def test_the_appendix_names_the_very_file(detector: dfd.Detector, score: dfd.ClipResult) -> None:
    assert hashlib.sha256(Path(score.video).read_bytes()).hexdigest() in report_html(score, detector=detector)


def test_the_detector_must_be_the_one_that_scored(detector: dfd.Detector, score: dfd.ClipResult) -> None:
    sent = pickle.loads(pickle.dumps(score))
    assert sent.to_dict() == score.to_dict()
    assert "Most suspicious" in report_html(sent, detector=detector)
    with pytest.raises(OptionError, match="the clip was scored by .*; pass that detector"):
        report_html(sent, detector=dfd.load_detector(device="cpu"))


def test_a_clip_that_is_gone_or_another_is_told(
    detector: dfd.Detector, score: dfd.ClipResult, portrait_clip: Path, tmp_path: Path
) -> None:
    with pytest.raises(VideoError, match="no such file"):
        report_html(replace(score, video=str(tmp_path / "gone.mp4")), detector=detector)
    short = tmp_path / "short.mp4"
    with VideoWriter(short, width=320, height=240, frames_per_second=12) as writer:
        for frame in list(read_frames(portrait_clip, sampling=AllFrames()))[:3]:
            writer.write(frame.image)
    with pytest.raises(VideoError, match="has no frame .* any more; score it again"):
        report_html(replace(score, video=str(short)), detector=detector)


def test_names_are_text_and_never_markup(
    detector: dfd.Detector, score: dfd.ClipResult, tmp_path: Path
) -> None:
    hostile = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    shutil.copy2(score.video, hostile)  # with its times: a file that was changed has no report
    shown = replace(score, video=str(hostile), warnings=(QualityWarning("few_frames", "</script><b>"),))
    for page in (report_html(shown, detector=detector), shown._repr_html_()):
        assert "<img src=x" not in page
        assert "<b>" not in page.replace("<b style", "")


def test_no_face_has_a_report_without_a_timeline(detector: dfd.Detector, faceless_clip: Path) -> None:
    found = detector.score_video(faceless_clip, num_frames=4)
    page = report_html(found, detector=detector)
    assert "No face found" in page
    assert "No face was found in 4 sampled frames" in page
    assert "<svg" not in page
    assert "<svg" not in found._repr_html_()


def test_a_picture_is_reported(detector: dfd.Detector, portrait: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), portrait[..., ::-1])
    found = detector.score_video(path)
    assert found.fake_probability_interval is None
    assert [limit.kind for limit in found.warnings][0] == "single_picture"
    page = report_html(found, detector=detector)
    assert "this is a single image" in page
    assert "NaN" not in page.replace("nan", "")


def test_pictures_of_a_score(score: dfd.ClipResult, tmp_path: Path) -> None:
    display = plot_timeline(score)
    (axes,) = display.plot().axes
    assert HEADLINES[score.verdict] in axes.get_title()
    assert display._repr_png_()[1:4] == b"PNG"
    assert repr(display) == f"TimelineDisplay({display.title!r})"
    (person,) = display.people
    assert (person.name, person.frame_indices.tolist()) == ("person 1", [0, 5, 9, 14, 18, 23])
    faces = [face.fake_probability for frame in score.frames for face in frame.faces]
    assert person.probabilities.tolist() == faces
    annotate_video(score, tmp_path / "out.mp4")
    assert read_metadata(tmp_path / "out.mp4").num_frames == 24
    notebook = score._repr_html_()
    assert "<svg" in notebook
    assert "data:image" not in notebook


@pytest.mark.parametrize(
    ("verdict", "color"), [("real", (95, 112, 140)), ("uncertain", (205, 140, 20)), ("fake", (215, 40, 40))]
)
def test_the_annotated_verdict_has_the_color_of_the_verdict(
    verdict: Verdict, color: tuple[int, int, int], score: dfd.ClipResult, tmp_path: Path
) -> None:
    """Just below a limit of the band, a color by probability would look undecided."""
    annotate_video(replace(score, verdict=verdict, fake_probability=0.35), tmp_path / "out.mp4")
    first = next(iter(read_frames(tmp_path / "out.mp4", sampling=AllFrames())))
    np.testing.assert_allclose(first.image[1, 1].astype(int), color, atol=15)


def clip(probabilities: list[float], *, track_id: int = 0) -> dfd.ClipResult:
    box = np.array([0, 0, 50, 50], np.float32)
    frames = tuple(
        FrameScore(number, number / 10, (FaceScore(box, track_id, 0.99, value),))
        for number, value in enumerate(probabilities)
    )
    track = TrackScore(track_id, len(frames), float(np.mean(probabilities)), decides=True)
    detector = DetectorInfo("x", "1", 0.4, 0.6, "mean")
    return dfd.ClipResult("a.mp4", "fake", 0.7, len(frames), frames, (track,), detector)


def test_a_clip_that_stands_still_for_ten_minutes_is_annotated(tmp_path: Path) -> None:
    path = tmp_path / "pause.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for milliseconds in (0, 40, 80, 600_000, 600_040):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")
            frame.pts, frame.time_base = milliseconds, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert read_metadata(path).frames_per_second < 0.01
    done: list[tuple[int, int]] = []
    annotate_video(
        replace(clip([0.7, 0.8]), video=str(path)), tmp_path / "a.mp4", on_frame=lambda *one: done.append(one)
    )
    written = read_metadata(tmp_path / "a.mp4")
    assert (written.frames_per_second, done[-1]) == (1.0, (5, 5))
    assert written.duration_seconds == pytest.approx(600, abs=2)


def test_key_faces_are_the_extremes_some_way_apart() -> None:
    values = [0.5] * 32
    values[10:13] = [0.9, 0.95, 0.9]
    values[20], values[30], values[0] = 0.8, 0.7, 0.1
    picks = pick_faces(clip(values))
    suspicious = [pick.frame_index for pick in picks if pick.is_suspicious]
    harmless = [pick.frame_index for pick in picks if not pick.is_suspicious]
    assert suspicious == [11, 20, 30]
    assert harmless[0] == 0
    assert not set(suspicious) & set(harmless)
    assert len(pick_faces(clip([0.3]))) == 1


def test_a_network_without_heat_maps_is_reported_with_the_reason(
    detector: dfd.Detector, score: dfd.ClipResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OptionError("layer", "has no gradient", "choose another")

    monkeypatch.setattr(explanation_crops, "explain_crops", refuse)
    page = report_html(score, detector=detector)
    assert "There are no heat maps: layer: has no gradient; choose another." in page
    assert "heat map of" not in page
    assert page.count("<figure>") == 6


def test_turned_crops_are_cut_as_they_were_scored(
    small_detector: Path, portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = dfd.load_detector(small_detector, device="cpu")
    detector.config = replace(detector.config, geometry=CropGeometry(1.3, aligned=True))
    found = detector.score_video(portrait_clip, num_frames=3)
    evidence = collect_key_frames(found, detector)
    assert len(evidence.faces) == 3
    again = detector.score_crops([face.crop for face in evidence.faces])
    np.testing.assert_allclose(again, [face.fake_probability for face in evidence.faces], atol=1e-5)


@pytest.mark.parametrize("size", [(320, 240), (1000, 1000)])
def test_turned_crops_of_faces_that_are_not_found_again(
    size: tuple[int, int], small_detector: Path, portrait: np.ndarray, tmp_path: Path
) -> None:
    """Small ones are looked for as small as they were scored; one that is nowhere stays level."""
    path, canvas = tmp_path / "a.png", np.full((size[1], size[0], 3), 90, np.uint8)
    canvas[:120, :120] = cv2.resize(portrait, (120, 120), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), canvas[..., ::-1])
    detector = dfd.load_detector(small_detector, device="cpu")
    detector.config = replace(detector.config, geometry=CropGeometry(1.3, aligned=True))
    found = detector.score_video(path, min_face=20)
    (shown,) = collect_key_frames(found, detector).faces
    assert detector.score_crops([shown.crop])[0] == pytest.approx(shown.fake_probability, abs=1e-5)
    box = np.array([150, 150, 200, 200], np.float32)
    face = replace(found.frames[0].faces[0], box_xyxy=box)
    elsewhere = replace(found, frames=(replace(found.frames[0], faces=(face,)),))
    assert collect_key_frames(elsewhere, detector).faces[0].crop.std() < 5


def test_a_file_that_was_changed_since_has_no_report(
    detector: dfd.Detector, score: dfd.ClipResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report must not vouch, by its hash, for a file that was never judged."""
    path = shutil.copy2(score.video, tmp_path / "a.mp4")
    assert report_html(replace(score, video=str(path)), detector=detector)
    os.utime(path, ns=(0, 10**18))
    with pytest.raises(VideoError, match="a.mp4: has changed since it was read for scoring; score it"):
        report_html(replace(score, video=str(path)), detector=detector)
    with pytest.raises(VideoError, match="has changed since"):
        detector.score_video(path, num_frames=2, on_frame=lambda done: os.utime(path, ns=(0, done)))


def test_provenance_stands_apart_from_the_verdict(detector: dfd.Detector, score: dfd.ClipResult) -> None:
    class Credentials:
        def rows(self) -> list[tuple[str, str]]:
            return [("signed by", "A <newspaper>")]

    page = report_html(score, detector=detector, provenance=Credentials())
    assert "Content Credentials of the file" in page
    assert "A &lt;newspaper&gt;" in page
    assert "Content Credentials of the file" not in report_html(score, detector=detector)
    assert str(markupsafe.escape(CAVEAT)) in page


def test_without_a_detector_a_report_has_faces_and_no_heat_maps(
    score: dfd.ClipResult, tmp_path: Path
) -> None:
    page = write_report(score, tmp_path / "r.html").read_text("utf-8")
    assert "There are no heat maps: no detector was passed to compute them." in page
    assert page.count("<figure>") == page.count('alt="face of person 1') == 6
    assert "heat map of" not in page


def test_a_report_can_load_nothing_from_elsewhere(score: dfd.ClipResult, tmp_path: Path) -> None:
    page = write_report(score, tmp_path / "r.html").read_text("utf-8")
    assert "Content-Security-Policy" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_whole_frames_show_every_person_with_a_number(score: dfd.ClipResult, tmp_path: Path) -> None:
    (frame,) = frames_with_everybody(score)
    box = score.frames[[one.frame_index for one in score.frames].index(frame)].faces[0].box_xyxy
    page = write_report(score, tmp_path / "r.html").read_text("utf-8")
    assert page.count('class="box person-0') == 1
    assert f"left:{100 * max(box[0], 0) / 320:.2f}%" in page
    assert "<strong>1</strong>" in page


def test_frames_with_everybody_are_few() -> None:
    box = np.array([0, 0, 50, 50], np.float32)
    faces = {track: FaceScore(box, track, 0.99, 0.1 * track) for track in range(6)}
    groups = [(0,), (1, 2), (1,), (3, 4), (0, 5), ()]
    frames = tuple(
        FrameScore(number, 0.1 * number, tuple(faces[track] for track in group))
        for number, group in enumerate(groups)
    )
    tracks = tuple(TrackScore(track, 1, 0.1 * track, track == 0) for track in range(6))
    result = replace(clip([0.5]), frames=frames, tracks=tracks)
    assert frames_with_everybody(result) == [1, 3, 4]
    assert frames_with_everybody(replace(result, frames=frames[-1:], tracks=())) == []


def test_the_chart_has_no_line_where_nothing_is_known(score: dfd.ClipResult) -> None:
    chart = timeline_chart(score, duration_seconds=2.0)
    (person,) = chart["people"]
    names = [name for name, _, _ in person["shapes"]]
    assert (names.count("line"), names.count("circle")) == (5, 6)
    assert chart["frames"][3]["x"] == pytest.approx(100 * score.frames[3].time_seconds / 2.0, abs=0.01)
    gap = replace(
        score, frames=tuple(replace(f, faces=f.faces * (n != 2)) for n, f in enumerate(score.frames))
    )
    names = [name for name, _, _ in timeline_chart(gap)["people"][0]["shapes"]]
    assert (names.count("line"), names.count("circle")) == (3, 5)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_report_is_accessible_and_readable_on_a_phone(score: dfd.ClipResult, tmp_path: Path) -> None:
    pytest.importorskip(
        "websockets", reason="the browser is driven over a web socket: pip install websockets"
    )
    pytest.importorskip("axe_core_python", reason="the rules of accessibility: pip install axe-core-python")
    path = write_report(score, tmp_path / "r.html")
    with Browser(tmp_path, width=390, is_dark=True) as browser:
        browser.open(path.as_uri())
        assert browser.violations() == []
        assert browser.value("document.documentElement.scrollWidth") == 390
        assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 27)"
        label = "document.querySelector('.timeline text').getBoundingClientRect().height"
        assert browser.value(label) > 11
        browser.value("document.querySelector('.timeline').focus()")
        browser.press("End")
        words = browser.value("document.querySelector('.tip').innerText")
        assert words == f"1.92 s, frame 23: person 1: {percent(score.frames[-1].faces[0].fake_probability)}"
        assert browser.troubles() == []


def test_a_score_without_a_verdict_is_reported_without_limits(
    detector: dfd.Detector, score: dfd.ClipResult, tmp_path: Path
) -> None:
    info = replace(score.detector, is_calibrated=False, uncertain_low=0.5, uncertain_high=0.5)
    tracks = tuple(replace(track, verdict="score") for track in score.tracks)
    uncalibrated = replace(score, verdict="score", detector=info, tracks=tracks)
    page = report_html(uncalibrated, detector=detector)
    assert f"Score {uncalibrated.fake_probability:.2f} (not calibrated: run calibrate)" in page
    assert "none: the detector is not calibrated" in page
    assert "the detector is undecided" not in page
    for verdict in ("fake", "real", "uncertain"):
        assert HEADLINES[verdict] not in page  # type: ignore[index]
    assert "Score" in plot_timeline(uncalibrated).title
    annotate_video(uncalibrated, tmp_path / "a.mp4")
    assert read_metadata(tmp_path / "a.mp4").num_frames > 0
