"""What cuts a signal off from what lies below is refused, and what only looks so is followed."""

import pytest
import torch
from plain_nets import CLIP, Net

import lrp3d


CUTS = {
    "new_tensor": lambda x: x.new_tensor(x),
    "new_tensor of numbers": lambda x: x.new_tensor([x.mean()]) + x,
    "bits": lambda x: x.view(torch.int32).view(torch.float32),
    "data": lambda x: setattr(y := torch.empty(0), "data", x) or y,
}


@pytest.mark.filterwarnings("ignore:To copy construct")
@pytest.mark.parametrize("cut", CUTS)
def test_what_cuts_the_signal_off_is_refused(cut):
    model = Net().eval()
    model.change = CUTS[cut]
    with pytest.raises(lrp3d.UnsupportedOperation):
        lrp3d.explain(model, CLIP, 1)


def test_one_number_of_a_signal_fills_a_tensor():
    filled, plain = Net().eval(), Net().eval()
    filled.change = lambda x: torch.zeros_like(x).fill_(x.mean()) + x
    plain.change = lambda x: x.mean().expand(x.shape) + x
    found, expected = (lrp3d.explain(model, CLIP[:1], 1, temporal=False) for model in (filled, plain))
    torch.testing.assert_close(found.relevance, expected.relevance)
