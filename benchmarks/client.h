/* The participants that the load generator plays: their connections, what they send, and the
 * verification of what they receive. */
#ifndef MSRPCONF_BENCH_CLIENT_H
#define MSRPCONF_BENCH_CLIENT_H

#include "frame.h"

#include <netinet/in.h>

/* The text of a message: a mark, its sequence number in ten digits, and a filler. */
#define TEXT_LENGTH 50
#define MARK "message "
#define DIGITS 10

/* A message that has come in part (RFC 4975 section 5.1). */
struct partial {
    char id[IDENT_LIMIT];
    size_t id_length;
    char *data;
    size_t length;
    struct partial *next;
};

struct client {
    int fd;
    bool sender, bound, closed;
    struct sockaddr_in server;
    char *to_path, *from_path;
    char bind_ident[IDENT_LENGTH];
    struct input input;
    struct output output;
    struct partial *partials;
    uint32_t expected;           /* the sequence number that comes next */
};

/* What was counted over the whole run. */
struct counts {
    uint64_t deliveries;         /* messages that receivers got whole and unchanged */
    uint64_t echoes;             /* messages that came back to the sender */
    uint64_t out_of_order;       /* deliveries with another number than the next */
    uint64_t bad;                /* frames that break RFC 4975, and messages that were changed */
    uint64_t chunks;             /* frames that carried less than a whole message */
    uint64_t other;              /* requests that are not of the benchmark */
    uint64_t refused;            /* SENDs answered with anything but 200 */
    uint64_t closed;             /* connections that the server closed */
};

extern struct client *clients;
extern size_t client_count;
extern struct counts counts;

/* Called for each message at a receiver, and for each 200 to a message; set before any is sent. */
extern void (*on_delivery)(struct client *client, uint32_t number);
extern void (*on_answer)(uint32_t number);

/* Reads lines "HOST PORT TO-PATH FROM-PATH s|r" up to an empty line or the end of the file. */
void clients_read(const char *file);

/* Connects and binds all, at most window at a time; false when the deadline (of now()) passes or a
 * connection fails. */
bool clients_bind(size_t window, int64_t deadline);

/* The addresses that the CPIM wrapper of every message carries. */
void message_addresses(const char *from, const char *to);

/* Sends message number as client. */
void message_send(struct client *client, uint32_t number);

/* Waits until something happens or the deadline passes, and handles it. Standard input is watched
 * too if watch_input was called; returns false once that has ended. */
bool clients_step(int64_t deadline);
void watch_input(void);

#endif
