"""A study's records as one table, for pandas, polars, DuckDB and other programs that read Parquet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lrp3d.extras import is_installed, missing
from lrp3d.files import replacing
from lrp3d.study.running.records import Record

__all__ = ["clip_columns", "write_parquet"]


def clip_columns(records: Iterable[Record]) -> dict[str, list[Any]]:
    """Returns a table's columns, with a row for each clip; frame_logits and atr hold lists, matrix lists of lists.

    >>> import lrp3d, torch
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=5, width=8).eval()
    >>> explanation = lrp3d.explain(model, torch.rand(2, 3, 4, 32, 32))
    >>> columns = clip_columns(lrp3d.study.records_of(explanation, [0, 1], ["a.mp4", "b.mp4"], [3, None]))
    >>> columns["name"], columns["label"], columns["max_atr"]
    (['a.mp4', 'b.mp4'], [3, None], [1.0, 1.0])
    """
    rows = [_row(record) for record in records]
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def require_pyarrow() -> None:
    """Raises ImportError with the command that installs it unless pyarrow is there."""
    if not is_installed("pyarrow"):
        raise missing("pyarrow", "writing Parquet")


def _row(record: Record) -> dict[str, Any]:
    return {
        "number": record.number,
        "name": record.name,
        "label": record.label,
        "target": record.target,
        "prediction": record.prediction,
        "score": record.score,
        "logit": record.logit,
        "avg_atr": record.avg_atr,
        "max_atr": record.max_atr,
        "conservation": record.conservation,
        "frame_logits": record.frame_logits.tolist(),
        "atr": record.atr.tolist(),
        "matrix": record.matrix.tolist(),
        "indices": list(record.indices),
        "lost": list(record.lost),
        "notes": list(record.notes),
        "seconds": record.seconds,
    }


def write_parquet(records: Iterable[Record], path: str | Path) -> None:
    """Writes the table of `clip_columns` as a Parquet file; after a failure there is no file.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: there are no records.

    >>> import importlib.util, tempfile, lrp3d, torch
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=5, width=8).eval()
    >>> explanation = lrp3d.explain(model, torch.rand(2, 3, 4, 32, 32))
    >>> records = lrp3d.study.records_of(explanation, [0, 1], ["a.mp4", "b.mp4"], [3, None])  # or those of a study:
    >>> # records = lrp3d.study.load_study("studies/i3d").records()
    >>> if importlib.util.find_spec("pyarrow"):  # an extra of lrp3d: pip install pyarrow
    ...     from pyarrow import parquet
    ...     with tempfile.TemporaryDirectory() as folder:
    ...         write_parquet(records, Path(folder, "clips.parquet"))
    ...         table = parquet.read_table(Path(folder, "clips.parquet"))
    ...     assert table["name"].to_pylist() == ["a.mp4", "b.mp4"]
    """
    require_pyarrow()
    import pyarrow
    from pyarrow import parquet

    columns = clip_columns(records)
    if not columns:
        raise ValueError("there are no records to write")
    with replacing(Path(path)) as partial:
        parquet.write_table(pyarrow.table(columns), partial)
