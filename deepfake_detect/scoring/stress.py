"""``stress``: a detector on clips that were damaged before face detection."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deepfake_detect.data.compare_names import sql_literals
from deepfake_detect.data.identities import identity_key
from deepfake_detect.data.index import VideoIndex, read_index
from deepfake_detect.data.manifest import ALL_SPLITS
from deepfake_detect.errors import DeepfakeDetectError, ManifestError
from deepfake_detect.evaluation.clip_damage import CLIP_DAMAGES, damage_clip, encodings_of
from deepfake_detect.evaluation.options import Resample, ResamplingOptions, StressOptions
from deepfake_detect.evaluation.stress import CLEAN, ClipScore, Stress, measure_damage, scores_to_plain
from deepfake_detect.io.files import make_folder, read_json, write_json
from deepfake_detect.plurals import counted
from deepfake_detect.progress import progress_bar
from deepfake_detect.records import DatasetVideo
from deepfake_detect.report.stress import write_stress
from deepfake_detect.scoring.batch import default_num_workers
from deepfake_detect.scoring.detector import DetectorInput, load_detector, ready_detector
from deepfake_detect.scoring.options import ScoringOptions
from deepfake_detect.scoring.pipeline import Detector
from deepfake_detect.work import TaskFailure, map_tasks

_SCORES = "scores"


def stress(
    index: str | os.PathLike[str] | VideoIndex,
    detector: DetectorInput = None,
    *,
    out: str | os.PathLike[str] | None = None,
    damages: Sequence[str] = StressOptions.damages,
    split: str = StressOptions.split,
    where: str | None = StressOptions.where,
    num_videos: int = StressOptions.num_videos,
    num_frames: int = ScoringOptions.num_frames,
    workers: int | None = StressOptions.workers,
    resample: Resample = ResamplingOptions.resample,
    num_resamples: int = ResamplingOptions.num_resamples,
    seed: int = ResamplingOptions.seed,
    show_progress: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> Stress:
    """Damage clips the way uploads and encoders do, then detect faces and score them.

    Args:
        index: Videos with labels, as :func:`index_dataset` writes them.
        detector: Detector of any kind, or its path; the bundled one when ``None``.
        out: Folder for ``stress.json``, ``stress.csv``, ``stress.html`` and ``stress.png``. Scores of a
            damage that it has are not computed again, unless videos, detector or frames differ.
        damages, split, where, num_videos, workers: See :class:`StressOptions`.
        num_frames: Evenly spaced frames to score of each clip.
        resample, num_resamples, seed: See :class:`ResamplingOptions`.
        show_progress: Whether to show a progress bar.
        log: Called with a line after each damage.

    Returns:
        For each damage the AUC, its paired change, and how many clips and frames lost their faces.

    Raises:
        CheckpointError, ManifestError, OptionError, OutputError: Detector, index or an option cannot be used.

    Source: damages after the perturbations of DeeperForensics-1.0 (arXiv:2001.03024), on whole clips.
    """
    options = StressOptions(tuple(damages), split, where, num_videos, workers)
    ResamplingOptions(resample, num_resamples, seed)
    names = options.damages or tuple(CLIP_DAMAGES)
    for name in names:
        encodings_of(name)
    folder = None if out is None else make_folder(Path(out))
    loaded = ready_detector(detector)
    videos = _chosen(index, options, seed)
    scorer = _Scorer(loaded, detector, num_frames, resample, options.workers)
    scores: dict[str, list[ClipScore]] = {}
    with progress_bar(enabled=show_progress) as progress:
        task = progress.add_task("clips", total=len(videos) * (1 + len(names)), note="")
        for name in (CLEAN, *names):
            stored = None if folder is None else make_folder(folder / _SCORES) / f"{name}.json"
            scores[name] = scorer.scores(name, videos, stored, lambda: progress.advance(task))
    measured = {
        name: measure_damage(
            name,
            scores[CLEAN],
            of_damage,
            threshold=loaded.config.threshold,
            num_resamples=num_resamples,
            seed=seed,
        )
        for name, of_damage in scores.items()
    }
    clean = measured.pop(CLEAN)
    for one in measured.values():
        log(f"{one.damage}: AUC {one.auc.text()}, {counted(one.num_without_face, 'clip')} without a face")
    info = f"{loaded.config.name} {loaded.config.version}"
    found = Stress(
        info, loaded.config.threshold, num_frames, clean, tuple(measured.values()), num_resamples, seed
    )
    if folder is not None:
        write_stress(folder, found)
    return found


def _chosen(
    index: str | os.PathLike[str] | VideoIndex, options: StressOptions, seed: int
) -> list[DatasetVideo]:
    """Return videos of both classes."""
    rows = index if isinstance(index, VideoIndex) else read_index(index)
    if options.split != ALL_SPLITS:
        rows = rows.where(f"split = {sql_literals([options.split])}")
    rows = rows if options.where is None else rows.where(options.where)
    videos = rows.sample_videos(options.num_videos // 2, per=["label"], seed=seed).videos()
    if len({video.label for video in videos}) < 2:
        cause = f"does not have both classes in split {options.split}"
        raise ManifestError(rows.path, cause, "choose another `split`, or all")
    return videos


@dataclass(frozen=True)
class _Scorer:
    """Damages and scores videos, here or in processes."""

    detector: Detector
    given: DetectorInput
    num_frames: int
    resample: Resample
    workers: int | None

    def scores(
        self, damage: str, videos: Sequence[DatasetVideo], stored: Path | None, advance: Callable[[], None]
    ) -> list[ClipScore]:
        """Return the scores of one damage, those that an earlier run stored if nothing has changed."""
        settings = {
            "detector": self.detector.sha256 or self.detector.config.name,
            "num_frames": self.num_frames,
            "resample": self.resample,
            "videos": [video.video_id for video in videos],
        }
        if stored is not None and stored.is_file() and (found := read_json(stored))["settings"] == settings:
            for _ in videos:
                advance()
            return [ClipScore(**one) for one in found["scores"]]
        scores = []
        for _, one in self._results([(video, damage) for video in videos]):
            scores.append(one)
            advance()
        if stored is not None:
            write_json(stored, {"settings": settings, "scores": scores_to_plain(scores)})
        return scores

    def _results(self, tasks: Sequence[tuple[DatasetVideo, str]]) -> list[tuple[object, ClipScore]]:
        num_cores = 1 if self.detector.is_on_gpu else os.cpu_count() or 1
        workers = self.workers or default_num_workers(len(tasks), num_cores)
        if workers == 1 or isinstance(self.given, Detector):
            work = partial(_score, self.detector, self.num_frames, self.resample)
            return [(task, work(task)) for task in tasks]
        make = partial(_make_worker, self.given, self.num_frames, self.resample)
        found = map_tasks(tasks, make, engine="processes", num_workers=workers, in_order=True)
        return [(task, _lost(task[0], self.resample, one)) for task, one in found]


def _make_worker(
    detector: DetectorInput, num_frames: int, resample: Resample
) -> Callable[[tuple[DatasetVideo, str]], ClipScore]:
    return partial(_score, load_detector(detector), num_frames, resample)  # type: ignore[arg-type]


def _lost(video: DatasetVideo, resample: Resample, one: ClipScore | TaskFailure) -> ClipScore:
    if isinstance(one, TaskFailure):
        return ClipScore(video.video_id, _group(video, resample), video.label, None, error=str(one.cause))
    return one


def _group(video: DatasetVideo, resample: Resample) -> str:
    if resample == "identities" and video.target_id:
        return identity_key(video.dataset, video.target_id)
    return f"video {video.video_id}"


def _score(
    detector: Detector, num_frames: int, resample: Resample, task: tuple[DatasetVideo, str]
) -> ClipScore:
    """Damage a video and score it; an error is part of the result."""
    video, damage = task
    facts = video.video_id, _group(video, resample), video.label
    with tempfile.TemporaryDirectory() as folder:
        path = video.path
        try:
            if damage != CLEAN:
                path = Path(folder) / "clip.mp4"
                damage_clip(video.path, path, damage)
            result = detector.score_video(path, num_frames=num_frames)
        except DeepfakeDetectError as error:
            return ClipScore(*facts, None, error=str(error))
    return ClipScore(*facts, result.fake_probability, len(result.frames), result.num_frames_scored)
