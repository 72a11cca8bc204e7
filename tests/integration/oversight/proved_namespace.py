"""In a network namespace of its own, without capabilities, under rules: runs a command there.

Run by tests as ``unshare --net``. Arguments: a file with rules for nft, then the command.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "gate"))

from ruled_namespace import load, raise_loopback

if __name__ == "__main__":
    raise_loopback()
    load(Path(sys.argv[1]).read_text())
    without = ("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    os.execvp("setpriv", ["setpriv", *without, *sys.argv[2:]])
