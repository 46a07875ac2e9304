/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link's rings. The memory is one page of positions and flags (room/link_layout.h), then two
 * rings. Each ring is mapped twice, one copy behind the other, so that a frame that goes over the
 * end of the ring lies in one piece for us.
 *
 * A ring has one writer and one reader. Positions count bytes since the beginning of the link: the
 * writer's `put` and the reader's `taken`, `put - taken` bytes are in the ring. What this side has
 * put and taken stands in its own memory; the shared copies are only ever written by us and never
 * read back, so the peer can spoil them for itself alone. Of the peer's positions each is checked
 * when it is read: it may not go back, nor say more than the ring holds.
 *
 * A frame in the ring: u32 size, u16 kind, u16 zero, payload, zeroes up to a multiple of 8. The
 * header is read once, as one word; then the payload is copied to memory of our own. Nothing is
 * looked at where the peer could still write.
 *
 * Sleeping is Dekker's: who is about to sleep says so, then looks again; who has put something
 * says so, then looks whether anybody sleeps. With a full fence between, one of the two sees the
 * other. A wake is a write to an eventfd that never blocks; a worker cannot take that flag away, its
 * list of system calls has no F_SETFL.
 */
#include "room/link.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "room/channel.h"
#include "room/link_layout.h"

#define RING_MASK ((uint64_t)LINK_RING_SIZE - 1)
#define MEMORY_SIZE (LINK_PAGE_SIZE + 2 * (size_t)LINK_RING_SIZE)
#define RESERVED_SIZE (LINK_PAGE_SIZE + 4 * (size_t)LINK_RING_SIZE)
/* A writer that waits is woken when this much is free: not for each frame that is taken. */
#define ROOM_ENOUGH (LINK_RING_SIZE / 4)

_Static_assert((LINK_RING_SIZE & (LINK_RING_SIZE - 1)) == 0, "positions are masked");
_Static_assert(sizeof(struct link_shared) <= LINK_PAGE_SIZE, "the rings begin at a page");
_Static_assert(LINK_PAYLOAD_MAX + FRAME_HEADER_SIZE + 8 < ROOM_ENOUGH, "enough for any frame");

struct link {
    struct link_shared *shared;
    struct link_side *own, *peer;
    uint8_t *out, *in; /* each ring twice */
    int own_fd, peer_fd;
    uint64_t out_put,
        out_taken; /* what we put; how much of it the peer took, when we last looked */
    uint64_t in_put, in_taken;
    bool dead, asleep, wants_room;
    bool changed; /* since the last flush: something was put or taken */
    uint8_t *frame;
};

/* ---- making ---- */

static void close_fds(int fds[static LINK_FDS])
{
    for (size_t i = 0; i < LINK_FDS; i++)
        fd_closep(&fds[i]);
}

static int make_memory(struct error *e)
{
    CLEANUP(fd_closep) int fd = memfd_create("ambit-link", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return error_set_errno(e, errno, "making the memory of a link");
    /* A peer that could make it smaller could kill the other side by SIGBUS. */
    if (ftruncate(fd, MEMORY_SIZE) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return error_set_errno(e, errno, "sizing the memory of a link");
    return fd_take(&fd);
}

static int copy_fd(int fd, struct error *e)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy < 0 ? error_set_errno(e, errno, "copying a descriptor of a link") : copy;
}

static int make_event(struct error *e)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? error_set_errno(e, errno, "making an eventfd") : fd;
}

int link_make(int ret_a[static LINK_FDS], int ret_b[static LINK_FDS], struct error *e)
{
    int a[LINK_FDS] = { -1, -1, -1 }, b[LINK_FDS] = { -1, -1, -1 };
    int status = a[0] = make_memory(e);
    if (status >= 0)
        status = a[1] = make_event(e);
    if (status >= 0)
        status = b[1] = make_event(e);
    if (status >= 0)
        status = b[0] = copy_fd(a[0], e);
    if (status >= 0)
        status = a[2] = copy_fd(b[1], e);
    if (status >= 0)
        status = b[2] = copy_fd(a[1], e);
    if (status < 0) {
        close_fds(a);
        close_fds(b);
        return status;
    }
    memcpy(ret_a, a, sizeof(a));
    memcpy(ret_b, b, sizeof(b));
    return 0;
}

/* ---- mapping ---- */

static int map_at(uint8_t *at, size_t size, int fd, size_t offset, struct error *e)
{
    void *got = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset);
    return got == MAP_FAILED ? error_set_errno(e, errno, "mapping a link") : 0;
}

static int map_rings(struct link *l, int fd, struct error *e)
{
    uint8_t *base =
        mmap(NULL, RESERVED_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return error_set_errno(e, errno, "reserving room for a link");
    l->shared = (struct link_shared *)base;
    int status = map_at(base, LINK_PAGE_SIZE, fd, 0, e);
    for (size_t copy = 0; status == 0 && copy < 4; copy++)
        status = map_at(base + LINK_PAGE_SIZE + copy * LINK_RING_SIZE, LINK_RING_SIZE, fd,
                        LINK_PAGE_SIZE + copy / 2 * LINK_RING_SIZE, e);
    return status;
}

/* Which of the two ends this is does not matter, only that they are two: who comes first is the
 * first. A peer that lies about it gets a link on which nothing is well-formed. */
static int take_side(struct link *l, struct error *e)
{
    uint8_t *rings = (uint8_t *)l->shared + LINK_PAGE_SIZE;
    uint32_t side = atomic_fetch_add(&l->shared->opened, 1);
    if (side > 1)
        return error_set(e, -EBUSY, "both ends of the link are in use");
    l->own = &l->shared->sides[side];
    l->peer = &l->shared->sides[1 - side];
    l->out = rings + side * 2 * (size_t)LINK_RING_SIZE;
    l->in = rings + (1 - side) * 2 * (size_t)LINK_RING_SIZE;
    return 0;
}

int link_open(const int fds[static LINK_FDS], struct link **ret, struct error *e)
{
    CLEANUP(fd_closep) int memory = fds[0];
    CLEANUP(link_freep) struct link *l = mem_zalloc(sizeof(*l));
    if (!l) {
        fd_close(fds[1]);
        fd_close(fds[2]);
        return error_set(e, -ENOMEM, "out of memory");
    }
    l->own_fd = fds[1];
    l->peer_fd = fds[2];
    l->frame = mem_alloc(LINK_PAYLOAD_MAX);
    if (!l->frame)
        return error_set(e, -ENOMEM, "out of memory");
    int status = map_rings(l, memory, e);
    if (status == 0)
        status = take_side(l, e);
    if (status == 0)
        *ret = TAKE(l);
    return status;
}

void link_close_fds(int fds[static LINK_FDS])
{
    for (size_t i = 0; i < LINK_FDS; i++)
        fd_closep(&fds[i]);
}

int link_keep_fds(const int fds[static LINK_FDS], int ret[static LINK_FDS], struct error *e)
{
    for (size_t i = 0; i < LINK_FDS; i++) {
        int status = channel_keep_fd(fds[i], &ret[i], e);
        if (status == 0)
            continue;
        while (i > 0)
            fd_closep(&ret[--i]);
        return status;
    }
    return 0;
}

void link_free(struct link *l)
{
    if (!l)
        return;
    if (l->shared)
        munmap(l->shared, RESERVED_SIZE);
    fd_close(l->own_fd);
    fd_close(l->peer_fd);
    mem_free(l->frame);
    mem_free(l);
}

int link_fd(const struct link *l)
{
    return l->own_fd;
}

/* ---- positions ---- */

/* How much room there is for us, after looking at what the peer took. */
static int look_room(struct link *l, uint64_t *ret)
{
    uint64_t taken = atomic_load_explicit(&l->peer->taken, memory_order_acquire);
    if (taken - l->out_taken > l->out_put - l->out_taken || taken % 8) {
        l->dead = true; /* it goes back, or took what was never put */
        return -EBADMSG;
    }
    l->out_taken = taken;
    *ret = LINK_RING_SIZE - (l->out_put - taken);
    return 0;
}

/* How much there is to take. */
static int look_put(struct link *l)
{
    uint64_t put = atomic_load_explicit(&l->peer->put, memory_order_acquire);
    if (put - l->in_taken < l->in_put - l->in_taken || put - l->in_taken > LINK_RING_SIZE ||
        put % 8) {
        l->dead = true;
        return -EBADMSG;
    }
    l->in_put = put;
    return 0;
}

static int is_dead(struct error *e)
{
    return error_set(e, -EBADMSG, "the other side of the link broke its rules");
}

/* ---- frames ---- */

static size_t padded(size_t payload_size)
{
    return (FRAME_HEADER_SIZE + payload_size + 7) & ~(size_t)7;
}

int link_put(struct link *l, uint16_t kind, struct bytes head, struct bytes body)
{
    uint64_t room = LINK_RING_SIZE - (l->out_put - l->out_taken);
    if (l->dead)
        return -EBADMSG;
    if (head.size > LINK_PAYLOAD_MAX || body.size > LINK_PAYLOAD_MAX - head.size)
        return -EMSGSIZE;
    size_t size = padded(head.size + body.size);
    if (size > room) {
        if (look_room(l, &room) < 0)
            return -EBADMSG;
        if (size > room) {
            l->wants_room = true;
            return 1;
        }
    }
    l->wants_room = false;
    uint8_t *at = l->out + (l->out_put & RING_MASK);
    uint64_t header = (uint64_t)(head.size + body.size) | (uint64_t)kind << 32;
    uint64_t zero = 0;
    memcpy(at + size - 8, &zero, 8); /* the padding; of an empty payload this is the header */
    memcpy(at, &header, sizeof(header));
    if (head.size)
        memcpy(at + FRAME_HEADER_SIZE, head.data, head.size);
    if (body.size)
        memcpy(at + FRAME_HEADER_SIZE + head.size, body.data, body.size);
    l->out_put += size;
    atomic_store_explicit(&l->own->put, l->out_put, memory_order_release);
    l->changed = true;
    return 0;
}

int link_get(struct link *l, struct frame *ret, struct error *e)
{
    if (l->dead || (l->in_put == l->in_taken && look_put(l) < 0))
        return is_dead(e);
    if (l->in_put == l->in_taken)
        return 0;
    if (l->asleep) { /* woken by something else */
        l->asleep = false;
        atomic_store_explicit(&l->own->sleeps, 0, memory_order_relaxed);
    }
    const uint8_t *at = l->in + (l->in_taken & RING_MASK);
    uint64_t header = atomic_load_explicit((const _Atomic uint64_t *)at, memory_order_relaxed);
    size_t size = (uint32_t)header;
    if (size > LINK_PAYLOAD_MAX || header >> 48 || padded(size) > l->in_put - l->in_taken) {
        l->dead = true;
        return is_dead(e);
    }
    memcpy(l->frame, at + FRAME_HEADER_SIZE, size);
    l->in_taken += padded(size);
    atomic_store_explicit(&l->own->taken, l->in_taken, memory_order_release);
    l->changed = true;
    *ret = (struct frame){ .kind = (uint16_t)(header >> 32), .payload = l->frame, .size = size };
    return 1;
}

/* ---- wakes ---- */

static void wake_peer(struct link *l)
{
    static const uint64_t one = 1;
    if (!atomic_exchange_explicit(&l->peer->sleeps, 0, memory_order_acq_rel))
        return;
    /* It can only fail when the count is full, and then the peer is awake. */
    ssize_t n = write(l->peer_fd, &one, sizeof(one));
    (void)n;
}

void link_flush(struct link *l)
{
    if (!l->changed || l->dead)
        return;
    l->changed = false;
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t sleeps = atomic_load_explicit(&l->peer->sleeps, memory_order_relaxed);
    if (!sleeps)
        return;
    /* Who sleeps has taken everything that it saw. What it took may be more than we read here,
     * never less: at worst one wake too many. */
    bool news = atomic_load_explicit(&l->peer->taken, memory_order_relaxed) != l->out_put;
    bool room =
        sleeps == LINK_SLEEPS_FOR_ROOM && LINK_RING_SIZE - (l->in_put - l->in_taken) >= ROOM_ENOUGH;
    if (news || room)
        wake_peer(l);
}

bool link_sleep(struct link *l)
{
    if (l->dead)
        return false;
    link_flush(l);
    atomic_store_explicit(&l->own->sleeps, l->wants_room ? LINK_SLEEPS_FOR_ROOM : LINK_SLEEPS,
                          memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    l->asleep = true;
    uint64_t room = 0;
    if (look_put(l) < 0 || (l->wants_room && look_room(l, &room) < 0))
        return true; /* link_get() tells */
    bool enough = l->wants_room && room >= ROOM_ENOUGH;
    if (l->in_put == l->in_taken && !enough)
        return false;
    if (enough)
        l->wants_room = false;
    l->asleep = false;
    atomic_store_explicit(&l->own->sleeps, 0, memory_order_relaxed);
    return true;
}

void link_awake(struct link *l)
{
    uint64_t count;
    ssize_t n = read(l->own_fd, &count, sizeof(count)); /* nothing there is fine */
    (void)n;
    l->asleep = false;
    atomic_store_explicit(&l->own->sleeps, 0, memory_order_relaxed);
}
