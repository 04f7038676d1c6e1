"""Batch-norm statistics of faces, before the first step."""

from __future__ import annotations

from itertools import islice

import torch
from torch.nn.modules.batchnorm import _BatchNorm  # the public classes' common base

from deepfake_detect.progress import progress_bar
from deepfake_detect.training.prepare import Run


def recalibrate_batchnorm(run: Run) -> None:
    """Measure batch-norm statistics on training crops: those of the weights are of other images."""
    norms = [module for module in run.model.modules() if isinstance(module, _BatchNorm)]
    num_batches = min(run.config.num_recalibration_batches, run.data.num_train_batches)
    if not norms or not num_batches:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    run.model.train()
    with torch.no_grad(), progress_bar(enabled=run.show_progress) as progress:
        task = progress.add_task("batch-norm statistics", total=num_batches, note="")
        for batch in islice(run.data.train_batches(0), num_batches):
            if len(batch.rows) > 1:  # batch norm needs two
                run.forward(run.model, run.to_device(batch))
            progress.advance(task)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
