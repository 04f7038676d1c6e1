"""One process that makes a worker once and runs tasks with it, one at a time."""

from __future__ import annotations

import multiprocessing
import os
import pickle  # nosec B403 # of the program's own processes
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Event
from typing import Any, TypeAlias

from deepfake_detect.device import limit_threads
from deepfake_detect.errors import WorkerError
from deepfake_detect.logs import show_log, shown_level
from deepfake_detect.work.messages import (
    Crashed,
    Done,
    Message,
    Note,
    Ready,
    TaskCancelledError,
    set_reporter,
)

Worker: TypeAlias = Callable[[Any], Any]
"""Called with a task, it returns the result. It keeps its model between tasks."""

_CONTEXT = multiprocessing.get_context("spawn")  # forking after torch has started threads deadlocks
_STOP_SECONDS = 5


class WorkerProcess:
    """A process that runs tasks one at a time with a worker of its own.

    The process ignores Ctrl-C (its parent ends it), exits cleanly on SIGTERM, and ends with its
    parent even when the parent is killed.

    Args:
        make_worker: Called once in the process; a module's function or a partial of one.
        num_threads: Threads that numeric libraries may use there; ``None`` leaves their defaults.
        on_orphaned: Called there when the parent was killed, just before the process ends.
        name: Of the process.
    """

    def __init__(
        self,
        make_worker: Callable[[], Worker],
        *,
        num_threads: int | None = None,
        on_orphaned: Callable[[], None] | None = None,
        name: str | None = None,
    ) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self._cancelled = _CONTEXT.Event()
        self._process = _CONTEXT.Process(
            target=_serve,
            args=(theirs, self._cancelled, make_worker, num_threads, on_orphaned, shown_level()),
            name=name,
            daemon=True,
        )
        self._process.start()
        theirs.close()  # so that the pipe ends with the process

    def is_alive(self) -> bool:
        """Return whether the process is running."""
        return self._process.is_alive()

    def give(self, task: Any) -> None:
        """Send a task. If the process is gone, :meth:`receive` reports that."""
        self._cancelled.clear()
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(task)

    def poll(self, seconds: float) -> bool:
        """Wait for a message at most this long; return whether there is one."""
        try:
            return self.connection.poll(seconds)
        except (BrokenPipeError, ConnectionResetError):
            return True  # the process is gone: receive() returns Crashed

    def receive(self) -> Message:
        """Return the next message, waiting for it.

        Raises:
            Exception: Whatever ``make_worker`` or the worker raised.
        """
        try:
            message: Message | _Raised = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(_STOP_SECONDS)
            return Crashed(_how_it_ended(self._process.exitcode))
        if isinstance(message, _Raised):
            raise message.error from _WorkerTracebackError(message.traceback)
        return message

    def cancel(self) -> None:
        """Make the task's next call of :func:`report` raise :class:`TaskCancelledError`."""
        self._cancelled.set()

    def terminate(self) -> None:
        """Ask the process to end; :meth:`stop` waits for it."""
        self._process.terminate()

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.connection.close()
        self._process.terminate()
        self._process.join(_STOP_SECONDS)
        self._process.kill()
        self._process.join()


def wait_for_messages(workers: Iterable[WorkerProcess]) -> list[WorkerProcess]:
    """Wait until some of the workers have a message or are gone; return those."""
    by_connection = {worker.connection: worker for worker in workers}
    return [by_connection[one] for one in wait(list(by_connection)) if isinstance(one, Connection)]


@dataclass(frozen=True)
class _Raised:
    error: Exception
    traceback: str


class _WorkerTracebackError(Exception):
    """Shows where in the worker's process an exception was raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"signal {signal.Signals(-exit_code).name}"
    return f"exit {exit_code}"


def _serve(
    connection: Connection,
    cancelled: Event,
    make_worker: Callable[[], Worker],
    num_threads: int | None,
    on_orphaned: Callable[[], None] | None,
    log_level: int,
) -> None:
    """Run in the process: make the worker, then run tasks until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that temporary files are removed
    threading.Thread(target=_end_with_parent, args=(on_orphaned,), daemon=True).start()

    def send_note(value: Any) -> None:
        if cancelled.is_set():
            raise TaskCancelledError
        connection.send(Note(value))

    set_reporter(send_note)
    show_log(log_level)
    try:
        worker = _made(connection, make_worker, num_threads)
        while worker is not None:
            task = connection.recv()
            try:
                _send(connection, Done(worker(task)))
            except Exception as error:
                connection.send(_raised(error))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The parent ends this process by a signal now; or it was killed, and the thread calls on_orphaned.
        with suppress(SystemExit):
            time.sleep(_STOP_SECONDS)
    except SystemExit:
        pass
    os._exit(0)  # a signal must not interrupt the interpreter's own shutdown, which takes long


def _made(
    connection: Connection, make_worker: Callable[[], Worker], num_threads: int | None
) -> Worker | None:
    try:
        if num_threads is not None:
            limit_threads(num_threads)
        worker = make_worker()
        if num_threads is not None:
            limit_threads(num_threads)  # of libraries that only now are loaded
    except Exception as error:
        connection.send(_raised(error))
        return None
    connection.send(Ready())
    return worker


def _send(connection: Connection, message: Message) -> None:
    try:
        data = pickle.dumps(message)
    except Exception as error:
        raise WorkerError(
            "result", f"cannot be sent ({error})", "return values that can be pickled"
        ) from error
    connection.send_bytes(data)  # which recv() of the other end unpickles


def _raised(error: Exception) -> _Raised:
    """Return an exception in a form that survives the pipe."""
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))  # nosec B301 # its own bytes
    except Exception:  # an exception class that does not support pickling
        error = WorkerError("worker", f"raised {type(error).__name__}: {error}", "report this as a bug")
    return _Raised(error, text)


def _end_with_parent(on_orphaned: Callable[[], None] | None) -> None:
    """End this process when its parent is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    if on_orphaned is not None:
        on_orphaned()
    os._exit(1)
