"""Lets modules that have moved be imported under their former names, as in `from lrp3d.atr import frame_atr`.

A name is added here when a module moves, and is never used inside the project. If the package has a function with the
module's former name (`lrp3d.study.run`), that function keeps the name, and the module has no former name.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

FORMER_NAMES = {
    f"lrp3d.{former}": f"lrp3d.{now}"
    for former, now in {
        "advice": "tracing.advice",
        "atr": "metrics.atr",
        "audit": "twin.audit",
        "bands": "compute.bands",
        "buffers": "compute.buffers",
        "carried": "steps.lazy_relevance",
        "command_line": "commands.command_line",
        "commands.chosen": "commands.model_options",
        "commands.explained": "commands.one_clip",
        "commands.told": "commands.summaries",
        "commands.written": "commands.output_folder",
        "excess": "metrics.excess_span",
        "frames": "propagation.frame_logits",
        "functions": "tracing.torch_functions",
        "inputs": "checks",
        "kernels": "compute.kernels",
        "linear": "steps.linear",
        "maps": "compute.maps",
        "maxima": "steps.maxima",
        "memory": "propagation.chunks",
        "models.names": "models.dialects",
        "motion.side_by_side": "motion.frames_meeting",
        "notebook": "explanation.display",
        "precision": "compute.precision",
        "propagate": "propagation.propagate",
        "report": "explanation.clip_report",
        "run": "tracing.tracer",
        "study.agreement": "study.reporting.statistics",
        "study.charts": "study.reporting.charts",
        "study.classes": "study.listing.class_lists",
        "study.compare": "study.reporting.paper_tables",
        "study.config": "study.running.config",
        "study.conventions": "study.listing.formats",
        "study.explaining": "study.running.explainer",
        "study.factors": "study.reporting.factors",
        "study.folder": "study.running.folder",
        "study.lists": "study.listing.lists",
        "study.pace": "study.running.progress",
        "study.reading": "study.running.reader",
        "study.records": "study.running.records",
        "study.shards": "study.running.shards",
        "study.studied": "study.reporting.study_view",
        "study.summary": "study.reporting.summary",
        "study.reporting.tables": "study.reporting.table_format",
        "study.tables": "study.reporting.table_format",
        "study.listing.classes": "study.listing.class_lists",
        "temporal": "propagation.temporal_matrix",
        "video.at_hand": "video.in_memory",
        "video.places": "video.paths",
        "video.whole": "video.completeness",
    }.items()
}


class _FormerNames(MetaPathFinder, Loader):
    """Finds a module under its former name; the import returns the module itself, not a copy."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in FORMER_NAMES else None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(FORMER_NAMES[module.__name__])


def install() -> None:
    """Makes imports by former names work; the package calls this once."""
    if not any(isinstance(finder, _FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(_FormerNames())
