"""A program of a user with strict types; mypy checks it with the package, and ``test_client.py`` runs it."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import deepfake_detect as dfd


def frames() -> Iterator[np.ndarray]:
    for brightness in (0, 100, 200):
        yield np.full((90, 120, 3), brightness, np.uint8)


def main(clip: Path) -> str:
    detector: dfd.Detector = dfd.load_detector(device="cpu", num_threads=1)
    result: dfd.ClipResult = detector.score_video(clip, num_frames=2)
    probability: float | None = result.fake_probability
    width, height = result.frame_size or (0, 0)
    for track in result.tracks:
        interval: tuple[float, float] | None = track.fake_probability_interval
        print(track.track_id + 1, track.fake_probability, interval)
    for frame in result.frames:
        for face in frame.faces:
            left, top, right, bottom = face.box_xyxy.tolist()
            print(frame.time_seconds, left, top, right, bottom)
    document: dict[str, Any] = result.to_dict()
    again = dfd.ClipResult.from_dict(document)
    content = clip.read_bytes()
    others: list[dfd.ClipResult] = [
        dfd.score_video(content, detector=detector, num_frames=1),
        dfd.score_video(io.BytesIO(content), detector=detector, num_frames=1),
        dfd.score_image(np.zeros((90, 120, 3), np.uint8), detector=detector),
        dfd.score_frames(frames(), frames_per_second=25.0, detector=detector),
    ]
    items: Iterator[dfd.BatchItem] = dfd.score_videos([clip, "absent.mp4"], detector=detector, num_frames=1)
    errors: list[dfd.DeepfakeDetectError] = [item.error for item in items if item.error is not None]
    schema: dict[str, Any] = dfd.result_schema()
    assert len(others) == 4
    assert len(errors) == 1
    assert (again.verdict, probability) == (result.verdict, result.fake_probability)
    return f"{width} x {height}, {schema['title']}"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
