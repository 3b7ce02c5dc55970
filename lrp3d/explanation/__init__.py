"""What comes back from `lrp3d.explain`.

`explanation` holds the tensors, and moves, saves and loads them; `ledger` says how much relevance came into, went out
of and was absorbed by every layer; `display` shows both in notebooks and on the terminal; `clip_report` makes the page
of a clip from `report.html`, where the page's layout and behaviour are.

This folder knows metrics, figures and files. It does not know models, videos, or relevance on its way.
"""

from lrp3d.explanation.explanation import Explanation
from lrp3d.explanation.ledger import Ledger, LedgerEntry

Entry = LedgerEntry  # its former name

__all__ = ["Entry", "Explanation", "Ledger", "LedgerEntry"]
