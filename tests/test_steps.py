"""Steps: who tells them what."""

import ast
from pathlib import Path

import torch
from torch import nn

import lrp3d

SOURCES = Path(lrp3d.__file__).parent


class Net(nn.Module):
    """Two layers that see the clip, a classifier, and an average of its frame logits."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.fc = nn.Conv3d(3, 4, 1), nn.Conv3d(3, 4, 1), nn.Linear(4, 5)

    def forward(self, clip):
        x = (self.left(clip).relu() + self.right(clip).relu()).mean((3, 4)).transpose(1, 2)
        return self.fc(x).mean(1)


def assigned(source: Path) -> list[str]:
    """The attributes of steps that a file assigns from outside, as it writes them."""
    targets = [
        target
        for node in ast.walk(ast.parse(source.read_text()))
        for target in getattr(node, "targets", [getattr(node, "target", None)])
    ]
    flat = [x for target in targets for x in (target.elts if isinstance(target, ast.Tuple) else [target])]
    texts = [ast.unparse(x) for x in flat if isinstance(x, ast.Attribute)]
    return [text for text in texts if text.startswith("step.") or ".steps[" in text]


def test_a_step_is_told_once_which_operation_it_is_and_once_where_it_stands():
    by_file = {str(path.relative_to(SOURCES)): assigned(path) for path in sorted(SOURCES.rglob("*.py"))}
    assert {name: texts for name, texts in by_file.items() if texts} == {
        "steps/linear.py": ["step.site", "step.position"],  # a copy, under another rule, of the step itself
        "tracing/recorder.py": ["step.site", "step.site"],
        "twin/audit.py": ["step.position"],
    }


def test_a_step_knows_whether_it_sees_the_clip_and_on_which_side_of_the_classifier_it_stands():
    run = lrp3d.convert(Net().eval()).record((torch.rand(1, 3, 2, 3, 3),)).tracer
    positions = {step.name: step.position for step in run.steps if step.position != (False, False, False)}
    assert {name: tuple(position) for name, position in positions.items()} == {
        "left": (True, False, False),
        "right": (True, False, False),
        "fc": (False, True, False),
        "mean_1": (False, False, True),
    }


def test_a_run_that_is_not_over_has_no_positions():
    positions = []

    class Watched(Net):
        def forward(self, clip):
            out = super().forward(clip)
            positions.extend(step.position for step in lrp3d.registry.active_tracer().steps)
            return out

    lrp3d.explain(Watched().eval(), torch.rand(1, 3, 2, 3, 3), temporal=False)
    assert positions
    assert all(position is None for position in positions)
