"""What may be uploaded, how much of it, and for how long it is kept."""

from __future__ import annotations

from dataclasses import dataclass

from deepfake_detect.errors import OptionError

_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """The limits of one server.

    Attributes:
        max_upload_bytes: Of one file.
        max_seconds: Length of a clip.
        max_pixels: Of one frame or picture; 50 million is more than an 8K frame.
        max_waiting: Uploads that wait or arrive at once, over all clients.
        num_frames: Frames looked at where a request names no number.
        max_num_frames: The most a request may ask for.
        keep_seconds: For how long a scored clip stays for the page's player.
        max_job_seconds: After which the scoring of one clip is given up.
        max_silence_seconds: Between two pieces of an upload.
        max_upload_seconds: For all of an upload, so that one which drips in does not hold its place.

    Raises:
        OptionError: A limit is not above 0, or ``num_frames`` is above ``max_num_frames``.

    Example:
        >>> Limits(max_seconds=60).sentence()
        'a video or picture of up to 500 MB, 60 seconds and 50 megapixels a frame'
    """

    max_upload_bytes: int = 500 * _MEBIBYTE
    max_seconds: float = 600.0
    max_pixels: int = 50_000_000
    max_waiting: int = 64
    num_frames: int = 32
    max_num_frames: int = 512
    keep_seconds: float = 900.0
    max_job_seconds: float = 1800.0
    max_silence_seconds: float = 30.0
    max_upload_seconds: float = 1800.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise OptionError(name, f"is {value}", "pass a number above 0")
        if self.num_frames > self.max_num_frames:
            raise OptionError("num_frames", f"is {self.num_frames}", f"pass 1 to {self.max_num_frames}")

    def sentence(self) -> str:
        """Return what a file may be, as a person reads it."""
        return (
            f"a video or picture of up to {self.max_upload_bytes / _MEBIBYTE:g} MB, "
            f"{self.max_seconds:g} seconds and {self.max_pixels / 1e6:g} megapixels a frame"
        )
