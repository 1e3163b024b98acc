/* MSRP frames (RFC 4975 section 9) as the reference and the load generator read them. */
#ifndef MSRPCONF_BENCH_FRAME_H
#define MSRPCONF_BENCH_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A frame larger than this is refused: nothing in these programs needs a larger one. */
#define FRAME_LIMIT (1024 * 1024)
/* What one recv may bring at most, beside what is kept of an incomplete frame. */
#define RECEIVE_SIZE (256 * 1024)
/* An ident (a transaction id) has at most 32 characters. */
#define IDENT_LIMIT 32
/* The transaction ids that these programs make: 64 random bits in hexadecimal. */
#define IDENT_LENGTH 16

/* Octets inside somebody else's buffer; at is NULL where a header is absent. */
struct slice {
    const char *at;
    size_t length;
};

struct frame {
    struct slice ident;          /* transaction id */
    struct slice method;         /* of a request; a response has none */
    int status;                  /* of a response; 0 for a request */
    struct slice to_path, from_path, message_id, byte_range, failure_report, content_type;
    struct slice headers;        /* what follows From-Path, with its line ends, without the blank line */
    struct slice body;           /* at is NULL where the frame has no content-stuff */
    char flag;                   /* of the end-line: '$', '+' or '#' */
    size_t length;               /* octets of the whole frame */
};

enum frame_result { FRAME_COMPLETE, FRAME_INCOMPLETE, FRAME_MALFORMED };

/* Reads the frame at the start of data. *resume is 0 for a new frame; for a frame that was
 * incomplete before it tells how far its body was searched already. */
enum frame_result frame_parse(const char *data, size_t length, size_t *resume, struct frame *frame);

/* What a connection keeps between two reads: the start of an incomplete frame. */
struct input {
    char *kept;
    size_t length, room, resume;
};

/* Receives once from fd and gives every complete frame to take(context, frame), until take says
 * false. All connections share one buffer; only the start of an incomplete frame is kept.
 * Returns the octets received, 0 at the end of the stream, -1 when nothing could be received
 * (errno tells, EAGAIN included), -2 after a frame that is malformed or over FRAME_LIMIT. */
long input_receive(struct input *input, int fd, bool (*take)(void *, const struct frame *),
                   void *context);
void input_free(struct input *input);

/* Octets that the socket did not take yet; whoever adds to it bounds it. */
struct output {
    char *data;
    size_t start, length, room;
};

void output_add(struct output *output, const char *data, size_t length);
/* Returns true when nothing is left or the socket is full, false when the connection broke. */
bool output_flush(struct output *output, int fd);
void output_free(struct output *output);

static inline bool slice_is(struct slice slice, const char *text, size_t length)
{
    return slice.length == length && __builtin_memcmp(slice.at, text, length) == 0;
}
#define SLICE_IS(slice, literal) slice_is((slice), (literal), sizeof(literal) - 1)

/* The first URI of a path header (the previous hop, or the next one). */
struct slice first_uri(struct slice path);

/* A new transaction id of IDENT_LENGTH characters; unpredictable in its seed, not in its sequence. */
void new_ident(char *ident);

/* The monotonic clock, in nanoseconds. */
int64_t now(void);

/* Prints one line to standard error and ends the process with status 2. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
