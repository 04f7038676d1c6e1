"""Detectors on the Hugging Face Hub: the only importer of huggingface_hub.

``hf://owner/name`` is the detector in a repository, ``hf://owner/name@revision`` that of a branch, tag or
commit, and ``hf://owner/name/FILE`` another file of it. Files are kept in the cache of huggingface_hub
(``HF_HOME``) and are found there without network access too. ``HF_ENDPOINT`` names another hub, and
``HF_TOKEN`` is for private repositories. What comes from the hub is checked like any other file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deepfake_detect.errors import DeepfakeDetectError, FetchError, OptionError, OutputError
from deepfake_detect.extras import is_installed, missing_library
from deepfake_detect.io.fetch import OFFLINE, is_offline

HUB_SCHEME = "hf://"
DETECTOR_NAMES = ("detector.safetensors", "detector.onnx")
"""Names of a detector's file in a repository, by the kind of file."""
_ADDRESS = re.compile(
    r"hf://(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^@]+?))?(?:/(?P<file>[^/]+\.(?:safetensors|onnx)))?/?"
)
_ALLOWED = "must be hf://owner/name, hf://owner/name@revision, or either with /FILE.safetensors or /FILE.onnx"
_LOG_IN = "log in (`hf auth login`) or set HF_TOKEN"


@dataclass(frozen=True)
class HubAddress:
    """A repository on the hub; the default branch without ``revision``, its detector without ``file``."""

    repository: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{HUB_SCHEME}{self.repository}{revision}{f'/{self.file}' if self.file else ''}"


def is_on_hub(detector: str | os.PathLike[str] | None) -> bool:
    """Return whether a detector is named by an address on the hub.

    Example:
        >>> [is_on_hub(one) for one in ("hf://owner/name", "hf/detector.safetensors", None)]
        [True, False, False]
    """
    return isinstance(detector, str) and detector.startswith(HUB_SCHEME)


def parse_address(text: str) -> HubAddress:
    """Return the parts of an address on the hub.

    Raises:
        OptionError: It is none.

    Example:
        >>> parse_address("hf://owner/name@v1.0").revision
        'v1.0'
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise OptionError("detector", f"is {text!r}", _ALLOWED)
    return HubAddress(**found.groupdict())


def fetch_detector(text: str) -> Path:
    """Fetch a detector's file from the hub once, and return its path in the cache.

    Without a file in the address it is ``detector.safetensors``, else ``detector.onnx``; without PyTorch
    the other way around.

    Args:
        text: Address, see :mod:`io.hub`.

    Raises:
        FetchError: The repository, the revision or the file is not there, is private, is too large or was
            cut off, or the hub cannot be reached and the file is not in the cache.
        OptionError: It is no address on the hub, or huggingface_hub is not installed.
    """
    address = parse_address(text)
    _check_installed(text)
    names = DETECTOR_NAMES if is_installed("torch") else DETECTOR_NAMES[::-1]
    for name in names if address.file is None else (address.file,):
        found = _fetched(address, name)
        if found is not None:
            return found
    wanted = " or ".join(names) if address.file is None else address.file
    raise FetchError(
        address,
        f"has no file {wanted}",
        "name its file (hf://owner/name/FILE.safetensors); weights of another library need "
        "`convert-checkpoint`",
    )


def upload_detector(
    folder: Path, repository: str, *, revision: str | None, private: bool | None, message: str
) -> str:
    """Upload a folder to a repository on the hub, which is created if it is not there; return its URL.

    Args:
        folder: Folder with the detector's file and its card.
        repository: ``"owner/name"``.
        revision: Branch to write to, created if it is not there; the default branch when ``None``.
        private: Whether a new repository is private; the owner's default when ``None``.
        message: Of the commit.

    Raises:
        OptionError: The name is no repository's, or huggingface_hub is not installed.
        OutputError: The hub refuses it or cannot be reached.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise OptionError("repository", f"is {repository!r}", "must be owner/name")
    _check_installed(repository)
    from huggingface_hub import HfApi

    api = HfApi(endpoint=_endpoint())
    with _hub_errors(HubAddress(repository, revision), OutputError, "cannot be written"):
        url = api.create_repo(repository, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, revision=revision, commit_message=message)
    return str(url)


def _fetched(address: HubAddress, name: str) -> Path | None:
    """Return the path of a file of a repository; ``None`` where the repository does not have it."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    with _hub_errors(address, FetchError, "cannot be fetched"):
        try:
            return Path(
                hf_hub_download(
                    address.repository,
                    name,
                    revision=address.revision,
                    endpoint=_endpoint(),
                    local_files_only=is_offline(),
                )
            )
        except LocalEntryNotFoundError:  # also an EntryNotFoundError: the hub was not asked
            raise
        except EntryNotFoundError:
            return None


@contextmanager
def _hub_errors(address: HubAddress, kind: type[DeepfakeDetectError], cause: str) -> Iterator[None]:
    """Turn the errors of huggingface_hub into one of this library's."""
    from huggingface_hub import errors

    try:
        yield
    except errors.RevisionNotFoundError as error:
        raise kind(address, f"has no revision {address.revision}", "name a branch, tag or commit") from error
    except errors.GatedRepoError as error:
        remedy = f"accept them on its page, and {_LOG_IN}"
        raise kind(address, f"{cause}: its owner asks for terms to be accepted first", remedy) from error
    except errors.RepositoryNotFoundError as error:  # the hub answers 401 where it does not say which
        remedy = f"check the name; for a private one, {_LOG_IN}"
        raise kind(address, f"{cause}: there is no such repository, or it is private", remedy) from error
    except errors.LocalEntryNotFoundError as error:
        reason = f"{OFFLINE} is set" if is_offline() else "the hub cannot be reached"
        remedy = "connect once to cache it"
        raise kind(address, f"{cause}: it is not in the cache, and {reason}", remedy) from error
    except errors.HFValidationError as error:
        raise OptionError("detector", f"is {str(address)!r} ({_first_line(error)})", _ALLOWED) from error
    except errors.HfHubHTTPError as error:
        code = getattr(error.response, "status_code", None)
        remedy = _LOG_IN if code in (401, 403) else "try again"
        raise kind(address, f"{cause} ({_first_line(error)})", remedy) from error
    except Exception as error:  # of whatever carries its requests, and a file that was cut off
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise kind(address, f"{cause} ({reason})", "try again, and it resumes") from error


def _check_installed(subject: str) -> None:
    if not is_installed("huggingface_hub"):
        raise missing_library(subject, "huggingface_hub")


def _endpoint() -> str | None:
    """Return the hub's address as it is set now: huggingface_hub reads it when it is imported."""
    return os.environ.get("HF_ENDPOINT") or None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]
