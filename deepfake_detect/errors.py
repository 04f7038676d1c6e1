"""Every error the library raises on purpose.

    DeepfakeDetectError             catch this one to catch them all
    ├── VideoError                  a video file that cannot be used
    │   ├── VideoNotFoundError      no such file (also a FileNotFoundError)
    │   ├── VideoUnreadableError    a file from which no frame can be decoded
    │   ├── VideoTruncatedError     a file that is damaged, or has fewer frames than it declares
    │   └── VideoLimitError         a file that is larger than the limits of decoding
    ├── ImageError                  a frame or crop of the wrong kind (also a ValueError)
    ├── OptionError                 an option whose value is not allowed (also a ValueError)
    ├── DatasetError                a dataset tree, list or manifest that cannot be used
    │   ├── DatasetLayoutError      the folders are not those of the named dataset
    │   └── ManifestError           a manifest or crop that is missing, damaged or of another shape
    ├── CheckpointError             a detector file that is missing, damaged or of another library
    ├── FetchError                  a URL that cannot be downloaded
    ├── WeightsError                pretrained weights that are missing, damaged or do not fit
    ├── SanityError                 a training run that would not learn, found before it starts
    ├── OutputError                 a result that cannot be written
    ├── DeviceError                 a device that this machine does not have
    └── WorkerError                 a worker process that crashed

Each message is one line of three parts: what it is about, what is wrong, what to do.
The command line prints that line and exits with code 2.
"""

from __future__ import annotations


class DeepfakeDetectError(Exception):
    """Base class of all errors of this library.

    Args:
        subject: What the error is about: a path, an option name, a module.
        cause: What was found and why it cannot be used.
        remedy: What to do about it.

    Example:
        >>> str(DeepfakeDetectError("clip.mp4", "holds no video stream", "pass a file with frames"))
        'clip.mp4: holds no video stream; pass a file with frames'
    """

    def __init__(self, subject: object, cause: str, remedy: str) -> None:
        # All three go to Exception so that the error survives pickling between processes.
        super().__init__(str(subject), cause, remedy)
        self.subject = str(subject)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return " ".join(f"{self.subject}: {self.cause}; {self.remedy}".split())


class VideoError(DeepfakeDetectError):
    """A video file that cannot be used."""


class VideoNotFoundError(VideoError, FileNotFoundError):
    """There is no file at the path."""


class VideoUnreadableError(VideoError):
    """A file from which no frame can be decoded."""


class VideoTruncatedError(VideoError):
    """A file that is damaged, or has fewer frames than it declares."""


class VideoLimitError(VideoError):
    """A file with more pixels or frames, or that takes longer to decode, than the limits allow."""


class ImageError(DeepfakeDetectError, ValueError):
    """A frame or crop that is not an RGB image of a supported type."""


class OptionError(DeepfakeDetectError, ValueError):
    """An option whose value is not allowed."""


class DatasetError(DeepfakeDetectError):
    """A dataset tree, list or manifest that cannot be used."""


class DatasetLayoutError(DatasetError):
    """The folders are not those of the named dataset."""


class ManifestError(DatasetError):
    """A manifest or one of its crops is missing, damaged or of another shape."""


class CheckpointError(DeepfakeDetectError):
    """A detector file that is missing, damaged or written by another library."""


class WeightsError(DeepfakeDetectError):
    """Pretrained weights that are missing, damaged or do not fit the network."""


class FetchError(DeepfakeDetectError):
    """A URL that cannot be downloaded, or whose file has another size or hash than expected."""


class SanityError(DeepfakeDetectError):
    """Data or network of a training run are not fit to be trained."""


class OutputError(DeepfakeDetectError):
    """A result that cannot be written."""


class DeviceError(DeepfakeDetectError):
    """A device that this machine does not have."""


class WorkerError(DeepfakeDetectError):
    """A worker process that crashed."""
