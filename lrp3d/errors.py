"""The errors a user of lrp3d can meet; each says what was expected, what came, and what to do."""

MEASURED = "What replacing frames changes, lrp3d.intervention_matrix measures for any model that runs."


class UnsupportedOperation(NotImplementedError):
    """The model contains operations that have no relevance rule; all of them are named.

    `operations` holds one line for each. Nothing falls back to the gradient, so nothing was explained.
    """

    def __init__(self, operations: list[str]):
        self.operations = operations
        count = "1 operation" if len(operations) == 1 else f"{len(operations)} operations"
        lines = "\n".join(f"  - {line}" for line in operations)
        super().__init__(
            f"{count} of this model cannot be explained:\n{lines}\n"
            "lrp3d.inspect(model, clip) lists everything that was met; lrp3d.register_layer and "
            f"lrp3d.register_operation add what is missing. {MEASURED}"
        )


class ModelError(ValueError, RuntimeError):
    """The model itself could not run on what it was given; its own error is the cause."""
