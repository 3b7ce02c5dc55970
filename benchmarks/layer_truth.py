"""Are rows at a layer true? In a small video transformer with a class token, held against interventions and the answer.

    python -m benchmarks.layer_truth                    # trains (minutes of one core), then writes the table
    python -m benchmarks.layer_truth --quick --out DIR  # untrained, few clips: does it run

No frame of this network has a logit. Rows are the time steps at the output of its first block (`rows_at="blocks.0"`),
where attention has mixed frames once. Weights are kept in build/attention_truth.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.attending.intervals import difference, interval, written
from benchmarks.attending.maps import SIGNED
from benchmarks.attending.training import SEEDS, TASKS, inputs, trained
from benchmarks.timing import common
from torch import Tensor, nn

import lrp3d
from lrp3d.metrics.agreement import cosine
from lrp3d.planted import Planted

NET, MODULE = "transformer, class token", "blocks.0"
LEARNED = 0.9  # networks of less accuracy are named and count nowhere
CLIPS, CLIP_SEED = 32, 950_000  # that are explained, for each network
REFERENCE = "LRP, SameSign"
BEHIND = f"cosine: {REFERENCE}, less this matrix"
Matrices = Callable[[nn.Module, Tensor, Tensor], Tensor]
COLUMNS = {
    "interventions": "cosine with interventions at the layer",
    "decisive": "in decisive frames",
    "other frames": "of other frames than the row's",
}
"""What is measured of each matrix, by the name in the results."""


def by_lrp(composite: str | lrp3d.Composite, contrastive: bool) -> Matrices:
    """The matrix (b, n, t) whose rows are time steps at the layer."""

    def method(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
        options: dict[str, Any] = {"composite": composite, "contrastive": contrastive, "rows_at": MODULE}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "only .* flows through time steps")  # the rest is the class token's
            matrix = lrp3d.explain(model, clip, target, **options).matrix
        assert matrix is not None
        return matrix

    return method


def interventions(model: nn.Module, clip: Tensor, target: Tensor, occluder: str = "neighbours") -> Tensor:
    """What the logit loses if a time step at the layer sees the clip without a frame."""
    return lrp3d.intervention_matrix(model, clip, target, rows_at=MODULE, occluder=occluder)


def gradient_input(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
    """Gradient times input, of which a row is what goes through the tokens of one frame at the layer."""
    outputs: list[Tensor] = []
    hook = model.get_submodule(MODULE).register_forward_hook(lambda module, given, output: outputs.append(output))
    x = clip.clone().requires_grad_()
    logits = model(x)
    hook.remove()
    (at_tokens,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), outputs, retain_graph=True)
    frame = torch.arange(clip.shape[2]).repeat_interleave((at_tokens.shape[1] - 1) // clip.shape[2])
    rows = []
    for step in range(clip.shape[2]):
        of_step = nn.functional.pad(frame == step, (1, 0))[:, None]  # the class token is no frame's
        (gradient,) = torch.autograd.grad(outputs, x, at_tokens * of_step, retain_graph=True)
        rows.append((gradient * clip).sum((1, 3, 4)))
    return torch.stack(rows, 1)


def by_chance(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
    """Numbers from 0 to 1."""
    n = clip.shape[2]
    return torch.rand(len(clip), n, n, generator=torch.Generator().manual_seed(0))


def own_frames(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
    """Every row its own frame alone, and all of them alike: what a layer would show that mixes nothing."""
    return torch.eye(clip.shape[2]).expand(len(clip), -1, -1)


METHODS: dict[str, Matrices] = {
    "LRP, paper": by_lrp("paper", False),
    "CLRP, paper": by_lrp("paper", True),
    "LRP, SameSign": by_lrp(SIGNED, False),
    "CLRP, SameSign": by_lrp(SIGNED, True),
    "LRP, attnlrp": by_lrp("attnlrp", False),
    "LRP, epsilon": by_lrp("epsilon", False),
    "gradient x input": gradient_input,
    "interventions, mean frame": partial(interventions, occluder="mean"),
    "own frames": own_frames,
    "random": by_chance,
}


def measured(matrix: Tensor, lost: Tensor, planted: Planted) -> dict[str, list[float]]:
    """The columns of the table, a number for each clip; `lost` is the matrix of interventions."""
    positive = matrix.double().clamp(min=0)
    total = positive.sum((1, 2)).clamp(min=1e-300)
    own = positive.diagonal(dim1=1, dim2=2).sum(1)
    return {
        "interventions": cosine(matrix.double(), lost.double()).nan_to_num(0.0).tolist(),
        "decisive": ((positive.sum(1) * planted.decisive).sum(1) / total).tolist(),
        "other frames": (1 - own / total).tolist(),
    }


def of_network(model: nn.Module, family: str, clips: int) -> dict[str, dict[str, list[float]]]:
    """By method and column, a number for each clip that is classified right."""
    planted = TASKS[family].clips(clips, seed=CLIP_SEED)
    with torch.no_grad():
        right = (model(inputs(planted)).argmax(1) == planted.labels).nonzero().flatten().tolist()
    planted = TASKS[family].clips(torch.tensor(right or range(clips)), seed=CLIP_SEED)
    clip, target = inputs(planted), planted.labels
    lost = interventions(model, clip, target)
    found = {name: measured(method(model, clip, target), lost, planted) for name, method in METHODS.items()}
    return {"interventions": measured(lost, lost, planted)} | found


def main(argv: Sequence[str] | None = None) -> common.Results:
    """Train what is missing, measure, and write the table."""
    parser = common.arguments(__doc__)
    parser.add_argument("--clips", type=int, default=CLIPS, metavar="N", help="of each network (default: %(default)s)")
    about = "weights (default: %(default)s)"
    parser.add_argument("--kept", type=Path, default=Path("build/attention_truth"), help=about)
    options = common.parse(parser, argv)
    device = common.start(options)
    seeds: Sequence[int] = SEEDS
    if options.quick:
        options.clips, seeds = 4, SEEDS[:1]
    notes = (
        f"{NET}: two blocks of joint attention; rows_at={MODULE!r}; {len(seeds)} networks of each task and of each of "
        f"them those of {options.clips} clips that it classifies right",
        "interventions: what the logit loses if a time step at the layer sees the clip without a frame, which becomes "
        "the mean of its neighbours, or the mean frame of the clip",
        "a matrix of zeros has a cosine of 0; a row of CLRP is zero where nothing that flows through its time step "
        "speaks more for the class than for the other one",
        "shares are of the positive part; means, with 95 % intervals by drawing networks and clips again",
    )
    columns = ["task", "accuracy", "matrix", *COLUMNS.values(), BEHIND]
    results = common.Results("layer_truth", "Rows at a layer", options, device, columns, notes)
    for family in TASKS:
        networks = [trained(NET, family, seed, options.kept, options.quick)[:2] for seed in seeds]
        learned = [model for model, about in networks if about["accuracy"] >= LEARNED or options.quick]
        accuracies = [about["accuracy"] for _, about in networks]
        accuracy = f"{100 * min(accuracies):.1f} to {100 * max(accuracies):.1f} %"
        found = [of_network(model, family, options.clips) for model in learned]
        for method in found[0] if found else ():
            row: common.Row = {"task": family, "accuracy": accuracy, "accuracies": accuracies, "matrix": method}
            for name, title in COLUMNS.items():
                found_here = interval([of_one[method][name] for of_one in found])
                row |= {title: written(*found_here), name: found_here}
            cosines = {name: [of_one[name]["interventions"] for of_one in found] for name in (REFERENCE, method)}
            behind = difference(cosines[REFERENCE], cosines[method])
            row |= {BEHIND: written(*behind), "behind": behind}
            results.add(row)
    return results.write()


if __name__ == "__main__":
    main()
