#define _GNU_SOURCE
#include "frame.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#define DASHES "-------"

static bool known_flag(char flag)
{
    return flag == '$' || flag == '+' || flag == '#';
}

/* The value of a header line if it is that header: names are compared as the standard spells
 * them, which is how both ends of a benchmark write them. */
static void header_line(const char *line, size_t length, struct frame *frame)
{
    static const struct {
        const char *name;
        size_t length, field;
    } headers[] = {
        {"Message-ID: ", 12, offsetof(struct frame, message_id)},
        {"Byte-Range: ", 12, offsetof(struct frame, byte_range)},
        {"Failure-Report: ", 16, offsetof(struct frame, failure_report)},
        {"Content-Type: ", 14, offsetof(struct frame, content_type)},
    };

    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        if (length >= headers[i].length && !memcmp(line, headers[i].name, headers[i].length)) {
            struct slice *field = (struct slice *)((char *)frame + headers[i].field);
            *field = (struct slice){line + headers[i].length, length - headers[i].length};
            return;
        }
    }
}

/* "MSRP ident SEND" or "MSRP ident 200 OK". */
static bool start_line(const char *line, size_t length, struct frame *frame)
{
    if (length < 5 || memcmp(line, "MSRP ", 5))
        return false;
    const char *end = line + length, *ident = line + 5;
    const char *space = memchr(ident, ' ', (size_t)(end - ident));
    if (space == NULL || space - ident < 4 || space - ident > IDENT_LIMIT)
        return false;
    frame->ident = (struct slice){ident, (size_t)(space - ident)};
    const char *word = space + 1;
    space = memchr(word, ' ', (size_t)(end - word));
    size_t size = (size_t)((space ? space : end) - word);
    if (size == 3 && word[0] >= '0' && word[0] <= '9') {
        frame->status = (word[0] - '0') * 100 + (word[1] - '0') * 10 + (word[2] - '0');
        return frame->status >= 100 && frame->status <= 999;
    }
    frame->method = (struct slice){word, size};
    return size > 0 && space == NULL;
}

static bool path_line(const char *line, size_t length, const char *name, size_t size,
                      struct slice *path)
{
    if (length <= size || memcmp(line, name, size))
        return false;
    *path = (struct slice){line + size, length - size};
    return true;
}

enum frame_result frame_parse(const char *data, size_t length, size_t *resume, struct frame *frame)
{
    enum frame_result more = length < FRAME_LIMIT ? FRAME_INCOMPLETE : FRAME_MALFORMED;
    const char *end = data + length, *line = data;

    *frame = (struct frame){0};
    for (unsigned number = 0;; number++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        if (newline == NULL)
            return more;
        if (newline == line || newline[-1] != '\r')
            return FRAME_MALFORMED;
        size_t size = (size_t)(newline - 1 - line);
        if (number == 0) {
            if (!start_line(line, size, frame))
                return FRAME_MALFORMED;
        } else if (number == 1) {
            if (!path_line(line, size, "To-Path: ", 9, &frame->to_path))
                return FRAME_MALFORMED;
        } else if (number == 2) {
            if (!path_line(line, size, "From-Path: ", 11, &frame->from_path))
                return FRAME_MALFORMED;
            frame->headers.at = newline + 1;
        } else if (size == 0) {
            frame->headers.length = (size_t)(line - frame->headers.at);
            line = newline + 1;
            break;
        } else if (size == 7 + frame->ident.length + 1 && !memcmp(line, DASHES, 7) &&
                   !memcmp(line + 7, frame->ident.at, frame->ident.length)) {
            frame->headers.length = (size_t)(line - frame->headers.at);
            frame->flag = line[size - 1];
            frame->length = (size_t)(newline + 1 - data);
            return known_flag(frame->flag) ? FRAME_COMPLETE : FRAME_MALFORMED;
        } else {
            header_line(line, size, frame);
        }
        line = newline + 1;
    }

    /* The body ends where CRLF, seven dashes and the transaction id stand before a flag and CRLF. */
    char needle[9 + IDENT_LIMIT];
    size_t size = 9 + frame->ident.length;
    memcpy(needle, "\r\n" DASHES, 9);
    memcpy(needle + 9, frame->ident.at, frame->ident.length);
    const char *from = line;
    if (data + *resume > from)
        from = data + *resume;
    for (;;) {
        const char *found = memmem(from, (size_t)(end - from), needle, size);
        if (found == NULL) {
            *resume = length >= size ? length - size : 0;
            return more;
        }
        if (end - found < (long)size + 3) {
            *resume = (size_t)(found - data);
            return more;
        }
        if (known_flag(found[size]) && found[size + 1] == '\r' && found[size + 2] == '\n') {
            frame->body = (struct slice){line, (size_t)(found - line)};
            frame->flag = found[size];
            frame->length = (size_t)(found - data) + size + 3;
            return FRAME_COMPLETE;
        }
        from = found + 1;
    }
}

long input_receive(struct input *input, int fd, bool (*take)(void *, const struct frame *),
                   void *context)
{
    static char shared[FRAME_LIMIT + RECEIVE_SIZE];

    if (input->length > 0)
        memcpy(shared, input->kept, input->length);
    long received = recv(fd, shared + input->length, RECEIVE_SIZE, 0);
    if (received <= 0)
        return received;
    const char *data = shared;
    size_t left = input->length + (size_t)received;
    struct frame frame;
    enum frame_result result = FRAME_COMPLETE;
    while (left > 0) {
        result = frame_parse(data, left, &input->resume, &frame);
        if (result != FRAME_COMPLETE)
            break;
        input->resume = 0;
        data += frame.length;
        left -= frame.length;
        if (!take(context, &frame))
            break;
    }
    if (result == FRAME_MALFORMED)
        return -2;
    if (left > input->room) {
        char *kept = realloc(input->kept, left);
        if (kept == NULL)
            fail("no memory for %zu octets of input", left);
        input->kept = kept;
        input->room = left;
    }
    if (left > 0)
        memcpy(input->kept, data, left);
    input->length = left;
    return received;
}

void input_free(struct input *input)
{
    free(input->kept);
    *input = (struct input){0};
}

void output_add(struct output *output, const char *data, size_t length)
{
    if (output->start + output->length + length > output->room) {
        if (output->start > 0)
            memmove(output->data, output->data + output->start, output->length);
        output->start = 0;
        size_t room = output->room ? output->room : 4096;
        while (room < output->length + length)
            room *= 2;
        char *grown = realloc(output->data, room);
        if (grown == NULL)
            fail("no memory for %zu octets of output", room);
        output->data = grown;
        output->room = room;
    }
    memcpy(output->data + output->start + output->length, data, length);
    output->length += length;
}

bool output_flush(struct output *output, int fd)
{
    while (output->length > 0) {
        long sent = send(fd, output->data + output->start, output->length, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR;
        output->start += (size_t)sent;
        output->length -= (size_t)sent;
    }
    output->start = 0;
    return true;
}

void output_free(struct output *output)
{
    free(output->data);
    *output = (struct output){0};
}

struct slice first_uri(struct slice path)
{
    const char *space = memchr(path.at, ' ', path.length);
    return (struct slice){path.at, space ? (size_t)(space - path.at) : path.length};
}

void new_ident(char *ident)
{
    static const char digits[] = "0123456789abcdef";
    static uint64_t state;
    static bool seeded;

    if (!seeded) {
        if (getrandom(&state, sizeof state, 0) != sizeof state)
            fail("no random numbers: %s", strerror(errno));
        seeded = true;
    }
    /* splitmix64: every 64-bit value once before any comes again. */
    uint64_t value = state += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    value ^= value >> 31;
    for (int i = IDENT_LENGTH - 1; i >= 0; i--) {
        ident[i] = digits[value & 15];
        value >>= 4;
    }
}

int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}
