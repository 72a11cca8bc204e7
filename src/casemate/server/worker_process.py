"""The first act of a worker process: find the code that its owner runs.

Run as a script with -I, so that neither folder nor environment add code to it. Arguments: the
descriptors of the wire, of what requests are handed over by, of the listening socket and of the
memory that workers share; then the entries of the owner's ``sys.path``, Casemate's own first.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Work until the owner says that it is enough, or is gone."""
    sys.dont_write_bytecode = True
    wire, hand, listener, balance, *paths = sys.argv[1:]
    sys.path.extend(path for path in paths if path not in sys.path)

    from casemate.gate import guard

    guard.stand()

    from casemate.server.worker import work

    sys.exit(work(int(wire), int(hand), int(listener), int(balance)))


if __name__ == "__main__":
    main()
