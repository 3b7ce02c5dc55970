"""What to do about operations that have no relevance rule: one sentence each."""

from __future__ import annotations

from typing import Any

NO_GRAD = "computed inside torch.no_grad() or inference_mode(); remove that block from the model's forward"
STALE = (
    "reads a tensor whose memory an in-place operation changed through another view; use the out-of-place form there"
)
DETACHED = "detaches the signal, so no relevance could reach what lies below; remove the detach from the forward"
FOREIGN = (
    "is not visible to lrp3d (scripted or compiled code, a custom autograd Function, or checkpointing); "
    "use the plain module, or register the layer with lrp3d.register_layer"
)
LOST = (
    "does not descend from the clip in any way lrp3d can see (detached, compiled, cast to integers, or computed "
    "outside of torch)"
)
GENERAL = "has no relevance rule; register one with lrp3d.register_operation"
OUTSIDE = "lrp3d explains CNNs; "

_ADVICE = {
    "softmax": "relevance starts from logits: return what goes into the softmax",
    "log_softmax": "relevance starts from logits: return what goes into the log-softmax",
    "layer_norm": OUTSIDE + "layer norm divides by statistics of the signal, which no conserving rule here covers",
    "group_norm": OUTSIDE
    + "group norm divides by statistics of the signal; only batch norm with frozen statistics is covered",
    "instance_norm": OUTSIDE + "instance norm divides by statistics of the signal; only frozen batch norm is covered",
    "normalize": "divides by a norm of the signal; explain the model up to here",
    "scaled_dot_product_attention": OUTSIDE + "attention multiplies two signals; transformers are out of scope",
    "multi_head_attention_forward": OUTSIDE + "attention multiplies two signals; transformers are out of scope",
    "matmul": "multiplies two signals; only products with a constant matrix are linear",
    "bmm": "multiplies two signals; only products with a constant matrix are linear",
    "einsum": "multiplies two signals; only products with constants are linear",
    "div": "divides by a signal; only division by constants is covered",
    "truediv": "divides by a signal; only division by constants is covered",
    "lstm": OUTSIDE + "recurrent layers are out of scope",
    "gru": OUTSIDE + "recurrent layers are out of scope",
    "detach": DETACHED,
    "data": DETACHED,
    "batch_norm": "uses statistics of the batch; call model.eval(), and keep running ones (track_running_stats=True)",
    "dropout": "is active; call model.eval()",
}


def advice_for(function: Any) -> str:
    """The sentence for a torch function."""
    name = getattr(function, "__name__", str(function))
    if name == "__get__":
        name = getattr(function.__self__, "__name__", name)
    return _ADVICE.get(name.strip("_"), GENERAL)
