"""One forward pass, followed operation by operation.

`tracer` is the `TorchFunctionMode` that is active during a twin's forward, and only then. Each function that meets a
tensor of the clip goes to its registered handler, which leaves a step behind with the `recorder`. What the tracer knows
has a file each: `signals` what is known of tensors (the range of valid inputs, sign, whether they weigh), `scope` the
module whose forward is running, `inplace` what was changed in place, `tape` how operations were called, `choices` what
the composite says beforehand. `torch_functions` lists torch's functions that only move values; `advice` words what to
do about an operation that has no rule.

All state belongs to the pass, none to a module: modules may be used twice, threads may run at once, and an exception
needs no clean-up. This folder may import steps and what is below them; operations, layers and the twin import it.
"""
