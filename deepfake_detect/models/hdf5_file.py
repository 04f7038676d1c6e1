"""Writing HDF5 on a disk that may be full: HDF5 ends the process when it cannot write what it holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


@contextmanager
def writable_hdf5(path: Path, mode: str = "w", **options: Any) -> Iterator[tuple[h5py.File, LastingFile]]:
    """Open an HDF5 file to write it, with the file below it; it is complete if the block ends without error.

    Args:
        path: A temporary path, see :func:`files.atomic_path`.
        mode: ``"w"`` for a new file, ``"r+"`` for one that exists.
        options: Of ``h5py.File``.

    Raises:
        OSError: It cannot be written; at the end of the block, unless its ``check`` is called before.
    """
    with open(path, "w+b" if mode == "w" else "r+b", buffering=0) as file:
        disk = LastingFile(file.fileno())
        with h5py.File(disk, mode, **options) as opened:
            yield opened, disk
        disk.check()


class LastingFile:
    """File-like object in which writing never fails; :meth:`check` raises the first error.

    What is written after an error is kept in memory, so that HDF5 can close the file.

    Args:
        descriptor: Of a file that is open for reading and writing.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0
        self._kept: list[tuple[int, bytes]] = []
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first error of writing."""
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position from the start (0), from here (1) or from the end (2), and return it."""
        self._position = offset + (0, self._position, self._size())[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, those behind the end as zeros."""
        start, data = self._position, bytearray()
        while piece := os.pread(self._descriptor, size - len(data), start + len(data)):
            data += piece
        data += bytes(size - len(data))
        for position, kept in self._kept:
            first, end = max(start, position), min(start + size, position + len(kept))
            if first < end:
                data[first - start : end - start] = kept[first - position : end - position]
        self._position += size
        return bytes(data)

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as by :meth:`read`, and return its length."""
        view = memoryview(buffer).cast("B")
        view[:] = self.read(len(view))
        return len(view)

    def write(self, data: Any) -> int:
        """Write bytes, or keep them in memory after an error, and return their number."""
        view = memoryview(data).cast("B")
        try:
            self.check()
            self._write(view)
        except OSError as error:
            self._error = error
            self._kept.append((self._position, bytes(view)))
        self._position += len(view)
        return len(view)

    def _write(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            done += os.pwrite(self._descriptor, view[done:], self._position + done)

    def truncate(self, size: int) -> int:
        """Set the length, and return it."""
        try:
            self.check()
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            self._error = error
        return size

    def flush(self) -> None:
        """Do nothing: nothing waits."""

    def _size(self) -> int:
        ends = [position + len(kept) for position, kept in self._kept]
        return max([os.fstat(self._descriptor).st_size, *ends])
