"""One logit for each frame is told from one for each class: both are (b, n), and only the graph says which."""

import pytest
import torch
from output_nets import CLIP, Net, same
from torch import nn

import lrp3d
from lrp3d.propagation import time_axis
from lrp3d.steps.spread_down import spread_down


class Detector(Net):
    """One logit for each frame, (b, n), by one of several heads."""

    def __init__(self, head, stride=1):
        super().__init__(classes=3 if "three" in head else 1, stride=stride)
        self.head = head
        self.over_time, self.picture = nn.Conv3d(4, 1, (3, 1, 1), padding=(1, 0, 0)), nn.Conv2d(3, 4, 3, padding=1)
        self.lstm = nn.LSTM(4, 2, batch_first=True, bidirectional=True)
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, x):
        features = self.conv(x).relu()
        frames = features.mean((3, 4)).transpose(1, 2)
        return {
            "linear": lambda: self.fc(frames).squeeze(-1),
            "convolution": lambda: self.over_time(features).mean((1, 3, 4)),
            "recurrent": lambda: self.fc(self.lstm(frames)[0]).flatten(1),
            "attention": lambda: self.fc(self.attention(frames)).flatten(1),
            "probabilities": lambda: self.fc(frames).squeeze(-1).sigmoid(),
            "pictures": lambda: self.of_pictures(x),
            "three, frames first": lambda: self.fc(frames).flatten(1),
            "three, classes first": lambda: self.fc(frames).transpose(1, 2).flatten(1),
        }[self.head]()

    def of_pictures(self, x):
        pictures = x.transpose(1, 2).flatten(0, 1)
        return self.fc(self.picture(pictures).relu().mean((2, 3))).view(len(x), -1)


ONE_EACH = ["linear", "convolution", "recurrent", "attention", "probabilities", "pictures"]


@pytest.mark.parametrize("head", ONE_EACH)
def test_one_logit_for_each_frame_is_never_read_as_classes_without_a_word(head):
    model = Detector(head).eval()
    said = r"\(2, 6\) is one logit for each of 6 time steps.*output=lambda logits: logits.unsqueeze\(-1\)"
    for use in (lrp3d.explain, lrp3d.frame_logits):
        with pytest.raises(ValueError, match=said):
            use(model, CLIP)
    with pytest.warns(UserWarning, match=said):
        lrp3d.explain(model, CLIP, temporal=False)
    with pytest.warns(UserWarning, match=said):
        assert lrp3d.intervention_matrix(model, CLIP).shape == (2, 1, 6)
    found = lrp3d.explain(model, CLIP, output=lambda logits: logits.unsqueeze(-1), temporal=head != "probabilities")
    assert head == "probabilities" or found.matrix.shape == (2, 6, 6)


def test_one_logit_for_each_time_step_is_told_where_the_network_has_strides():
    with pytest.raises(ValueError, match=r"\(2, 3\) is one logit for each of 3 time steps"):
        lrp3d.explain(Detector("linear", stride=2).eval(), CLIP)


@pytest.mark.parametrize(
    ("head", "reshaped"),
    [
        ("three, frames first", lambda logits: logits.unflatten(1, (6, 3))),
        ("three, classes first", lambda logits: logits.unflatten(1, (3, 6)).transpose(1, 2)),
    ],
)
def test_flattened_frame_logits_are_told_in_which_order_they_lie(head, reshaped):
    model = Detector(head).eval()
    with pytest.raises(ValueError, match=r"is 3 logits for each of 6 time steps.*logits\.unflatten") as caught:
        lrp3d.explain(model, CLIP)
    advice = str(caught.value).split("output=")[1].split(". ")[0]
    found = lrp3d.explain(model, CLIP, output=eval(advice))  # what the message says works
    same(found, lrp3d.explain(model, CLIP, output=reshaped))


class ConvolvesLogits(Net):
    """An ordinary classifier that smooths its logits over neighbouring classes."""

    def give(self, logits):
        return nn.functional.conv1d(logits[:, None], torch.ones(1, 1, 3), padding=1)[:, 0]


@pytest.mark.parametrize("kind", [Net, ConvolvesLogits])
@pytest.mark.parametrize("classes", [6, 3])
def test_as_many_classes_as_frames_are_classes(kind, classes, recwarn):
    model = kind(classes).eval()
    assert lrp3d.explain(model, CLIP).matrix.shape == (2, 6, 6)
    lrp3d.explain(model, CLIP, temporal=False)
    assert lrp3d.intervention_matrix(model, CLIP).shape == (2, 6, 6)
    assert not recwarn.list


def test_as_many_logits_as_frames_are_told_where_the_graph_says_nothing():
    class Unseen(Detector):
        def forward(self, x):
            return super().forward(torch.as_tensor(x.detach().numpy())).detach()

    model = Unseen("linear").eval()
    with pytest.warns(UserWarning, match="6 logits for a clip of 6 frames.*one for each class"):
        assert lrp3d.intervention_matrix(model, CLIP).shape == (2, 1, 6)
    assert lrp3d.intervention_matrix(model, CLIP, output=lambda logits: logits.unsqueeze(-1)).shape == (2, 6, 6)


class Judges(Detector):
    """Logits of classes that are no average over frames."""

    def forward(self, x):
        frames = self.conv(x).relu().mean((3, 4)).transpose(1, 2)
        return {
            "greatest frame": lambda: self.fc(frames).amax(1),
            "last state": lambda: self.fc(self.lstm(frames)[0][:, -1]),
            "frames and their reverse": lambda: torch.cat([self.fc(frames), self.fc(frames.flip(1))], 1).squeeze(-1),
            "unknown": lambda: self.fc(Unknown.apply(frames)).amax(1),
        }[self.head]()


class Unknown(torch.autograd.Function):
    """An operation that no rule knows."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, r):
        return r * 2


@pytest.mark.parametrize("classes", [5, 1])
@pytest.mark.parametrize("head", ["greatest frame", "last state", "frames and their reverse", "unknown"])
def test_logits_of_classes_are_classes_whatever_mixes_the_frames(head, classes, recwarn):
    model = Judges(head).eval()
    model.fc = nn.Linear(4, 1 if "reverse" in head else classes)
    assert lrp3d.intervention_matrix(model, CLIP).shape == (2, 1, 6)
    assert not recwarn.list


def test_one_logit_for_each_of_two_frames_is_told_too():
    with pytest.raises(ValueError, match=r"\(2, 2\) is one logit for each of 2 time steps"):
        lrp3d.explain(Detector("linear").eval(), CLIP[:, :, :2])


def test_logits_of_many_classes_are_known_as_such_by_the_first_and_the_last(monkeypatch):
    class FirstToken(Detector):
        def forward(self, x):
            return self.fc(self.attention(self.conv(x).relu().mean((3, 4)).transpose(1, 2))[:, 0])

    model = FirstToken("attention").eval()
    model.fc = nn.Linear(4, 400)
    followed = []
    monkeypatch.setattr(time_axis, "spread_down", lambda *args: followed.append(1) or spread_down(*args))
    with pytest.raises(lrp3d.NoFrameLogits):
        lrp3d.explain(model, CLIP)
    assert 0 < len(followed) < 40  # not one for each class
