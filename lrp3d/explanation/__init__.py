"""What `lrp3d.explain` returns.

`explanation` has the tensors, and moves, saves and loads them; `ledger` says how much relevance came into every layer,
went out of it and was absorbed there; `printed_lines` and `display` show both on the terminal and in notebooks,
`wording` puts numbers in words, and `rows_wording` those of the rows of a matrix, `tables` hands everything to other
tools, and `clip_axes` turns maps of any layout into those of clips; `clip_report` makes the page of a clip from
`report.html`, which defines the layout and behaviour of the page, and `report_cards` those of its cards that need no
script: of its floor, motion and layers.

This folder knows metrics, figures and files. It does not know models, videos, or the propagation of relevance.
"""

from lrp3d.explanation.explanation import Explanation
from lrp3d.explanation.ledger import Ledger, LedgerEntry

Entry = LedgerEntry  # its former name

__all__ = ["Entry", "Explanation", "Ledger", "LedgerEntry"]
