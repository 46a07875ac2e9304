/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest of `ambit serve` for tests: wasi:http/incoming-handler, what it does is the path. No libc,
 * the canonical ABI by hand (RET is where results come). tests/guests/http/build makes a component of
 * it.
 *
 *     /hello         "hello\n"            /echo          the body back, as it comes
 *     /count         how many requests this instance saw: always 1
 *     /big/N         N zero bytes          /sink          reads the body, tells how many bytes
 *     /events        three events, a pause between   /trailers   a body and a trailer
 *     /status/NNN    that status, no body  /ignore        answers and never reads the body
 *     /trap /spin /memory                  what ends an instance
 *     /late-trap     a head, a part of a body, then a trap
 *     /never         returns without an answer
 *     /hold          waits for ever        /short /long   a body that is not of its length
 *     /drop-stream   an answer whose body is dropped and not finished
 *     /head          method, target and headers as they came      /cookies   an answer with a header twice
 *     /finish        reads the body, tells its trailers           /events/hold   three events, then no end
 *     /buffer        keeps the whole body in memory, which a test of memory must notice
 *     /ask/PORT/PATH asks http://127.0.0.1:PORT/PATH and hands the answer on; 502 if that fails
 */
typedef unsigned char u8;
typedef unsigned u32;
typedef unsigned long long u64;
typedef int i32;

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define HTTP "wasi:http/types@0.2.12"
#define STREAMS "wasi:io/streams@0.2.12"
IMPORT(HTTP, "[constructor]fields") i32 fields_new(void);
IMPORT(HTTP, "[method]fields.append")
void fields_append(i32, const void *, u32, const void *, u32, void *);
IMPORT(HTTP, "[method]incoming-request.path-with-query") void request_path(i32, void *);
IMPORT(HTTP, "[method]incoming-request.consume") void request_consume(i32, void *);
IMPORT(HTTP, "[resource-drop]incoming-request") void request_drop(i32);
IMPORT(HTTP, "[method]incoming-body.stream") void body_stream(i32, void *);
IMPORT(HTTP, "[resource-drop]incoming-body") void body_drop(i32);
IMPORT(HTTP, "[constructor]outgoing-response") i32 response_new(i32);
IMPORT(HTTP, "[method]outgoing-response.set-status-code") i32 response_status(i32, i32);
IMPORT(HTTP, "[method]outgoing-response.body") void response_body(i32, void *);
IMPORT(HTTP, "[method]outgoing-body.write") void out_write(i32, void *);
IMPORT(HTTP, "[static]outgoing-body.finish") void out_finish(i32, i32, i32, void *);
IMPORT(HTTP, "[resource-drop]outgoing-body") void out_drop(i32);
IMPORT(HTTP, "[static]response-outparam.set")
void outparam_set(i32, i32, i32, i32, u64, i32, i32, i32, i32);
IMPORT(STREAMS, "[method]input-stream.blocking-read") void stream_read(i32, u64, void *);
IMPORT(STREAMS, "[resource-drop]input-stream") void input_drop(i32);
IMPORT(STREAMS, "[method]output-stream.check-write") void stream_check(i32, void *);
IMPORT(STREAMS, "[method]output-stream.write") void stream_write(i32, const void *, u32, void *);
IMPORT(STREAMS, "[method]output-stream.blocking-flush") void stream_flush(i32, void *);
IMPORT(STREAMS, "[method]output-stream.subscribe") i32 stream_subscribe(i32);
IMPORT(STREAMS, "[resource-drop]output-stream") void output_drop(i32);
IMPORT(HTTP, "[method]fields.entries") void fields_entries(i32, void *);
IMPORT(HTTP, "[resource-drop]fields") void fields_drop(i32);
IMPORT(HTTP, "[method]incoming-request.method") void request_method(i32, void *);
IMPORT(HTTP, "[method]incoming-request.headers") i32 request_headers(i32);
IMPORT(HTTP, "[static]incoming-body.finish") i32 body_finish(i32);
IMPORT(HTTP, "[method]future-trailers.subscribe") i32 trailers_subscribe(i32);
IMPORT(HTTP, "[method]future-trailers.get") void trailers_get(i32, void *);
IMPORT(HTTP, "[resource-drop]future-trailers") void trailers_drop(i32);
IMPORT(HTTP, "[constructor]outgoing-request") i32 asking_new(i32);
IMPORT(HTTP, "[method]outgoing-request.set-path-with-query")
i32 asking_path(i32, i32, const void *, u32);
IMPORT(HTTP, "[method]outgoing-request.set-scheme") i32 asking_scheme(i32, i32, i32, i32, i32);
IMPORT(HTTP, "[method]outgoing-request.set-authority")
i32 asking_authority(i32, i32, const void *, u32);
IMPORT("wasi:http/outgoing-handler@0.2.12", "handle") void ask(i32, i32, i32, void *);
IMPORT(HTTP, "[method]future-incoming-response.subscribe") i32 future_subscribe(i32);
IMPORT(HTTP, "[method]future-incoming-response.get") void future_get(i32, void *);
IMPORT(HTTP, "[resource-drop]future-incoming-response") void future_drop(i32);
IMPORT(HTTP, "[method]incoming-response.status") i32 answer_status(i32);
IMPORT(HTTP, "[method]incoming-response.consume") void answer_consume(i32, void *);
IMPORT(HTTP, "[resource-drop]incoming-response") void answer_drop(i32);
IMPORT("wasi:io/poll@0.2.12", "[method]pollable.block") void pollable_block(i32);
IMPORT("wasi:io/poll@0.2.12", "[resource-drop]pollable") void pollable_drop(i32);
IMPORT("wasi:clocks/monotonic-clock@0.2.12", "subscribe-duration") i32 sleep_for(u64);

static u8 ret[64] __attribute__((aligned(8)));
static u8 block[64 << 10];
static u32 seen;

/* Results that have a size go here; one at a time is enough. */
static u8 heap[1 << 20] __attribute__((aligned(16)));
static u32 heap_used;
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, u32 old_size, u32 align,
                                                                u32 size)
{
    heap_used = (heap_used + 15) & ~15u;
    if (heap_used + size > sizeof heap)
        __builtin_trap();
    void *at = heap + heap_used;
    heap_used += size;
    return at;
}
void *memcpy(void *to, const void *from, unsigned long n)
{
    u8 *t = to;
    const u8 *f = from;
    while (n--)
        *t++ = *f++;
    return to;
}
void *memset(void *to, int b, unsigned long n)
{
    u8 *t = to;
    while (n--)
        *t++ = (u8)b;
    return to;
}

static u32 word(u32 at)
{
    return *(u32 *)(ret + at);
}
static u32 length_of(const char *t)
{
    u32 n = 0;
    while (t[n])
        n++;
    return n;
}
static i32 starts(const u8 *path, u32 size, const char *with)
{
    u32 n = length_of(with);
    if (size < n)
        return 0;
    for (u32 i = 0; i < n; i++)
        if (path[i] != (u8)with[i])
            return 0;
    return 1;
}
static i32 is(const u8 *path, u32 size, const char *with)
{
    return size == length_of(with) && starts(path, size, with);
}
static u64 number(const u8 *at, const u8 *end)
{
    u64 n = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        n = n * 10 + (*at - '0');
    return n;
}
static u32 digits(u64 n, u8 *to)
{
    u8 text[24];
    u32 size = 0;
    do
        text[size++] = (u8)('0' + n % 10);
    while (n /= 10);
    for (u32 i = 0; i < size; i++)
        to[i] = text[size - 1 - i];
    return size;
}

/* ---- answers ---- */

struct answer {
    i32 body, stream;
};
static void need(u32 at)
{
    if (ret[at] != 0)
        __builtin_trap();
}
static struct answer begin(i32 outparam, i32 status, const char *name, const u8 *value, u32 size)
{
    struct answer a;
    i32 fields = fields_new();
    if (name) {
        fields_append(fields, name, length_of(name), value, size, ret);
        need(0);
    }
    i32 response = response_new(fields);
    if (response_status(response, status) != 0)
        __builtin_trap();
    response_body(response, ret);
    need(0);
    a.body = (i32)word(4);
    outparam_set(outparam, 0, response, 0, 0, 0, 0, 0, 0);
    out_write(a.body, ret);
    need(0);
    a.stream = (i32)word(4);
    return a;
}
/* 0: nobody reads it any more. */
static i32 put(struct answer *a, const u8 *bytes, u32 size)
{
    while (size > 0) {
        stream_check(a->stream, ret);
        if (ret[0] != 0)
            return 0;
        u64 permit = *(u64 *)(ret + 8);
        if (permit == 0) {
            i32 p = stream_subscribe(a->stream);
            pollable_block(p);
            pollable_drop(p);
            continue;
        }
        u32 n = permit < size ? (u32)permit : size;
        stream_write(a->stream, bytes, n, ret);
        if (ret[0] != 0)
            return 0;
        bytes += n;
        size -= n;
    }
    return 1;
}
static void end(struct answer *a, i32 trailers)
{
    stream_flush(a->stream, ret);
    output_drop(a->stream);
    out_finish(a->body, trailers >= 0, trailers, ret);
}
static void say(i32 outparam, i32 status, const void *text, u32 size)
{
    u8 length[24];
    struct answer a = begin(outparam, status, "content-length", length, digits(size, length));
    put(&a, text, size);
    end(&a, -1);
}
#define SAY(status, text) say(outparam, status, text, length_of(text))

static void nap(u64 ms)
{
    i32 p = sleep_for(ms * 1000000);
    pollable_block(p);
    pollable_drop(p);
}

/* The body as it comes: to the answer, or only counted. */
static void take_body(i32 request, i32 outparam, i32 echo)
{
    struct answer a = { 0, 0 };
    u64 total = 0;
    request_consume(request, ret);
    need(0);
    i32 body = (i32)word(4);
    body_stream(body, ret);
    need(0);
    i32 input = (i32)word(4);
    if (echo)
        a = begin(outparam, 200, 0, 0, 0);
    for (;;) {
        heap_used = 0;
        stream_read(input, sizeof block, ret);
        if (ret[0] != 0)
            break;
        u32 at = word(4), size = word(8);
        total += size;
        if (echo && !put(&a, (u8 *)at, size))
            break;
    }
    input_drop(input);
    body_drop(body);
    if (echo) {
        end(&a, -1);
        return;
    }
    u8 told[32];
    u32 size = digits(total, told);
    told[size++] = '\n';
    say(outparam, 200, told, size);
}

static void big(i32 outparam, u64 size)
{
    u8 length[24];
    struct answer a = begin(outparam, 200, "content-length", length, digits(size, length));
    while (size > 0) {
        u32 n = size < sizeof block ? (u32)size : sizeof block;
        if (!put(&a, block, n))
            break;
        size -= n;
    }
    end(&a, -1);
}

static void events(i32 outparam, i32 hold)
{
    struct answer a = begin(outparam, 200, "content-type", (const u8 *)"text/event-stream", 17);
    for (int i = 0; i < 3; i++) {
        put(&a, (const u8 *)"data: tick\n\n", 12);
        stream_flush(a.stream, ret);
        nap(100);
    }
    if (hold)
        nap(3600 * 1000);
    end(&a, -1);
}

/* ---- what came, told back ---- */

static u8 text[64 << 10];
static u32 text_size;
static void tell(const void *bytes, u32 size)
{
    if (size > sizeof text - text_size)
        __builtin_trap();
    memcpy(text + text_size, bytes, size);
    text_size += size;
}
#define TELL(words) tell(words, length_of(words))

static void tell_fields(i32 fields)
{
    fields_entries(fields, ret);
    const u32 *entry = (const u32 *)word(0);
    for (u32 left = word(4); left > 0; left--, entry += 4) {
        tell((const void *)entry[0], entry[1]);
        TELL(": ");
        tell((const void *)entry[2], entry[3]);
        TELL("\n");
    }
    fields_drop(fields);
}

static void tell_head(i32 request, i32 outparam, const u8 *path, u32 size)
{
    static const char *names[] = { "GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                   "CONNECT", "OPTIONS", "TRACE", "PATCH" };
    request_method(request, ret);
    if (ret[0] < 9)
        TELL(names[ret[0]]);
    else
        tell((const void *)word(4), word(8));
    TELL(" ");
    tell(path, size);
    TELL("\n");
    tell_fields(request_headers(request));
    say(outparam, 200, text, text_size);
}

static void tell_trailers(i32 request, i32 outparam)
{
    request_consume(request, ret);
    need(0);
    i32 body = (i32)word(4);
    body_stream(body, ret);
    need(0);
    i32 input = (i32)word(4);
    do {
        heap_used = 0;
        stream_read(input, sizeof block, ret);
    } while (ret[0] == 0);
    input_drop(input);
    i32 future = body_finish(body);
    i32 p = trailers_subscribe(future);
    pollable_block(p);
    pollable_drop(p);
    trailers_get(future, ret);
    if (ret[0] != 1 || ret[8] != 0)
        __builtin_trap();
    if (ret[16] != 0)
        TELL("no end\n");
    else if (ret[24] == 0)
        TELL("no trailers\n");
    else
        tell_fields((i32)word(28));
    trailers_drop(future);
    say(outparam, 200, text, text_size);
}

/* The whole body in memory of its own, a page of WebAssembly for each 64 KiB. */
static void keep_body(i32 request, i32 outparam)
{
    u64 total = 0;
    request_consume(request, ret);
    need(0);
    i32 body = (i32)word(4);
    body_stream(body, ret);
    need(0);
    i32 input = (i32)word(4);
    for (u32 room = 0, to = 0;;) {
        heap_used = 0;
        stream_read(input, sizeof block, ret);
        if (ret[0] != 0)
            break;
        u32 at = word(4), size = word(8);
        if (size > room) {
            u32 page = (u32)__builtin_wasm_memory_grow(0, 1);
            if (page == (u32)-1)
                __builtin_trap();
            to = room ? to : page << 16;
            room += 64 << 10;
        }
        memcpy((void *)to, (const void *)at, size);
        to += size;
        room -= size;
        total += size;
    }
    input_drop(input);
    body_drop(body);
    text_size = digits(total, text);
    TELL("\n");
    say(outparam, 200, text, text_size);
}

/* ---- asking another server ---- */

static i32 asked(const u8 *path, u32 size)
{
    u32 slash = 0;
    i32 request = asking_new(fields_new());
    while (slash < size && path[slash] != '/')
        slash++;
    TELL("127.0.0.1:");
    tell(path, slash);
    if (asking_scheme(request, 1, 0, 0, 0) || asking_authority(request, 1, text, text_size) ||
        asking_path(request, 1, path + slash, size - slash))
        __builtin_trap();
    ask(request, 0, 0, ret);
    if (ret[0] != 0)
        return -1;
    i32 future = (i32)word(8);
    i32 p = future_subscribe(future);
    pollable_block(p);
    pollable_drop(p);
    future_get(future, ret);
    i32 response = ret[0] == 1 && ret[8] == 0 && ret[16] == 0 ? (i32)word(24) : -1;
    future_drop(future);
    return response;
}

static void hand_on(i32 outparam, const u8 *path, u32 size)
{
    i32 response = asked(path, size);
    if (response < 0) {
        SAY(502, "no answer\n");
        return;
    }
    struct answer a = begin(outparam, answer_status(response), 0, 0, 0);
    answer_consume(response, ret);
    need(0);
    i32 body = (i32)word(4);
    body_stream(body, ret);
    need(0);
    i32 input = (i32)word(4);
    for (;;) {
        heap_used = 0;
        stream_read(input, sizeof block, ret);
        if (ret[0] != 0)
            break;
        if (!put(&a, (const u8 *)word(4), word(8)))
            break;
    }
    if (ret[0] != 0 && ret[4] == 0) /* the stream failed, and did not end */
        __builtin_trap();
    input_drop(input);
    body_drop(body);
    answer_drop(response);
    end(&a, -1);
}

static void cookies(i32 outparam)
{
    i32 fields = fields_new();
    fields_append(fields, "set-cookie", 10, "a=1; Path=/", 11, ret);
    fields_append(fields, "x-thing", 7, "one", 3, ret);
    fields_append(fields, "set-cookie", 10, "b=2", 3, ret);
    i32 response = response_new(fields);
    response_body(response, ret);
    need(0);
    struct answer a = { (i32)word(4), 0 };
    outparam_set(outparam, 0, response, 0, 0, 0, 0, 0, 0);
    out_write(a.body, ret);
    need(0);
    a.stream = (i32)word(4);
    put(&a, (const u8 *)"two\n", 4);
    end(&a, -1);
}

static void odd(i32 outparam, const u8 *path, u32 size)
{
    struct answer a;
    if (is(path, size, "/late-trap")) {
        a = begin(outparam, 200, 0, 0, 0);
        put(&a, (const u8 *)"part", 4);
        stream_flush(a.stream, ret);
        nap(100);
        __builtin_trap();
    }
    if (is(path, size, "/drop-stream")) {
        a = begin(outparam, 200, 0, 0, 0);
        put(&a, (const u8 *)"part", 4);
        stream_flush(a.stream, ret);
        output_drop(a.stream);
        out_drop(a.body);
    } else if (is(path, size, "/short")) {
        a = begin(outparam, 200, "content-length", (const u8 *)"10", 2);
        put(&a, (const u8 *)"hello", 5);
        end(&a, -1);
    } else if (is(path, size, "/long")) {
        a = begin(outparam, 200, "content-length", (const u8 *)"3", 1);
        put(&a, (const u8 *)"hello", 5);
        end(&a, -1);
    } else if (is(path, size, "/trailers")) {
        a = begin(outparam, 200, 0, 0, 0);
        put(&a, (const u8 *)"body", 4);
        i32 trailers = fields_new();
        fields_append(trailers, "x-trailer", 9, "yes", 3, ret);
        end(&a, trailers);
    } else {
        SAY(404, "no such path\n");
    }
}

__attribute__((export_name("wasi:http/incoming-handler@0.2.12#handle"))) void handle(i32 request,
                                                                                     i32 outparam)
{
    request_path(request, ret);
    const u8 *path = ret[0] ? (const u8 *)word(4) : (const u8 *)"";
    u32 size = ret[0] ? word(8) : 0;
    seen++;
    if (is(path, size, "/hello") || is(path, size, "/ignore")) {
        SAY(200, "hello\n");
    } else if (is(path, size, "/count")) {
        u8 text[2] = { (u8)('0' + seen), '\n' };
        say(outparam, 200, text, 2);
    } else if (is(path, size, "/echo")) {
        take_body(request, outparam, 1);
    } else if (is(path, size, "/sink")) {
        take_body(request, outparam, 0);
    } else if (starts(path, size, "/big/")) {
        big(outparam, number(path + 5, path + size));
    } else if (starts(path, size, "/status/")) {
        say(outparam, (i32)number(path + 8, path + size), "", 0);
    } else if (is(path, size, "/events") || is(path, size, "/events/hold")) {
        events(outparam, is(path, size, "/events/hold"));
    } else if (is(path, size, "/head") || starts(path, size, "/head?")) {
        tell_head(request, outparam, path, size);
    } else if (is(path, size, "/finish")) {
        tell_trailers(request, outparam);
    } else if (is(path, size, "/buffer")) {
        keep_body(request, outparam);
    } else if (starts(path, size, "/ask/")) {
        hand_on(outparam, path + 5, size - 5);
    } else if (is(path, size, "/cookies")) {
        cookies(outparam);
    } else if (is(path, size, "/trap")) {
        __builtin_trap();
    } else if (is(path, size, "/spin")) {
        for (volatile u32 n = 0;; n++) {
        }
    } else if (is(path, size, "/memory")) {
        while (__builtin_wasm_memory_grow(0, 16) != (unsigned long)-1) {
        }
        __builtin_trap();
    } else if (is(path, size, "/hold")) {
        nap(3600 * 1000);
    } else if (!is(path, size, "/never")) {
        odd(outparam, path, size);
    }
    request_drop(request);
}

__attribute__((export_name("ready"))) i32 ready(void)
{
    return 0;
}
