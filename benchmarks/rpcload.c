/*
 * rpcload: offers load to a daemon that speaks libvirt's RPC, and says how it was served.
 *
 *     rpcload [options] /path/of/socket      rpcload [options] 127.0.0.1:16509
 *
 * Three modes:
 *
 *   calls    C connections, each of which keeps D calls of one procedure in flight: every reply is
 *            answered with the next call at once. D = 1 is "one call at a time".
 *   connect  one connection after the other: connect, AUTH_LIST, CONNECT_OPEN, CONNECT_CLOSE, close.
 *   idle     opens C connections, prints {"mode": "idle", ...}, and keeps them open until its standard
 *            input ends; whoever started it looks at the daemon's memory meanwhile.
 *
 * The result is one line of JSON on standard output. Latency is the time from a call's entry into the
 * output buffer to the end of its reply, in microseconds. "load_cpu" is the share of one core that this
 * program used: close to 1, it is the program that sets the pace, and not the daemon. Exit status: 0
 * measured (look at "errors"), 2 usage, 3 the daemon could not be reached, broke the protocol, refused
 * the opening or fell silent.
 *
 * Each connection owns D slots. The serial of a call is `turn * D + slot`, so that a reply, in
 * whatever order it comes, names its slot, and a serial that nothing waits for is noticed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- the wire ------------------------------------------------------------------------------- */

enum {
    LENGTH_SIZE = 4,            /* the length word, which counts itself */
    HEADER_SIZE = 24,           /* program, version, procedure, type, serial, status */
    MESSAGE_MAX = 33554432 + LENGTH_SIZE,
    PAYLOAD_MAX = 65536,        /* of the calls we send; enough for every procedure worth measuring */
};
enum { REMOTE_PROGRAM = 0x20008086, KEEPALIVE_PROGRAM = 0x6b656570, VERSION = 1 };
enum { PROC_CONNECT_OPEN = 1, PROC_CONNECT_CLOSE = 2, PROC_AUTH_LIST = 66 };
enum { KEEPALIVE_PING = 1, KEEPALIVE_PONG = 2 };
enum { TYPE_CALL = 0, TYPE_REPLY = 1, TYPE_MESSAGE = 2 };
enum { STATUS_OK = 0, STATUS_ERROR = 1 };

struct header {
    uint32_t program, version, procedure, type, serial, status;
};

static const int SILENCE_MS = 20000; /* a daemon that says nothing for so long has failed */

static void die(int status, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

static void die(int status, const char *format, ...)
{
    va_list args;
    fputs("rpcload: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(status);
}

static void *grow(void *old, size_t size)
{
    void *memory = realloc(old, size);
    if (memory == NULL)
        die(3, "out of memory for %zu bytes", size);
    return memory;
}

static void put_word(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, sizeof value);
}

static uint32_t get_word(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return ntohl(value);
}

static void put_frame(uint8_t *at, const struct header *h, const uint8_t *payload, size_t size)
{
    put_word(at, (uint32_t)(LENGTH_SIZE + HEADER_SIZE + size));
    put_word(at + 4, h->program);
    put_word(at + 8, h->version);
    put_word(at + 12, h->procedure);
    put_word(at + 16, h->type);
    put_word(at + 20, h->serial);
    put_word(at + 24, h->status);
    if (size > 0)
        memcpy(at + LENGTH_SIZE + HEADER_SIZE, payload, size);
}

static struct header get_header(const uint8_t *at)
{
    return (struct header){get_word(at),      get_word(at + 4),  get_word(at + 8),
                           get_word(at + 12), get_word(at + 16), get_word(at + 20)};
}

static void check_length(uint32_t length)
{
    if (length < LENGTH_SIZE + HEADER_SIZE || length > MESSAGE_MAX)
        die(3, "the daemon sent a frame of %u bytes", length);
}

/* The text of an error reply: code, domain, then an optional string. */
static void describe_error(const uint8_t *payload, size_t size, char *text, size_t room)
{
    uint32_t code = size >= 4 ? get_word(payload) : 0, length = 0;
    const char *message = "";
    if (size >= 16 && get_word(payload + 8) != 0 && (length = get_word(payload + 12)) <= size - 16)
        message = (const char *)payload + 16;
    else
        length = 0;
    snprintf(text, room, "code %u: %.*s", code, (int)(length < 200 ? length : 200), message);
}

/* ---- time and latency ----------------------------------------------------------------------- */

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Processor time that this process has used, in seconds. */
static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/*
 * A histogram of nanoseconds whose buckets are 1/128 of their power of two wide, so that a percentile
 * is right to 0.8 % whatever its size, in bounded memory however long the run.
 */
enum { SUB_BITS = 7, SUB = 1 << SUB_BITS, BUCKETS = (64 - SUB_BITS) * SUB };

static uint64_t histogram[BUCKETS];

static size_t bucket_of(uint64_t ns)
{
    if (ns < SUB)
        return ns;
    int shift = 63 - __builtin_clzll(ns) - SUB_BITS;
    return ((size_t)shift << SUB_BITS) + (ns >> shift);
}

static double bucket_middle_us(size_t bucket)
{
    if (bucket < 2 * SUB)
        return bucket / 1000.0;
    int shift = (int)(bucket >> SUB_BITS) - 1;
    double low = (double)((uint64_t)(SUB + (bucket & (SUB - 1))) << shift);
    return (low + (double)(1ULL << shift) / 2) / 1000.0;
}

static double percentile_us(double fraction)
{
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        total += histogram[i];
    for (size_t i = 0; i < BUCKETS && total > 0; i++) {
        seen += histogram[i];
        if (seen >= fraction * total)
            return bucket_middle_us(i);
    }
    return 0;
}

/* ---- a daemon's address ---------------------------------------------------------------------- */

struct target {
    const char *text;
    const char *uri;
    union {
        struct sockaddr any;
        struct sockaddr_un unix_;
        struct sockaddr_in inet;
    } address;
    socklen_t size;
};

static void parse_target(struct target *t)
{
    memset(&t->address, 0, sizeof t->address);
    if (t->text[0] == '/') {
        if (strlen(t->text) >= sizeof t->address.unix_.sun_path)
            die(2, "the path of the socket is too long: %s", t->text);
        t->address.unix_.sun_family = AF_UNIX;
        strcpy(t->address.unix_.sun_path, t->text);
        t->size = sizeof t->address.unix_;
        return;
    }
    char host[64];
    const char *colon = strrchr(t->text, ':');
    size_t size = colon ? (size_t)(colon - t->text) : 0;
    long port = colon ? strtol(colon + 1, NULL, 10) : 0;
    if (size == 0 || size >= sizeof host || port < 1 || port > 65535)
        die(2, "not a socket's path nor ADDRESS:PORT: %s", t->text);
    memcpy(host, t->text, size);
    host[size] = '\0';
    t->address.inet.sin_family = AF_INET;
    t->address.inet.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &t->address.inet.sin_addr) != 1)
        die(2, "not an IPv4 address: %s", host);
    t->size = sizeof t->address.inet;
}

/* ---- a connection, in its blocking childhood ------------------------------------------------- */

static int dial(const struct target *t)
{
    int one = 1, fd = socket(t->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die(3, "no socket: %s", strerror(errno));
    if (connect(fd, &t->address.any, t->size) < 0)
        die(3, "cannot connect to %s: %s", t->text, strerror(errno));
    if (t->address.any.sa_family == AF_INET)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            die(3, "cannot send: %s", strerror(errno));
        bytes += n;
        size -= (size_t)n;
    }
}

static void read_all(int fd, uint8_t *bytes, size_t size)
{
    while (size > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, SILENCE_MS) == 0)
            die(3, "no reply within %d s", SILENCE_MS / 1000);
        ssize_t n = read(fd, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            die(3, "cannot read: %s", strerror(errno));
        if (n == 0)
            die(3, "the daemon closed the connection");
        bytes += n;
        size -= (size_t)n;
    }
}

static void call_and_wait(int fd, uint32_t procedure, const uint8_t *payload, size_t size)
{
    uint8_t out[512];
    struct header h = {REMOTE_PROGRAM, VERSION, procedure, TYPE_CALL, 0, STATUS_OK};
    put_frame(out, &h, payload, size);
    write_all(fd, out, LENGTH_SIZE + HEADER_SIZE + size);
    do {
        uint8_t word[LENGTH_SIZE];
        read_all(fd, word, sizeof word);
        uint32_t length = get_word(word);
        check_length(length);
        uint8_t *body = grow(NULL, length - LENGTH_SIZE);
        read_all(fd, body, length - LENGTH_SIZE);
        h = get_header(body);
        if (h.type == TYPE_REPLY && h.status != STATUS_OK) {
            char text[256];
            describe_error(body + HEADER_SIZE, length - LENGTH_SIZE - HEADER_SIZE, text, sizeof text);
            die(3, "procedure %u was refused, %s", procedure, text);
        }
        free(body);
    } while (h.type != TYPE_REPLY);
    if (h.procedure != procedure || h.serial != 0)
        die(3, "the reply to procedure %u is of procedure %u, serial %u", procedure, h.procedure, h.serial);
}

static int dial_and_open(const struct target *t)
{
    uint8_t args[300] = {0};
    size_t size = strlen(t->uri), padded = (size + 3) & ~(size_t)3;
    if (padded > sizeof args - 12)
        die(2, "the URI is too long");
    put_word(args, 1); /* the name is there */
    put_word(args + 4, (uint32_t)size);
    memcpy(args + 8, t->uri, size);
    int fd = dial(t);
    call_and_wait(fd, PROC_AUTH_LIST, NULL, 0);
    call_and_wait(fd, PROC_CONNECT_OPEN, args, 12 + padded); /* the last word: flags 0 */
    return fd;
}

/* ---- mode calls ------------------------------------------------------------------------------ */

struct slot {
    uint32_t serial;
    bool waiting;
    int64_t sent;
};

struct connection {
    int fd;
    bool blocked; /* the socket takes no more: epoll tells when it does */
    uint8_t *in, *out;
    size_t in_size, in_room, out_size, out_room;
    struct slot *slots;
};

struct load {
    uint32_t connections, depth, procedure;
    double seconds, warmup;
    uint8_t payload[PAYLOAD_MAX];
    size_t payload_size;
    /* what came of it */
    uint64_t calls, errors, events, bytes_in;
    char first_error[256];
};

static void queue(struct connection *c, const struct header *h, const uint8_t *payload, size_t size)
{
    size_t need = c->out_size + LENGTH_SIZE + HEADER_SIZE + size;
    if (need > c->out_room)
        c->out = grow(c->out, c->out_room = need * 2);
    put_frame(c->out + c->out_size, h, payload, size);
    c->out_size = need;
}

static void queue_call(struct connection *c, const struct load *l, uint32_t slot, int64_t now)
{
    struct slot *s = &c->slots[slot];
    s->serial += l->depth;
    s->waiting = true;
    s->sent = now;
    struct header h = {REMOTE_PROGRAM, VERSION, l->procedure, TYPE_CALL, s->serial, STATUS_OK};
    queue(c, &h, l->payload, l->payload_size);
}

static void flush(int epoll, struct connection *c)
{
    size_t done = 0;
    bool blocked = false;
    while (done < c->out_size && !blocked) {
        ssize_t n = send(c->fd, c->out + done, c->out_size - done, MSG_NOSIGNAL);
        if (n >= 0)
            done += (size_t)n;
        else if (errno == EAGAIN)
            blocked = true;
        else if (errno != EINTR)
            die(3, "cannot send: %s", strerror(errno));
    }
    memmove(c->out, c->out + done, c->out_size - done);
    c->out_size -= done;
    if (blocked != c->blocked) {
        struct epoll_event e = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
        c->blocked = blocked;
    }
}

static void take_reply(struct connection *c, struct load *l, const struct header *h, const uint8_t *payload,
                       size_t size, int64_t now)
{
    uint32_t slot = h->serial % l->depth;
    struct slot *s = &c->slots[slot];
    if (!s->waiting || s->serial != h->serial)
        die(3, "a reply with serial %u, which no call waits for", h->serial);
    if (h->program != REMOTE_PROGRAM || h->version != VERSION || h->procedure != l->procedure)
        die(3, "a reply of program %#x version %u procedure %u", h->program, h->version, h->procedure);
    if (h->status != STATUS_OK && h->status != STATUS_ERROR)
        die(3, "a reply with status %u", h->status);
    if (h->status == STATUS_ERROR && l->errors++ == 0)
        describe_error(payload, size, l->first_error, sizeof l->first_error);
    l->calls++;
    histogram[bucket_of((uint64_t)(now - s->sent))]++;
    queue_call(c, l, slot, now);
}

static void take_message(struct connection *c, struct load *l, const struct header *h)
{
    if (h->program == KEEPALIVE_PROGRAM && h->procedure == KEEPALIVE_PING) {
        struct header pong = {KEEPALIVE_PROGRAM, VERSION, KEEPALIVE_PONG, TYPE_MESSAGE, 0, STATUS_OK};
        queue(c, &pong, NULL, 0);
        return;
    }
    l->events++;
}

/* Take every whole frame out of the input buffer, keep the rest at its start. */
static void take_frames(struct connection *c, struct load *l)
{
    size_t at = 0;
    int64_t now = now_ns();
    while (c->in_size - at >= LENGTH_SIZE) {
        uint32_t length = get_word(c->in + at);
        check_length(length);
        if (length > c->in_room)
            c->in = grow(c->in, c->in_room = 2 * (size_t)length);
        if (c->in_size - at < length)
            break;
        struct header h = get_header(c->in + at + LENGTH_SIZE);
        const uint8_t *payload = c->in + at + LENGTH_SIZE + HEADER_SIZE;
        if (h.type == TYPE_REPLY)
            take_reply(c, l, &h, payload, length - LENGTH_SIZE - HEADER_SIZE, now);
        else if (h.type == TYPE_MESSAGE)
            take_message(c, l, &h);
        else
            die(3, "a message of type %u", h.type);
        at += length;
    }
    memmove(c->in, c->in + at, c->in_size - at);
    c->in_size -= at;
}

static void on_readable(struct connection *c, struct load *l)
{
    ssize_t n = read(c->fd, c->in + c->in_size, c->in_room - c->in_size);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0)
        die(3, "cannot read: %s", strerror(errno));
    if (n == 0)
        die(3, "the daemon closed a connection with calls in flight");
    c->in_size += (size_t)n;
    l->bytes_in += (uint64_t)n;
    take_frames(c, l);
}

static void serve_until(int epoll, struct load *l, int64_t end)
{
    struct epoll_event ready[64];
    int64_t left;
    while ((left = end - now_ns()) > 0) {
        int wait = (int)(left / 1000000) + 1;
        int n = epoll_wait(epoll, ready, 64, wait < SILENCE_MS ? wait : SILENCE_MS);
        if (n < 0 && errno != EINTR)
            die(3, "epoll: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            struct connection *c = ready[i].data.ptr;
            if (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                on_readable(c, l);
            flush(epoll, c);
        }
    }
}

static void run_calls(const struct target *t, struct load *l)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct connection *all = calloc(l->connections, sizeof *all);
    if (epoll < 0 || all == NULL)
        die(3, "cannot prepare %u connections", l->connections);
    for (uint32_t i = 0; i < l->connections; i++) {
        struct connection *c = &all[i];
        c->fd = dial_and_open(t);
        c->in = grow(NULL, c->in_room = 256 * 1024);
        c->slots = calloc(l->depth, sizeof *c->slots);
        if (c->slots == NULL)
            die(3, "out of memory for %u calls in flight", l->depth);
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
    }
    int64_t start = now_ns();
    for (uint32_t i = 0; i < l->connections; i++) {
        for (uint32_t slot = 0; slot < l->depth; slot++) {
            all[i].slots[slot].serial = slot;
            queue_call(&all[i], l, slot, start);
        }
        flush(epoll, &all[i]);
    }
    serve_until(epoll, l, start + (int64_t)(l->warmup * 1e9));
    memset(histogram, 0, sizeof histogram);
    l->calls = l->errors = l->events = l->bytes_in = 0;
    double cpu = cpu_seconds();
    start = now_ns();
    serve_until(epoll, l, start + (int64_t)(l->seconds * 1e9));
    double took = (double)(now_ns() - start) / 1e9;
    if (l->calls == 0)
        die(3, "not one reply in %.1f s", took);
    if (l->errors > 0)
        fprintf(stderr, "rpcload: the first of %lu error replies: %s\n", l->errors, l->first_error);
    printf("{\"mode\": \"calls\", \"connections\": %u, \"depth\": %u, \"procedure\": %u, \"seconds\": %.3f, "
           "\"calls\": %lu, \"errors\": %lu, \"events\": %lu, \"bytes_in\": %lu, \"rate\": %.1f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"load_cpu\": %.2f}\n",
           l->connections, l->depth, l->procedure, took, l->calls, l->errors, l->events, l->bytes_in,
           (double)l->calls / took, percentile_us(0.50), percentile_us(0.99), (cpu_seconds() - cpu) / took);
}

/* ---- modes connect and idle ------------------------------------------------------------------ */

static void run_connect(const struct target *t, const struct load *l)
{
    uint64_t count = 0;
    int64_t start = now_ns(), begin = start, warm = start + (int64_t)(l->warmup * 1e9);
    int64_t end = warm + (int64_t)(l->seconds * 1e9);
    bool measuring = false;
    while (start < end) {
        if (!measuring && start >= warm) {
            measuring = true;
            memset(histogram, 0, sizeof histogram);
            count = 0;
            begin = start;
        }
        int fd = dial_and_open(t);
        call_and_wait(fd, PROC_CONNECT_CLOSE, NULL, 0);
        close(fd);
        int64_t now = now_ns();
        histogram[bucket_of((uint64_t)(now - start))]++;
        count++;
        start = now;
    }
    double took = (double)(start - begin) / 1e9;
    printf("{\"mode\": \"connect\", \"seconds\": %.3f, \"connects\": %lu, \"errors\": 0, \"rate\": %.1f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           took, count, (double)count / took, percentile_us(0.50), percentile_us(0.99));
}

static void run_idle(const struct target *t, const struct load *l)
{
    int64_t start = now_ns();
    for (uint32_t i = 0; i < l->connections; i++)
        dial_and_open(t); /* kept open: the descriptors end with the process */
    printf("{\"mode\": \"idle\", \"connections\": %u, \"errors\": 0, \"open_seconds\": %.3f}\n",
           l->connections, (double)(now_ns() - start) / 1e9);
    fflush(stdout);
    char rest[64];
    while (read(STDIN_FILENO, rest, sizeof rest) > 0)
        continue;
}

/* ---- the command line ------------------------------------------------------------------------ */

static const char USAGE[] =
    "usage: rpcload [options] SOCKET-PATH | IPV4-ADDRESS:PORT\n"
    "  -m MODE    calls (default), connect or idle\n"
    "  -u URI     what CONNECT_OPEN asks for (test:///default)\n"
    "  -p NUMBER  the procedure to call (4, connect_get_version)\n"
    "  -a HEX     its encoded arguments (none)\n"
    "  -c NUMBER  connections (1)\n"
    "  -d NUMBER  calls in flight on each connection (1)\n"
    "  -t SECONDS how long to measure (2)\n"
    "  -w SECONDS how long to warm up before that (0.2)\n";

static uint32_t number(const char *option, const char *text, unsigned long low, unsigned long high)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 0);
    if (end == text || *end != '\0' || errno != 0 || value < low || value > high)
        die(2, "%s wants a number from %lu to %lu, not %s", option, low, high, text);
    return (uint32_t)value;
}

static double duration(const char *option, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0 && value <= 3600))
        die(2, "%s wants seconds from 0 to 3600, not %s", option, text);
    return value;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;
    return at ? (int)(at - digits) : -1;
}

static void parse_payload(struct load *l, const char *hex)
{
    size_t size = strlen(hex);
    if (size % 2 != 0 || size / 2 > PAYLOAD_MAX)
        die(2, "-a wants whole bytes in hexadecimal, at most %d of them", PAYLOAD_MAX);
    for (size_t i = 0; i < size; i += 2) {
        int high = hex_digit(hex[i]), low = hex_digit(hex[i + 1]);
        if (high < 0 || low < 0)
            die(2, "-a: not hexadecimal at digit %zu", i);
        l->payload[l->payload_size++] = (uint8_t)(high << 4 | low);
    }
}

/* Each connection is a descriptor: ask for as many as we may have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    static struct load load = {.connections = 1, .depth = 1, .procedure = 4, .seconds = 2, .warmup = 0.2};
    struct target target = {.uri = "test:///default"};
    const char *mode = "calls";
    int option;

    while ((option = getopt(argc, argv, "m:u:p:a:c:d:t:w:h")) != -1) {
        switch (option) {
        case 'm': mode = optarg; break;
        case 'u': target.uri = optarg; break;
        case 'p': load.procedure = number("-p", optarg, 1, UINT32_MAX); break;
        case 'a': parse_payload(&load, optarg); break;
        case 'c': load.connections = number("-c", optarg, 1, 100000); break;
        case 'd': load.depth = number("-d", optarg, 1, 100000); break;
        case 't': load.seconds = duration("-t", optarg); break;
        case 'w': load.warmup = duration("-w", optarg); break;
        case 'h': fputs(USAGE, stdout); return 0;
        default: fputs(USAGE, stderr); return 2;
        }
    }
    if (optind != argc - 1) {
        fputs(USAGE, stderr);
        return 2;
    }
    target.text = argv[optind];
    parse_target(&target);
    raise_descriptor_limit();
    if (strcmp(mode, "calls") == 0)
        run_calls(&target, &load);
    else if (strcmp(mode, "connect") == 0)
        run_connect(&target, &load);
    else if (strcmp(mode, "idle") == 0)
        run_idle(&target, &load);
    else
        die(2, "no mode %s: calls, connect or idle", mode);
    return 0;
}
