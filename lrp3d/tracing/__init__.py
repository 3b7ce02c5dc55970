"""One forward pass, followed operation by operation.

`tracer` is the `TorchFunctionMode` that is active during a twin's forward, and only then. It knows which tensors
descend from the clip and what is known of each: the range of valid inputs while it still is the clip, whether it can be
negative, whether it is a gate. Each function that meets such a tensor goes to its registered handler, which leaves a
step behind. `torch_functions` lists torch's functions that only move values; `advice` words what to do about an
operation that has no rule.

All state belongs to the pass, none to a module: modules may be used twice, threads may run at once, and an exception
needs no clean-up. This folder may import steps and what is below them; operations, layers and the twin import it.
"""
