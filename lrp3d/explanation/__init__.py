"""What comes back from `lrp3d.explain`: the tensors, the ledger, how they show themselves, and the page of a clip.

It knows metrics, figures and files; it knows nothing of models, of relevance on its way, or of videos.
"""

from lrp3d.explanation.explanation import Explanation
from lrp3d.explanation.ledger import Ledger, LedgerEntry

Entry = LedgerEntry  # its former name

__all__ = ["Entry", "Explanation", "Ledger", "LedgerEntry"]
