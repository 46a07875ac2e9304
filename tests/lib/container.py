# SPDX-License-Identifier: Apache-2.0
"""A process as a container runtime's defaults leave it, without one: the capabilities that Docker gives (`root=True`), or another user
without any, and a seccomp filter that refuses what Docker's default profile refuses to who has no CAP_SYS_ADMIN.

    python3 container.py [--user] COMMAND …
"""

import ctypes
import os
import platform
import struct
import sys

# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP
CAPABILITIES = sum(1 << c for c in (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31))
X86 = platform.machine() == "x86_64"
ARCH = 0xC000003E if X86 else 0xC00000B7
# As x86-64 and arm64 number them; those from 424 on are the same everywhere.
NUMBERS = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "setns": (308, 268), "unshare": (272, 97), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "sethostname": (170, 161), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "kcmp": (312, 272), "reboot": (169, 142), "swapon": (167, 224), "init_module": (175, 105),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
CLONE, CLONE3 = (56, 435) if X86 else (220, 435)
NAMESPACES = 0x7E020000     # CLONE_NEW… of every kind but time
ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000


def profile():
    """struct sock_filter[]: the architecture, then what is refused, by number; clone() by its flags; clone3() is not there."""
    load, equal, bits, answer = 0x20, 0x15, 0x45, 0x06

    def line(code, true=0, false=0, k=0):
        return struct.pack("=HBBI", code, true, false, k)
    lines = [line(load, k=4), line(equal, 1, 0, ARCH), line(answer, k=KILL), line(load, k=0)]
    for numbers in NUMBERS.values():
        lines += [line(equal, 0, 1, numbers[0 if X86 else 1]), line(answer, k=EPERM)]
    lines += [line(equal, 0, 1, CLONE3), line(answer, k=ENOSYS)]
    lines += [line(equal, 0, 3, CLONE), line(load, k=16), line(bits, 0, 1, NAMESPACES), line(answer, k=EPERM), line(answer, k=ALLOW)]
    return b"".join(lines)


def close(user):
    libc = ctypes.CDLL(None, use_errno=True)

    def call(result, what):
        if result < 0:
            raise OSError(ctypes.get_errno(), what)
    root = os.geteuid() == 0
    if not root:
        call(libc.prctl(38, 1, 0, 0, 0), "no new privileges")
    elif not user:
        for capability in range(64):
            if not CAPABILITIES >> capability & 1 and libc.prctl(23, capability, 0, 0, 0) == 1:
                call(libc.prctl(24, capability, 0, 0, 0), "the bounding set")
    code = profile()
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HxxxxxxP", len(code) // 8, ctypes.addressof(held))
    call(libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0), "the filter")
    if root and user:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    elif root:      # exec with these, and no more: the bounding set is those, too
        low, high = CAPABILITIES & 0xFFFFFFFF, CAPABILITIES >> 32
        header, sets = struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", low, low, low, high, high, high)
        call(libc.capset(ctypes.c_char_p(header), ctypes.c_char_p(sets)), "capabilities")


if __name__ == "__main__":
    words = sys.argv[1:]
    as_user = words[0] == "--user"
    close(as_user)
    os.execvp(words[as_user], words[as_user:])
