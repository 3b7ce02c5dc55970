"""Where in the model a forward pass is: the module whose forward runs, and what its steps are called."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn


@dataclass
class Scope:
    """A module whose forward is running."""

    name: str
    """Qualified, as in `named_modules()`; empty for the model itself."""
    module: nn.Module
    is_layer: bool
    """Its forward is one registered layer, whose steps all have its name."""
    used: dict[str, int] = field(default_factory=dict)
    """How many steps of each operation have a name already."""

    def next_name(self, operation: str) -> str:
        """What the next step of an operation will be called: `block.add`, then `block.add_1`."""
        if self.is_layer:
            return self.name
        count = self.used.get(operation, 0)
        numbered = operation + (f"_{count}" if count else "")
        return f"{self.name}.{numbered}" if self.name else numbered

    def take_name(self, operation: str) -> str:
        """The same name, which no later step gets."""
        name = self.next_name(operation)
        if not self.is_layer:
            self.used[operation] = self.used.get(operation, 0) + 1
        return name
