"""System calls that stay, and no others: a seccomp filter.

An allow-list for CPython, a model runtime and an HTTP server on a Unix socket. What is dangerous
and known by name is refused with EPERM; what is in neither list is answered as an older kernel
would (ENOSYS), so that a C library falls back to the call it used before. Some calls stay for
some arguments only:

- sockets are Unix stream sockets; none connects. A server only accepts, and a stream socket that
  may not connect reaches neither a container daemon, the message bus nor the system log.
- clone makes threads, never processes; clone3 and openat2, whose flags lie in memory where a
  filter cannot see them, are ENOSYS.
- signals and limits reach this process itself only.
- nothing is opened for truncation without being opened for writing (Landlock before version 3
  does not see that), and neither mode, owner nor times of a file change (Landlock never does).

Source: seccomp(2), the kernel's userspace-api/seccomp_filter documentation, linux/filter.h,
linux/seccomp.h, linux/audit.h.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from dataclasses import dataclass
from errno import EINVAL, ENOSYS, EPERM
from typing import NamedTuple

from casemate.isolation.calls import numbers
from casemate.isolation.kernel import Call, Missing, call

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | EPERM
UNKNOWN = 0x00050000 | ENOSYS
KILL = 0x80000000  # the whole process

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_…

_INSTALL_FILTER = 1
_ALL_THREADS = 1
_X32 = 0x40000000  # x86_64's second set of numbers, 32-bit pointers

_OF_A_THREAD = 0x00010900  # CLONE_VM, CLONE_SIGHAND, CLONE_THREAD
_OF_A_PROCESS = 0x7E027000  # CLONE_PIDFD, CLONE_PTRACE, CLONE_VFORK, CLONE_NEW…

_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST = 0x15, 0x35


class Instruction(NamedTuple):
    """struct sock_filter: what to do, how far to jump if true and if false, the operand."""

    code: int
    if_true: int
    if_false: int
    operand: int


@dataclass(frozen=True)
class Only:
    """A call stays where argument ``argument``, of which ``mask`` counts, is one of ``values``.

    Low 32 bits: the kernel itself looks at no more of the arguments named below.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


def program(machine: str, process: int) -> tuple[Instruction, ...]:
    """The filter for a processor and the process with this id.

    Raises Missing for a processor whose numbers are not known.
    """
    known = numbers(machine)
    if machine not in ARCHITECTURES or not known:
        raise Missing(f"no filter of system calls is written for the processor {machine}")
    # A call in another numbering (32-bit code on a 64-bit kernel) would be judged by the wrong
    # name: nothing that is meant to run here does that.
    lines = [
        Instruction(_LOAD, 0, 0, _ARCHITECTURE_AT),
        Instruction(_JUMP_IF_EQUAL, 1, 0, ARCHITECTURES[machine]),
        Instruction(_RETURN, 0, 0, KILL),
        Instruction(_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":
        lines += [
            Instruction(_JUMP_IF_AT_LEAST, 0, 1, _X32),
            Instruction(_RETURN, 0, 0, REFUSE),
        ]
    conditions = _conditions(process)
    for name in _ALLOWED.split():
        if name in known:
            lines += _for(known[name], [*_tests(conditions.get(name, ())), ALLOW])
    for name in _REFUSED.split():
        if name in known:
            lines += _for(known[name], [REFUSE])
    lines.append(Instruction(_RETURN, 0, 0, UNKNOWN))
    return tuple(lines)


def allow_only(kernel: Call = call) -> None:
    """Put the filter around all threads of this process, for good.

    Needs no new privileges to be set before (prctl(2)). Raises Missing if the kernel refuses.
    """
    lines = program(platform.machine(), os.getpid())
    code = b"".join(struct.pack("=HBBI", *line) for line in lines)
    held = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("@HP", len(lines), ctypes.addressof(held))  # struct sock_fprog
    try:
        unwilling = kernel("seccomp", _INSTALL_FILTER, _ALL_THREADS, described)
    except OSError as error:
        raise Missing(_reason(error)) from error
    if unwilling:
        raise Missing("a thread of this process already has another filter of system calls")


def _for(number: int, block: list[Instruction | int]) -> list[Instruction]:
    """``block`` where the call has this number; each bare verdict in it becomes a return."""
    lines = [Instruction(_RETURN, 0, 0, line) if isinstance(line, int) else line for line in block]
    return [Instruction(_JUMP_IF_EQUAL, 0, len(lines), number), *lines]


def _tests(conditions: tuple[Only, ...]) -> list[Instruction | int]:
    """Refuse unless every condition holds; the accumulator is free, since the block returns."""
    lines: list[Instruction | int] = []
    for only in conditions:
        lines.append(Instruction(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * only.argument))
        lines.append(Instruction(_AND, 0, 0, only.mask))
        for place, value in enumerate(only.values):
            # past the other comparisons and the refusal
            lines.append(Instruction(_JUMP_IF_EQUAL, len(only.values) - place, 0, value))
        lines.append(REFUSE)
    return lines


def _reason(error: OSError) -> str:
    if error.errno in (ENOSYS, EINVAL):
        return "this kernel has no seccomp filters"
    return f"the kernel refused the filter of system calls ({error.strerror})"


def _conditions(process: int) -> dict[str, tuple[Only, ...]]:
    """What narrows the allowed calls of the same name."""
    unix_stream = (Only(0, (1,)), Only(1, (1,), mask=0xF))  # AF_UNIX, SOCK_STREAM
    # With O_TRUNC (0o1000) the access mode (0o3) must be one that writes.
    access = (0, 1, 2, 3, 0o1001, 0o1002, 0o1003)
    itself = Only(0, (process,))
    return {
        "socket": unix_stream,
        "socketpair": unix_stream,
        "clone": (Only(0, (_OF_A_THREAD,), mask=_OF_A_THREAD | _OF_A_PROCESS),),
        "open": (Only(1, access, mask=0o1003),),
        "openat": (Only(2, access, mask=0o1003),),
        # F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_GETLK F_SETLK F_SETLKW, F_OFD_…LK,
        # F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ; not F_SETOWN, which sends signals
        "fcntl": (Only(1, (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1031, 1032)),),
        # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX; not TIOCSTI, which types
        # into the terminal
        "ioctl": (Only(1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),),
        # read-only ones, PR_SET_NAME, PR_SET_NO_NEW_PRIVS, PR_SET_VMA (names for memory)
        "prctl": (Only(0, (2, 3, 15, 16, 21, 23, 38, 39, 0x53564D41)),),
        "prlimit64": (Only(0, (0, process)),),
        "sched_setaffinity": (Only(0, (0, process)),),
        "kill": (itself,),
        "tgkill": (itself,),
    }


_ALLOWED = """
    read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2
    open openat close close_range lseek stat fstat lstat newfstatat statx statfs fstatfs
    access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd chdir fchdir
    fcntl ioctl flock fsync fdatasync ftruncate fallocate fadvise64 readahead
    dup dup2 dup3 pipe pipe2 unlink unlinkat umask

    mmap mprotect munmap mremap madvise mincore mlock mlock2 munlock mlockall munlockall brk
    msync membarrier get_mempolicy set_mempolicy mbind arch_prctl

    clone futex futex_waitv set_tid_address set_robust_list get_robust_list rseq sched_yield
    sched_getaffinity sched_setaffinity sched_getparam sched_getscheduler sched_getattr
    sched_get_priority_max sched_get_priority_min sched_rr_get_interval getpriority getcpu
    exit exit_group restart_syscall

    gettid getpid getppid getpgrp getpgid getsid getuid geteuid getgid getegid getresuid
    getresgid getgroups capget prctl getrlimit setrlimit prlimit64 getrusage uname sysinfo
    getrandom

    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend
    sigaltstack kill tgkill pause

    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times
    getitimer setitimer alarm timer_create timer_settime timer_gettime timer_delete
    timer_getoverrun timerfd_create timerfd_settime timerfd_gettime

    select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
    epoll_pwait2 eventfd eventfd2

    socket socketpair bind listen accept accept4 getsockname getpeername setsockopt getsockopt
    shutdown sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg
"""

_REFUSED = """
    connect

    fork vfork execve execveat ptrace process_vm_readv process_vm_writev process_madvise
    process_mrelease kcmp pidfd_open pidfd_getfd pidfd_send_signal tkill rt_sigqueueinfo
    rt_tgsigqueueinfo move_pages migrate_pages setsid setpgid setpriority ioprio_set
    sched_setscheduler sched_setparam sched_setattr

    unshare setns chroot pivot_root mount umount2 open_tree move_mount fsopen fsconfig fsmount
    fspick mount_setattr swapon swapoff quotactl quotactl_fd name_to_handle_at
    open_by_handle_at fanotify_init fanotify_mark

    chmod fchmod fchmodat chown fchown lchown fchownat setxattr lsetxattr fsetxattr
    removexattr lremovexattr fremovexattr utime utimes utimensat futimesat truncate creat
    rename renameat renameat2 link linkat symlink symlinkat mknod mknodat mkdir mkdirat rmdir

    setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset
    personality seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self

    add_key request_key keyctl bpf perf_event_open userfaultfd io_uring_setup io_uring_enter
    io_uring_register memfd_create memfd_secret vmsplice splice tee shmget shmat shmctl
    semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink

    init_module finit_module delete_module kexec_load kexec_file_load reboot acct syslog
    settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname vhangup
    iopl ioperm modify_ldt lookup_dcookie nfsservctl uselib ustat sysfs _sysctl
"""
