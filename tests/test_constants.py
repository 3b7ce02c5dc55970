"""What a module in `constants=` made is held constant, and booked."""

import pytest
import torch
from torch import nn
from output_nets import CLIP

import lrp3d


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.fc = nn.Conv3d(3, 4, 1), nn.Linear(4, 5)
        self.branch = nn.Sequential(nn.Conv3d(4, 4, 3, padding=1), nn.ReLU())

    def forward(self, x):
        x = self.stem(x).relu()
        return self.fc((x + self.branch(x)).mean((3, 4)).transpose(1, 2)).mean(1)


def test_what_a_module_made_is_held_constant_and_booked():
    model = Branches().eval().double()
    found = lrp3d.explain(model, CLIP.double(), contrastive=False, constants=["branch"])
    chosen = found.logits.gather(1, found.target[:, None]).sum()
    booked = {entry.layer: entry.absorbed for entry in found.ledger}
    assert booked["branch"] > 0
    torch.testing.assert_close(found.relevance.sum() + found.ledger.absorbed, chosen)
    whole = lrp3d.explain(model, CLIP.double(), contrastive=False)
    assert torch.equal(found.logits, whole.logits)
    assert (found.relevance <= whole.relevance + 1e-12).all()
    assert any("held constant" in row.rule for row in lrp3d.inspect(model, CLIP.double(), constants=["branch"]))


class Alike(nn.Module):
    """Of every frame, what is in it and how alike the others are."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.alike, self.fc = nn.Conv3d(3, 4, 3, padding=1), Products(), nn.Linear(4 + 6, 5)

    def forward(self, x):
        x = self.conv(x).relu().mean((3, 4)).transpose(1, 2)
        return self.fc(torch.cat([x, self.alike(x)], 2)).mean(1)


class Products(nn.Module):
    def forward(self, x):
        return x @ x.transpose(1, 2)


def test_a_constant_branch_says_nothing_of_time_where_there_is_another_way():
    model = Alike().eval().double()
    found = lrp3d.explain(model, CLIP.double(), 1, contrastive=False, constants=["alike"])
    torch.testing.assert_close(found.frame_logits.mean(1), found.logits[:, 1])
    booked = {entry.layer: entry.absorbed for entry in found.ledger}
    assert booked["alike"] > 0
    torch.testing.assert_close(found.matrix.sum() / 6 + found.ledger.absorbed, found.logits[:, 1].sum())


def test_what_lies_below_a_constant_needs_no_rule():
    model = Branches().eval()
    model.branch.append(nn.Softmax(1).eval())
    with pytest.raises(lrp3d.UnsupportedOperation):
        lrp3d.explain(model, CLIP)
    assert lrp3d.explain(model, CLIP, constants=["branch.*"]).matrix.shape == (2, 6, 6)


def test_constants_that_no_module_bears_are_refused():
    for use in (lrp3d.explain, lrp3d.inspect):
        with pytest.raises(ValueError, match=r"'brunch'.*fits no module"):
            use(Branches().eval(), CLIP, constants=["brunch", "branch"])


def test_a_clip_that_no_relevance_reaches_is_said():
    with pytest.warns(UserWarning, match="no relevance reaches the clip: everything"):
        nothing = lrp3d.explain(Branches().eval(), CLIP[:1], constants=["*"], temporal=False)
    assert not nothing.relevance.any()
