"""The audit log: who did what that a regulator would ask about, in a chain that shows tampering.

``record`` in the transaction that does it; everything else is done before the commit and after it.
"""

from shared.audit.chain import record

__all__ = ["record"]
