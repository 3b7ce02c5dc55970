"""Recurrent layers and cells, unrolled over time: every time step is a sum of linear maps, weighted by gates.

Gates are constant, and the candidate takes all relevance (signal takes all: Arras et al. 2017, arXiv:1706.07206; 2019,
arXiv:1909.12114), unless the composite says something else about products. Relevance passes tanh unchanged, and is
shared over linear maps by their rule and at sums by the rule of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp3d.errors import UnsupportedOperation
from lrp3d.operations.blocks import attach
from lrp3d.registry import active_tracer
from lrp3d.steps.elementwise import RecurrentOutput

State = tuple[Tensor | None, ...]
"""(h,) or (h, c), each (b, hidden); None before the first step."""


class Weights(NamedTuple):
    """The weights of one layer and direction; the rows of all gates and the candidate are stacked as in torch."""

    input: Tensor
    hidden: Tensor
    input_bias: Tensor | None
    hidden_bias: Tensor | None
    projection: Tensor | None = None

    def rows(self, i: int, parts: int) -> Weights:
        """The weights of the i-th of `parts` gates."""
        weights: list[Any] = [None if w is None else w.chunk(parts)[i] for w in self[:4]]
        return Weights(*weights)


def _values(x: Tensor) -> Tensor:
    """The values alone, as a constant."""
    values: Tensor = active_tracer().resolve(x)
    with torch._C.DisableTorchFunction():
        return values.detach()


def _gates(x: Tensor, h: Tensor | None, w: Weights, parts: int) -> Sequence[Tensor]:
    """The values of all gates before their sigmoid, as constants if they only weigh; the candidate's are not used."""
    if active_tracer().addresses_products:
        return _plus(F.linear(x, w.input, w.input_bias), _hidden(h, w)).chunk(parts, 1)
    with torch._C.DisableTorchFunction(), torch.no_grad():
        z = F.linear(_values(x), w.input, w.input_bias)  # (b, parts * hidden)
        h = x.new_zeros(len(x), w.hidden.shape[1]) if h is None else _values(h)
        return (z + F.linear(h, w.hidden, w.hidden_bias)).chunk(parts, 1)


def _hidden(h: Tensor | None, w: Weights) -> Tensor | None:
    """The summand of the previous state; None if there is neither a state nor a bias."""
    return w.hidden_bias if h is None else F.linear(h, w.hidden, w.hidden_bias)


def _is_first(h: Tensor | None) -> bool:
    """Whether a state is the first one: none was given, or zeros."""
    tracer = active_tracer()
    if h is None or tracer.depends_on_clip(h) or not tracer.addresses_products:
        return h is None
    return tracer.answers((h == 0).all())


def _plus(a: Tensor, b: Tensor | None) -> Tensor:
    return a if b is None else a + b


def lstm_cell(x: Tensor, state: State, w: Weights) -> State:
    """`c' = f c + i tanh(candidate)`, `h' = o tanh(c')`, with constant i, f, o."""
    h, c = state
    i, f, _, o = (gate.sigmoid() for gate in _gates(x, h, w, 4))  # (b, hidden) each
    candidate = w.rows(2, 4)
    new = i * _plus(F.linear(x, candidate.input, candidate.input_bias), _hidden(h, candidate)).tanh()
    c = new if c is None else new + f * c
    h = o * c.tanh()
    return (h if w.projection is None else F.linear(h, w.projection)), c


def gru_cell(x: Tensor, state: State, w: Weights) -> State:
    """`h' = z h + (1 - z) tanh(candidate)`, where r weights the previous state in the candidate; constant r and z."""
    (h,) = state
    r, z, _ = (gate.sigmoid() for gate in _gates(x, h, w, 3))  # (b, hidden) each
    candidate = w.rows(2, 3)
    before = _hidden(h, candidate)
    # What layers make of a first state is their bias, and a gate that weighs a constant gets no relevance from it.
    weighed = None if before is None else (_values(r) if _is_first(h) else r) * before
    new = (1 - z) * _plus(F.linear(x, candidate.input, candidate.input_bias), weighed).tanh()
    return (new if h is None else new + z * h,)


def _plain_cell(activation: Callable[[Tensor], Tensor]) -> Callable[[Tensor, State, Weights], State]:
    def cell(x: Tensor, state: State, w: Weights) -> State:
        return (activation(_plus(F.linear(x, w.input, w.input_bias), _hidden(state[0], w))),)

    return cell


def cell_of(layer: Any) -> Callable[[Tensor, State, Weights], State]:
    """The function that computes one time step of a recurrent layer or cell."""
    if isinstance(layer, (nn.LSTM, nn.LSTMCell)):
        return lstm_cell
    if isinstance(layer, (nn.GRU, nn.GRUCell)):
        return gru_cell
    return _plain_cell(torch.relu if layer.nonlinearity == "relu" else torch.tanh)


def _weights(layer: Any, suffix: str) -> Weights:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    weights: list[Any] = [getattr(layer, name + suffix, None) for name in names]
    return Weights(*weights)


def one_step(layer: Any, x: Tensor, state: Any = None) -> Any:
    """Runs a cell on its input, (b, f) or (f,), and its state; returns the new state, as torch does."""
    is_lstm = isinstance(layer, nn.LSTMCell)
    start: State = (None,) * (1 + is_lstm) if state is None else tuple(state) if is_lstm else (state,)
    if x.dim() == 1:
        start = tuple(None if s is None else s.unsqueeze(0) for s in start)
        new = cell_of(layer)(x.unsqueeze(0), start, _weights(layer, ""))
        new = tuple(s.squeeze(0) for s in new if s is not None)
    else:
        new = cell_of(layer)(x, start, _weights(layer, ""))
    return new if is_lstm else new[0]


def unrolled(layer: Any, x: Any, state: Any = None) -> Any:
    """A recurrent layer: `nn.LSTM`, `nn.GRU` or `nn.RNN`, of any depth and direction.

    Args:
        layer: the module.
        x: (b, t, f) if `layer.batch_first`, (t, b, f), or (t, f).
        state: the initial state, as torch takes it; zeros by default.

    Returns:
        Output and last state, as torch returns them.

    Raises:
        UnsupportedOperation: for packed sequences.
    """
    if not isinstance(x, Tensor):
        raise UnsupportedOperation(
            [
                f"{active_tracer().place} (packed sequence): recurrent layers are explained on tensors (b, t, f), the "
                "same for clips of one length: write the forward without pack_padded_sequence"
            ]
        )
    if x.dim() == 2:
        state = state if state is None else _each(lambda s: s.unsqueeze(1), state)
        axis = 0 if layer.batch_first else 1
        output, last = unrolled(layer, x.unsqueeze(axis), state)
        return output.squeeze(axis), _each(lambda s: s.squeeze(1), last)
    time = 1 if layer.batch_first else 0
    is_lstm = isinstance(layer, nn.LSTM)
    starts: tuple[Any, ...] = (None,) * (1 + is_lstm) if state is None else tuple(state) if is_lstm else (state,)
    cell, sequence = cell_of(layer), x
    lasts: list[Any] = []
    for depth in range(layer.num_layers):
        directions = []
        for direction in range(1 + layer.bidirectional):
            number = depth * (1 + layer.bidirectional) + direction
            weights = _weights(layer, f"_l{depth}{'_reverse' if direction else ''}")
            current: State = tuple(None if start is None else start[number] for start in starts)
            steps: list[Any] = [None] * x.shape[time]
            for t in reversed(range(len(steps))) if direction else range(len(steps)):
                current = cell(x.select(time, t), current, weights)
                steps[t] = current[0]
            directions.append(torch.stack(steps, time))  # (b, t, hidden) or (t, b, hidden)
            lasts.append(current)
        x = directions[0] if len(directions) == 1 else torch.cat(directions, 2)  # (..., directions * hidden)
        if depth < layer.num_layers - 1 and layer.dropout:
            x = F.dropout(x, layer.dropout, layer.training)
    last = tuple(torch.stack([each[i] for each in lasts]) for i in range(1 + is_lstm))
    # An operation of its own, which the tape can replay, although it stands for no function of torch.
    output = active_tracer().perform(recurrence, (x, sequence), {})
    return output, last if is_lstm else last[0]


def _each(function: Callable[[Tensor], Tensor], state: Any) -> Any:
    return function(state) if isinstance(state, Tensor) else tuple(function(s) for s in state)


def recurrence(output: Tensor, x: Tensor) -> Tensor:
    """The unchanged output, with a step that says which input time step each of its time steps belongs to."""
    tracer = active_tracer()
    if not (tracer.is_signal(output) and tracer.is_signal(x)):
        return output
    step = RecurrentOutput(output.shape, x.shape)
    return attach(step, output.view_as(output), [output, x], tracer.signals[output])
