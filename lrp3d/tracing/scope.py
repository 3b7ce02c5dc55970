"""Where in the model a forward pass is: the module whose forward runs, and the names of its steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn


@dataclass
class Scope:
    """A module whose forward is running."""

    name: str
    """Qualified name, as in `named_modules()`; empty for the model itself."""
    module: nn.Module
    is_layer: bool
    """Whether the module is a registered layer, whose steps all have its name."""
    used_names: dict[str, int] = field(default_factory=dict)
    """The number of steps of each operation that have a name already."""

    def next_name(self, operation: str) -> str:
        """The name of the next step of an operation: `block.add`, then `block.add_1`."""
        if self.is_layer:
            return self.name
        count = self.used_names.get(operation, 0)
        numbered = operation + (f"_{count}" if count else "")
        return f"{self.name}.{numbered}" if self.name else numbered

    def take_name(self, operation: str) -> str:
        """The same name, taken so that no later step gets it."""
        name = self.next_name(operation)
        if not self.is_layer:
            self.used_names[operation] = self.used_names.get(operation, 0) + 1
        return name
