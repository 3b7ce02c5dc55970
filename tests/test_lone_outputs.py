"""A lone logit (b, 1) is explained as the class that its sign says."""

import pytest
import torch
from output_nets import CLIP, Net, same

import lrp3d


class Lone(Net):
    """One logit; its bias says on which side of zero."""

    def __init__(self, bias=0.0):
        super().__init__(classes=1)
        self.fc.bias.data.fill_(bias)


class Two(Net):
    """The same as two classes: the logit, and its negative."""

    def __init__(self, lone):
        super().__init__(classes=2)
        weight = torch.cat([-lone.fc.weight, lone.fc.weight]).detach()
        bias = torch.cat([-lone.fc.bias, lone.fc.bias]).detach()
        self.load_state_dict(lone.state_dict() | {"fc.weight": weight, "fc.bias": bias})


@pytest.mark.parametrize("bias", [-2.0, 2.0])
@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize("composite", ["paper", "epsilon", "alpha_beta", "epsilon_gamma_box"])
def test_a_lone_logit_is_explained_as_the_class_that_its_sign_says(bias, contrastive, composite):
    lone = Lone(bias).eval().double()
    two, clip, options = Two(lone).eval().double(), CLIP.double(), {"contrastive": contrastive, "composite": composite}
    found, expected = lrp3d.explain(lone, clip, **options), lrp3d.explain(two, clip, **options)
    torch.testing.assert_close(found.relevance, expected.relevance)
    torch.testing.assert_close(found.frame_logits, expected.frame_logits)
    torch.testing.assert_close(found.matrix, expected.matrix)
    torch.testing.assert_close(found.avg_atr, expected.avg_atr)
    assert torch.isfinite(found.avg_atr).all()
    torch.testing.assert_close(found.frame_logits.mean(1), lone(clip)[:, 0].abs())
    assert torch.equal(found.logits, lone(clip)), "the logits are the model's own"
    assert found.conservation.max() < 1e-9 or composite != "paper"
    assert ("negative in clip(s) [0, 1]" in repr(found)) == (bias < 0)
    for measure in (lrp3d.frame_logits, lrp3d.intervention_matrix):
        torch.testing.assert_close(measure(lone, clip), measure(two, clip))


@pytest.mark.parametrize("contrastive", [True, False])
def test_lone_logits_of_both_signs_are_told_apart(contrastive, tmp_path):
    lone = Lone().eval().double()
    clip = torch.cat([CLIP * 4, CLIP[:1]]).double()
    values = lone(clip).flatten()
    lone.fc.bias.data -= values.detach().quantile(0.4)
    assert (lone(clip) < 0).any()
    assert (lone(clip) > 0).any()
    found = lrp3d.explain(lone, clip, contrastive=contrastive, input_range=(0.0, 4.0))
    expected = lrp3d.explain(Two(lone).eval().double(), clip, contrastive=contrastive, input_range=(0.0, 4.0))
    torch.testing.assert_close(found.relevance, expected.relevance)
    torch.testing.assert_close(found.matrix, expected.matrix)
    assert torch.equal(found.sign < 0, lone(clip)[:, 0] < 0)
    found.save(tmp_path / "lone.safetensors")
    assert torch.equal(lrp3d.Explanation.load(tmp_path / "lone.safetensors").sign, found.sign)


def test_lone_logits_without_an_axis_of_classes_are_told_to_have_one():
    class Flat(Lone):
        def give(self, logits):
            return logits.squeeze(1)

    with pytest.raises(ValueError, match=r"one logit for each clip.*logits\[:, None\]"):
        lrp3d.explain(Flat().eval(), CLIP)
    found = lrp3d.explain(Flat().eval(), CLIP, output=lambda logits: logits[:, None])
    same(found, lrp3d.explain(Lone().eval(), CLIP))


def test_a_lone_logit_may_be_asked_for_as_it_is():
    lone = Lone(-2.0).eval()
    found = lrp3d.explain(lone, CLIP, 0)
    torch.testing.assert_close(found.frame_logits.mean(1), lone(CLIP)[:, 0])
    assert found.sign is None
