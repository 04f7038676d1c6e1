from .messages import Crashed, Done, Note, Ready, TaskCancelledError, report
from .process import WorkerProcess
from .ray_engine import RayOptions, ray_cluster
from .runner import Engine, TaskFailure, map_tasks

__all__ = [
    "Crashed",
    "Done",
    "Engine",
    "Note",
    "RayOptions",
    "Ready",
    "TaskCancelledError",
    "TaskFailure",
    "WorkerProcess",
    "map_tasks",
    "ray_cluster",
    "report",
]
