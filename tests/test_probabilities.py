"""A network that ends in a softmax or sigmoid is explained as it is without it, and the explanation says so."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lrp3d

ENDS = {
    "softmax": lambda x: x.softmax(1),
    "softmax module": nn.Softmax(1),
    "log-softmax": lambda x: x.log_softmax(1),
    "sigmoid": nn.Sigmoid(),
    "expit": torch.special.expit,
    "log of a softmax": lambda x: torch.log(x.softmax(1)),
}
HEADS = {
    "pooled": lambda x, end: end(x.mean((2, 3, 4))),
    "averaged over positions afterwards": lambda x, end: end(x.mean((3, 4), keepdim=True)).mean((2, 3, 4)),
    "moved afterwards": lambda x, end: end(x.mean((2, 3, 4), keepdim=True)).view(len(x), -1)[:, :3],
    "two of them": lambda x, end: (end(x[:, :, 0].mean((2, 3))) + end(x.mean((2, 3, 4)))) / 2,
}


class Net(nn.Module):
    def __init__(self, head, end):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.head, self.end = nn.Conv3d(3, 4, 3, padding=1), nn.Conv3d(4, 5, 1), head, [end]

    def forward(self, clip):
        return self.head(self.fc(self.conv(clip).relu()), self.end[0])


CLIP = torch.rand(2, 3, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def net(head, end):
    return Net(HEADS[head], end).double().eval()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("end", ENDS)
def test_maps_are_those_of_the_network_without_it(head, end):
    temporal = head not in ("two of them",)
    found = lrp3d.explain(net(head, ENDS[end]), CLIP, temporal=temporal)
    expected = lrp3d.explain(net(head, nn.Identity()), CLIP, temporal=temporal)
    assert found.relevance.equal(expected.relevance)
    assert found.logits.equal(expected.logits)
    assert not temporal or found.matrix.equal(expected.matrix)
    assert not expected.about
    assert "with which the model ends" in found.about["logits"]


def test_inspection_says_what_is_left_out():
    row = lrp3d.inspect(net("pooled", nn.Softmax(1)), CLIP)[-1]
    assert row.supported
    assert "what goes into it is explained" in row.rule


def test_frames_are_replaced_before_it():
    matrices = [lrp3d.intervention_matrix(net("pooled", end), CLIP) for end in (nn.Softmax(1), nn.Identity())]
    assert matrices[0].equal(matrices[1])


def test_a_softmax_with_weights_after_it_is_none():
    class Weighted(Net):
        def forward(self, clip):
            return super().forward(clip) @ self.fc.weight.flatten(1)

    with pytest.raises(lrp3d.UnsupportedOperation, match="softmax"):
        lrp3d.explain(Weighted(HEADS["pooled"], nn.Softmax(1)).double().eval(), CLIP)


def test_the_complement_of_a_probability_is_refused():
    with pytest.raises(lrp3d.UnsupportedOperation, match="softmax"):
        lrp3d.explain(net("pooled", lambda x: 1 - x.softmax(1)), CLIP)


def test_a_twin_returns_what_its_model_returns():
    model = net("pooled", nn.Sigmoid())
    assert lrp3d.convert(model)(CLIP.clone().requires_grad_()).equal(model(CLIP))


@pytest.mark.parametrize("temporal", [True, False])
def test_the_prediction_is_that_of_the_probabilities_where_several_softmaxes_are_averaged(temporal):
    class Averaged(nn.Module):
        def forward(self, clip):
            return (8 * clip.mean((3, 4)).mT).softmax(-1).mean(1)

    clip = torch.zeros(1, 3, 3, 4, 4)
    clip[:, 0, 0], clip[:, 1, 1:] = 10, 1  # one frame is very sure of class 0, two are of class 1
    assert int(Averaged()(clip).argmax()) == 1
    assert int(lrp3d.explain(Averaged().eval(), clip, temporal=temporal).target) == 1
    assert int(lrp3d.explain(Averaged().eval(), clip, 0, temporal=temporal).target) == 0


@pytest.mark.parametrize("together", ["stack", "sum"])
@pytest.mark.parametrize("count", [6, 40])
def test_softmaxes_of_single_frames_may_be_many(together, count):
    clip = torch.rand(1, 3, count, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    class Frames(nn.Module):
        def __init__(self, made):
            super().__init__()
            torch.manual_seed(0)
            self.fc, self.made = nn.Linear(3, 4), made

        def forward(self, clip):
            frames = [self.made(self.fc(frame.mean((2, 3)))) for frame in clip.unbind(2)]
            return torch.stack(frames).mean(0) if together == "stack" else sum(frames) / count

    options = {"input_range": (0, 1), "temporal": together == "stack"}  # frames that are added up are in no order
    found = lrp3d.explain(Frames(lambda x: x.softmax(-1)).double().eval(), clip, 1, **options)
    wanted = lrp3d.explain(Frames(lambda x: x).double().eval(), clip, 1, **options)
    torch.testing.assert_close(found.frame_relevance, wanted.frame_relevance)
    assert (found.matrix is not None) == options["temporal"]
    torch.testing.assert_close(found.relevance, wanted.relevance)
