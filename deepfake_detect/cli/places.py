"""Places of a long run that may be URLs: what is small of them is brought here for its time."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detect.errors import OptionError
from deepfake_detect.io.fetch import RemoteDir, is_url
from deepfake_detect.io.files import make_folder
from deepfake_detect.records import DatasetVideo

if TYPE_CHECKING:
    from deepfake_detect.extraction.remote import Remote

_FILES = (".parquet", ".csv")


def place(text: str) -> Path | str:
    """Return a path, or a URL as it is: a path would lose one of its slashes."""
    return text if is_url(text) else Path(text)


@contextmanager
def local_places(arguments: argparse.Namespace) -> Iterator[Remote]:
    """Put folders of this machine in place of the URLs in ``root`` and ``out``, for the block's time.

    Raises:
        OptionError: A URL cannot be listed, or is that of a single file.
        DatasetLayoutError: There is nothing at the URL of the dataset.
    """
    from deepfake_detect.extraction.remote import Remote, mirror_names

    with ExitStack() as stack:

        def scratch() -> Path:
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deepfake_detect.")))

        videos, out = None, None
        if is_url(arguments.root):
            if arguments.root.endswith(_FILES):
                raise OptionError(arguments.root, "is a file", "pass the folder of videos, or copy the file")
            videos = RemoteDir(arguments.root)
            # Named as there: a dataset without a layout of its own is called after its folder.
            arguments.root = make_folder(scratch() / arguments.root.rstrip("/").rpartition("/")[2])
            mirror_names(videos, arguments.root)
        if is_url(arguments.out):
            out, arguments.out = RemoteDir(arguments.out), scratch()
        yield Remote(videos, out)


def listed_below(videos: Sequence[DatasetVideo], root: Path, remote: Remote) -> Sequence[DatasetVideo]:
    """Return videos as they are, or of a dataset behind a URL with paths relative to it."""
    from deepfake_detect.extraction.remote import below

    return videos if remote.videos is None else [below(video, root) for video in videos]
