"""The runner: tasks in, results out, here, in processes or on a Ray cluster.

runner      map_tasks: which worker gets which task, retries, order
process     WorkerProcess: one process that keeps its model from task to task
ray_engine  the same on the machines of a cluster; the only importer of Ray
messages    what workers send, and report() for progress from inside a task
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
