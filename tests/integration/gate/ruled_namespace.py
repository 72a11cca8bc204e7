"""In a network namespace of its own, with nftables rules loaded: what can be reached, what not.

Run by tests as ``unshare --net`` (as root) or ``unshare --net --map-root-user``. Standard library
only. Argument: JSON with ``rules`` (a text for nft, empty for none), ``account`` (the number that
the rules are for) and ``tries``: name → [kind, address, port]. All of 127.0.0.0/8 is this machine,
so every address in it has a listener that would answer. Prints JSON: name → what happened.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
from typing import Any

_SECONDS = 3.0
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # netdevice(7)


def raise_loopback() -> None:
    """What `ip link set lo up` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        asked = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack("16xh14x", fcntl.ioctl(opened, _GET_FLAGS, asked))
        fcntl.ioctl(opened, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


def load(rules: str) -> None:
    """Load rules for nft, twice: the second time replaces the first."""
    for _ in range(2 if rules else 0):
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    raise_loopback()
    listeners = [_listener(*one) for one in given["tries"].values()]
    load(given["rules"])
    served = socket.create_server(("127.9.9.9", 0))
    to, told = socket.socketpair()
    child = os.fork()  # threads stay in the parent
    if child == 0:
        if os.getuid() != given["account"]:
            os.setgroups([])
            os.setuid(given["account"])
        found = {name: _tried(*one) for name, one in given["tries"].items()}
        told.sendall(json.dumps(found).encode() + b"\n")
        # Somebody else calls, and is answered.
        called, _ = served.accept()
        called.sendall(b"answer")
        os._exit(0)
    found = json.loads(to.makefile().readline())
    if given["account"] != 0:  # the caller is another account, which the rules leave alone
        with socket.create_connection(served.getsockname(), _SECONDS) as calling:
            found["an answer to who called"] = calling.recv(10).decode()
    else:
        os.kill(child, 9)
    os.waitpid(child, 0)
    del listeners
    print(json.dumps(found))


def _listener(kind: str, address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if kind.endswith("6") else socket.AF_INET
    stream = kind.startswith("tcp")
    opened = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if stream:
        opened.bind(("::1" if family == socket.AF_INET6 else "0.0.0.0", port))
        opened.listen()
    else:
        opened.bind((address, port))  # so that it answers from there
        _answering(opened)
    return opened


def _answering(opened: socket.socket) -> None:
    """Answer datagrams, so that a reply shows that one arrived."""

    def answer() -> None:
        while True:
            content, sender = opened.recvfrom(100)
            opened.sendto(content, sender)

    threading.Thread(target=answer, daemon=True).start()


def _tried(kind: str, address: str, port: int) -> str:
    family = socket.AF_INET6 if kind.endswith("6") else socket.AF_INET
    stream = kind.startswith("tcp")
    with socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as opened:
        opened.settimeout(_SECONDS)
        try:
            opened.connect((address, port))
            if not stream:
                opened.send(b"x")
                if not select.select([opened], [], [], _SECONDS)[0]:
                    return "silence"
                opened.recv(10)
            return "reached"
        except OSError as problem:
            return errno.errorcode.get(problem.errno or 0, type(problem).__name__)


if __name__ == "__main__":
    main()
