"""The checkpoint: one signed line of state that commits a log to everything it holds.

Format: C2SP tlog-checkpoint v1.0.0. The definition stands beside the inclusion proof, which ends
in a checkpoint, so that the verifier carries one file for both.
"""

from casemate.ledger.proof import Checkpoint, CheckpointError

__all__ = ["Checkpoint", "CheckpointError"]
