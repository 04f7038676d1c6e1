"""Why a request was turned down: what came, what is allowed, what to do."""

from __future__ import annotations

from deepfake_detect.errors import DeepfakeDetectError, VideoTruncatedError, WorkerError


class Refusal(DeepfakeDetectError):
    """A request that is not served.

    Args:
        subject: What it is about, such as the upload's name.
        cause: What came and why it is not served.
        remedy: What to do about it.
        allowed: What would be served.
        status: HTTP status code, 400 to 599.
        retry_after_seconds: When to ask again, where that helps.

    Example:
        >>> refusal = Refusal("a.mp4", "is empty", "send the file again", allowed="a video", status=400)
        >>> refusal.to_dict()["came"], refusal.status
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
        """Return the JSON body of the answer."""
        return {
            "error": str(self),
            "what": self.subject,
            "came": self.cause,
            "allowed": self.allowed,
            "do": self.remedy,
        }


def refusal_of(error: DeepfakeDetectError, *, name: str, allowed: str) -> Refusal:
    """Return the library's error about an upload in words for its sender.

    Args:
        error: What was raised; a refusal is returned as it is.
        name: Of the upload, as its sender calls it; where it is stored is nobody's business.
        allowed: What would have been judged.

    Example:
        >>> from deepfake_detect.errors import VideoUnreadableError
        >>> error = VideoUnreadableError("/tmp/x", "is a text file", "pass a video")
        >>> str(refusal_of(error, name="a.mp4", allowed="a video"))
        'a.mp4: is a text file; pass a video'
    """
    if isinstance(error, Refusal):
        return error
    is_cut = isinstance(error, VideoTruncatedError)
    remedy = "send the whole file, or one that was not cut off" if is_cut else error.remedy
    return Refusal(name, error.cause, remedy, allowed, 500 if isinstance(error, WorkerError) else 422)
