"""Studies: a data set goes in; one record per clip, and the paper's tables and figures, come out.

The command `lrp3d study` is made of these functions, and a notebook or a script of your own can call them as well.
Lists, records and summaries are plain Python, tensors and dicts.

    clips = read_list("val.csv", labels=labels)
    explainer, reader = Explainer(model), Reader("videos", frames=8)
    study = create("out", configuration(explainer, reader), clips)
    run(study, explainer, reader)
    summary = merge(study)
"""

from lrp3d.study.listing.class_lists import class_list, human_classes
from lrp3d.study.listing.class_names import Labels, read_labels
from lrp3d.study.listing.lists import Item, VideoList, make_list, read_list
from lrp3d.study.listing.rows import Row
from lrp3d.study.reporting.parquet import clip_columns, write_parquet
from lrp3d.study.reporting.report import Report, report
from lrp3d.study.reporting.statistics import overlap, pearson
from lrp3d.study.reporting.study_view import filter_sentence, load_summary, with_labels
from lrp3d.study.reporting.summary import merge, summarise, write_summary
from lrp3d.study.reporting.table_format import Cell, Table, Value
from lrp3d.study.running.clips import Clips
from lrp3d.study.running.config import configuration
from lrp3d.study.running.explainer import Explainer, LoneLogit, Part
from lrp3d.study.running.folder import Study, StudyError, create, load_study
from lrp3d.study.running.prefetch import Failure, ahead
from lrp3d.study.running.reader import Pixels, Reader
from lrp3d.study.running.records import Record, records_of
from lrp3d.study.running.run import Outcome, run
from lrp3d.study.running.shards import Shard
from lrp3d.study.running.training_clips import TrainingClips, tells_sides
from lrp3d.twin.digest import weights_digest

__all__ = [
    "Cell",
    "Clips",
    "Explainer",
    "Failure",
    "Item",
    "Labels",
    "LoneLogit",
    "Outcome",
    "Part",
    "Pixels",
    "Reader",
    "Record",
    "Report",
    "Row",
    "Shard",
    "Study",
    "StudyError",
    "Table",
    "TrainingClips",
    "Value",
    "VideoList",
    "ahead",
    "class_list",
    "clip_columns",
    "configuration",
    "create",
    "filter_sentence",
    "human_classes",
    "load_study",
    "load_summary",
    "make_list",
    "merge",
    "overlap",
    "pearson",
    "read_labels",
    "read_list",
    "records_of",
    "report",
    "run",
    "summarise",
    "tells_sides",
    "weights_digest",
    "with_labels",
    "write_parquet",
    "write_summary",
]
