"""Studies: a data set in, one record per clip, and the paper's tables and figures out.

The functions of the command `lrp3d study`, for a notebook or a script of your own: lists, records and summaries are
plain Python, tensors and dicts.

    clips = read_list("val.csv", labels=labels)
    explainer, reader = Explainer(model), Reader("videos", frames=8)
    study = create("out", configuration(explainer, reader), clips)
    run(study, explainer, reader)
    summary = merge(study)
"""

from lrp3d.study.agreement import overlap, pearson
from lrp3d.study.ahead import Failure, ahead
from lrp3d.study.class_names import Labels, read_labels
from lrp3d.study.classes import class_list, human_classes
from lrp3d.study.config import configuration, weights_digest
from lrp3d.study.conventions import Row
from lrp3d.study.explaining import Explainer, Part
from lrp3d.study.folder import Study, StudyError, create, load_study
from lrp3d.study.lists import Item, VideoList, make_list, read_list
from lrp3d.study.reading import Pixels, Reader
from lrp3d.study.records import Record, records_of
from lrp3d.study.report import Report, report
from lrp3d.study.run import Outcome, run
from lrp3d.study.shards import Shard
from lrp3d.study.studied import filter_sentence, load_summary, with_labels
from lrp3d.study.summary import merge, summarise, write_summary
from lrp3d.study.tables import Cell, Table, Value

__all__ = [
    "Cell",
    "Explainer",
    "Failure",
    "Item",
    "Labels",
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
    "Value",
    "VideoList",
    "ahead",
    "class_list",
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
    "weights_digest",
    "with_labels",
    "write_summary",
]
