"""Is it learning? `audit` looks at each layer of a model in the graph of a loss; `Watch` does so after each epoch."""

from tinygrad_ce.views.audit.findings import Audit, audit
from tinygrad_ce.views.audit.verdicts import CURES, SEPARATE, VERDICTS
from tinygrad_ce.views.audit.watch import Watch

__all__ = ["CURES", "SEPARATE", "VERDICTS", "Audit", "Watch", "audit"]
