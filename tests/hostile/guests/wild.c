/* SPDX-License-Identifier: Apache-2.0 */
/* Calls one function of WASI 0.1 with pointers and lengths that are not its own. `wild N POINTER LENGTH`: the call's number, and what
 * is put where it wants an address and a size. Prints "errno E" when the call came back. */
#include <stdio.h>
#include <stdlib.h>

#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
WASI(args_get) int w_args_get(unsigned, unsigned);
WASI(environ_get) int w_environ_get(unsigned, unsigned);
WASI(args_sizes_get) int w_args_sizes_get(unsigned, unsigned);
WASI(clock_time_get) int w_clock_time_get(int, long long, unsigned);
WASI(clock_res_get) int w_clock_res_get(int, unsigned);
WASI(random_get) int w_random_get(unsigned, unsigned);
WASI(fd_write) int w_fd_write(int, unsigned, unsigned, unsigned);
WASI(fd_read) int w_fd_read(int, unsigned, unsigned, unsigned);
WASI(fd_pread) int w_fd_pread(int, unsigned, unsigned, long long, unsigned);
WASI(fd_readdir) int w_fd_readdir(int, unsigned, unsigned, long long, unsigned);
WASI(fd_prestat_get) int w_fd_prestat_get(int, unsigned);
WASI(fd_prestat_dir_name) int w_fd_prestat_dir_name(int, unsigned, unsigned);
WASI(fd_fdstat_get) int w_fd_fdstat_get(int, unsigned);
WASI(fd_filestat_get) int w_fd_filestat_get(int, unsigned);
WASI(path_open) int w_path_open(int, int, unsigned, unsigned, int, long long, long long, int, unsigned);
WASI(path_filestat_get) int w_path_filestat_get(int, int, unsigned, unsigned, unsigned);
WASI(path_create_directory) int w_path_create_directory(int, unsigned, unsigned);
WASI(path_readlink) int w_path_readlink(int, unsigned, unsigned, unsigned, unsigned, unsigned);
WASI(path_rename) int w_path_rename(int, unsigned, unsigned, int, unsigned, unsigned);
WASI(path_symlink) int w_path_symlink(unsigned, unsigned, int, unsigned, unsigned);
WASI(poll_oneoff) int w_poll_oneoff(unsigned, unsigned, unsigned, unsigned);

static char here[256] = "file";

int main(int argc, char **argv)
{
    if (argc != 4)
        return 99;
    unsigned at = (unsigned)strtoull(argv[2], NULL, 0), size = (unsigned)strtoull(argv[3], NULL, 0), ok = (unsigned)(size_t)here;
    unsigned iov[2] = { at, size }, vector = (unsigned)(size_t)iov;
    int e = -1;
    switch (atoi(argv[1])) {
    case 0: e = w_args_get(at, at); break;
    case 1: e = w_environ_get(at, at); break;
    case 2: e = w_args_sizes_get(at, at); break;
    case 3: e = w_clock_time_get(1, 0, at); break;
    case 4: e = w_clock_res_get(1, at); break;
    case 5: e = w_random_get(at, size); break;
    case 6: e = w_fd_write(1, vector, 1, ok + 64); break;
    case 7: e = w_fd_write(1, at, size, ok + 64); break;
    case 8: e = w_fd_write(1, vector, 1, at); break;
    case 9: e = w_fd_read(0, vector, 1, ok + 64); break;
    case 10: e = w_fd_read(0, at, size, ok + 64); break;
    case 11: e = w_fd_pread(3, vector, 1, 0, ok + 64); break;
    case 12: e = w_fd_readdir(3, at, size, 0, ok + 64); break;
    case 13: e = w_fd_prestat_get(3, at); break;
    case 14: e = w_fd_prestat_dir_name(3, at, size); break;
    case 15: e = w_fd_fdstat_get(3, at); break;
    case 16: e = w_fd_filestat_get(3, at); break;
    case 17: e = w_path_open(3, 0, at, size, 0, -1, -1, 0, ok + 64); break;
    case 18: e = w_path_open(3, 0, ok, 4, 0, -1, -1, 0, at); break;
    case 19: e = w_path_filestat_get(3, 0, at, size, ok + 64); break;
    case 20: e = w_path_create_directory(3, at, size); break;
    case 21: e = w_path_readlink(3, at, size, ok, 32, ok + 64); break;
    case 22: e = w_path_rename(3, at, size, 3, at, size); break;
    case 23: e = w_path_symlink(at, size, 3, at, size); break;
    case 24: e = w_poll_oneoff(at, at, 1, ok + 64); break;
    case 25: e = w_poll_oneoff(ok + 64, ok, size, at); break;
    }
    printf("errno %d\n", e);
    return 0;
}
