"""A process that tries to get out as compiled code would: with no guard of Python's around it.

Run as a script by ``proving``, with the standard library alone. What stops it is the kernel or
nothing. It reads one line of JSON, the targets, and writes one: way → what came of it, which is
"through", or the name of the kernel's error.

Arguments: "bare", or "reading" and the folder of the package, to give up first what the process
that reads documents gives up.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_SECONDS = 2.0
_MEMORY_BYTES = 1 << 30
_HOST_OF_A_VIRTUAL_MACHINE = 2  # VMADDR_CID_HOST, vsock(7)
_ABROAD = "192.0.2.1"  # kept for documentation, RFC 5737: nothing answers there


def main() -> None:
    """Try, and tell."""
    targets = json.loads(sys.stdin.readline())
    if sys.argv[1] == "reading":
        sys.path.append(sys.argv[2])
        from casemate.isolation import prove
        from casemate.library.parse.confined import confine

        confine(_MEMORY_BYTES)
        found = {one.name: one.errno_name if one.blocked else "through" for one in prove()}
    else:
        found = {name: _outcome(way) for name, way in _ways(targets).items()}
    sys.stdout.write(json.dumps(found) + "\n")


def _outcome(way: Callable[[], object]) -> str:
    try:
        way()
    except socket.gaierror as problem:
        # An answer that there is no such name is an answer: somebody outside was asked.
        return "through" if problem.errno == socket.EAI_NONAME else "EAI_AGAIN"
    except TimeoutError:
        return "ETIMEDOUT"
    except OSError as problem:
        return errno.errorcode.get(problem.errno or 0, "EIO")
    return "through"


def _ways(targets: dict[str, Any]) -> dict[str, Callable[[], object]]:
    ways: dict[str, Callable[[], object]] = {}
    for name, address, port in targets["tcp"]:
        ways[f"TCP to {name}"] = lambda a=address, p=port: _connect(a, p)  # type: ignore[misc]
    for name, address, port in targets["udp"]:
        ways[f"UDP to {name}"] = lambda a=address, p=port: _send(a, p)  # type: ignore[misc]
    for path, kind in targets["unix"]:
        ways[f"Unix socket {path}"] = lambda a=path, k=kind: _unix(a, k)  # type: ignore[misc]
    return ways | {
        "TCP to an address abroad": lambda: _connect(_ABROAD, 443),
        "looking up a name": lambda: socket.getaddrinfo("casemate-proof.invalid", 80),
        "raw socket": _raw,
        "packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
        "socket to the host of a virtual machine": _virtual,
    }


def _connect(address: str, port: int) -> None:
    socket.create_connection((address, port), _SECONDS).close()


def _send(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.sendto(b"casemate", (address, port))


def _unix(path: str, kind: int) -> None:
    with socket.socket(socket.AF_UNIX, kind) as opened:
        opened.settimeout(_SECONDS)
        opened.connect("\0" + path[1:] if path.startswith("@") else path)


def _raw() -> None:
    """An echo request (RFC 792) to this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as opened:
        body = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, 1)
        total = sum(struct.unpack("!4H", body))
        checksum = ~(total + (total >> 16)) & 0xFFFF
        opened.sendto(body[:2] + struct.pack("!H", checksum) + body[4:], ("127.0.0.1", 0))


def _virtual() -> None:
    with socket.socket(getattr(socket, "AF_VSOCK", 40), socket.SOCK_STREAM) as opened:
        opened.settimeout(_SECONDS)
        # Nobody listens there; that the host says so shows that it was reached.
        with suppress(ConnectionResetError, ConnectionRefusedError):
            opened.connect((_HOST_OF_A_VIRTUAL_MACHINE, 9))


if __name__ == "__main__":
    main()
