/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps each room in: the layers in the order in which they close, and every system call that a
 * room may make afterwards, with the reason. This is the only place: spawn.c and jail.c take the
 * layers from here, seccomp.c the calls, and `ambit doctor --table` prints both as the page
 * docs/jails.md. A call that has no row kills the room that makes it, as does any call of another
 * architecture (i386, x32).
 *
 * What must never be in the list: execve, socket and connect (but egress's), ptrace, process_vm_*,
 * mount and its like, bpf, perf, keyctl, io_uring, userfaultfd, open_by_handle_at, pidfd_getfd,
 * setns, unshare, kill.
 *
 * Rooms: W worker, C compiler, E egress, I ingress, K keeper, ALL.
 *
 * JAIL_LAYERS(X)  X(layer, rooms, where, what it stops, how)
 *     where: CLONE, made by clone(2) itself; CHILD, by the new process before its exec;
 *     ROOM, closed by jail_close() when the room has what it needs, in this order
 * JAIL_CALLS(X)   X(call, rooms, condition, argument, value, errno, reason)
 *     conditions: ANY; EQUAL: the argument is the value; WITHOUT: it has none of the value's bits;
 *     BOTH: it has both of the value's two bits;
 *     INTERNET: socket() of IPv4 or IPv6, stream or datagram, the usual protocol. errno: 0 = the call
 *     is made; else it fails with that and does nothing. Rows of one call are tried in their order.
 */
#pragma once

// clang-format off
#define JAIL_LAYERS(X) \
    X(JAIL_USER_NAMESPACE, ALL, CLONE, "powers over anything outside, whoever is root inside", \
      "a user namespace with one user mapped, setgroups denied") \
    X(JAIL_PID_NAMESPACE, ALL, CLONE, "seeing and signalling other processes; children that outlive the room", \
      "the room is process 1 of its own namespace") \
    X(JAIL_NET_NAMESPACE, W | C | I | K, CHILD, "every network, services on loopback and abstract sockets included", \
      "a network namespace with nothing configured in it; egress keeps the one it was started in") \
    X(JAIL_IPC_NAMESPACE, ALL, CHILD, "shared memory, semaphores and queues of the host", "an IPC namespace of its own") \
    X(JAIL_MOUNT_NAMESPACE, ALL, ROOM, "every path, /proc, /sys and /dev among them; leaving a mount by \"..\", changing anything in a read-only one", \
      "pivot_root into an empty read-only tmpfs, the old root detached; each mount of a worker is a detached clone, " \
      "nosuid, nodev, noexec, and read-only where nothing may write") \
    X(JAIL_RLIMITS, ALL, ROOM, "core dumps; descriptors, CPU, address space and file sizes without end", \
      "RLIMIT_CORE 0, NOFILE, and by room CPU, AS, DATA, FSIZE") \
    X(JAIL_NO_NEW_PRIVILEGES, ALL, ROOM, "getting power back by exec; ptrace and /proc/PID/mem by the same user", \
      "every capability dropped from every set, securebits locked, no_new_privs, non-dumpable") \
    X(JAIL_LANDLOCK, ALL, ROOM, \
      "opening anything but the run's mounts, writing where reading was granted, devices, sockets, FIFOs, exec, TCP, signals and abstract sockets outside", \
      "every right that the kernel's ABI knows is handled; each mount gives read, or read and write without special files; egress may connect, nobody may bind") \
    X(JAIL_SECCOMP, ALL, ROOM, "every system call that is not in the room's list", "an allow-list over all threads; what it does not name kills the room")

#define JAIL_CALLS(X) \
    /* memory */ \
    X(brk, ALL, ANY, 0, 0, 0, "the heap") \
    X(mmap, ALL, BOTH, 3, MAP_SHARED | MAP_ANONYMOUS, ENOMEM, "shared memory without a file, which RLIMIT_DATA does not count") \
    X(mmap, ALL, WITHOUT, 2, PROT_EXEC, 0, "memory; no page becomes executable after the jail closed") \
    X(mprotect, ALL, WITHOUT, 2, PROT_EXEC, 0, "guard pages and heaps that grow; never executable") \
    X(munmap, ALL, ANY, 0, 0, 0, "memory given back") \
    X(mremap, ALL, ANY, 0, 0, 0, "realloc() of large blocks") \
    X(sysinfo, ALL, ANY, 0, 0, ENOSYS, "qsort() of more than a kilobyte asks how much memory there is, and does without") \
    X(madvise, ALL, ANY, 0, 0, 0, "memory given back, and kept out of copies") \
    X(mlock, K, ANY, 0, 0, 0, "keys are not swapped out, as far as RLIMIT_MEMLOCK lets it") \
    /* threads */ \
    X(futex, ALL, ANY, 0, 0, 0, "locks of libraries; in the compiler, threads") \
    X(set_robust_list, W | C, ANY, 0, 0, 0, "start of a thread; the worker's ticker may be on its way when the list closes") \
    X(rseq, W | C, ANY, 0, 0, 0, "as set_robust_list") \
    X(sched_yield, W | C, ANY, 0, 0, 0, "locks of libraries and of the engine") \
    X(sched_getaffinity, C, ANY, 0, 0, 0, "how many threads are worth starting") \
    X(clone, C, EQUAL, 0, THREAD_FLAGS, 0, "threads of Cranelift; with these flags it cannot be a process or a namespace") \
    X(clone3, C, ANY, 0, 0, ENOSYS, "its flags are in memory, where no filter sees them; glibc then takes clone") \
    X(prctl, W | C, EQUAL, 0, PR_SET_NAME, 0, "names of threads") \
    X(prctl, ALL, ANY, 0, 0, EINVAL, "names of memory and the like") \
    X(exit, ALL, ANY, 0, 0, 0, "a thread ends") \
    X(exit_group, ALL, ANY, 0, 0, 0, "the room ends") \
    X(restart_syscall, ALL, ANY, 0, 0, 0, "the kernel goes on with a wait that was interrupted") \
    /* signals of its own */ \
    X(rt_sigaction, ALL, ANY, 0, 0, 0, "faults of guest code; curl and OpenSSL keep SIGPIPE off") \
    X(rt_sigprocmask, ALL, ANY, 0, 0, 0, "as rt_sigaction; abort()") \
    X(rt_sigreturn, ALL, ANY, 0, 0, 0, "end of a signal handler") \
    X(sigaltstack, W | C, ANY, 0, 0, 0, "stack of the handler of stack overflows") \
    X(tgkill, ALL, EQUAL, 2, SIGABRT, 0, "abort()") \
    /* who and when */ \
    X(getpid, ALL, ANY, 0, 0, 0, "OpenSSL looks for forks; abort()") \
    X(gettid, ALL, ANY, 0, 0, 0, "abort(), locks that know their owner") \
    X(prlimit64, C, EQUAL, 2, 0, 0, "a thread asks how large its stack may be; argument 2 is the new limit, none here") \
    X(getrandom, ALL, ANY, 0, 0, 0, "random numbers") \
    X(clock_gettime, ALL, ANY, 0, 0, 0, "clocks, where the vDSO has no answer (CPU time)") \
    X(gettimeofday, ALL, ANY, 0, 0, 0, "clocks, where the vDSO has no answer") \
    /* descriptors that are open, and channels */ \
    X(read, ALL, ANY, 0, 0, 0, "descriptors that are open") \
    X(write, ALL, ANY, 0, 0, 0, "descriptors that are open") \
    X(writev, ALL, ANY, 0, 0, 0, "descriptors that are open; abort() and its message") \
    X(pread64, W, ANY, 0, 0, 0, "reading files") \
    X(pwrite64, W, ANY, 0, 0, 0, "writing files") \
    X(close, ALL, ANY, 0, 0, 0, "descriptors that are open") \
    X(fstat, W | C | E | K, ANY, 0, 0, 0, "what an open descriptor is") \
    X(ftruncate, W, ANY, 0, 0, 0, "the size of a file") \
    X(fsync, W, ANY, 0, 0, 0, "files") \
    X(fdatasync, W, ANY, 0, 0, 0, "files") \
    X(recvmsg, ALL, ANY, 0, 0, 0, "frames and descriptors of control") \
    X(sendmsg, W | C | E | K, ANY, 0, 0, 0, "frames and descriptors for control") \
    X(sendmsg, I, EQUAL, 2, MSG_NOSIGNAL, 0, "as above; MSG_FASTOPEN would connect") \
    X(sendto, ALL, EQUAL, 4, 0, 0, "send(): without an address") \
    X(recvfrom, E, ANY, 0, 0, 0, "answers of DNS, with their sender") \
    X(ppoll, ALL, ANY, 0, 0, 0, "waiting") \
    X(fcntl, E, EQUAL, 1, F_SETFD, 0, "close at exec") \
    X(fcntl, E, EQUAL, 1, F_GETFL, 0, "how a descriptor was opened") \
    X(fcntl, E, EQUAL, 1, F_SETFL, 0, "sockets that do not block; not the worker: flags of links and of your terminal") \
    X(fcntl, ALL, EQUAL, 1, F_DUPFD_CLOEXEC, 0, "keeping a descriptor that a frame brought") \
    X(ioctl, W, EQUAL, 1, PAGEMAP_SCAN, 0, "Wasmtime asks which pages a guest has written") \
    X(ioctl, ALL, ANY, 0, 0, ENOTTY, "isatty() and every other: TIOCSTI, FS_IOC_…") \
    X(epoll_ctl, W | E | I, ANY, 0, 0, 0, "the room's loop") \
    X(epoll_pwait, W | E | I, ANY, 0, 0, 0, "the room's loop") \
    X(timerfd_settime, W, ANY, 0, 0, 0, "timers of guests") \
    /* networks */ \
    X(accept4, I, ANY, 0, 0, 0, "connections that come, on listeners that control made") \
    X(shutdown, I, EQUAL, 1, SHUT_WR, 0, "the end of an answer; a listener shut for reading would be a socket that MSG_FASTOPEN connects") \
    X(setsockopt, I, EQUAL, 2, SO_LINGER, 0, "a connection is dropped; whatever the level, no other option has this number and an effect outside") \
    X(socket, E, INTERNET, 0, 0, 0, "connections outwards, by TCP and UDP") \
    X(connect, E, ANY, 0, 0, 0, "connections outwards") \
    X(getsockname, E, ANY, 0, 0, 0, "curl and c-ares: which address is ours") \
    X(getpeername, E, ANY, 0, 0, 0, "curl: which address is theirs") \
    X(getsockopt, E, ANY, 0, 0, 0, "has the connection been made?") \
    X(setsockopt, E, ANY, 0, 0, 0, "TCP_NODELAY, keep-alive") \
    X(shutdown, E, ANY, 0, 0, 0, "the end of a connection") \
    /* files: Landlock says which */ \
    X(openat, W, ANY, 0, 0, 0, "files of the run's mounts; Landlock says which") \
    X(openat2, W, ANY, 0, 0, 0, "as openat, without following links") \
    X(newfstatat, W, ANY, 0, 0, 0, "metadata of files") \
    X(getdents64, W, ANY, 0, 0, 0, "what is in a folder") \
    X(readlinkat, W, ANY, 0, 0, 0, "where a link leads") \
    X(mkdirat, W, ANY, 0, 0, 0, "new folders") \
    X(unlinkat, W, ANY, 0, 0, 0, "files and folders are removed") \
    X(renameat, W, ANY, 0, 0, 0, "files are moved") \
    X(linkat, W, ANY, 0, 0, 0, "hard links") \
    X(symlinkat, W, ANY, 0, 0, 0, "symbolic links") \
    X(utimensat, W, ANY, 0, 0, 0, "times of files") \
    X(pwritev2, W, ANY, 0, 0, 0, "appending to files") \
    /* probes of libraries that live without an answer */ \
    X(openat, C | E | I | K, ANY, 0, 0, EACCES, "libraries look for files, and live without") \
    X(newfstatat, C | E | I | K, ANY, 0, 0, EACCES, "as openat") \
    X(statx, C | E, ANY, 0, 0, EACCES, "as openat") \
    X(readlinkat, C | E, ANY, 0, 0, EACCES, "as openat") \
    JAIL_CALLS_OLD(X) \
    JAIL_CALLS_SANITIZER(X)

/* AddressSanitizer asks for stacks: when a thread starts, before a function that does not return. In no
 * build that is not instrumented. */
#ifdef __SANITIZE_ADDRESS__
#define JAIL_CALLS_SANITIZER(X) \
    X(sched_getaffinity, W, ANY, 0, 0, 0, "AddressSanitizer") \
    X(prlimit64, W, EQUAL, 2, 0, 0, "AddressSanitizer") \
    X(sigaltstack, E | I | K, ANY, 0, 0, 0, "AddressSanitizer")
#else
#define JAIL_CALLS_SANITIZER(X)
#endif

/* Calls that only x86-64 has. */
#ifdef __x86_64__
#define JAIL_CALLS_OLD(X) \
    X(poll, ALL, ANY, 0, 0, 0, "waiting") \
    X(epoll_wait, W | E | I, ANY, 0, 0, 0, "the room's loop") \
    X(time, ALL, ANY, 0, 0, 0, "clocks, where the vDSO has no answer") \
    X(open, ALL, ANY, 0, 0, EACCES, "libraries look for files, and live without") \
    X(stat, W | C | E, ANY, 0, 0, EACCES, "as open") \
    X(readlink, W | C, ANY, 0, 0, EACCES, "as open") \
    X(access, W | C | E, ANY, 0, 0, EACCES, "as open")
#else
#define JAIL_CALLS_OLD(X)
#endif
// clang-format on
