"""The filter of system calls: those that a student's answer never needs, and that open doors in the kernel.

Everything else is allowed.  A denied call fails as if the system did not have it or did not permit it, so that a library
that tries it goes on without.
"""

import errno
import tempfile
from functools import cache

# Other processes' memory and descriptors; new namespaces and mounts; code and keys in the kernel; the machine itself.
NOT_PERMITTED = """
    ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp
    unshare setns mount umount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick
    mount_setattr name_to_handle_at open_by_handle_at fanotify_init fanotify_mark quotactl quotactl_fd
    bpf perf_event_open add_key request_key keyctl kexec_load kexec_file_load
    init_module finit_module delete_module create_module
    socket personality syslog acct swapon swapoff reboot settimeofday clock_settime clock_adjtime adjtimex
    sethostname setdomainname iopl ioperm modify_ldt lookup_dcookie mbind migrate_pages move_pages vhangup
"""
# Memory that is no process's, or calls that have older ways beside them.
NOT_THERE = """
    memfd_create memfd_secret userfaultfd io_uring_setup io_uring_enter io_uring_register
    shmget shmat shmctl msgget semget mq_open clone3
"""
NEW_NAMESPACES = 0x7E020080  # all CLONE_NEW* flags


class NoFilter(OSError):
    """The filter can't be made here; the message says why."""


@cache
def program() -> bytes:
    """The filter as the kernel takes it (BPF).

    Raises:
        NoFilter: pyseccomp, or the library that it binds, is not installed.
    """
    try:
        import pyseccomp as seccomp
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise NoFilter(
            "pyseccomp and libseccomp2 are needed: pip install pyseccomp, apt-get install libseccomp2"
        ) from error
    made = seccomp.SyscallFilter(seccomp.ALLOW)
    for names, number in ((NOT_PERMITTED, errno.EPERM), (NOT_THERE, errno.ENOSYS)):
        for name in names.split():
            if _known(seccomp, name):
                made.add_rule(seccomp.ERRNO(number), name)
    for bit in (1 << i for i in range(32) if NEW_NAMESPACES >> i & 1):
        made.add_rule(seccomp.ERRNO(errno.EPERM), "clone", seccomp.Arg(0, seccomp.MASKED_EQ, bit, bit))
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()


def _known(seccomp, name: str) -> bool:
    """Whether this machine has such a call; an old libseccomp does not know new ones."""
    try:
        return seccomp.resolve_syscall(seccomp.system_arch(), name) >= 0
    except (OSError, ValueError):
        return False
