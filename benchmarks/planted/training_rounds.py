"""One round of training, and how training is judged: the same for all networks of the benches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from lrp3d.models import VideoModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

ENOUGH = 0.99  # accuracy on fresh clips at which a gap or a data set counts as learned
BATCH = 48
VALIDATION = 192  # clips
VALIDATION_SEED, TEST_SEED = 900_000, 910_000  # training clips have smaller seeds


def train_round(
    model: VideoModel, clips: Dataset[tuple[Tensor, int]], rate: float, batch: int = BATCH, rise: float = 0.0
) -> None:
    """Every clip once, with AdamW and a cosine schedule: SGD, as `lrp3d.models.train` has it, stays at chance here.

    The rate rises to `rate` in the share `rise` of the round, and falls to zero.
    """
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    batches = DataLoader(clips, batch)
    schedule: torch.optim.lr_scheduler.LRScheduler
    if rise:
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=len(batches), pct_start=rise)
    else:
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))
    for pixels, labels in batches:
        loss = F.cross_entropy(model(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
