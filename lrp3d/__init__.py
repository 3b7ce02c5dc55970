"""How much of the clip did my network really use? Layer-wise relevance propagation for video CNNs.

Names are imported when they are first used: importing torch takes seconds, and `lrp3d --help` should not wait for it.
docs/architecture.md explains the folders; names in `__all__` are stable.
"""

import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lrp3d import former_names

if TYPE_CHECKING:
    from lrp3d.public import *

former_names.install()

__version__ = "0.1.0"

__all__ = [
    "CannotBeReset",
    "Composite",
    "ExcessSpan",
    "Explanation",
    "Faithfulness",
    "Inspection",
    "LedgerEntry",
    "ModelError",
    "NoFrameLogits",
    "NoMotion",
    "Prototypes",
    "Twin",
    "UnsupportedOperation",
    "VideoExplanation",
    "atr",
    "check",
    "composites",
    "convert",
    "excess_span",
    "explain",
    "explain_video",
    "figures",
    "frame_logits",
    "inspect",
    "integrations",
    "intervention_matrix",
    "models",
    "operations",
    "planted",
    "prototypes",
    "register_composite",
    "register_layer",
    "register_operation",
    "rules",
    "sampling",
    "study",
    "video",
]


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        full = f"{__name__}.{name}"
        if importlib.util.find_spec(full) is not None:
            importlib.import_module(full)  # which binds it here, but for one that is in the middle of its own import
        elif name in __all__:
            globals()[name] = getattr(importlib.import_module(f"{__name__}.public"), name)
        if name in globals():
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """A module whose functions are not hidden by the files they stand in: `lrp3d.explain` is the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in __all__:
            value = getattr(value, name, value)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
