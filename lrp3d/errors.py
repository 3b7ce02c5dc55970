"""Errors of lrp3d; each says what was expected, what came, and what to do."""

from __future__ import annotations

MEASURED = "For any model that runs, lrp3d.intervention_matrix measures what replacing frames changes."


class UnsupportedOperation(NotImplementedError):
    """The model contains operations that have no relevance rule; the message names all of them.

    `operations` has one line for each. lrp3d never falls back to the gradient, so nothing was explained.
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

    def __reduce__(self) -> tuple[type[UnsupportedOperation], tuple[list[str]]]:
        return type(self), (self.operations,)


class ModelError(ValueError, RuntimeError):
    """The model could not run on its input; its own error is the cause of this one."""


class NoMotion(ValueError):
    """Relevance cannot be split into motion and appearance here; the message says where."""


class AdvisedError(ValueError):
    """An error whose message is a reason and, if there is any, an advice; each is an attribute as well.

    >>> error = AdvisedError("the file is damaged", "delete it")
    >>> str(error), error.reason
    ('the file is damaged; delete it', 'the file is damaged')
    """

    def __init__(self, reason: str, advice: str = ""):
        self.reason, self.advice = reason, advice
        super().__init__(f"{reason}; {advice}" if advice else reason)

    def __reduce__(self) -> tuple[type[AdvisedError], tuple[str, str]]:
        return type(self), (self.reason, self.advice)


class CannotBeReset(AdvisedError):
    """Some modules have parameters and no way to draw them anew; the reason names them."""
