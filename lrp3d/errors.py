"""Errors of lrp3d; each says what was expected, what came, and what to do."""

from __future__ import annotations

MEASURED = "For any model that runs, lrp3d.intervention_matrix measures what replacing frames changes."


class UnsupportedOperation(NotImplementedError):
    """The model contains operations that have no relevance rule; the message names all of them.

    `operations` has one line for each. lrp3d never falls back to the gradient, so nothing was explained.

    >>> import torch, lrp3d
    >>> class Cumulated(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.flatten(1).logcumsumexp(1)
    >>> try:
    ...     lrp3d.explain(torch.nn.Sequential(Cumulated(), torch.nn.Linear(12, 2)).eval(), torch.rand(1, 3, 2, 2))
    ... except lrp3d.UnsupportedOperation as error:
    ...     print(error.operations)
    ['0.logcumsumexp (logcumsumexp): has no relevance rule; register one with lrp3d.register_operation']
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
    """The model could not run on its input; its own error is the cause of this one.

    >>> import torch, lrp3d
    >>> try:
    ...     lrp3d.explain(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 2)).eval(), torch.rand(1, 3, 2, 2))
    ... except lrp3d.ModelError as error:
    ...     print(type(error.__cause__).__name__)
    RuntimeError
    """


class NoMotion(ValueError):
    """Relevance cannot be split into motion and appearance here; the message says where.

    Raised by `lrp3d.explain` with `motion=True`.

    >>> import torch, lrp3d
    >>> class Anchored(torch.nn.Module):  # every frame sees the first one
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.features, self.fc = torch.nn.Conv3d(3, 4, 1), torch.nn.Linear(4, 5)
    ...     def forward(self, clip):
    ...         x = self.features(clip).relu()
    ...         return self.fc((x + x[:, :, :1]).mean((2, 3, 4)))
    >>> try:
    ...     lrp3d.explain(Anchored().eval(), torch.rand(1, 3, 4, 8, 8), motion=True)
    ... except lrp3d.NoMotion as error:
    ...     print(error)
    motion= does not know what 'add' (add) does to frames
    """


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
    """Some modules have parameters and no way to draw them anew; the reason names them.

    A floor is the relevance of the untrained network, so `lrp3d.explain` with `floor=True` needs that way: a method
    `reset_parameters`, as those of `torch.nn` have.

    >>> import torch, lrp3d
    >>> class Scaled(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.scale = torch.nn.Parameter(torch.ones(3, 1, 1, 1))
    ...     def forward(self, x):
    ...         return (x * self.scale).mean((3, 4)).mean(2)
    >>> try:
    ...     lrp3d.explain(Scaled().eval(), torch.rand(1, 3, 4, 8, 8), floor=True)
    ... except lrp3d.CannotBeReset as error:
    ...     print(error.reason)
    the untrained network cannot be made: the model itself (Scaled) cannot be reset
    """
