"""Training one network whose batch norm forbids stacking, by torch's own optimizer."""

from __future__ import annotations

import numpy as np
import torch

from lib_unlearning.dataset import Dataset
from lib_unlearning.training.network_stack import Stack
from lib_unlearning.training.networks import ARCHITECTURES, channels_last, fresh_weights
from lib_unlearning.training.record_random import record_order
from lib_unlearning.training.steps import check_epoch, module_accuracy, module_step
from lib_unlearning.training.tasks import TrainingSettings, TrainingTask


def train_alone(
    dataset: Dataset, name: str, task: TrainingTask, settings: TrainingSettings, device: str, held_out: np.ndarray
) -> Stack:
    """Train one network, from fresh weights or from where `task.start` ended; a stack of one."""
    architecture = ARCHITECTURES[name]
    shape = dataset.features.shape[1:]
    module = architecture.build(shape, dataset.num_classes)
    fresh = fresh_weights(architecture, shape, dataset.num_classes, task.seed)
    module.load_state_dict(fresh if task.start is None else task.start.weights)
    module.to(device).to(memory_format=torch.channels_last)
    inputs = channels_last(torch.from_numpy(dataset.images(task.records)).to(device))
    labels = torch.from_numpy(np.array(dataset.labels[task.records])).to(device)
    rate = settings.lr or architecture.learning_rate
    optimizer = getattr(torch.optim, settings.optim)(module.parameters(), lr=rate)
    history = np.zeros((1, settings.num_epochs, 3))
    places, holds = task.filled()
    for epoch in range(settings.num_epochs):
        order = torch.from_numpy(holds[record_order(task.seed, epoch, places)]).to(device)
        module.train()
        for slots in order.split(settings.batch_size):
            batch = slots[slots >= 0]  # without gaps
            if len(batch) > 1:  # batch norm cannot learn from a single record
                history[0, epoch, :2] += module_step(module, optimizer, inputs[batch], labels[batch], settings.amp)
        history[0, epoch, :2] /= len(task.records)
        history[0, epoch, 2] = module_accuracy(module, dataset, name, held_out, device)
        check_epoch(name, settings, rate, epoch, history[:, epoch])
    weights = {key: tensor.detach().cpu().unsqueeze(0) for key, tensor in module.state_dict().items()}
    return Stack(name, tuple(shape), dataset.num_classes, weights, None, None, np.array([task.seed]), history, device)
