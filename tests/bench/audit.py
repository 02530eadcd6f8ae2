"""The audit log: what an event costs to append in a group of 64, alone, and to verify, in CPU microseconds.

Appending is the public call on a real disk: JSON, hashes, signature, writes and syncs; only waiting is left out.

Example: python -m tests.bench.audit
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from privacy.audit import AuditLog, Event, verify_audit
from privacy.classification import Purpose, Role
from privacy.policy import Principal
from tests.bench.bars import Bar, cpu_seconds, tell
from tests.bench.surroundings import keyring_in

GROUP, GROUPS, ROUNDS = 64, 8, 100
APPEND, VERIFY = 30.0, 10.0


def bars() -> list[Bar]:
    """Appending and verifying, per event."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "audit"
        keyring = keyring_in(Path(folder))
        log = AuditLog.begin(directory, keyring)
        events = [_event(number) for number in range(GROUP)]

        def groups() -> None:
            for _ in range(GROUPS):
                log.append_many(events)

        append = cpu_seconds(groups, ROUNDS) / (GROUP * GROUPS) * 1e6
        size = log.verify().events
        verify = cpu_seconds(lambda: verify_audit(directory, keyring.audit_public_key)) / size * 1e6
    return [
        Bar("audit append in groups of 64, us an event", append, APPEND, True),
        Bar(f"audit verify of {size:,} events, us an event", verify, VERIFY, True),
    ]


def _event(number: int) -> Event:
    """As the prediction service writes them."""
    return {
        "action": "predict",
        "principal": Principal("crm", Role.CRM_SERVICE, Purpose.RETENTION),
        "resource": "model:churn,model:clv",
        "outcome": "allow",
        "rule": "churn-for-retention,clv-for-retention-and-value",
        "count": 1,
        "reference": f"{number:032x}",
        "detail": {"request_id": f"{number:032x}", "versions": {"churn": "3", "clv": "2"}},
    }


if __name__ == "__main__":
    sys.exit(tell(bars()))
