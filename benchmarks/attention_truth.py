"""Does relevance lie where it should, in a small video transformer and a CNN with an LSTM? Clips whose answer is known.

    python -m benchmarks.attention_truth                    # trains (minutes of one core), then writes the table
    python -m benchmarks.attention_truth --only transformer # trains and measures one of them, writes no table
    python -m benchmarks.attention_truth --quick --out DIR  # untrained, few clips: does it run

Weights and measurements are kept in build/attention_truth; a second call is quick. Results are
benchmarks/results/attention_truth.md and .json.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TypedDict

import torch
import torch.nn.functional as F
from lrp3d.files import replacing
from torch import Tensor, nn

import lrp3d
from lrp3d.planted import Planted, Task
from lrp3d.rules import SameSign, ZPlus

FRAMES, SIZE, PATCH = 8, 16, 4
MEAN, STD = 0.5, 0.25
SEEDS = (0, 1, 2)
TASKS = {"flash": Task("flash", frames=FRAMES, size=SIZE), "match": Task("match", gap=2, frames=FRAMES, size=SIZE)}
CLASSES = 2
BATCH, STEPS, RATE = 32, {"flash": 500, "match": 2500}, 2e-3
NAMING = 800  # steps on what both events show, before "match", whose label neither of them tells alone
ENOUGH = 0.99  # accuracy on validation clips that ends the training
LEARNED = 0.9  # less is listed, and its maps count nowhere
CLIPS = 64  # that are explained, for each network
CLIP_SEED, VALIDATION_SEED = 930_000, 940_000
DRAWS = 2000


class Attention(nn.Module):
    """Attention over all tokens, written out so that rollout can read its probabilities."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.probabilities: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, c) to (b, n, c)."""
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / (c // self.heads) ** 0.5).softmax(-1)
        if not torch.is_grad_enabled():
            self.probabilities = weights
        out: Tensor = self.out((weights @ v).transpose(1, 2).reshape(b, n, c))
        return out


class Block(nn.Module):
    """Attention and two linear layers, each on a normalised copy and added."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, c) to (b, n, c)."""
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class VideoTransformer(nn.Module):
    """Patches of each frame, two blocks of joint attention, and the mean of the tokens, classified."""

    def __init__(self, classes: int, width: int = 32, heads: int = 4):
        super().__init__()
        self.embed = nn.Conv3d(3, width, (1, PATCH, PATCH), (1, PATCH, PATCH))
        self.position = nn.Parameter(torch.randn(1, FRAMES * (SIZE // PATCH) ** 2, width) / 5)
        self.blocks = nn.Sequential(Block(width, heads), Block(width, heads))
        self.norm, self.fc = nn.LayerNorm(width), nn.Linear(width, classes)

    def reset_parameters(self) -> None:
        """Draws the positions anew, as the parts do with theirs."""
        nn.init.normal_(self.position, std=0.2)

    def forward(self, clip: Tensor) -> Tensor:
        """(b, 3, t, h, w) to logits (b, k)."""
        tokens = self.embed(clip).flatten(2).transpose(1, 2) + self.position
        logits: Tensor = self.fc(self.norm(self.blocks(tokens)).mean(1))
        return logits


class Recurrent(nn.Module):
    """Two convolutions on each frame, an LSTM over frames, and a classifier on every step, averaged."""

    def __init__(self, classes: int, width: int = 24):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 24, 3, padding=1)
        self.lstm, self.fc = nn.LSTM(24, width, batch_first=True), nn.Linear(width, classes)

    def forward(self, clip: Tensor) -> Tensor:
        """(b, 3, t, h, w) to logits (b, k)."""
        x = F.max_pool2d(F.relu(self.conv1(clip.transpose(1, 2).flatten(0, 1))), 2)
        x = F.relu(self.conv2(x)).amax((2, 3)).unflatten(0, (len(clip), -1))
        logits: Tensor = self.fc(self.lstm(x)[0]).mean(1)
        return logits


Shares = dict[str, dict[str, list[float]]]
"""By map, on pixels and in frames: of every clip."""
NETS: dict[str, Callable[[int], nn.Module]] = {"transformer": VideoTransformer, "CNN + LSTM": Recurrent}

# ---------------------------------------------------------------------------------------------------- training


class Trained(TypedDict):
    """What training came to: accuracy on fresh clips, steps, seconds of one core."""

    accuracy: float
    steps: int
    seconds: float


class Network(Trained, total=False):
    """The same, with the shares of `measure` once they were measured."""

    shares: Shares


def inputs(planted: Planted) -> Tensor:
    """Pixels as the networks see them."""
    return (planted.clips - MEAN) / STD


def accuracy(model: nn.Module, task: Task, clips: int = 256) -> float:
    """On clips that are in no training."""
    planted = task.clips(clips, seed=VALIDATION_SEED)
    with torch.no_grad():
        return float((model(inputs(planted)).argmax(1) == planted.labels).double().mean())


def train(make: Callable[[int], nn.Module], task: Task, seed: int, steps: int) -> tuple[nn.Module, Network]:
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


# --------------------------------------------------------------------------------------------------------- maps

LAYERS = dict.fromkeys((nn.Linear, nn.Conv2d, nn.Conv3d), SameSign())
SUMS = dict.fromkeys((torch.add, torch.sub, torch.sum, torch.mean), SameSign())
SIGNED = lrp3d.Composite(layers=LAYERS, operations=SUMS, classifier=ZPlus())


def by_lrp(composite: str | lrp3d.Composite, contrastive: bool) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Relevance per pixel (b, t, h, w) by a composite, positive part of the sum over channels."""

    def method(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
        found = lrp3d.explain(model, clip, target, contrastive=contrastive, composite=composite, temporal=False)
        assert isinstance(found.relevance, Tensor)
        return found.relevance.sum(1).clamp(min=0)

    return method


def gradient_input(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
    """Gradient times input, positive part of the sum over channels."""
    x = clip.clone().requires_grad_()
    logits = model(x)
    gradient = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), x)[0]
    return (gradient * clip).sum(1).clamp(min=0)


def occlusion(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
    """What the logit loses when a patch of a frame becomes the clip's mean colour, spread over that patch."""
    b, _, t, h, w = clip.shape
    found = clip.new_zeros(b, t, h // PATCH, w // PATCH)
    with torch.no_grad():
        before = model(clip).gather(1, target[:, None])
        mean = clip.mean((2, 3, 4), keepdim=True)
        for frame in range(t):
            changed = clip.repeat(found[0, 0].numel(), 1, 1, 1, 1)
            for i in range(found[0, 0].numel()):
                y, x = i // found.shape[3] * PATCH, i % found.shape[3] * PATCH
                changed[i * b : (i + 1) * b, :, frame, y : y + PATCH, x : x + PATCH] = mean[:, :, 0]
            after = model(changed).gather(1, target.repeat(found[0, 0].numel())[:, None])
            found[:, frame] = (before - after.view(-1, b).T).view(b, *found.shape[2:])
    return _spread(found.clamp(min=0))


def rollout(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
    """Attention rollout (Abnar and Zuidema 2020, 2005.00928): products of mean attention plus identity; no class."""
    with torch.no_grad():
        model(clip)
    total: Tensor | None = None
    for module in model.modules():
        if isinstance(module, Attention) and module.probabilities is not None:
            own = module.probabilities.mean(1)
            mixed = (own + torch.eye(own.shape[-1])) / 2
            total = mixed if total is None else mixed @ total
    assert total is not None
    b, _, t, h, w = clip.shape
    return _spread(total.mean(1).view(b, t, h // PATCH, w // PATCH))


def _spread(patches: Tensor) -> Tensor:
    """(b, t, p, q) to (b, t, h, w)."""
    return patches.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3) / PATCH**2


def chance(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
    """The same everywhere."""
    return torch.ones_like(clip[:, 0])


METHODS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "LRP, paper": by_lrp("paper", False),
    "CLRP, paper": by_lrp("paper", True),
    "LRP, SameSign": by_lrp(SIGNED, False),
    "CLRP, SameSign": by_lrp(SIGNED, True),
    "attnlrp": by_lrp("attnlrp", False),
    "epsilon": by_lrp("epsilon", False),
    "gradient x input": gradient_input,
    "rollout": rollout,
    "patches replaced": occlusion,
    "everywhere alike": chance,
}


def measure(model: nn.Module, family: str, clips: int) -> Shares:
    """Per method and clip that was classified right: the map's share on decisive pixels, and in decisive frames."""
    planted = TASKS[family].clips(clips, seed=CLIP_SEED)
    clip, target = inputs(planted), planted.labels
    with torch.no_grad():
        right = model(clip).argmax(1) == target
    if not bool(right.any()):
        right[:] = True
    clip, target, mask, decisive = clip[right], target[right], planted.mask[right], planted.decisive[right]
    found: Shares = {}
    for name, method in METHODS.items():
        if name == "rollout" and not isinstance(model, VideoTransformer):
            continue
        relevance = method(model, clip, target).double()
        total = relevance.sum((1, 2, 3)).clamp(min=1e-300)
        found[name] = {
            "pixels": ((relevance * mask).sum((1, 2, 3)) / total).tolist(),
            "frames": ((relevance.sum((2, 3)) * decisive).sum(1) / total).tolist(),
        }
    return found


# ------------------------------------------------------------------------------------------------------- tables


def interval(of_seeds: list[list[float]]) -> tuple[float, float, float]:
    """Mean, and 95 % by drawing seeds, and clips of each of them, again and again."""
    generator = torch.Generator().manual_seed(0)
    values = [torch.tensor(clips, dtype=torch.double) for clips in of_seeds]
    means = []
    for _ in range(DRAWS):
        chosen = torch.randint(len(values), (len(values),), generator=generator).tolist()
        drawn = [
            values[i][torch.randint(len(values[i]), (len(values[i]),), generator=generator)].mean() for i in chosen
        ]
        means.append(torch.stack(drawn).mean())
    ends = torch.stack(means).quantile(torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
    return float(torch.stack([v.mean() for v in values]).mean()), ends[0], ends[1]


def shares_of(networks: dict[str, Network]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Mean and interval per method, on pixels and in frames, of the networks that learned their task."""
    learned = [one["shares"] for one in networks.values() if one["accuracy"] >= LEARNED]
    return {
        method: {what: interval([shares[method][what] for shares in learned]) for what in ("pixels", "frames")}
        for method in (learned[0] if learned else ())
    }


def lines_of(found: dict[str, dict[str, Network]]) -> list[str]:
    """The page."""
    lines = [
        "# Where relevance lies, in networks with attention and recurrence",
        "",
        f"Written by `python -m benchmarks.attention_truth` on {date.today()}, {platform.machine()}, Python "
        f"{platform.python_version()}, torch {torch.__version__}, one thread.",
        "",
        f'Clips of {FRAMES} frames of {SIZE}x{SIZE} pixels. "flash": a red or green square in one frame decides; '
        '"match", where it is shown: two squares, two frames apart, have the same colour or not. Share of the '
        "positive relevance of the true class that lies on the deciding squares, and in their frames; mean over "
        "networks (training seeds) and "
        "clips that were classified right, 95 % interval by drawing both again.",
    ]
    for name, networks in found.items():
        accuracies = ", ".join(f"{100 * one['accuracy']:.1f} %" for one in networks.values())
        learned = [one for one in networks.values() if one["accuracy"] >= LEARNED]
        seconds = sum(one["seconds"] for one in networks.values())
        lines += ["", f"## {name}", "", f"Accuracy by seed: {accuracies}; trained in {seconds:.0f} s of one core."]
        if not learned:
            lines += ["", "None of them learned the task: no table."]
            continue
        lines += ["", f"{len(learned)} networks.", "", "| map | on the squares | in their frames |", "|---|---|---|"]
        for method, shares in shares_of(networks).items():
            cells = [f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in shares.values()]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Train what is missing, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, default=Path("build/attention_truth"), help="weights, measurements")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the table")
    parser.add_argument("--tasks", default=",".join(TASKS), help="some of them, separated by commas; default: all")
    parser.add_argument("--only", default="", help="networks whose name begins like this; writes no table")
    parser.add_argument("--quick", action="store_true", help="three steps of training, few clips: does it run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, Network]] = {}
    for family in options.tasks.split(","):
        for net in NETS:
            if not net.startswith(options.only):
                continue
            networks = found.setdefault(f'{net}, "{family}"', {})
            for seed in SEEDS[: 1 if options.quick else None]:
                networks[str(seed)] = _one(net, family, seed, options.kept, options.quick)
    if not options.only:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "attention_truth.md").write_text("\n".join(lines_of(found)) + "\n")
        summary = {
            name: {seed: _as_trained(one) for seed, one in networks.items()} | {"shares": shares_of(networks)}
            for name, networks in found.items()
        }
        (options.out / "attention_truth.json").write_text(json.dumps(summary, indent=1) + "\n")


def _as_trained(one: Network) -> Trained:
    return {"accuracy": one["accuracy"], "steps": one["steps"], "seconds": one["seconds"]}


def _one(net: str, family: str, seed: int, kept: Path, quick: bool) -> Network:
    folder = kept / f"{net.replace(' + ', '-')}-{family}-{seed}{'-quick' if quick else ''}"
    folder.mkdir(parents=True, exist_ok=True)
    result, weights = folder / "result.json", folder / "model.pt"
    if result.exists() and weights.exists():
        about: Network = json.loads(result.read_text())
        model = NETS[net](CLASSES)
        model.load_state_dict(torch.load(weights, weights_only=True))
        model.eval()
    else:
        model, about = train(NETS[net], TASKS[family], seed, 3 if quick else STEPS[family])
        torch.save(model.state_dict(), weights)
    if "shares" not in about or set(about["shares"]) - {"rollout"} != set(METHODS) - {"rollout"}:
        about["shares"] = measure(model, family, 4 if quick else CLIPS)
    with replacing(result) as temporary:
        temporary.write_text(json.dumps(about))
    print(
        net, family, seed, f"accuracy {about['accuracy']:.3f}, {about['steps']} steps, {about['seconds']} s", flush=True
    )
    return about


if __name__ == "__main__":
    main()
