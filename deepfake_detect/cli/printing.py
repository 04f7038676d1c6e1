"""What score-video prints: one line per clip, a table for a single one, one line for a stream."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detect.cli.arguments import in_flags
from deepfake_detect.cli.notes import note_aside
from deepfake_detect.plurals import counted
from deepfake_detect.report.tables import clip_line, print_clip
from deepfake_detect.report.words import printable

if TYPE_CHECKING:
    from deepfake_detect.scoring import BatchItem, LiveVerdict
    from deepfake_detect.scoring.options import BatchOptions

_STDOUT = Path("-")
_LINE_SECONDS = 1.0


class ClipPrinter:
    """Prints the items of a batch as they come.

    Args:
        clips: The clips as they were named.
        batch: Its options; JSON to ``-`` is standard output, and the lines then go to standard error.
        parser: Has the command's flags, for errors.
    """

    def __init__(self, clips: Sequence[str], batch: BatchOptions, parser: argparse.ArgumentParser) -> None:
        self.prints_json = batch.json == _STDOUT
        self._clips = clips
        self._batch = batch
        self._parser = parser
        self._is_single = False
        self._single: BatchItem | None = None
        self._documents: list[dict[str, Any]] = []
        self._num_items = self._num_resumed = self._num_scored = self._num_failed = 0
        self._stream_name = "stderr" if self.prints_json else "stdout"
        self._stream = getattr(sys, self._stream_name)

    def show(self, item: BatchItem) -> None:
        """Print the lines of a clip."""
        from deepfake_detect.scoring.outputs import is_single_clip

        self._num_items += 1
        self._num_resumed += item.is_resumed
        self._is_single = is_single_clip(self._clips, [item.source])
        if item.result is not None:
            if self.prints_json:
                self._documents.append(item.to_dict())
            self._num_scored += 1
            lines = [clip_line(item.result)]
            lines += [f"  Content Credentials: {item.credentials}"] if item.credentials else []
            # While a progress bar is drawn, rich replaces both streams by its own: right for a
            # terminal, where lines belong above the bar, and wrong for a file.
            stream = getattr(sys, self._stream_name) if self._stream.isatty() else self._stream
            print("\n".join(lines), file=stream, flush=True)
            if self._is_single:
                self._single = item
        self._num_failed += item.error is not None
        if item.error is not None and not item.is_resumed:
            print(f"error: {printable(str(in_flags(item.error, self._parser)))}", file=sys.stderr)

    def end(self) -> int:
        """Print the table of a single clip, the JSON and a summary; return the exit code.

        Call it when the batch has ended: a table would be printed into the progress bar.
        """
        from deepfake_detect.scoring.outputs import json_document

        if self._single is not None and self._single.result is not None:
            print_clip(self._single.result, seconds=self._single.seconds, file=self._stream)
        if self.prints_json and (self._documents or not self._is_single):
            print(json.dumps(json_document(self._documents, is_single=self._is_single), indent=2))
        self._note_files()
        results = self._batch.results
        if self._num_resumed:
            were = "was" if self._num_resumed == 1 else "were"
            note_aside(
                f"{self._num_resumed} of {counted(self._num_items, 'clip')} {were} already in {results}"
            )
        if self._num_failed and results is not None:
            failed = f"{self._num_failed} of {counted(self._num_items, 'clip')} could not be scored"
            print(f"{failed}; the errors are in {results}", file=sys.stderr)
        return 2 if self._num_failed else 0

    def _note_files(self) -> None:
        num_scored = self._num_scored
        batch, has_all = self._batch, num_scored and not self._num_failed
        has_new = self._num_items > self._num_resumed
        written = [
            batch.results if has_new else None,
            None if self.prints_json or not num_scored else batch.json,
        ]
        written += [batch.report, batch.annotate] if has_all else []
        for path in filter(None, written):
            note_aside(f"wrote {path}")
        if batch.out is not None and num_scored:
            note_aside(f"wrote {batch.out} (files about {counted(num_scored, 'clip')})")


class LiveLine:
    """One line of a terminal that is overwritten; without a terminal, one line per second."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._last_seconds = -_LINE_SECONDS

    def show_all(self, verdicts: Iterable[LiveVerdict]) -> int:
        """Show verdicts until they end or Ctrl-C is pressed; return the exit code."""
        verdict = None
        try:
            for verdict in verdicts:
                self.show(verdict)
        except KeyboardInterrupt:
            pass  # that is how a stream without an end is ended
        self.end(verdict)
        return 0

    def show(self, verdict: LiveVerdict) -> None:
        """Show the latest verdict."""
        if self._is_terminal:
            width = shutil.get_terminal_size().columns
            print(f"\r\x1b[2K{verdict.line()[: width - 1]}", end="", flush=True)
        elif verdict.elapsed_seconds - self._last_seconds >= _LINE_SECONDS:
            self._last_seconds = verdict.elapsed_seconds
            print(verdict.line(), flush=True)

    def end(self, verdict: LiveVerdict | None) -> None:
        """Show the last verdict."""
        words = "no frame was scored" if verdict is None else f"last verdict: {verdict.line()}"
        print(f"\r\x1b[2K{words}" if self._is_terminal else words, flush=True)
