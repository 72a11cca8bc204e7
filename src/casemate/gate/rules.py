"""Rules: the perimeter as the kernel keeps it, written from the same places.

Two texts: a ruleset for nftables (nft(8)), which knows addresses, ports and the account, and a
drop-in for the systemd unit (systemd.exec(5), systemd.resource-control(5)), which knows addresses
and much besides. Names stand in neither: what they mean is looked up when the rules are written,
and rules are written anew when it changes. Both hold for compiled libraries too, which Python's
guard does not see.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from casemate.gate.address import NEVER
from casemate.gate.place import Network, Place

_LOCAL = ("127.0.0.1/32", "::1/128")
# Doors to other programs that mean more than a message: a container daemon, the message bus.
_DOORS = (
    *("/run/dbus", "/run/docker.sock", "/run/containerd", "/run/podman", "/run/crio"),
    *("/run/systemd/private", "/run/systemd/io.systemd.ManagedOOM", "/run/snapd.socket"),
    *("/run/libvirt", "/run/lxd", "/run/incus", "/run/cups", "/run/avahi-daemon"),
)


@dataclass(frozen=True)
class Opening:
    """A place with what it means now: networks, none for a socket."""

    place: Place
    networks: tuple[Network, ...]

    @classmethod
    def of(cls, place: Place, addresses: Iterable[str]) -> Opening:
        """``addresses``: IPs of a name; a place that says where it lies needs none."""
        if place.is_socket:
            return cls(place, ())
        if place.network is not None:
            return cls(place, (place.network,))
        if place.within:
            return cls(place, place.within)
        return cls(place, tuple(map(ipaddress.ip_network, addresses)))


def nftables(openings: Sequence[Opening], account: str, digest: str) -> str:
    """A ruleset that lets ``account`` (a name or number) start connections to places only.

    Answers to those who called pass; so does all that other accounts do. What is refused is
    counted, and answered at once, so that nobody waits.
    """
    lines = [
        "#!/usr/sbin/nft -f",
        *_head(digest, "Load with `nft -f FILE`; loading again replaces it."),
        "",
        "table inet casemate",
        "delete table inet casemate",
        "",
        "table inet casemate {",
        "\tchain output {",
        "\t\ttype filter hook output priority filter; policy accept;",
        f"\t\tmeta skuid {_account(account)} jump perimeter",
        "\t}",
        "",
        "\tchain perimeter {",
        "\t\t# answers to those who called",
        "\t\tct direction reply accept",
        "\t\t# link-local, metadata, multicast, and addresses that mean others: never",
        f"\t\tip daddr {{ {_never(4)} }} counter goto refuse",
        f"\t\tip6 daddr != ::1 ip6 daddr {{ {_never(6)} }} counter goto refuse",
    ]
    for opening in openings:
        lines += [f"\t\t{line}" for line in _accepted(opening)]
    lines += [
        "\t\tcounter goto refuse",
        "\t}",
        "",
        "\tchain refuse {",
        "\t\tmeta l4proto tcp reject with tcp reset",
        "\t\treject with icmpx admin-prohibited",
        "\t}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def systemd(
    openings: Sequence[Opening], digest: str, *, folder: str, called_by: Sequence[Network]
) -> str:
    """A drop-in for the unit that runs ``casemate up`` with the data folder ``folder``.

    ``called_by``: where people and proxies connect from, apart from this machine; systemd's filter
    of addresses knows no direction, so these can be reached as well.
    """
    allowed = [*_LOCAL, *map(str, called_by)]
    allowed += [str(network) for opening in openings for network in opening.networks]
    sockets = [opening.place.host for opening in openings if opening.place.is_socket]
    doors = [
        f"-{door}"
        for door in _DOORS
        if not any(path == door or path.startswith(f"{door}/") for path in sockets)
    ]
    home = "read-only" if folder.startswith(("/home/", "/root/", "/run/user/")) else "yes"
    lines = [
        *_head(digest, "For instance /etc/systemd/system/casemate.service.d/perimeter.conf"),
        "# The filter of addresses knows neither ports nor who called whom: nftables does.",
        "[Service]",
        "IPAddressDeny=any",
        *(f"IPAddressAllow={address}" for address in dict.fromkeys(allowed)),
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        f"InaccessiblePaths={' '.join(doors)}",
        *_HARDENING,
        f"ProtectHome={home}",
        f"ReadWritePaths={_quoted(folder)}",
    ]
    return "\n".join(lines) + "\n"


# The processes that models and the reader of documents live in put themselves into namespaces of
# user, network, IPC and host name: these four stay possible, and a call that is refused is
# answered, not punished, because they also try out that it is.
_HARDENING = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "RestrictNamespaces=user net ipc uts",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service seccomp landlock_create_ruleset landlock_add_rule "
    "landlock_restrict_self",
    "SystemCallErrorNumber=EPERM",
    "ProtectSystem=strict",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "DevicePolicy=closed",
    "ProtectProc=invisible",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RemoveIPC=yes",
    "KeyringMode=private",
    "UMask=0077",
)


def _head(digest: str, use: str) -> list[str]:
    return [
        "# Made by `casemate perimeter rules` from the perimeter with the digest",
        f"# {digest}; make it anew when that changes, or what a name means.",
        f"# {use}",
    ]


def _never(version: int) -> str:
    return ", ".join(_collapsed(network for network in NEVER if network.version == version))


def _collapsed(networks: Iterable[Network]) -> list[str]:
    """Without what lies in another: nft takes no overlaps. All of one version."""
    return list(map(str, ipaddress.collapse_addresses(networks)))  # type: ignore[type-var]


def _accepted(opening: Opening) -> Iterable[str]:
    place = opening.place
    yield f"# {place.name}: {place.host}, up to {place.ceiling}, {place.jurisdiction}"
    ports = ", ".join(map(str, place.ports))
    for family, version in (("ip", 4), ("ip6", 6)):
        networks = _collapsed(one for one in opening.networks if one.version == version)
        if networks:
            for transport in place.transports:
                yield (
                    f"{family} daddr {{ {', '.join(networks)} }} "
                    f"{transport} dport {{ {ports} }} counter accept"
                )


def _account(account: str) -> str:
    return account if account.isdecimal() else f'"{account}"'


def _quoted(path: str) -> str:
    """As systemd reads it: quoted, with its specifiers and escapes doubled."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
