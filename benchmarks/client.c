#define _GNU_SOURCE
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 512
/* A server may have this many messages in part on one connection. */
#define PARTIALS 8

struct client *clients;
size_t client_count;
struct counts counts;
void (*on_delivery)(struct client *client, uint32_t number);
void (*on_answer)(uint32_t number);

static int epoll = -1;
static size_t bound_count;

/* Every message is the same but for the digits at number_at. */
static char *message;
static size_t message_length, number_at;

static void open_epoll(void)
{
    if (epoll < 0)
        epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        fail("epoll: %s", strerror(errno));
}

static void watch(struct client *client, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(epoll, operation, client->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static void lose(struct client *client)
{
    if (client->closed)
        return;
    client->closed = true;
    counts.closed++;
    close(client->fd);
}

static void client_write(struct client *client, const char *data, size_t length)
{
    if (client->closed)
        return;
    bool was_empty = client->output.length == 0;
    output_add(&client->output, data, length);
    if (!was_empty)
        return;
    if (!output_flush(&client->output, client->fd))
        lose(client);
    else if (client->output.length > 0)
        watch(client, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

void clients_read(const char *file)
{
    FILE *input = strcmp(file, "-") ? fopen(file, "r") : stdin;
    char *line = NULL;
    size_t room = 0, size = 0;

    if (input == NULL)
        fail("%s: %s", file, strerror(errno));
    while (getline(&line, &room, input) > 1) {
        char host[64], role;
        unsigned port;
        if (client_count == size) {
            size = size ? 2 * size : 64;
            clients = realloc(clients, size * sizeof *clients);
            if (clients == NULL)
                fail("no memory for %zu clients", size);
        }
        struct client *client = &clients[client_count++];
        *client = (struct client){.fd = -1, .server.sin_family = AF_INET};
        if (sscanf(line, "%63s %u %ms %ms %c", host, &port, &client->to_path, &client->from_path,
                   &role) != 5 ||
            port > 65535 || (role != 's' && role != 'r') ||
            inet_pton(AF_INET, host, &client->server.sin_addr) != 1)
            fail("%s:%zu: expected \"ADDRESS PORT TO-PATH FROM-PATH s|r\"", file, client_count);
        client->server.sin_port = htons((uint16_t)port);
        client->sender = role == 's';
    }
    free(line);
    if (input != stdin)
        fclose(input);
    if (client_count == 0)
        fail("%s: no sessions", file);
}

static bool client_connect(struct client *client)
{
    int on = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(client->fd, (struct sockaddr *)&client->server, sizeof client->server) < 0 &&
        errno != EINPROGRESS)
        return false;

    /* The binding SEND waits in the queue until the connection is there. */
    char *text;
    new_ident(client->bind_ident);
    int length = asprintf(&text,
                          "MSRP %.*s SEND\r\nTo-Path: %s\r\nFrom-Path: %s\r\n"
                          "Message-ID: %.*s\r\nByte-Range: 1-0/0\r\n-------%.*s$\r\n",
                          IDENT_LENGTH, client->bind_ident, client->to_path, client->from_path,
                          IDENT_LENGTH, client->bind_ident, IDENT_LENGTH, client->bind_ident);
    if (length < 0)
        fail("no memory for a request");
    output_add(&client->output, text, (size_t)length);
    free(text);
    watch(client, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    return true;
}

bool clients_bind(size_t window, int64_t deadline)
{
    open_epoll();
    for (size_t next = 0; bound_count < client_count;) {
        while (next < client_count && next - bound_count < window)
            if (!client_connect(&clients[next++]))
                return false;
        clients_step(deadline);
        if (counts.closed > 0 || counts.refused > 0 || now() >= deadline)
            return false;
    }
    return true;
}

void message_addresses(const char *from, const char *to)
{
    int length = asprintf(&message,
                          "From: <%s>\r\nTo: <%s>\r\nDateTime: 2024-01-01T12:00:00Z\r\n\r\n"
                          "Content-Type: text/plain; charset=utf-8\r\n\r\n"
                          MARK "0000000000 abcdefghijklmnopqrstuvwxyz01234",
                          from, to);
    if (length < 0)
        fail("no memory for a message");
    message_length = (size_t)length;
    number_at = message_length - TEXT_LENGTH + sizeof MARK - 1;
}

void message_send(struct client *client, uint32_t number)
{
    static char head[2048];
    char ident[IDENT_LENGTH + 1];

    /* The number in the transaction id finds the message that an answer is for. */
    new_ident(ident);
    snprintf(ident + IDENT_LENGTH - 8, 9, "%08x", number);
    int length = snprintf(head, sizeof head,
                          "MSRP %s SEND\r\nTo-Path: %s\r\nFrom-Path: %s\r\n"
                          "Message-ID: m%s\r\nByte-Range: 1-%zu/%zu\r\n"
                          "Content-Type: message/cpim\r\n\r\n",
                          ident, client->to_path, client->from_path, ident, message_length,
                          message_length);
    if ((size_t)length + message_length + 9 + IDENT_LENGTH + 3 >= sizeof head)
        fail("the paths and addresses of a message are too long");
    char digits[DIGITS + 1];
    snprintf(digits, sizeof digits, "%010u", number);
    memcpy(message + number_at, digits, DIGITS);
    memcpy(head + length, message, message_length);
    length += (int)message_length;
    length += snprintf(head + length, sizeof head - (size_t)length, "\r\n-------%s$\r\n", ident);
    client_write(client, head, (size_t)length);
}

/* A message came whole: is it one of ours, unchanged, and which? */
static void got_message(struct client *client, const char *body, size_t length)
{
    uint32_t number = 0;

    if (length != message_length || memcmp(body, message, number_at) ||
        memcmp(body + number_at + DIGITS, message + number_at + DIGITS,
               length - number_at - DIGITS)) {
        if (memmem(body, length, MARK, sizeof MARK - 1) != NULL)
            counts.bad++;
        else
            counts.other++;
        return;
    }
    for (size_t i = 0; i < DIGITS; i++)
        number = number * 10 + (uint32_t)(body[number_at + i] - '0');
    if (client->sender) {
        counts.echoes++;
        return;
    }
    counts.deliveries++;
    if (number != client->expected)
        counts.out_of_order++;
    client->expected = number + 1;
    on_delivery(client, number);
}

/* "start-end/total", the last two may be "*", which is given as -1. */
static bool byte_range(struct slice value, long *start, long *total)
{
    char text[64], last[24], whole[24];
    if (value.length >= sizeof text)
        return false;
    memcpy(text, value.at, value.length);
    text[value.length] = '\0';
    if (sscanf(text, "%ld-%23[0-9*]/%23[0-9*]", start, last, whole) != 3)
        return false;
    *total = whole[0] == '*' ? -1 : atol(whole);
    return true;
}

/* A frame with content: a whole message, or a part of one. */
static bool got_content(struct client *client, const struct frame *frame)
{
    long start = 1, total = -1;
    struct partial **place = &client->partials, *partial;
    int others = 0;

    if (frame->message_id.at == NULL || frame->message_id.length > IDENT_LIMIT)
        return false;
    if (frame->byte_range.at != NULL && !byte_range(frame->byte_range, &start, &total))
        return false;
    while (*place != NULL && !slice_is(frame->message_id, (*place)->id, (*place)->id_length)) {
        place = &(*place)->next;
        others++;
    }
    partial = *place;
    size_t before = partial ? partial->length : 0;
    if (start != (long)before + 1 ||
        (frame->flag == '$' && total >= 0 && total != (long)(before + frame->body.length)))
        return false;
    if (partial == NULL && frame->flag == '$') {
        got_message(client, frame->body.at, frame->body.length);
        return true;
    }
    counts.chunks++;
    if (partial == NULL) {
        if (others >= PARTIALS)
            return false;
        partial = calloc(1, sizeof *partial);
        if (partial == NULL)
            fail("no memory for a message");
        memcpy(partial->id, frame->message_id.at, frame->message_id.length);
        partial->id_length = frame->message_id.length;
        *place = partial;
    }
    if (before + frame->body.length > FRAME_LIMIT)
        return false;
    partial->data = realloc(partial->data, before + frame->body.length + 1);
    if (partial->data == NULL)
        fail("no memory for a message");
    memcpy(partial->data + before, frame->body.at, frame->body.length);
    partial->length += frame->body.length;
    if (frame->flag == '+')
        return true;
    if (frame->flag == '$')
        got_message(client, partial->data, partial->length);
    *place = partial->next;
    free(partial->data);
    free(partial);
    return true;
}

static void got_response(struct client *client, const struct frame *frame)
{
    if (slice_is(frame->ident, client->bind_ident, IDENT_LENGTH) && !client->bound) {
        client->bound = true;
        bound_count++;
        counts.refused += frame->status != 200;
        return;
    }
    char digits[9] = "", *end;
    if (frame->ident.length == IDENT_LENGTH)
        memcpy(digits, frame->ident.at + IDENT_LENGTH - 8, 8);
    unsigned long number = strtoul(digits, &end, 16);
    if (!client->sender || digits[0] == '\0' || *end != '\0') {
        counts.bad++;
        return;
    }
    counts.refused += frame->status != 200;
    on_answer((uint32_t)number);
}

static bool take(void *context, const struct frame *frame)
{
    struct client *client = context;
    struct slice ident = frame->ident;

    if (!slice_is(frame->to_path, client->from_path, strlen(client->from_path)) ||
        !slice_is(frame->from_path, client->to_path, strlen(client->to_path))) {
        counts.bad++;
        return true;
    }
    if (frame->status != 0) {
        got_response(client, frame);
        return true;
    }
    if (!SLICE_IS(frame->method, "SEND")) {
        counts.other++;
        return true;
    }
    if (frame->body.at == NULL)
        counts.other++;
    else if (frame->content_type.at == NULL || !got_content(client, frame))
        counts.bad++;
    /* A server that asks for no answer to its copies is spared one (RFC 4975 section 7.2). */
    if (frame->failure_report.at == NULL || SLICE_IS(frame->failure_report, "yes")) {
        char text[2048];
        int length = snprintf(text, sizeof text,
                              "MSRP %.*s 200 OK\r\nTo-Path: %s\r\nFrom-Path: %s\r\n-------%.*s$\r\n",
                              (int)ident.length, ident.at, client->to_path, client->from_path,
                              (int)ident.length, ident.at);
        if ((size_t)length < sizeof text)
            client_write(client, text, (size_t)length);
    }
    return !client->closed;
}

static void serve(struct client *client, uint32_t events)
{
    if (client->closed)
        return;
    if (events & EPOLLOUT) {
        if (!output_flush(&client->output, client->fd)) {
            lose(client);
            return;
        }
        if (client->output.length == 0)
            watch(client, EPOLL_CTL_MOD, EPOLLIN);
    }
    if (events & ~(uint32_t)EPOLLOUT) {
        long received = input_receive(&client->input, client->fd, take, client);
        if (received == -2)
            counts.bad++;
        if (received == 0 || received == -2 ||
            (received == -1 && errno != EAGAIN && errno != EINTR))
            lose(client);
    }
}

bool clients_step(int64_t deadline)
{
    struct epoll_event events[EVENTS];
    int64_t left = (deadline - now() + 999999) / 1000000;
    bool open = true;

    int ready = epoll_wait(epoll, events, EVENTS, left > 0 ? (int)left : 0);
    for (int i = 0; i < ready; i++) {
        char ignored[256];
        if (events[i].data.ptr != NULL)
            serve(events[i].data.ptr, events[i].events);
        else if (read(STDIN_FILENO, ignored, sizeof ignored) <= 0)
            open = false;
    }
    return open;
}

void watch_input(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
        fail("standard input cannot be waited for: %s", strerror(errno));
}
