"""Which tables and figures of the paper the given studies cannot make, and what they lack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lrp3d.defaults import SEGMENT
from lrp3d.study.reporting import paper_tables
from lrp3d.study.reporting.study_view import Studied


def not_made(studies: Sequence[Studied], people: Mapping[str, tuple[list[int], list[int]]]) -> Iterator[str]:
    """One sentence for each, of what is missing in the studies themselves and in pairs of them.

    Comparisons of networks say by themselves what they lack (`report_charts.Missing`).
    """
    uncounted = ", ".join(study.name for study in studies if not study.moments("avg_atr")["count"])
    if uncounted:
        yield f"Fig. 2, 8 and 15 of {uncounted}: need clips that count, and none does (--wrong-too, --min-score)."
    if len({study.dataset for study in studies}) < 2:
        yield "Differences between data sets (Tables 1, 4, 5): need studies of one model on two data sets."
    if not any(map(any, people.values())):
        yield "Table 3 and Fig. 9 (people): need --humans with classes of these data sets."
    if paper_tables.contrast(studies) is None:
        yield "Table 6 (LRP): needs studies that differ in nothing but --plain."
    if not any(study.summary["windows"] for study in studies):
        yield "Fig. 6 and 14 (windows): need --windows 1,2,4,8,segment --empty."
    else:
        windows = [window for study in studies for window in study.summary["windows"]]
        if not any(window["window"] == SEGMENT for window in windows):
            yield "Fig. 6 and 14 (stars, the segments of each frame's ATR): need --windows with segment."
        if all(window.get("empty") is None for window in windows):
            yield "Fig. 6 and 14 (empty images): need --empty."
    if not any(len(group) > 2 for group in paper_tables.comparable(studies).values()):
        yield "Pearson's r (Fig. 7): needs three models or more on a data set."
    yield "Fig. 1 and 5b are drawings; Fig. 16 is of single videos: lrp3d explain VIDEO --out DIR."
