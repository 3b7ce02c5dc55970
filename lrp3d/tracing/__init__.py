"""One forward pass, followed operation by operation.

`tracer` is the `TorchFunctionMode` that is active during a twin's forward, and only then. It sends each function that
is called with a tensor of the clip to its registered handler, which adds a step to the `recorder`. What the tracer
knows has a file for each kind: `signals` has what is known about tensors (the range of valid inputs, sign, whether
they are weights), `scope` the module whose forward is running, `inplace` what was changed in place, `tape` how
operations were called, `choices` what the composite says beforehand, `first_states` with what recurrences begin,
`activations` which functions of one signal alone were written by hand, and `answers` what was asked about numbers.
`torch_functions` says what torch's functions do to their arguments, and `written_out` of which others some are made;
`advice` says what to do about an operation without a rule; `trees` goes through arguments and results that hold
tensors.

All state belongs to the pass, none to a module: modules may be used twice, threads may run at once, and an exception
needs no clean-up. This folder may import steps and what is below them; operations, layers and the twin import it.
"""
