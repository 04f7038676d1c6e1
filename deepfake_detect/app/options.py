"""Options of the server: where it listens, what may be uploaded, and how long it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepfake_detect.errors import OptionError
from deepfake_detect.options import check_options, option

_BYTES_PER_MB = 2**20
_PUBLISHED = (
    *("max_upload_bytes", "max_seconds", "max_pixels", "max_waiting", "num_frames", "max_num_frames"),
    *("keep_seconds", "max_job_seconds", "max_silence_seconds", "max_upload_seconds"),
)


@dataclass(frozen=True)
class ServeOptions:
    """Where the server listens, and the detector it uses."""

    host: str = option("127.0.0.1", help="address to listen on", metavar="ADDRESS")
    port: int = option(7860, help="port to listen on; 0 picks a free one", low=0, high=65535)
    detector: str | None = option(None, help="detector file (default: the bundled one)", metavar="PATH")
    device: str = option("auto", help="auto, cpu or cuda", metavar="DEVICE")
    workers: int | None = option(
        None,
        low=1,
        metavar="N",
        help=(
            "number of clips to score in parallel, one process each (default: half the cores, at "
            "most 4; 1 on a GPU)"
        ),
    )
    open_browser: bool = option(False, help="open the page in the browser", flag="--open")
    allow_url: bool = option(
        False, help="also score clips by URL, which this computer downloads (extra: url)"
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Limits:
    """Limits of one server.

    Raises:
        OptionError: A limit is not above 0, or ``num_frames`` is above ``max_num_frames``.

    Example:
        >>> Limits(max_seconds=60).sentence()
        'a video or image of up to 500 MB, 60 seconds and 50 megapixels per frame'
    """

    num_frames: int = option(
        32, help="number of evenly spaced frames to score, unless a request sets it", low=1, flag="--frames"
    )
    max_upload_mb: float = option(500.0, help="largest upload, in MB (2^20 bytes)", above=0)
    max_seconds: float = option(600.0, help="longest clip, in seconds", above=0)
    max_waiting: int = option(64, help="most uploads in progress or in the queue, over all clients", low=1)
    max_waiting_mb: float = option(
        8192.0, help="most MB (2^20 bytes) of uploads in progress or in the queue", above=0, is_hidden=True
    )
    keep_minutes: float = option(15.0, help="minutes to keep a scored clip for the page's player", above=0)
    max_pixels: int = option(
        50_000_000,
        help="most pixels in a frame or image; the default allows 8K frames",
        low=1,
        is_hidden=True,
    )
    max_num_frames: int = option(512, help="most frames that a request can ask for", low=1, is_hidden=True)
    max_job_seconds: float = option(
        1800.0, help="time limit for scoring one clip, in seconds", above=0, is_hidden=True
    )
    max_silence_seconds: float = option(
        30.0, help="longest pause during an upload, in seconds", above=0, is_hidden=True
    )
    max_upload_seconds: float = option(
        1800.0,
        help="time limit for a whole upload, in seconds",
        above=0,
        is_hidden=True,
    )
    max_connections: int = option(
        256, help="most open connections; one address can have half of them", low=2, is_hidden=True
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.num_frames > self.max_num_frames:
            raise OptionError("num_frames", f"is {self.num_frames}", f"must be 1 to {self.max_num_frames}")

    @property
    def max_upload_bytes(self) -> int:
        """Size of the largest file."""
        return int(self.max_upload_mb * _BYTES_PER_MB)

    @property
    def keep_seconds(self) -> float:
        """For how long a scored clip is kept for the page's player."""
        return self.keep_minutes * 60

    def to_dict(self) -> dict[str, Any]:  # JSON
        """Return the limits as JSON, sizes in bytes and times in seconds."""
        return {name: getattr(self, name) for name in _PUBLISHED}

    def sentence(self) -> str:
        """Return what may be uploaded, in words for its sender."""
        return (
            f"a video or image of up to {self.max_upload_mb:g} MB, {self.max_seconds:g} seconds and "
            f"{self.max_pixels / 1e6:g} megapixels per frame"
        )
