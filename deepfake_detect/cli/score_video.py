"""Detect deepfaked faces in clips.

A CLIP is a video or an image, a folder (all videos and images in it and below), a URL (with
--allow-url), or - for a file on standard input. Prints one line per clip, in order. The exit code is
2 if some clips could not be scored. --live scores a camera or stream until it ends or you press Ctrl-C.

Nothing leaves this machine: only --allow-url and --live open a connection.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import asdict, replace

from deepfake_detect.cli.arguments import add_options, options_of
from deepfake_detect.cli.engine import add_engine_arguments, cluster_of, ends_on_sigterm
from deepfake_detect.cli.printing import ClipPrinter, LiveLine
from deepfake_detect.errors import OptionError
from deepfake_detect.scoring.options import BatchOptions, LiveOptions, ScoringOptions
from deepfake_detect.video.limits import DecodingLimits

# The options that --help shows.
_SHOWN = {
    *("json", "out", "report", "annotate", "results", "allow_url"),
    *("detector", "runtime", "device", "num_frames", "allow_truncated", "live"),
}
_NOT_LIVE = ("json", "out", "report", "annotate", "results", "fusion")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clips", nargs="*", metavar="CLIP", help="files, folders, URLs or - (see above)")
    for options in (BatchOptions, ScoringOptions, DecodingLimits, LiveOptions):
        add_options(parser, options, shown=_SHOWN)
    add_engine_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    scoring, batch = options_of(ScoringOptions, arguments), options_of(BatchOptions, arguments)
    live = options_of(LiveOptions, arguments)
    with ends_on_sigterm():
        if live.live is not None:
            return _run_live(arguments, scoring, live)
        return _run_clips(arguments, scoring, batch)


def _run_clips(arguments: argparse.Namespace, scoring: ScoringOptions, batch: BatchOptions) -> int:
    from deepfake_detect.scoring import score_videos

    if not arguments.clips:
        raise OptionError("clips", "is missing", "name a file, a folder or a URL, or set `live`")
    cluster = cluster_of(arguments, batch.workers)
    add_arguments(parser := argparse.ArgumentParser())
    printer = ClipPrinter(arguments.clips, batch, parser)
    written = replace(batch, json=None) if printer.prints_json else batch
    items = score_videos(
        arguments.clips,
        **asdict(scoring),
        **asdict(written),
        limits=options_of(DecodingLimits, arguments),
        engine="auto" if cluster is None else "ray",
        ray=cluster,
        show_progress=True,
    )
    with closing(items):
        for item in items:
            printer.show(item)
    return printer.end()


def _run_live(arguments: argparse.Namespace, scoring: ScoringOptions, live: LiveOptions) -> int:
    from deepfake_detect.scoring import watch

    if others := [*arguments.clips, *(f"`{name}`" for name in _NOT_LIVE if hasattr(arguments, name))]:
        raise OptionError("live", f"scores one stream, and there is also {', '.join(others)}", "omit these")
    detector, *more = scoring.detector or (None,)
    if more:
        raise OptionError("detector", "is given several times, and `live` takes one", "set it once")
    verdicts = watch(
        str(live.live),
        detector=detector,
        runtime=scoring.runtime,
        device=scoring.device,
        precision=scoring.precision,
        window_seconds=live.window_seconds,
        aggregation_rule=scoring.aggregation_rule,
        min_face=scoring.min_face,
    )
    with closing(verdicts):
        return LiveLine().show_all(verdicts)
