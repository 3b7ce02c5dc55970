"""Models that return the logits of every frame: they are taken as they are, whatever axes they have."""

import pytest
import torch
from output_nets import CLIP, Net, same

import lrp3d


class PerFrame(Net):
    def forward(self, x):
        return self.frames(x)


@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_logits_of_every_frame_are_taken_as_they_are(stride, contrastive):
    model, averaging = PerFrame(stride=stride).eval(), Net(stride=stride).eval()
    found = lrp3d.explain(model, CLIP, [1, 2], contrastive=contrastive)
    same(found, lrp3d.explain(averaging, CLIP, [1, 2], contrastive=contrastive))
    torch.testing.assert_close(found.frame_logits, model(CLIP)[[0, 1], :, [1, 2]])
    torch.testing.assert_close(lrp3d.frame_logits(model, CLIP, [1, 2]), found.frame_logits)
    expected = lrp3d.intervention_matrix(averaging, CLIP, [1, 2])
    torch.testing.assert_close(lrp3d.intervention_matrix(model, CLIP, [1, 2]), expected)
    assert lrp3d.explain(model, CLIP, temporal=False).matrix is None


def test_logits_of_every_frame_are_picked_too():
    class Gives(PerFrame):
        def forward(self, x):
            return {"frames": super().forward(x)}

    same(lrp3d.explain(Gives().eval(), CLIP, output="frames"), lrp3d.explain(Net().eval(), CLIP))


def test_logits_with_an_axis_of_one_are_the_clips():
    class OneRow(Net):
        def forward(self, x):
            return self.fc(self.conv(x).relu().mean((2, 3, 4)))[:, None]

    assert lrp3d.explain(OneRow().eval(), CLIP).matrix.shape == (2, 6, 6)


def test_rows_that_are_no_clips_are_refused():
    class Folded(Net):
        def forward(self, x):
            return self.frames(x).flatten(0, 1)

    with pytest.raises(ValueError, match=r"12 rows of logits for 2 clips.*unflatten"):
        lrp3d.explain(Folded().eval(), CLIP)
    found = lrp3d.explain(Folded().eval(), CLIP, output=lambda y: y.unflatten(0, (2, -1)))
    same(found, lrp3d.explain(Net().eval(), CLIP))


class FramesLast(Net):
    """Returns (b, k, n), as some segmentation models do."""

    def forward(self, x):
        return self.frames(x).transpose(1, 2)


@pytest.mark.parametrize("classes", [4, 6, 9])
@pytest.mark.parametrize(
    "use",
    [lrp3d.explain, lrp3d.intervention_matrix, lrp3d.frame_logits, lambda m, x: lrp3d.explain(m, x, temporal=False)],
    ids=["explain", "interventions", "frame logits", "clip alone"],
)
def test_frame_logits_with_the_frames_last_are_refused_or_turned_round(classes, use):
    model = FramesLast(classes).eval()
    for clip in (CLIP, CLIP[:1]):
        with pytest.raises(ValueError, match=r"has its frames last; pass output=lambda logits: logits\.transpose"):
            use(model, clip)
    turned = lrp3d.explain(model, CLIP, output=lambda logits: logits.transpose(1, 2))
    torch.testing.assert_close(turned.logits, model(CLIP).mean(2))
    assert turned.matrix.shape == (2, 6, 6)


@pytest.mark.parametrize(("classes", "frames"), [(2, 6), (4, 2)])
def test_few_classes_and_frames_are_told_apart_too(classes, frames):
    with pytest.raises(ValueError, match="has its frames last"):
        lrp3d.explain(FramesLast(classes).eval(), CLIP[:, :, :frames])


class FrameLogits(Net):
    """Returns frame logits (b, n, k) as they should be."""

    def forward(self, x):
        return self.frames(x)


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("frames", [2, 6])
def test_frame_logits_of_few_frames_and_classes_are_read_as_they_are(classes, frames):
    found = lrp3d.explain(FrameLogits(classes).eval(), CLIP[:, :, :frames])
    assert found.matrix.shape == (2, frames, frames)
    assert found.logits.shape == (2, classes)


def test_frames_last_are_refused_where_only_the_shape_says_so():
    class Unseen(FramesLast):
        def forward(self, x):
            return super().forward(torch.as_tensor(x.detach().numpy())).detach()

    with pytest.raises(ValueError, match="has its frames last"):
        lrp3d.intervention_matrix(Unseen(4).eval(), CLIP)
