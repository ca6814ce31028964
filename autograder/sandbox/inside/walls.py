"""What each submission gets of its own, raised in the child before any of its code is loaded.

`enter` gives a process new namespaces, an empty scratch and no /proc; `drop` takes from it, for good, all that could
undo this.  They are for Linux, and use libc where Python has no function (os.unshare came with Python 3.12).
"""

import ctypes
import os
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

# From <linux/sched.h>, <sys/mount.h>, <linux/prctl.h> and <linux/capability.h>.
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
NAMESPACES = (
    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP
)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION = 0x20080522
LAST_CAPABILITY = 63

NOBODY = 65534  # who runs a student's code where root grades
STUDENT = 1000  # who it thinks it is


def become_nobody() -> None:
    """Give up root, if that is who this is: limits on processes do not bind root."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        # Else /proc/self would still be root's, and a child could not map its user.
        _check(_libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def enter(scratch: int) -> None:
    """New namespaces; the next fork is process 1 of its own.

    Args:
        scratch: the size of /tmp in MB.

    Raises:
        OSError: the system does not allow it.
    """
    uid, gid = os.getuid(), os.getgid()
    _check(_libc.unshare(NAMESPACES), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{STUDENT} {uid} 1"),
        ("gid_map", f"{STUDENT} {gid} 1"),
        ("oom_score_adj", "1000"),  # if the machine runs out of memory, it is this that goes
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    _mount("/tmp", flags, f"size={scratch}m,nr_inodes=10000,mode=700")
    # Nothing in a submission needs it, and it would show much: memory, descriptors, the machine.
    _mount("/proc", flags | MS_RDONLY, "size=4k,mode=555")


def drop(seccomp: bytes) -> None:
    """No capabilities, no way to new ones, and the filter of system calls (empty: none)."""
    for capability in range(LAST_CAPABILITY + 1):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails for those that this kernel lacks
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    if seccomp:
        code = ctypes.create_string_buffer(seccomp, len(seccomp))
        program = _Program(len(seccomp) // 8, ctypes.addressof(code))
        _check(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0), "seccomp")


class _Program(ctypes.Structure):
    """struct sock_fprog: how many instructions of 8 bytes, and where they are."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _mount(where: str, flags: int, options: str) -> None:
    _check(_libc.mount(b"tmpfs", where.encode(), b"tmpfs", flags, options.encode()), f"mount {where}")


def _check(result: Any, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
