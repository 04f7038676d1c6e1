"""Why a request was rejected: what was received, what is allowed, what to do."""

from __future__ import annotations

from deepfake_detect.errors import DeepfakeDetectError, VideoTruncatedError, WorkerError


class RequestError(DeepfakeDetectError):
    """A rejected request.

    Args:
        subject: What it is about, such as the upload's name.
        cause: What was received and why it is rejected.
        remedy: What to do about it.
        allowed: What would be accepted.
        status: HTTP status code, 400 to 599.
        retry_after_seconds: When to try again, where that helps.

    Example:
        >>> error = RequestError("a.mp4", "is empty", "send the file again", allowed="a video", status=400)
        >>> error.to_dict()["came"], error.status
        ('is empty', 400)
    """

    def __init__(
        self,
        subject: object,
        cause: str,
        remedy: str,
        allowed: str,
        status: int,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(subject, cause, remedy)
        # Pickled by its arguments on the way out of the worker.
        self.args = (str(subject), cause, remedy, allowed, status, retry_after_seconds)
        self.allowed = allowed
        self.status = status
        self.retry_after_seconds = retry_after_seconds

    def to_dict(self) -> dict[str, str]:
        """Return the JSON body of the response."""
        return {
            "error": str(self),
            "what": self.subject,
            "came": self.cause,
            "allowed": self.allowed,
            "do": self.remedy,
        }


def request_error(error: DeepfakeDetectError, *, name: str, allowed: str) -> RequestError:
    """Return the library's error about an upload in words for its sender.

    Args:
        error: The error; a :class:`RequestError` is returned unchanged.
        name: The client's name for the upload; its path on the server stays private.
        allowed: What would be accepted.

    Example:
        >>> from deepfake_detect.errors import VideoUnreadableError
        >>> error = VideoUnreadableError("/tmp/x", "is a text file", "pass a video")
        >>> str(request_error(error, name="a.mp4", allowed="a video"))
        'a.mp4: is a text file; pass a video'
    """
    if isinstance(error, RequestError):
        return error
    is_cut = isinstance(error, VideoTruncatedError)
    remedy = "send the complete file, or one that was not cut off" if is_cut else error.remedy
    return RequestError(name, error.cause, remedy, allowed, 500 if isinstance(error, WorkerError) else 422)


def internal_error(error: Exception, *, name: str, allowed: str) -> RequestError:
    """Return the response to an unexpected exception, a bug of this program.

    Args:
        error: The exception. Its message stays private: it may contain paths.
        name: The client's name for the upload.
        allowed: What would be accepted.
    """
    cause = f"caused an internal error ({type(error).__name__})"
    return RequestError(name, cause, "report it together with the file", allowed, 500)
