"""When a clip was forged: segments of part-forged clips made from FaceForensics++, against the truth.

    python benchmarks/bench_segments.py --root FACEFORENSICS [--detector FILE] [--clips 8] [--json FILE]

ROOT is an official FaceForensics++ tree, of which a part is enough. Each original of `youtube` is spliced
with its fakes at the same frames: windows of 12 seconds, one or two forged stretches of 0.5 to 6 seconds
at times drawn from the seed, encoded again with x264 at CRF 23 and 30. As many windows of the originals
are left as they are. All are scored by `score_videos`, with one run for what it reports and for

    baseline   runs of the evenly sampled frames at or above the probability 0.5

Measured: average precision and recall of AV-Deepfake1M's protocol, how far the borders of found segments
(IoU of .5 or more) are off, real windows with a forged segment, frames sampled again, and the time of
scoring with segments over that without.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package

from benchmarks.measuring import add_json_option, record  # noqa: E402
from deepfake_detect import load_detector  # noqa: E402
from deepfake_detect.evaluation.segments import stretch_seconds  # noqa: E402
from deepfake_detect.metrics.segments import segment_iou, segment_metrics  # noqa: E402
from deepfake_detect.records import ClipResult, Frame  # noqa: E402
from deepfake_detect.video import FrameList, read_frames, read_metadata  # noqa: E402

_SECONDS = 12
_SHORTEST, _LONGEST = 0.5, 6.0
_CRFS = (23, 30)
_THRESHOLD = 0.5
_APART = 1.0  # seconds between two stretches, and to the borders of the window


@dataclass(frozen=True)
class Window:
    """Part of an original, and what of it is taken from a fake of it.

    Attributes:
        original, fake: Clips of the same frames; ``fake`` is ``None`` for a real window.
        first: First frame.
        segments: Forged stretches in seconds of the window.
        crf: Of the encoder.
    """

    original: Path
    fake: Path | None
    first: int
    segments: tuple[tuple[float, float], ...]
    crf: int

    @property
    def name(self) -> str:
        made_of = self.original.stem if self.fake is None else f"{self.fake.parents[2].name}_{self.fake.stem}"
        return f"{made_of}_{self.first}_{len(self.segments)}_crf{self.crf}"


@dataclass
class Scored:
    """What was found in the windows, by name."""

    truth: dict[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    found: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    baseline: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    extra_frames: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    seconds_off: list[float] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="FaceForensics++ tree")
    parser.add_argument("--detector", help="detector file (default: the bundled one)")
    parser.add_argument("--clips", type=int, default=8, help="part-forged windows of each fake")
    parser.add_argument("--seed", type=int, default=0)
    add_json_option(parser, "segments")
    arguments = parser.parse_args()
    pairs = list(find_pairs(arguments.root))
    if not pairs:
        parser.error(f"{arguments.root} has no c23 original with a fake of the same frame size")
    windows = list(plan(pairs, arguments.clips, np.random.default_rng(arguments.seed)))
    scored = score(windows, arguments.detector)
    figures = summary(scored, windows)
    record("segments", arguments, figures, packages=("av", "onnxruntime"))
    return 0


def find_pairs(root: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each original with each of its fakes of the same size, from which frames can be exchanged."""
    for original in sorted(root.glob("original_sequences/youtube/c23/videos/*.mp4")):
        size = frame_size(original)
        for fake in sorted(root.glob(f"manipulated_sequences/*/c23/videos/{original.stem}_*.mp4")):
            if frame_size(fake) == size:
                yield original, fake


def frame_size(path: Path) -> tuple[int, int]:
    metadata = read_metadata(path)
    return metadata.width, metadata.height


def plan(pairs: Sequence[tuple[Path, Path]], clips: int, random: np.random.Generator) -> Iterator[Window]:
    """Yield part-forged windows, and as many real ones."""
    for original, fake in pairs:
        clip, other = read_metadata(original), read_metadata(fake)
        last = min(clip.num_frames, other.num_frames) - round(_SECONDS * clip.frames_per_second)
        for number in range(clips):
            first, crf = int(random.integers(last + 1)), _CRFS[number // 2 % 2]
            segments = draw_segments(1 + number % 2, random)
            yield Window(original, fake, first, segments, crf)
            yield Window(original, None, first, (), crf)


def draw_segments(count: int, random: np.random.Generator) -> tuple[tuple[float, float], ...]:
    """Return forged stretches of random length, apart from one another; short ones as likely as long."""
    while True:
        lengths = np.exp(random.uniform(np.log(_SHORTEST), np.log(_LONGEST), count))
        starts = np.sort(random.uniform(_APART, _SECONDS - _APART, count))
        ends = starts + lengths
        if (
            all(np.diff([*np.stack([starts, ends], 1).ravel()])[1::2] > _APART)
            and ends[-1] < _SECONDS - _APART
        ):
            return tuple(zip(starts.tolist(), ends.tolist(), strict=True))


def score(windows: Sequence[Window], detector: str | None) -> Scored:
    scored, loaded = Scored(), load_detector(detector)
    with tempfile.TemporaryDirectory() as folder:
        for number, window in enumerate(windows):
            path = Path(folder) / f"{window.name}.mp4"
            write(window, path)
            started = time.perf_counter()
            loaded.score_video(path, segments="off")
            middle = time.perf_counter()
            result = loaded.score_video(path)
            ended = time.perf_counter()
            path.unlink()
            add(scored, window, f"{number}_{window.name}", result)
            scored.seconds.append((ended - middle) / (middle - started))
            print(f"{number + 1}/{len(windows)} {window.name}: {result.verdict}", file=sys.stderr)
    return scored


def write(window: Window, path: Path) -> None:
    """Encode a window; its forged stretches are of the fake's frames."""
    metadata = read_metadata(window.original)
    rate = metadata.frames_per_second
    count = round(_SECONDS * rate)
    indices = tuple(range(window.first, window.first + count))
    frames = read_frames(window.original, sampling=FrameList(indices))
    others: Iterator[Frame | None] = iter([None] * count)
    if window.fake is not None:
        others = iter(read_frames(window.fake, sampling=FrameList(indices)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(rate), options={"crf": str(window.crf)})
        stream.width, stream.height, stream.pix_fmt = metadata.width, metadata.height, "yuv420p"
        for number, (frame, other) in enumerate(zip(frames, others, strict=True)):
            is_forged = any(start <= number / rate < end for start, end in window.segments)
            image = other.image if is_forged and other is not None else frame.image
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def add(scored: Scored, window: Window, name: str, result: ClipResult) -> None:
    scored.truth[name] = window.segments
    scored.found[name] = [(s.start_seconds, s.end_seconds, s.fake_probability) for s in result.segments]
    scored.baseline[name] = [*runs_above(result)]
    scored.extra_frames.append(len(result.extra_frames))
    for truth in window.segments:
        for start, end, _ in scored.found[name]:
            if segment_iou((start, end), truth) >= 0.5:
                scored.seconds_off += [abs(start - truth[0]), abs(end - truth[1])]


def runs_above(result: ClipResult) -> Iterator[tuple[float, float, float]]:
    """Yield the runs of a person's evenly sampled frames at or above the threshold."""
    for track in result.tracks:
        seen = [
            (frame.time_seconds, face.fake_probability)
            for frame in result.frames
            for face in frame.faces
            if face.track_id == track.track_id
        ]
        times, probabilities = (np.array(values) for values in zip(*seen, strict=True))
        is_above = np.concatenate([[False], probabilities >= _THRESHOLD, [False]])
        for start, stop in np.flatnonzero(is_above[1:] != is_above[:-1]).reshape(-1, 2).tolist():
            ends = stretch_seconds(times, start, stop, end_seconds=float(times[-1]))
            yield (*ends, float(probabilities[start:stop].mean()))


def summary(scored: Scored, windows: Sequence[Window]) -> dict[str, object]:
    """Return the figures of all windows, and those of each method and rate."""
    names = list(scored.truth)
    real = [name for name, window in zip(names, windows, strict=True) if window.fake is None]
    groups = {"all": names}
    for name, window in zip(names, windows, strict=True):
        if window.fake is not None:
            for key in (
                window.fake.parents[2].name,
                f"CRF {window.crf}",
                f"{len(window.segments)} stretches",
            ):
                groups.setdefault(key, list(real)).append(name)
    return {
        "windows": {"forged": len(names) - len(real), "real": len(real)},
        "people": sorted({window.original.stem for window in windows}),
        "real_windows_with_a_segment": sum(bool(scored.found[name]) for name in real),
        "border_error_seconds": {
            "median": statistics.median(scored.seconds_off) if scored.seconds_off else None,
            "within_0.2": float(np.mean(np.array(scored.seconds_off) <= 0.2)) if scored.seconds_off else None,
            "n": len(scored.seconds_off),
        },
        "extra_frames": {"median": statistics.median(scored.extra_frames), "most": max(scored.extra_frames)},
        "time_over_segments_off": [round(one, 3) for one in scored.seconds],
        "groups": {kind: metrics_of(scored, chosen) for kind, chosen in groups.items()},
    }


def metrics_of(scored: Scored, names: Sequence[str]) -> dict[str, dict[str, float]]:
    truth = {name: scored.truth[name] for name in names}
    return {
        kind: {name: round(float(value[0]), 3) for name, value in segment_metrics(truth, proposals).items()}
        for kind, proposals in (("segments", scored.found), ("baseline", scored.baseline))
    }


if __name__ == "__main__":
    sys.exit(main())
