"""The contract suite: what any transport passes, or not."""

from __future__ import annotations

from btplug.testing._case import Peers
from btplug.testing._forms import FormChecks
from btplug.testing._manys import EndChecks, ManyChecks, ServeChecks
from btplug.testing._once import OnceChecks
from btplug.testing._sends import LoopChecks, SendChecks

__all__ = ["Peers", "TransportContract"]


class TransportContract(
    SendChecks, OnceChecks, FormChecks, LoopChecks, ManyChecks, EndChecks, ServeChecks
):
    """The checks as methods ``test_…``, for pytest; `btplug.testing` shows the use.

    Each starts the transport afresh, and fails with what was found and expected.
    """
