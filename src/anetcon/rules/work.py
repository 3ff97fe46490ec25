"""One visit to a namespace, by a child of the keeper that has entered it: first what is to go, then what is to stand.

Refuses to let anything out but an `Outcome`: a failure is one sentence in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from anetcon.rules import iptables, nftables
from anetcon.rules.outcome import Spelling, VisitOutcome
from anetcon.rules.programs import RulesError
from anetcon.rules.wording import IPTABLES, WantedRules

Left = tuple[str, str]
"""Engine and chain of rules that may be in a namespace."""


def visit(away: Sequence[Left], wanted: WantedRules | None, spelling: Spelling, crowded: bool = False) -> VisitOutcome:
    """Do it. `crowded`: others change the ruleset all the time."""
    try:
        for engine, chain in away:
            if engine == IPTABLES:
                iptables.remove(chain)
            else:
                nftables.remove()
        if wanted is None:
            return VisitOutcome()
        if wanted.engine == IPTABLES:
            return iptables.stand(wanted, spelling, crowded)
        return nftables.stand(wanted, spelling)
    except RulesError as error:
        return VisitOutcome(error=str(error))
    except OSError as error:
        return VisitOutcome(error=f"{error.filename or 'the kernel'}: {error.strerror or error}")
