"""Motion where frames meet side by side: behind shifts, in differences, attention and recurrence."""

import pytest
import torch
from motion_nets import FRAMES, NETS, OfFrames, Recurrent, ShiftedImages, net
from torch import nn

import lrp3d
from lrp3d.errors import NoMotion

EXACT = {"rtol": 1e-9, "atol": 1e-11}
CLIP = torch.rand(2, 3, FRAMES, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def split(model, clip, **options):
    return lrp3d.explain(model, clip, motion=True, **options)


def still(clip):
    return clip[:, :, :1].expand_as(clip)


@pytest.mark.parametrize("contrastive", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.parametrize("name", NETS)
def test_both_parts_add_up_to_relevance(name, contrastive):
    model = net(name)
    found = split(model, CLIP, contrastive=contrastive, chunk_size=3)
    plain = lrp3d.explain(model, CLIP, contrastive=contrastive)
    torch.testing.assert_close(found.static + found.dynamic, plain.relevance, **EXACT)
    torch.testing.assert_close(found.static_matrix + found.dynamic_matrix, plain.matrix, **EXACT)
    torch.testing.assert_close(found.conservation, plain.conservation, rtol=0, atol=1e-9)
    assert found.dynamic_matrix.abs().max() > 1e-3 * found.static_matrix.abs().max()
    if not contrastive:
        torch.testing.assert_close(sum(found.motion_by_layer.values()), found.motion, **EXACT)


@pytest.mark.parametrize("contrastive", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NETS)
def test_nothing_is_dynamic_in_a_clip_that_stands_still_not_even_at_its_ends(name, contrastive):
    found = split(net(name), still(CLIP), contrastive=contrastive)
    assert found.dynamic.abs().max() <= 1e-13 * found.static.abs().max()
    assert found.dynamic_matrix.abs().max() <= 1e-12 * found.static_matrix.abs().max()


@pytest.mark.parametrize("name", NETS)
def test_clips_of_a_batch_do_not_meet(name):
    model = net(name)
    together = split(lrp3d.convert(model), CLIP, contrastive=False, input_range=(0.0, 1.0))
    alone = split(model, CLIP[1:], contrastive=False, input_range=(0.0, 1.0))
    torch.testing.assert_close(alone.dynamic[0], together.dynamic[1], **EXACT)
    torch.testing.assert_close(alone.motion[0], together.motion[1], **EXACT)
    for layer, shares in alone.motion_by_layer.items():
        torch.testing.assert_close(shares[0], together.motion_by_layer[layer][1], **EXACT)


# ---------------------------------------------------------------------------- held against plain loops


# By the same rule in the first layer as elsewhere, whose terms are pixel times weight.
OPTIONS = {"target": 1, "contrastive": False, "composite": lrp3d.Composite(first=lrp3d.rules.ZPlus())}


class Alone(nn.Module):
    """One operation over pixels, which are positive as all weights are, then a classifier of each frame."""

    def __init__(self, operation, width=3):
        super().__init__()
        self.same = nn.Conv3d(3, 3, 1, bias=False)
        self.operation, self.fc = operation, nn.Linear(width, 2, bias=False)
        with torch.no_grad():
            for weights in self.parameters():
                weights.copy_(torch.rand(weights.shape) + 0.1)
            self.same.weight.copy_(torch.eye(3).view(3, 3, 1, 1, 1))

    def forward(self, clip):
        return self.fc(self.operation(self.same(clip).mean((3, 4)).transpose(1, 2))).mean(1)


def pixels():
    return torch.rand(1, 3, 5, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.1


def check(operation, at_rest, width=3):
    """Compares with R s / a, where s (c, t) is what every pixel would be if the frames that meet it stood still."""
    torch.manual_seed(3)
    model, clip = Alone(operation, width).double().eval(), pixels()
    found, plain = split(model, clip, **OPTIONS), lrp3d.explain(model, clip, **OPTIONS)
    a = clip[0, :, :, 0, 0]
    s = torch.empty_like(a)
    for c in range(3):
        for t in range(a.shape[1]):
            frames = at_rest(c, t)
            s[c, t] = sum(a[c, u] for u in frames) / len(frames)
    torch.testing.assert_close(found.static[0, :, :, 0, 0], plain.relevance[0, :, :, 0, 0] * s / a, **EXACT)


class Shift(nn.Module):
    """The first channel comes from the next frame, the second from the one before; then channels are mixed."""

    def __init__(self, around=False):
        super().__init__()
        self.around, self.mix = around, nn.Linear(3, 3, bias=False)

    def forward(self, x):
        ahead, back = x[:, :, :1].roll(-1, 1), x[:, :, 1:2].roll(1, 1)
        if not self.around:
            nothing = torch.zeros_like(x[:, :1, :1])
            ahead, back = torch.cat([x[:, 1:, :1], nothing], 1), torch.cat([nothing, x[:, :-1, 1:2]], 1)
        return self.mix(torch.cat([ahead, back, x[:, :, 2:]], 2))


def test_behind_a_shift_a_channel_at_rest_is_the_mean_of_its_values_in_the_frames_that_meet():
    def at_rest(c, t):
        slot = t + (-1, 1, 0)[c]  # the frame into which the channel of frame t is shifted
        meet = [u for u in (slot - 1, slot, slot + 1) if 0 <= u < 5]
        shifted_out = {0: [0], 1: [4], 2: []}[c]  # what no frame sees counts nowhere
        return [u for u in meet if u not in shifted_out] or [t]

    check(Shift(), at_rest)


def test_a_shift_around_the_ends_of_the_clip_brings_first_and_last_frame_together():
    check(Shift(around=True), lambda c, t: [(t + (-1, 1, 0)[c] + d) % 5 for d in (-1, 0, 1)])


def test_a_shift_is_split_as_the_temporal_convolution_that_it_is():
    """As long as what is shifted out, which a kernel would see, is like what stays: the first and last three frames."""

    class Convolved(nn.Module):
        def __init__(self, shift):
            super().__init__()
            self.kernel = nn.Conv1d(3, 3, 3, padding=1, bias=False)
            with torch.no_grad():
                self.kernel.weight.zero_()
                for c, tap in enumerate((2, 0, 1)):
                    self.kernel.weight[:, c, tap] = shift.mix.weight[:, c]

        def forward(self, x):
            clip, weight = x.transpose(1, 2)[..., None, None], self.kernel.weight[..., None, None]
            return torch.conv3d(clip, weight, padding=(1, 0, 0))[..., 0, 0].transpose(1, 2)

    torch.manual_seed(3)
    shifts = Alone(Shift()).double().eval()
    convolves = Alone(Shift()).double().eval()
    convolves.load_state_dict(shifts.state_dict())
    convolves.operation = Convolved(shifts.operation).double()
    clip = pixels().index_select(2, torch.tensor([0, 0, 0, 1, 2, 3, 3, 3]))
    one, other = split(shifts, clip, **OPTIONS), split(convolves, clip, **OPTIONS)
    assert one.motion.abs() > 1e-3
    torch.testing.assert_close(one.static_matrix, other.static_matrix, **EXACT)
    torch.testing.assert_close(one.dynamic, other.dynamic, **EXACT)


def test_in_attention_over_time_values_at_rest_are_their_mean_over_all_frames():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k = (nn.Linear(3, 3, bias=False) for _ in range(2))

        def probabilities(self, x):
            return (self.q(x) @ self.k(x).transpose(1, 2)).softmax(-1)

        def forward(self, x):
            return x + self.probabilities(x) @ x

    torch.manual_seed(3)
    model = Alone(Attention()).double().eval()
    found, a = split(model, pixels(), **OPTIONS), pixels()[0, :, :, 0, 0].T  # (t, c)
    p, weight = model.operation.probabilities(a[None])[0].detach(), model.fc.weight[1].detach()
    for row in range(5):
        static, at_rest = torch.zeros(5, dtype=torch.float64), a.mean(0)
        for c in range(3):  # a logit without bias: each feature has the relevance that it contributed
            static[row] += weight[c] * a[row, c]
            for frame in range(5):
                static[frame] += weight[c] * p[row, frame] * at_rest[c]
        torch.testing.assert_close(found.static_matrix[0, row], static, **EXACT)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_layer_sees_a_frame_at_rest_as_the_mean_of_all_frames(kind):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = kind(3, 4, batch_first=True, bidirectional=True, bias=False)

        def forward(self, x):
            return self.layer(x)[0]

    check(Layer(), lambda c, t: range(5), width=8)


def test_in_a_sum_of_frames_those_stand_still_that_are_added():
    class Adds(nn.Module):
        def forward(self, x):
            return x[:, 1:] + x[:, :-1]

    torch.manual_seed(3)
    model = Alone(Adds()).double().eval()
    found = split(model, pixels(), **OPTIONS)
    rows = found.matrix[0].sum(1)
    for row in range(4):  # every pixel keeps what it added; at rest it would have added as much as its neighbour
        torch.testing.assert_close(found.static_matrix[0, row, row : row + 2], rows[row].expand(2) / 2, **EXACT)


# ---------------------------------------------------------------------------- what it is not


def test_attention_within_frames_and_channels_of_one_frame_mix_no_frames():
    class Within(OfFrames):
        def over_frames(self, x):
            b, t, c = x.shape
            q = x.reshape(b * t, 2, c // 2)
            return ((q @ q.transpose(1, 2)).softmax(-1) @ q).view(b, t, c)

    found = split(Within().double().eval(), CLIP, contrastive=False)
    assert (found.dynamic == 0).all()


def test_frames_in_another_order_stay_what_they_are():
    class Reversed(OfFrames):
        def over_frames(self, x):
            return x.flip(1)

    found = split(Reversed().double().eval(), CLIP, contrastive=False)
    assert (found.dynamic == 0).all()


def test_a_shift_of_no_channel_mixes_no_frames():
    torch.manual_seed(0)
    assert (split(ShiftedImages(fold=0).double().eval(), CLIP, contrastive=False).dynamic == 0).all()


def test_a_recurrent_layer_over_the_values_of_one_frame_mixes_no_frames():
    class Within(Recurrent):
        def over_frames(self, x):
            b, t, c = x.shape
            return self.layer(x.reshape(b * t, 1, c))[0].reshape(b, t, -1)

    torch.manual_seed(0)
    assert (split(Within().double().eval(), CLIP, contrastive=False).dynamic == 0).all()


def test_a_mean_over_all_frames_may_come_back_to_each_of_them():
    class Context(OfFrames):
        def __init__(self):
            super().__init__()
            self.context = nn.Conv3d(4, 4, 1)

        def forward(self, clip):
            x = torch.relu(self.stem(clip))
            x = x + self.context(x.mean((2, 3, 4), keepdim=True))
            return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)

    torch.manual_seed(0)
    assert (split(Context().double().eval(), CLIP, contrastive=False).dynamic == 0).all()


def test_a_mean_over_all_frames_may_stand_beside_the_channels_of_each():
    class Beside(OfFrames):
        def __init__(self):
            super().__init__()
            self.both = nn.Conv3d(8, 4, 1)

        def forward(self, clip):
            x = torch.relu(self.stem(clip))
            x = torch.relu(self.both(torch.cat([x, x.mean((2, 3, 4), keepdim=True).expand_as(x)], 1)))
            return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)

    torch.manual_seed(0)
    assert (split(Beside().double().eval(), CLIP, contrastive=False).dynamic == 0).all()


def test_channels_behind_a_shift_keep_their_frames_in_a_pool():
    class Pooled(ShiftedImages):
        def shift(self, x):
            return nn.functional.avg_pool2d(super().shift(x), 3, 1, 1)

    torch.manual_seed(0)
    model = Pooled().double().eval()
    found, plain = split(model, CLIP, contrastive=False), lrp3d.explain(model, CLIP, contrastive=False)
    torch.testing.assert_close(found.static + found.dynamic, plain.relevance, **EXACT)
    assert list(found.motion_by_layer) == ["second"]
    assert split(model, still(CLIP), contrastive=False).dynamic.abs().max() < 1e-15


def test_what_is_overwritten_as_a_whole_meets_no_frame():
    class Overwritten(OfFrames):
        def over_frames(self, x):
            y = x.flip(1).clone()
            y[:] = x
            return y

    torch.manual_seed(0)
    assert (split(Overwritten().double().eval(), CLIP, contrastive=False).dynamic == 0).all()


def test_products_that_are_summed_over_frames_are_refused():
    class ByHand(OfFrames):
        def over_frames(self, x):
            weights = (x @ x.mT).softmax(-1)
            return (weights[..., None] * x[:, None]).sum(2)

    with pytest.raises(NoMotion, match=r"does not know what 'sum' .* as a product of matrices"):
        split(ByHand().double().eval(), CLIP)


def test_a_frame_that_every_frame_sees_is_refused():
    class Anchored(OfFrames):
        def over_frames(self, x):
            return x + x[:, :1]

    with pytest.raises(NoMotion, match=r"does not know what 'add' \(add\) does to frames"):
        split(Anchored().double().eval(), CLIP)


@pytest.mark.parametrize(
    ("over_frames", "message"),
    [
        (lambda x: x.reshape(len(x), FRAMES // 2, 2, -1).amax(2), r"does not know what 'amax"),
        (lambda x: x.reshape(len(x), 2, FRAMES // 2, -1).topk(2, 2).values.flatten(1, 2), r"does not know what 'topk"),
    ],
)
def test_what_chooses_between_frames_is_refused_by_name(over_frames, message):
    class Chooses(OfFrames):
        def over_frames(self, x):
            return over_frames(x)

    with pytest.raises(NoMotion, match=message):
        split(Chooses().double().eval(), CLIP)


def test_a_cell_in_a_loop_of_ones_own_is_refused_by_name():
    class Loop(OfFrames):
        def __init__(self):
            super().__init__(out=5)
            self.cell = nn.RNNCell(4, 5)

        def over_frames(self, x):
            state, states = torch.zeros(len(x), 5, dtype=x.dtype), []
            for t in range(x.shape[1]):
                state = self.cell(x[:, t], state)
                states.append(state)
            return torch.stack(states, 1)

    with pytest.raises(NoMotion, match=r"which frames 'cell' \(add\) brings together"):
        split(Loop().double().eval(), CLIP)


def test_attention_whose_queries_get_relevance_as_well_is_refused_by_name():
    with pytest.raises(NoMotion, match=r"does not know what '.*' \(matmul\) does to frames"):
        split(net("divided attention"), CLIP, contrastive=False, composite="attnlrp")


class Biased(nn.Module):
    """A shift between two convolutions with biases, which some rules let absorb relevance."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.classifier = nn.Linear(8, 3)

    def forward(self, clip):
        frames = self.first(clip.transpose(1, 2).flatten(0, 1)).relu().unflatten(0, clip.shape[::2][:2])
        shifted = torch.zeros_like(frames)
        shifted[:, :-1, :2], shifted[:, 1:, 2:4] = frames[:, 1:, :2], frames[:, :-1, 2:4]
        shifted[:, :, 4:] = frames[:, :, 4:]
        means = self.second(shifted.flatten(0, 1)).relu().mean((2, 3))
        return self.classifier(means).unflatten(0, clip.shape[::2][:2]).mean(1)


@pytest.mark.parametrize("rule", [lrp3d.rules.Gamma(0.25), lrp3d.rules.Epsilon(1e-2)], ids=["gamma", "epsilon"])
def test_what_a_rule_absorbs_behind_a_shift_is_booked_as_it_is_without_the_split(rule):
    torch.manual_seed(3)
    model, composite = Biased().double().eval(), lrp3d.Composite(names={"second": rule})
    plain, parted = (
        lrp3d.explain(model, CLIP, composite=composite, contrastive=False, motion=motion) for motion in (False, True)
    )
    torch.testing.assert_close(parted.relevance, plain.relevance, **EXACT)
    booked, expected = ({line.layer: line.absorbed for line in found.ledger} for found in (parted, plain))
    assert booked == pytest.approx(expected, abs=1e-9)
    assert abs(expected["second"]) > 1e-3
    torch.testing.assert_close(parted.relevance.sum() + parted.ledger.absorbed, parted.logits.amax(1).sum(), **EXACT)


def test_a_maximum_over_axes_of_one_value_is_split_as_what_it_leaves():
    class Net(nn.Module):
        def __init__(self, reduce):
            super().__init__()
            self.conv, self.classifier, self.reduce = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 5), reduce

        def forward(self, clip):
            pooled = nn.functional.max_pool3d(self.conv(clip).relu(), (1, 8, 8))
            return self.classifier(self.reduce(pooled).mean(2))

    found = []
    for reduce in (lambda x: x.amax((3, 4)), lambda x: x[..., 0, 0]):
        torch.manual_seed(0)
        found.append(split(Net(reduce).double().eval(), CLIP, contrastive=False))
    torch.testing.assert_close(found[0].static, found[1].static, **EXACT)
    torch.testing.assert_close(found[0].motion, found[1].motion, **EXACT)


@pytest.mark.parametrize("divided", [False, True])
def test_heads_that_are_folded_into_the_batch_are_compared_each_with_itself(divided):
    class Attention(nn.Module):
        def __init__(self, folds):
            super().__init__()
            torch.manual_seed(7)
            self.conv, self.fc = nn.Conv3d(3, 8, (1, 4, 4), (1, 4, 4)), nn.Linear(8, 5)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.folds = folds  # torch's own code folds heads into the batch where it returns weights

        def forward(self, x):
            x = self.conv(x).relu().permute(0, 3, 4, 2, 1)  # b h w t c
            places = x.shape[:3]
            x = x.flatten(0, 2) if divided else x.mean((1, 2))
            x = x + self.attention(x, x, x, need_weights=self.folds)[0]
            return self.fc((x.unflatten(0, places).mean((1, 2)) if divided else x).mean(1))

    clip = torch.rand(2, 3, 4, 8, 8, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    kept, folded = (
        lrp3d.explain(Attention(folds).double().eval(), clip, 0, contrastive=False, motion=True, input_range=(0, 1))
        for folds in (False, True)
    )
    torch.testing.assert_close(folded.relevance, kept.relevance)
    torch.testing.assert_close(folded.dynamic, kept.dynamic, rtol=1e-9, atol=1e-12)
