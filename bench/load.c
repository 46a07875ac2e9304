/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load over TLS, through a proxy's CONNECT or straight: what wrk and h2load cannot. HTTP/1.1, kept connections, one
 * thread. Prints one JSON object.
 *
 *   load HOST PORT --ca FILE [--address ADDR:PORT] [--proxy ADDR:PORT [--login USER:PASSWORD]] [--path PATH]
 *        --connections N  and one of
 *        --requests M              closed loop: M requests in all, as fast as they go
 *        --rate R --seconds S      R arrivals in a second; a latency counts from when its turn was, also when no
 *                                  connection was free
 *        --idle                    opens all, says so in one line, waits for a line on standard input, then sends one
 *                                  request on each
 *        --mint --seconds S        each connection: a tunnel to a host of its own ("r7.HOST"), a handshake, the end
 *
 * Certificates are verified, with the host's name. Answers must be 200 with a Content-Length.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

#define HEAD_MAX 16384
#define OPENING_MAX 64 /* connections that are being made at once */
#define GIVE_UP_S 120
#define IDLE_AT_ONCE 256 /* requests, once all are open */

enum state { CLOSED, CONNECTING, ASKING, TUNNELLING, SHAKING, IDLE, SENDING, HEAD, BODY };
struct connection {
    int fd;
    enum state state;
    SSL *tls;
    char host[256], buffer[HEAD_MAX];
    size_t size, at; /* of what is in the buffer; of what was sent of it */
    uint64_t left, began_ns;
    struct connection *next_idle;
};
static struct {
    const char *host, *path, *ca, *login;
    struct sockaddr_in to;
    bool proxy, idle, mint;
    unsigned port;
    size_t connections, requests;
    double rate, seconds;
} option = { .path = "/", .connections = 1 };
static struct {
    int epoll;
    SSL_CTX *tls;
    struct connection *all, *idle;
    size_t opening, open, begun, done, errors, due, names;
    uint64_t bytes, start_ns, *times;
    size_t time_count, time_max;
    char why[256];
} run;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list a;
    va_start(a, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, a);
    fputc('\n', stderr);
    va_end(a);
    exit(1);
}

/* ---- connections ---- */

static void watch(struct connection *c, uint32_t events, int how)
{
    struct epoll_event e = { .events = events, .data.ptr = c };
    if (epoll_ctl(run.epoll, how, c->fd, &e) < 0)
        die("epoll: %s", strerror(errno));
}

static void shut(struct connection *c)
{
    if (c->state != CLOSED && c->state < IDLE)
        run.opening--;
    else if (c->state != CLOSED)
        run.open--;
    SSL_free(c->tls);
    if (c->fd >= 0)
        close(c->fd);
    c->tls = NULL;
    c->fd = -1;
    c->state = CLOSED;
}

static void failed(struct connection *c, const char *why)
{
    run.errors++;
    if (!run.why[0])
        snprintf(run.why, sizeof(run.why), "%.120s: %.120s", c->host, why);
    shut(c);
}

static void open_one(struct connection *c)
{
    int one = 1;
    if (option.mint)
        snprintf(c->host, sizeof(c->host), "r%zu.%s", run.names++, option.host);
    else
        snprintf(c->host, sizeof(c->host), "%s", option.host);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    c->state = CONNECTING;
    c->began_ns = now_ns();
    run.opening++;
    if (connect(c->fd, (struct sockaddr *)&option.to, sizeof(option.to)) < 0 &&
        errno != EINPROGRESS) {
        failed(c, strerror(errno));
        return;
    }
    watch(c, EPOLLOUT, EPOLL_CTL_ADD);
}

static void begin_tls(struct connection *c)
{
    c->tls = SSL_new(run.tls);
    if (!c->tls || SSL_set_fd(c->tls, c->fd) != 1 || SSL_set1_host(c->tls, c->host) != 1 ||
        SSL_set_tlsext_host_name(c->tls, c->host) != 1)
        die("TLS");
    SSL_set_connect_state(c->tls);
    c->state = SHAKING;
    c->size = c->at = 0;
}

static void ask_tunnel(struct connection *c)
{
    char login[512] = "";
    if (option.login) {
        char text[384];
        EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)option.login,
                        (int)strlen(option.login));
        snprintf(login, sizeof(login), "Proxy-Authorization: Basic %s\r\n", text);
    }
    c->size = (size_t)snprintf(c->buffer, sizeof(c->buffer),
                               "CONNECT %s:%u HTTP/1.1\r\nHost: %s:%u\r\n%s\r\n", c->host,
                               option.port, c->host, option.port, login);
    c->at = 0;
    c->state = ASKING;
}

/* ---- requests ---- */

static void note_time(uint64_t from_ns)
{
    if (run.time_count == run.time_max) {
        run.time_max = run.time_max ? 2 * run.time_max : 4096;
        run.times = realloc(run.times, run.time_max * sizeof(*run.times));
        if (!run.times)
            die("no memory");
    }
    run.times[run.time_count++] = now_ns() - from_ns;
}

static void send_request(struct connection *c, uint64_t since_ns)
{
    c->size =
        (size_t)snprintf(c->buffer, sizeof(c->buffer), "GET %s HTTP/1.1\r\nHost: %s:%u\r\n\r\n",
                         option.path, c->host, option.port);
    int n = SSL_write(c->tls, c->buffer,
                      (int)c->size); /* small: it goes, or the connection is no good */
    if (n != (int)c->size) {
        failed(c, "a request could not be sent");
        return;
    }
    c->began_ns = since_ns;
    c->size = 0;
    c->state = HEAD;
    run.begun++;
}

/* The rate's clock: when the turn of the next one is. */
static uint64_t due_ns(size_t n)
{
    return run.start_ns + (uint64_t)((double)n * 1e9 / option.rate);
}

static void rest(struct connection *c)
{
    c->state = IDLE;
    c->next_idle = run.idle;
    run.idle = c;
}

static void give_work(void)
{
    uint64_t now = now_ns();
    while (run.idle) {
        if (option.idle && run.begun - run.done >= IDLE_AT_ONCE)
            return;
        bool more = option.rate > 0
                        ? run.due < (size_t)(option.rate * option.seconds) && due_ns(run.due) <= now
                        : run.begun < option.requests;
        if (!more || !run.start_ns)
            return;
        struct connection *c = run.idle;
        run.idle = c->next_idle;
        send_request(c, option.rate > 0 ? due_ns(run.due++) : now);
    }
}

static void answered(struct connection *c)
{
    note_time(c->began_ns);
    run.done++;
    rest(c);
}

/* The head is whole at `end`. */
static void head_came(struct connection *c, char *end)
{
    *end = '\0';
    char *length = strcasestr(c->buffer, "\r\nContent-Length:");
    if (strncmp(c->buffer, "HTTP/1.1 200", 12) != 0 || !length) {
        c->buffer[strcspn(c->buffer, "\r")] = '\0';
        failed(c, length ? c->buffer : "an answer without Content-Length, or none");
        return;
    }
    c->left = strtoull(length + 17, NULL, 10);
    size_t here = c->size - (size_t)(end + 4 - c->buffer);
    run.bytes += here;
    if (here > c->left) {
        failed(c, "more than Content-Length");
        return;
    }
    c->left -= here;
    c->state = BODY;
    if (c->left == 0)
        answered(c);
}

static bool read_head(struct connection *c)
{
    int n = SSL_read(c->tls, c->buffer + c->size, (int)(HEAD_MAX - 1 - c->size));
    if (n <= 0)
        return false;
    c->size += (size_t)n;
    char *end = memmem(c->buffer, c->size, "\r\n\r\n", 4);
    if (end)
        head_came(c, end);
    else if (c->size == HEAD_MAX - 1)
        failed(c, "a head that is too long");
    return c->state != CLOSED;
}

static bool read_body(struct connection *c)
{
    static char sink[65536];
    int n = SSL_read(c->tls, sink, (int)(c->left < sizeof(sink) ? c->left : sizeof(sink)));
    if (n <= 0)
        return false;
    c->left -= (size_t)n;
    run.bytes += (size_t)n;
    if (c->left == 0)
        answered(c);
    return true;
}

/* ---- events ---- */

static void connected(struct connection *c)
{
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        failed(c, strerror(error));
        return;
    }
    if (option.proxy)
        ask_tunnel(c);
    else
        begin_tls(c);
}

static void tunnel(struct connection *c)
{
    if (c->state == ASKING) {
        ssize_t n = send(c->fd, c->buffer, c->size, MSG_NOSIGNAL);
        if (n != (ssize_t)c->size) {
            failed(c, "CONNECT could not be sent");
            return;
        }
        c->size = 0;
        c->state = TUNNELLING;
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
        return;
    }
    ssize_t n = recv(c->fd, c->buffer + c->size, HEAD_MAX - 1 - c->size, 0);
    if (n <= 0) {
        failed(c, "the proxy closed");
        return;
    }
    c->size += (size_t)n;
    c->buffer[c->size] = '\0';
    if (!strstr(c->buffer, "\r\n\r\n"))
        return;
    if (!strstr(c->buffer, " 200 ")) {
        c->buffer[strcspn(c->buffer, "\r")] = '\0';
        failed(c, c->buffer);
        return;
    }
    begin_tls(c);
}

static void shake(struct connection *c)
{
    int n = SSL_do_handshake(c->tls);
    int why = n == 1 ? 0 : SSL_get_error(c->tls, n);
    if (n == 1) {
        run.opening--;
        run.open++;
        if (option.mint) {
            note_time(c->began_ns);
            run.done++;
            c->state = IDLE;
            shut(c);
            return;
        }
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
        rest(c);
    } else if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        watch(c, why == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT, EPOLL_CTL_MOD);
    } else {
        const char *text = ERR_reason_error_string(ERR_peek_last_error());
        failed(c, text ? text : "the handshake failed");
        ERR_clear_error();
    }
}

static void receive(struct connection *c)
{
    while (c->state == HEAD || c->state == BODY)
        if (c->state == HEAD ? !read_head(c) : !read_body(c))
            break;
    if (c->state != HEAD && c->state != BODY && c->state != IDLE)
        return;
    if (c->state == IDLE) { /* tickets of TLS 1.3 come here, and an end */
        char one;
        if (SSL_read(c->tls, &one, 1) > 0 || SSL_get_error(c->tls, -1) != SSL_ERROR_WANT_READ)
            goto ended;
        return;
    }
    int why = SSL_get_error(c->tls, -1);
    if (why == SSL_ERROR_WANT_READ)
        return;
ended:
    for (struct connection **at = &run.idle; *at; at = &(*at)->next_idle) {
        if (*at == c) {
            *at = c->next_idle;
            break;
        }
    }
    failed(c, "the connection ended");
    ERR_clear_error();
}

static void on_event(struct connection *c)
{
    switch (c->state) {
    case CONNECTING:
        connected(c);
        if (c->state != SHAKING)
            break;
        /* fall through */
    case SHAKING:
        shake(c);
        break;
    case ASKING:
    case TUNNELLING:
        tunnel(c);
        if (c->state == SHAKING)
            shake(c);
        break;
    default:
        receive(c);
    }
}

/* ---- a run ---- */

static bool over(void)
{
    double passed = run.start_ns ? (double)(now_ns() - run.start_ns) / 1e9 : 0;
    if (option.mint)
        return passed >= option.seconds;
    if (option.rate > 0)
        return run.start_ns && run.due >= (size_t)(option.rate * option.seconds) &&
               run.done + run.errors >= run.begun;
    return run.start_ns && run.done + run.errors >= option.requests;
}

static void open_more(void)
{
    for (size_t i = 0; i < option.connections && run.opening < OPENING_MAX; i++)
        if (run.all[i].state == CLOSED && (option.mint || run.errors == 0))
            open_one(&run.all[i]);
}

static int wait_ms(void)
{
    if (option.rate > 0 && run.start_ns && run.idle) {
        uint64_t now = now_ns(), next = due_ns(run.due);
        return next <= now ? 0 : (int)((next - now) / 1000000);
    }
    return 100;
}

static void turn(void)
{
    struct epoll_event events[256];
    int n = epoll_wait(run.epoll, events, 256, wait_ms());
    for (int i = 0; i < n; i++)
        on_event(events[i].data.ptr);
}

static void loop(void)
{
    uint64_t limit = now_ns() + (uint64_t)((option.seconds + GIVE_UP_S) * 1e9);
    if (option.mint)
        run.start_ns = now_ns();
    while (!over()) {
        if (now_ns() > limit)
            die("nothing more came; %zu of %zu open, %zu done, %zu errors: %s", run.open,
                option.connections, run.done, run.errors, run.why);
        if (run.opening + run.open < option.connections)
            open_more();
        if (!run.start_ns && run.open == option.connections) {
            if (option.idle) {
                printf("{\"open\": %zu}\n", run.open);
                fflush(stdout);
                if (getchar() == EOF)
                    die("nobody said to go on");
            }
            run.start_ns = now_ns();
        }
        if (!run.start_ns && run.errors > 0)
            die("%s", run.why);
        give_work();
        turn();
    }
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double at_percent(double percent)
{
    if (run.time_count == 0)
        return 0;
    size_t i = (size_t)((double)run.time_count * percent / 100);
    return (double)run.times[i < run.time_count ? i : run.time_count - 1] / 1e3;
}

static void report(void)
{
    double seconds = (double)(now_ns() - run.start_ns) / 1e9;
    qsort(run.times, run.time_count, sizeof(*run.times), by_size);
    for (char *c = run.why; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < 32)
            *c = '\'';
    printf("{\"done\": %zu, \"errors\": %zu, \"why\": \"%s\", \"seconds\": %.4f, \"rate\": %.1f, "
           "\"bytes\": %llu, "
           "\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"max\": %.1f}\n",
           run.done, run.errors, run.why, seconds, (double)run.done / seconds,
           (unsigned long long)run.bytes, at_percent(50), at_percent(90), at_percent(99),
           at_percent(100));
}

static void set_address(const char *text)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof(host))
        die("%s is not ADDR:PORT", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    option.to =
        (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1)) };
    if (inet_pton(AF_INET, host, &option.to.sin_addr) != 1)
        die("%s is not ADDR:PORT", text);
}

static void read_options(int argc, char **argv)
{
    if (argc < 3)
        die("HOST PORT");
    option.host = argv[1];
    option.port = (unsigned)atoi(argv[2]);
    for (int i = 3; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(name, "--idle") == 0 || strcmp(name, "--mint") == 0) {
            *(name[2] == 'i' ? &option.idle : &option.mint) = true;
            continue;
        }
        i++;
        if (strcmp(name, "--ca") == 0)
            option.ca = value;
        else if (strcmp(name, "--path") == 0)
            option.path = value;
        else if (strcmp(name, "--login") == 0)
            option.login = value;
        else if (strcmp(name, "--address") == 0 || strcmp(name, "--proxy") == 0)
            set_address(value);
        else if (strcmp(name, "--connections") == 0)
            option.connections = (size_t)atol(value);
        else if (strcmp(name, "--requests") == 0)
            option.requests = (size_t)atol(value);
        else if (strcmp(name, "--rate") == 0)
            option.rate = atof(value);
        else if (strcmp(name, "--seconds") == 0)
            option.seconds = atof(value);
        else
            die("%s?", name);
        option.proxy |= strcmp(name, "--proxy") == 0;
    }
    if (option.idle)
        option.requests = option.connections;
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    struct rlimit files = { 0 };
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.tls = SSL_CTX_new(TLS_client_method());
    run.all = calloc(option.connections, sizeof(*run.all));
    if (run.epoll < 0 || !run.tls || !run.all)
        die("no memory");
    if (option.ca && SSL_CTX_load_verify_file(run.tls, option.ca) != 1)
        die("%s holds no certificate", option.ca);
    SSL_CTX_set_verify(run.tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(run.tls, SSL_MODE_RELEASE_BUFFERS);
    for (size_t i = 0; i < option.connections; i++)
        run.all[i].fd = -1;
    loop();
    report();
    return 0;
}
