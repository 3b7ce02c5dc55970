"""Features that are moved along time, or joined by constants, before they are averaged: rows stay those of frames."""

import pytest
import torch
from temporal_reference import VideoNet, clips, make
from torch import nn

import lrp3d


class Moved(VideoNet):
    """Features in another order along time, of which the mean knows nothing."""

    def head(self, x):
        return self.fc(type(self).move(x.mean((3, 4))).mean(2))


class MovedLogits(VideoNet):
    def head(self, x):
        return type(self).move(self.fc(x.mean((3, 4)).transpose(1, 2)).transpose(1, 2)).mean(2)


MOVES = {
    "roll": lambda x: x.roll(3, 2),
    "flip": lambda x: x.flip(2),
    "permutation": lambda x: x[:, :, [3, 1, 5, 0, 7, 2, 4, 6]],
    "index_select": lambda x: x.index_select(2, torch.tensor([7, 0, 6, 1, 5, 2, 4, 3])),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("net", [Moved, MovedLogits])
def test_rows_are_in_the_order_of_time_whatever_order_they_are_averaged_in(net, name):
    moved = type(net.__name__, (net,), {"move": staticmethod(MOVES[name])})
    plain = type(net.__name__, (net,), {"move": staticmethod(lambda x: x)})
    found, expected = (lrp3d.explain(make(kind), clips(), [0, 1]) for kind in (moved, plain))
    torch.testing.assert_close(found.frame_logits, expected.frame_logits)
    torch.testing.assert_close(found.matrix, expected.matrix)
    torch.testing.assert_close(found.relevance, expected.relevance)


def test_channels_shifted_around_the_ends_of_the_clip_are_still_frames():
    shifted = type("Shifted", (Moved,), {"move": lambda x: torch.cat([x[:, :2].roll(1, 2), x[:, 2:]], 1)})
    explanation = lrp3d.explain(make(shifted), clips(), [0, 1])
    assert explanation.matrix.shape == (2, 8, 8)
    torch.testing.assert_close(explanation.matrix.sum(2), explanation.frame_logits)


class JoinedByConstants(VideoNet):
    def build(self, width, classes):
        self.fc = nn.Linear(width + 2, classes)
        self.token = nn.Parameter(torch.rand(1, 2, 1))

    def head(self, x):
        x = x.mean((3, 4))
        return self.fc(torch.cat([x, self.constant(x).expand(len(x), 2, x.shape[2])], 1).mean(2))

    def constant(self, x):
        return torch.ones(1, 2, 1, dtype=x.dtype)


class JoinedByParameters(JoinedByConstants):
    def constant(self, x):
        return self.token


@pytest.mark.parametrize("net", [JoinedByConstants, JoinedByParameters])
def test_frame_features_may_be_joined_by_constants(net):
    model, clip = make(net), clips(t=6)
    explanation = lrp3d.explain(model, clip, [0, 1], contrastive=False)
    assert explanation.matrix.shape == (2, 6, 6)
    assert explanation.conservation.max() < 1e-9
    torch.testing.assert_close(explanation.matrix.sum(2), explanation.frame_logits)
    torch.testing.assert_close(explanation.frame_logits.mean(1), model(clip)[[0, 1], [0, 1]])
    assert model.token.grad is None


def test_constants_between_the_frames_are_the_reason_of_a_refusal():
    class ConstantFrame(VideoNet):
        def head(self, x):
            x = x.mean((3, 4))
            return self.fc(torch.cat([x, torch.ones_like(x[:, :, :1])], 2).mean(2))

    with pytest.raises(lrp3d.NoFrameLogits, match="constants beside the frames"):
        lrp3d.explain(make(ConstantFrame), clips())


class MotionGate(VideoNet):
    """The difference to the next frame, of which the last has none, weighs the features of a frame (ACTION-Net)."""

    def build(self, width, classes):
        self.excite = nn.Conv2d(width, width, 1)

    def head(self, x):
        b, c, t, h, w = x.shape
        padded = nn.functional.pad(x[:, :, 1:] - x[:, :, :-1], (0, 0, 0, 0, 0, 1)).transpose(1, 2)
        gate = self.excite(padded.reshape(b * t, c, h, w)).view(b, t, c, h, w).transpose(1, 2).sigmoid()
        for _ in range(3):  # so that the way through the gate is the shorter one
            x = nn.functional.gelu(x).relu()
        return self.fc((x * gate).mean((3, 4)).transpose(1, 2)).mean(1)


class TokensOverTimeFirst(VideoNet):
    """A class token for each frame: these attend to each other, as constants still, then each to its frame (AIM)."""

    def build(self, width, classes):
        self.token, self.qkv = nn.Parameter(torch.randn(width)), nn.Linear(width, 3 * width)

    def attention(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return (q @ k.mT / 2).softmax(-1) @ v

    def head(self, x):
        tokens = x.flatten(3).permute(0, 2, 3, 1)  # (b, t, places, c)
        x = torch.cat([self.token.expand(*tokens.shape[:2], 1, -1), tokens], 2)
        x = x + self.attention(x.transpose(1, 2)).transpose(1, 2)
        return self.fc((x + self.attention(x))[:, :, 0]).mean(1)


@pytest.mark.parametrize("composite", ["paper", "attnlrp"])
def test_class_tokens_that_meet_over_time_as_constants_belong_to_their_frames(composite):
    model, clip = make(TokensOverTimeFirst), clips(1)
    found = lrp3d.explain(model, clip, 0, composite=composite)
    torch.testing.assert_close(found.frame_logits, lrp3d.frame_logits(model, clip, 0))


@pytest.mark.parametrize("composite", ["paper", "attnlrp"])
def test_a_frame_whose_other_factor_is_padding_is_found_by_its_features(composite):
    model, clip = make(MotionGate), clips()
    found = lrp3d.explain(model, clip, 0, composite=composite)
    assert found.matrix.shape == (2, 8, 8)
    torch.testing.assert_close(found.frame_logits, lrp3d.frame_logits(model, clip, 0))
