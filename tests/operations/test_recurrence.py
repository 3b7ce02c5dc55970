"""Recurrent layers and cells: the same outputs, relevance of the cell unrolled over time, a frame logit per step."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lrp3d

D = torch.float64
KINDS = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
OPTIONS = {
    "plain": {},
    "two layers, both directions": {"num_layers": 2, "bidirectional": True},
    "batch first, no bias": {"batch_first": True, "bias": False},
}


def random(*shape, seed=0):
    return torch.rand(shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def ready(model):
    torch.manual_seed(0)
    for parameter in model.double().eval().parameters():
        nn.init.normal_(parameter, 0, 0.7)
    return model


def remembering(model):
    """The model with positive weights in its recurrence, so that earlier steps speak for what later ones say."""
    for parameter in model.rnn.parameters():
        parameter.data.abs_()
    return model


class Net(nn.Module):
    """Convolution per frame, recurrence, and a classifier on every step or on the last."""

    def __init__(self, rnn, last=False):
        super().__init__()
        width = (getattr(rnn, "proj_size", 0) or rnn.hidden_size) * (1 + rnn.bidirectional)
        self.conv, self.rnn, self.fc, self.last = nn.Conv3d(3, 4, (1, 3, 3)), rnn, nn.Linear(width, 5), last

    def forward(self, clip):
        x = self.conv(clip).relu().mean((3, 4)).transpose(1, 2)
        x = self.rnn(x)[0] if self.rnn.batch_first else self.rnn(x.transpose(0, 1))[0].transpose(0, 1)
        return self.fc(x[:, -1]) if self.last else self.fc(x).mean(1)


CLIP = random(2, 3, 4, 4, 4)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_classifier_on_every_step_has_a_row_for_every_frame(kind, options):
    model = ready(Net(KINDS[kind](4, 3, **OPTIONS[options])))
    explanation = lrp3d.explain(model, CLIP, contrastive=False)
    torch.testing.assert_close(explanation.logits, model(CLIP).detach(), rtol=0, atol=1e-12)
    assert explanation.conservation.max() < 1e-9
    torch.testing.assert_close(explanation.matrix.sum(2), explanation.frame_logits)
    if "bidirectional" not in OPTIONS[options]:  # no step knows a frame that comes after it
        assert explanation.matrix.triu(1).abs().max() == 0
        assert lrp3d.explain(remembering(model), CLIP, contrastive=False).matrix.tril(-1).abs().max() > 0


def test_a_projected_state_is_one():
    model = ready(Net(nn.LSTM(4, 3, proj_size=2)))
    explanation = lrp3d.explain(model, CLIP, contrastive=False)
    torch.testing.assert_close(explanation.logits, model(CLIP).detach(), rtol=0, atol=1e-12)
    assert explanation.conservation.max() < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_a_classifier_on_the_last_step_alone_has_no_frame_logits(kind):
    model = ready(Net(KINDS[kind](4, 3, batch_first=True), last=True))
    with pytest.raises(lrp3d.NoFrameLogits, match="finds no average over time"):
        lrp3d.explain(model, CLIP)
    explanation = lrp3d.explain(model, CLIP, temporal=False, contrastive=False)
    assert explanation.conservation.max() < 1e-9
    remembered = lrp3d.explain(remembering(model), CLIP, temporal=False, contrastive=False).frame_relevance
    assert (remembered.abs() > 0).all(), "every frame counts"


# ---------------------------------------------------------------------------- a slow, plain reference


def shared(r, *parts):
    """Relevance r of a sum, in proportion to the parts that have its sign."""
    sign = torch.where(sum(parts) < 0, -1.0, 1.0)
    agreeing = [(part * sign).clamp(min=0) for part in parts]
    return [r * part / sum(agreeing) for part in agreeing]


def linear(r, x, w):
    """Relevance r (k,) of w x to x (j,): in proportion to positive contributions, equally where there are none."""
    contributions = (w * x).clamp(min=0)
    total = contributions.sum(1, keepdim=True)
    return (r[:, None] * torch.where(total > 0, contributions / total.where(total > 0, 1.0), 1 / len(x))).sum(0)


def lstm_relevance(layer, x, r):
    """Of x (t, f), given r (t, hidden) of the output: forward and backward by hand."""
    w, u, b, c_bias = (
        getattr(layer, f"{name}_l0").detach() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h = c = torch.zeros(layer.hidden_size, dtype=D)
    g = slice(2 * layer.hidden_size, 3 * layer.hidden_size)
    tape = []
    for step in x:
        i, f, _, o = ((w @ step + b) + (u @ h + c_bias)).chunk(4)
        i, f, o = i.sigmoid(), f.sigmoid(), o.sigmoid()
        from_x, from_h = w[g] @ step + b[g], u[g] @ h + c_bias[g]
        new = i * (from_x + from_h).tanh()
        tape.append((h, f * c, new, from_x, from_h))
        c = new + f * c
        h = o * c.tanh()
    out, r_h, r_c = torch.zeros_like(x), torch.zeros_like(h), torch.zeros_like(c)
    for t in reversed(range(len(x))):
        before, old, new, from_x, from_h = tape[t]
        total = r[t] + r_h + r_c
        r_new, r_c = shared(total, new, old) if t else (total, torch.zeros_like(c))
        r_x, r_before = shared(r_new, from_x, from_h) if t else (r_new, None)
        out[t] = linear(r_x, x[t], w[g])
        r_h = linear(r_before, before, u[g]) if t else None
    return out


class Inner(nn.Module):
    """Neither the layer that sees the clip nor the classifier."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn, self.fc = rnn, nn.Linear(4, 2)
        nn.init.normal_(self.fc.weight, generator=torch.Generator().manual_seed(4))

    def forward(self, x):
        return self.fc(self.rnn(x.relu())[0])


def test_lstm_relevance_is_that_of_the_unrolled_cell():
    layer = ready(nn.LSTM(3, 4))
    x, r, model = random(5, 3, seed=1), random(5, 2, seed=2) - 0.3, Inner(layer).double().eval()
    given = x[:, None].clone().requires_grad_()
    sums = lrp3d.Composite(operations={torch.add: lrp3d.rules.SameSign()})
    (found,) = torch.autograd.grad(lrp3d.convert(model, sums)(given), given, r[:, None])
    hidden = layer(x)[0].detach()
    of_hidden = torch.stack([linear(*pair, model.fc.weight.detach()) for pair in zip(r, hidden, strict=True)])
    torch.testing.assert_close(found[:, 0], lstm_relevance(layer, x, of_hidden), rtol=1e-9, atol=1e-12)


class Loop(Inner):
    """The layer as a loop over its cell."""

    def __init__(self, layer, cell):
        super().__init__(layer)
        self.cell = cell
        for name, parameter in cell.named_parameters():
            parameter.data = getattr(layer, f"{name}_l0").data

    def forward(self, x):
        state, steps = None, []
        for step in x.relu():
            state = self.cell(step, state)
            steps.append(state[0] if isinstance(state, tuple) else state)
        return self.fc(torch.stack(steps))


@pytest.mark.parametrize(("kind", "cell"), [(nn.LSTM, nn.LSTMCell), (nn.GRU, nn.GRUCell), (nn.RNN, nn.RNNCell)])
def test_a_loop_over_a_cell_is_the_layer(kind, cell):
    layer = ready(kind(3, 4))
    models = Inner(layer), Loop(layer, cell(3, 4))
    x, r = random(4, 2, 3, seed=1).requires_grad_(), random(4, 2, 2, seed=2)
    found = [torch.autograd.grad(lrp3d.convert(model.double().eval())(x), x, r)[0] for model in models]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_from_elsewhere_is_a_constant_and_a_clip_may_have_no_batch(kind):
    class Started(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.fc = KINDS[kind](3, 4), nn.Linear(4, 2)
            self.start = random(1, 4, seed=5)

        def forward(self, x):
            state = (self.start, self.start) if kind == "LSTM" else self.start
            return self.fc(self.rnn(x[0].relu(), state)[0][-1:])

    model, x = ready(Started()), random(1, 5, 3)[:, :, None].transpose(1, 2)
    inside = nn.Sequential(nn.Flatten(1, 2), model)
    explanation = lrp3d.explain(inside, x.transpose(1, 2), 0, contrastive=False, temporal=False)
    torch.testing.assert_close(explanation.logits, inside(x.transpose(1, 2)).detach(), rtol=0, atol=1e-12)
    assert explanation.conservation.max() < 1e-9


def test_packed_sequences_are_refused_with_a_sentence():
    class Packed(Net):
        def forward(self, clip):
            x = self.conv(clip).relu().mean((3, 4)).transpose(1, 2)
            packed = nn.utils.rnn.pack_padded_sequence(x, [4, 4], batch_first=True)
            return self.fc(self.rnn(packed)[1][0][-1])

    with pytest.raises(lrp3d.UnsupportedOperation, match=r"packed sequence.*without pack_padded_sequence"):
        lrp3d.explain(ready(Packed(nn.LSTM(4, 3, batch_first=True))), CLIP)


class ConvLSTM(nn.Module):
    """As it is written by hand."""

    def __init__(self):
        super().__init__()
        self.gates, self.fc = nn.Conv2d(3 + 4, 16, 3, padding=1), nn.Linear(4, 5)

    def forward(self, clip):
        h = c = clip.new_zeros(len(clip), 4, *clip.shape[3:])
        for frame in clip.unbind(2):
            i, f, o, g = torch.split(self.gates(torch.cat([frame, h], 1)), 4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.fc(h.mean((2, 3)))


def test_a_convolutional_lstm_by_hand_conserves():
    model = ready(ConvLSTM())
    explanation = lrp3d.explain(model, CLIP, contrastive=False, temporal=False)
    torch.testing.assert_close(explanation.logits, model(CLIP).detach(), rtol=0, atol=1e-12)
    assert explanation.conservation.max() < 1e-9


def test_a_recurrence_by_hand_may_start_with_a_state_of_zeros():
    class Scan(nn.Module):
        def __init__(self, zeros):
            super().__init__()
            torch.manual_seed(0)
            self.embed, self.step, self.fc = nn.Conv3d(3, 6, (1, 3, 3), (1, 3, 3)), nn.Linear(6, 6), nn.Linear(6, 5)
            self.zeros = zeros

        def forward(self, x):
            x = self.embed(x).flatten(2).transpose(1, 2)
            keep, states = torch.exp(-self.step(x).abs()), []
            state = x.new_zeros(len(x), 6)
            for i in range(x.shape[1]):
                state = x[:, i] if i == 0 and not self.zeros else keep[:, i] * state + x[:, i]
                states.append(state)
            return self.fc(torch.stack(states, 1).mean(1))

    found, wanted = (lrp3d.explain(Scan(zeros).double().eval(), CLIP, 0, temporal=False) for zeros in (True, False))
    torch.testing.assert_close(found.relevance, wanted.relevance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("start", ["zeros", "new_zeros", "zeros_like", "none"])
def test_a_gated_cell_by_hand_is_torchs_from_its_first_step_on(start):
    """There the reset gate weighs what the layer of the state makes of zeros: its bias."""

    class Cell(nn.Module):
        def __init__(self, by_hand):
            super().__init__()
            torch.manual_seed(7)
            self.conv, self.cell, self.fc = nn.Conv3d(3, 8, (1, 3, 3)), nn.GRUCell(8, 8), nn.Linear(8, 5)
            self.of_input, self.of_state = nn.Linear(8, 24), nn.Linear(8, 24)
            self.of_input.weight, self.of_input.bias = self.cell.weight_ih, self.cell.bias_ih
            self.of_state.weight, self.of_state.bias = self.cell.weight_hh, self.cell.bias_hh
            self.by_hand = by_hand

        def step(self, x, h):
            (xr, xz, xn), (hr, hz, hn) = self.of_input(x).chunk(3, 1), self.of_state(h).chunk(3, 1)
            update = (xz + hz).sigmoid()
            return (1 - update) * torch.tanh(xn + (xr + hr).sigmoid() * hn) + update * h

        def forward(self, clip):
            frames = self.conv(clip).relu().mean((3, 4)).transpose(1, 2)
            state = {
                "zeros": lambda: torch.zeros(len(clip), 8, dtype=D),
                "new_zeros": lambda: clip.new_zeros(len(clip), 8),
                "zeros_like": lambda: torch.zeros_like(frames[:, 0]),
                "none": lambda: None,
            }[start]()
            if self.by_hand and state is None:
                state = torch.zeros(len(clip), 8, dtype=D)
            states = []
            for i in range(frames.shape[1]):
                state = self.step(frames[:, i], state) if self.by_hand else self.cell(frames[:, i], state)
                states.append(state)
            return self.fc(torch.stack(states, 1)).mean(1)

    clip = torch.rand(2, 3, 4, 6, 6, dtype=D, generator=torch.Generator().manual_seed(1))
    for contrastive in (True, False):
        found, wanted = (
            lrp3d.explain(Cell(by_hand).double().eval(), clip, 0, contrastive=contrastive, input_range=(0, 1))
            for by_hand in (True, False)
        )
        torch.testing.assert_close(found.relevance, wanted.relevance, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found.matrix, wanted.matrix, rtol=1e-9, atol=1e-12)


TABLES = {
    "written into zeros": lambda table: torch.zeros_like(table).copy_(table),
    "written by an index": lambda table: _written(table),
    "zeros and one": lambda table: torch.zeros_like(table) + 1,
    "filled": lambda table: torch.zeros_like(table).fill_(0.5),
}


def _written(table):
    zeros = torch.zeros_like(table)
    zeros[:] = table
    return zeros


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_begins_as_zeros_is_no_state(name):
    class Gated(nn.Module):
        def __init__(self, table):
            super().__init__()
            torch.manual_seed(0)
            self.gate, self.layer, self.fc = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)
            self.table = table

        def forward(self, clip):
            x = clip.mean((3, 4)).transpose(1, 2)  # b t c
            return self.fc(self.gate(x).sigmoid() * self.layer(self.table())).mean(1)

    clip, table = torch.rand(1, 3, 4, 6, 6, dtype=D), torch.rand(4, 4, dtype=D)
    made = TABLES[name](table)
    found, wanted = (
        lrp3d.explain(Gated(of).double().eval(), clip, 0, contrastive=False, input_range=(0, 1))
        for of in (lambda: TABLES[name](table), lambda: made)
    )
    torch.testing.assert_close(found.matrix, wanted.matrix)


class Gated(nn.Module):
    """The last state of a cell of torch's, or of the same cell written out."""

    def __init__(self, cell, by_hand, start):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.cell, self.fc = nn.Conv3d(3, 6, 1), cell(6, 5), nn.Linear(5, 4)
        self.by_hand, self.start = by_hand, start
        self.double().eval()

    def gates(self, x, h, parts):
        cell = self.cell
        of_input, of_state = F.linear(x, cell.weight_ih, cell.bias_ih), F.linear(h, cell.weight_hh, cell.bias_hh)
        return of_input.chunk(parts, 1), of_state.chunk(parts, 1)

    def lstm(self, x, state):
        a, b = self.gates(x, state[0], 4)
        i, f, o = ((a[k] + b[k]).sigmoid() for k in (0, 1, 3))
        c = i * (a[2] + b[2]).tanh() + f * state[1]
        return o * c.tanh(), c

    def gru(self, x, h):
        a, b = self.gates(x, h, 3)
        r, z = (a[0] + b[0]).sigmoid(), (a[1] + b[1]).sigmoid()
        return (1 - z) * (a[2] + r * b[2]).tanh() + z * h

    def forward(self, x):
        f = self.conv(x).relu().mean((3, 4))
        h, is_lstm = x.new_zeros(len(x), 5), isinstance(self.cell, nn.LSTMCell)
        written = self.lstm if is_lstm else self.gru
        state = None if self.start == "none" and not self.by_hand else (h, h) if is_lstm else h
        for t in range(f.shape[2]):
            state = (written if self.by_hand else self.cell)(f[:, :, t], state)
        return self.fc(state[0] if is_lstm else state)


COMPOSITES = {"attnlrp": "attnlrp", "paper": "paper", "halves": lrp3d.Composite(products="halves")}


@pytest.mark.parametrize("start", ["none", "zeros"])
@pytest.mark.parametrize("cell", [nn.GRUCell, nn.LSTMCell])
@pytest.mark.parametrize("composite", COMPOSITES)
def test_what_a_composite_says_of_products_holds_for_the_gates_of_torchs_own_cells(composite, cell, start):
    found, wanted = (
        lrp3d.explain(
            Gated(cell, by_hand, start), CLIP, 1, contrastive=False, composite=COMPOSITES[composite], temporal=False
        )
        for by_hand in (False, True)
    )
    torch.testing.assert_close(found.logits, wanted.logits)
    # Without a state there is one epsilon less.
    torch.testing.assert_close(found.relevance, wanted.relevance, rtol=1e-4, atol=1e-8)
