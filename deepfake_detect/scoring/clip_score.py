"""A clip's verdict with everything a person may want to do with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detect.errors import OptionError, VideoError
from deepfake_detect.records import ClipRecord

if TYPE_CHECKING:
    from deepfake_detect.report.clip import Words
    from deepfake_detect.scoring.pipeline import ClipDetector


@dataclass(frozen=True, eq=False)
class ClipScore(ClipRecord):
    """A clip's verdict and numbers, with pictures of them.

    In a notebook it shows its timeline.

    Attributes:
        made_by: The detector that spoke, for heat maps; ``None`` in a score that came from another
            process.
        file_stamp: Of the file when it was scored, see :func:`file_stamp`; ``None`` where not known.
    """

    made_by: ClipDetector | None = field(default=None, repr=False)
    file_stamp: tuple[int, int] | None = field(default=None, repr=False)

    def check_file(self) -> None:
        """Make sure that the file is still the one that was scored.

        Raises:
            VideoError: It was written to, or another took its place.
        """
        if self.file_stamp is not None and self.file_stamp != file_stamp(self.video):
            raise VideoError(self.video, "was changed since it was read to be scored", "score it again")

    def __getstate__(self) -> dict[str, Any]:
        # A network is nothing to send to another process beside each verdict.
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"made_by": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def plot(self) -> Any:
        """Return the timeline as matplotlib's ``Figure``: fake probability of each person over time."""
        from deepfake_detect.report.timeline import timeline_figure

        return timeline_figure(self)

    def annotate(
        self,
        path: str | os.PathLike[str],
        *,
        on_frame: Callable[[int, int], None] = lambda done, total: None,
    ) -> Path:
        """Write the clip with boxes, people's numbers and color by probability; its sound is kept.

        Args:
            path: MP4 to write.
            on_frame: Called after each frame with (frames done, frames in all).

        Raises:
            VideoError: The clip can no longer be read, or is another one by now.
        """
        from deepfake_detect.report.annotate import annotate_video

        self.check_file()
        annotate_video(self, Path(path), on_frame=on_frame)
        return Path(path)

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        detector: ClipDetector | None = None,
        provenance: Words | None = None,
        name: str | None = None,
        on_step: Callable[[str], None] = lambda step: None,
    ) -> str:
        """Return a report that needs no other file, and write it where a path is given.

        The clip is read once more for its faces; each is shown with a heat map beside it.

        Args:
            path: HTML to write.
            detector: The detector that spoke, where the score does not know it any more.
            provenance: Of the file, as :func:`provenance.read_provenance` returned it.
            name: What the clip is called in the report, where it is not its file's name.
            on_step: Called with what is being done.

        Raises:
            VideoError: The clip can no longer be read, or was changed since it was scored.
            OptionError: The detector is not known, is another one, or has no heat maps as it runs
                without PyTorch.

        Example:
            >>> import deepfake_detect as dfd
            >>> score = dfd.load_detector().score_video("examples/demo.mp4", num_frames=2)
            >>> score.to_html()[:15]
            '<!doctype html>'
        """
        from deepfake_detect.models.inference import TorchDetector
        from deepfake_detect.report.clip import clip_report
        from deepfake_detect.report.page import write_text
        from deepfake_detect.scoring.key_frames import collect_key_frames

        speaker = detector or self.made_by
        if speaker is None:
            raise OptionError("detector", "is not known to this score", "pass the detector that made it")
        told = (speaker.config.name, speaker.config.version)
        if told != (self.detector.name, self.detector.version):
            raise OptionError(
                "detector",
                f"is {' '.join(told)}, the score was made by {self.detector.name} {self.detector.version}",
                "pass that one",
            )
        if not isinstance(speaker, TorchDetector):
            raise OptionError(
                "detector", "runs without PyTorch, which heat maps need", "pass load_detector(...)"
            )
        evidence = collect_key_frames(speaker, self, on_step=on_step)
        on_step("writing the report")
        shown = self if name is None else replace(self, video=name)
        text = clip_report(shown, evidence, provenance=provenance)
        if path is not None:
            write_text(Path(path), text)
        return text

    def _repr_html_(self) -> str:
        from deepfake_detect.report.clip import clip_summary

        return clip_summary(self)


def file_stamp(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return a file's length in bytes and when it was written to, in nanoseconds; ``None`` without one."""
    if not os.path.exists(path):
        return None
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns
