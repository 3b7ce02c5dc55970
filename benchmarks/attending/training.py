"""Trains these networks on planted clips, and keeps their weights."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import torch
import torch.nn.functional as F
from benchmarks.attending.networks import CLASSES, FRAMES, NETS, SIZE
from torch import Tensor, nn

from lrp3d.files import replacing
from lrp3d.planted import Planted, Task

MEAN, STD = 0.5, 0.25
SEEDS = tuple(range(8))
TASKS = {"flash": Task("flash", frames=FRAMES, size=SIZE), "match": Task("match", gap=2, frames=FRAMES, size=SIZE)}
BATCH, STEPS, RATE = 32, {"flash": 500, "match": 2500}, 2e-3
NAMING = 800  # steps on what both events show, before "match", whose label neither of them tells alone
ENOUGH = 0.99  # accuracy on validation clips that ends the training
VALIDATION_SEED = 940_000


class Trained(TypedDict):
    """What training came to: accuracy on fresh clips, steps, seconds of one core."""

    accuracy: float
    steps: int
    seconds: float


def inputs(planted: Planted) -> Tensor:
    """Pixels as the networks see them."""
    return (planted.clips - MEAN) / STD


def accuracy(model: nn.Module, task: Task, clips: int = 256) -> float:
    """On clips that are in no training."""
    planted = task.clips(clips, seed=VALIDATION_SEED)
    with torch.no_grad():
        return float((model(inputs(planted)).argmax(1) == planted.labels).double().mean())


def train(make: Callable[[int], nn.Module], task: Task, seed: int, steps: int) -> tuple[nn.Module, Trained]:
    """A network and what came of it; "match" starts from naming both events."""
    torch.manual_seed(seed)
    began = time.process_time()
    model = make(4 if task.family == "match" else CLASSES)
    if task.family == "match":
        _rounds(model, task, seed, min(NAMING, steps), lambda planted: 2 * planted.bits[:, 0] + planted.bits[:, 1])
        named = model
        model = make(CLASSES)
        kept = {name: value for name, value in named.state_dict().items() if not name.startswith("fc.")}
        model.load_state_dict(model.state_dict() | kept)
    done = _rounds(model, task, seed + 500, steps, lambda planted: planted.labels)
    model.eval()
    seconds = round(time.process_time() - began, 1)
    return model, {"accuracy": accuracy(model, task), "steps": done, "seconds": seconds}


def _rounds(model: nn.Module, task: Task, seed: int, steps: int, label: Callable[[Planted], Tensor]) -> int:
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    right = 0.0
    for step in range(steps):
        numbers = torch.arange(step * BATCH, (step + 1) * BATCH)
        planted = task.clips(numbers, seed=seed)
        logits, wanted = model(inputs(planted)), label(planted)
        optimiser.zero_grad()
        F.cross_entropy(logits, wanted).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        right = 0.97 * right + 0.03 * float((logits.argmax(1) == wanted).double().mean())
        if step > 150 and right > ENOUGH:
            return step + 1
    return steps


def trained(net: str, family: str, seed: int, kept: Path, quick: bool) -> tuple[nn.Module, Trained, Path]:
    """A network, from its folder where it was trained before, what its training came to, and its folder."""
    folder = kept / f"{net.replace(' + ', '-').replace(', ', '-').replace(' ', '-')}-{family}-{seed}{'-quick' * quick}"
    folder.mkdir(parents=True, exist_ok=True)
    about, weights = folder / "training.json", folder / "model.pt"
    if about.exists():
        found: Trained = json.loads(about.read_text())
        model = NETS[net](CLASSES)
        model.load_state_dict(torch.load(weights, weights_only=True))
        return model.eval(), found, folder
    model, found = train(NETS[net], TASKS[family], seed, 3 if quick else STEPS[family])
    torch.save(model.state_dict(), weights)
    with replacing(about) as temporary:
        temporary.write_text(json.dumps(found))
    print(
        net, family, seed, f"accuracy {found['accuracy']:.3f}, {found['steps']} steps, {found['seconds']} s", flush=True
    )
    return model, found, folder
