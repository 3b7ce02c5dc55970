"""What to do about operations that have no relevance rule: one sentence each."""

from __future__ import annotations

from typing import Any

NO_GRAD = (
    "computed inside torch.no_grad(), inference_mode() or a custom autograd Function; write it in the model's forward "
    "without that"
)
STALE = (
    "reads memory that an in-place operation changed through another view, where one element is seen several times or "
    "as another type; use the out-of-place form there"
)
DETACHED = "detaches the signal, so no relevance could reach what lies below; remove the detach from the forward"
COPIED = (
    "makes a new tensor of a signal's numbers, so no relevance could reach what lies below; use torch.stack or clone"
)
BITS = "reads a signal's numbers as those of another type, bit by bit, where lrp3d cannot follow it"
TRANSFORMED = (
    "sees the signal through a transform of torch.func (vmap, grad, vjp, jvp), where lrp3d cannot follow it; write the "
    "forward without that transform"
)
FOREIGN = (
    "is not visible to lrp3d (scripted or compiled code, or a custom autograd Function); "
    "use the plain module, or register the layer with lrp3d.register_layer"
)
GLOBAL_HOOK = (
    "is a backward hook for all modules (register_module_full_backward_hook), which hides every module from lrp3d; "
    "remove it, with handle.remove(), while you explain"
)
CHECKPOINT = (
    "is torch.utils.checkpoint, which hides what runs inside of it; pass use_reentrant=False, or turn checkpointing "
    "off: the output is the same"
)
COMPLEX = (
    "computes with complex numbers, for which there is no rule; a filter in frequency is a convolution in space or "
    "time, which has one"
)
MATRIX_NORM = (
    "is a norm of matrices other than Frobenius', for which there is no rule; norms of vectors "
    "(torch.linalg.vector_norm) have one"
)
LOST = (
    "does not descend from the clip in any way lrp3d can see (detached, compiled, cast to integers, or computed "
    "outside of torch)"
)
GENERAL = "has no relevance rule; register one with lrp3d.register_operation"

RECURRENT = "has a rule as a module only: use torch.nn.LSTM, GRU or RNN, or their cells, with no forward of your own"

_ADVICE = {
    "log": (
        "is one of features, for which there is no rule, as it turns signs round below one: use "
        "torch.logsumexp(x, dim) for the logarithm of a sum of exponentials, torch.log1p(x) where x is never negative, "
        "or register a rule with lrp3d.register_operation"
    ),
    "log_softmax": "may stand at the end of a network only, where what goes into it is explained",
    "lstm": RECURRENT,
    "gru": RECURRENT,
    "lstm_cell": RECURRENT,
    "gru_cell": RECURRENT,
    "rnn_tanh_cell": RECURRENT,
    "rnn_relu_cell": RECURRENT,
    "detach": DETACHED,
    "batch_norm": "is in training mode and would change its running statistics; call model.eval()",
    "alpha_dropout": "is active, and only plain dropout can be explained as it is drawn; call model.eval()",
    "dropout": "is active; call model.eval(), or pass seed= to explain the run with the draws of that seed",
}


def advice_for_softmax(place: str = "", alone: bool = False) -> str:
    """The sentence for a softmax that relevance reaches.

    Args:
        place: the name of the module in which it is; empty if that is the model.
        alone: whether the module is the softmax.
    """
    own = "as a module of its own (nn.Softmax) it has a name"
    held = f"{own} for constants=, which holds it constant"
    if place:
        held = f"constants=[{place!r}] holds the output of that module constant"
        held += "" if alone else f"; if it does more than a softmax, {own}"
    return (
        "is in the middle of a network and relevance reaches it, on a way on which it weighs no other signal: "
        f"{held}; composite='attnlrp' has a rule for it, which may absorb most of what arrives; at the end of a "
        "network it needs none"
    )


def advice_for(function: Any) -> str:
    """The sentence for a torch function."""
    name = getattr(function, "__name__", str(function))
    if name == "__get__":
        name = getattr(function.__self__, "__name__", name)
    return _ADVICE.get(name.strip("_"), GENERAL)
