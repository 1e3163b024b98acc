/* The reference: the least that an MSRP switch (RFC 4975, RFC 7701) does for a message in one room.
 *
 *   reference [PORT]
 *
 * It listens on 127.0.0.1, prints "port NUMBER", and serves until its standard input ends or it is
 * told to terminate. Every connection is one participant of the only room. The first SEND on a
 * connection binds it: its To-Path is the session from then on (any session id will do, since no
 * SIP is spoken here). Each later SEND gets its 200 in one write, and each other participant gets
 * its copy in one writev: nothing is put together over messages, because a switch whose messages
 * come one by one could not do so either. What it leaves out is what makes a conference server:
 * rooms, CPIM, policy, reports, chunk timers. So it tells what the system calls and the framing
 * cost on this machine; a server's figure is read beside it. */
#define _GNU_SOURCE
#include "frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* A participant that is this far behind is congested, and is dropped. */
#define QUEUE_LIMIT (8 * 1024 * 1024)
#define PATH_LIMIT 512
#define HEADERS_LIMIT 2048
#define EVENTS 256

struct participant {
    int fd;
    bool bound, broken;
    size_t place;                /* in the room, once bound */
    struct input input;
    struct output output;
    struct slice session;        /* the To-Path of its requests, inside paths */
    char *head;                  /* "MSRP <id> SEND", To-Path, From-Path; the id is put in for a copy */
    size_t head_length;
    struct participant *next_broken;
};

static int epoll;
static struct participant **room;
static size_t room_count, room_size;
static struct participant *broken;

#define START_LINE "MSRP 0123456789abcdef SEND\r\n"
#define IDENT_AT 5
#define PATHS_AT (sizeof START_LINE - 1)

/* Closing waits until the present events are done with: some of them may be this participant's. */
static void drop(struct participant *participant)
{
    if (participant->broken)
        return;
    participant->broken = true;
    participant->next_broken = broken;
    broken = participant;
    if (participant->bound) {
        room[participant->place] = room[--room_count];
        room[participant->place]->place = participant->place;
    }
}

static void close_broken(void)
{
    while (broken != NULL) {
        struct participant *participant = broken;
        broken = participant->next_broken;
        close(participant->fd);
        input_free(&participant->input);
        output_free(&participant->output);
        free(participant->head);
        free(participant);
    }
}

static void watch(struct participant *participant, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = participant};
    if (epoll_ctl(epoll, operation, participant->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

/* One writev; what the socket does not take is queued. Does not leave the participant in the room
 * when it is congested or gone, and returns false then. */
static bool deliver(struct participant *participant, const struct iovec *parts, int count)
{
    size_t taken = 0;
    if (participant->output.length == 0) {
        struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
        long sent = sendmsg(participant->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            drop(participant);
            return false;
        }
        taken = sent < 0 ? 0 : (size_t)sent;
    }
    bool was_empty = participant->output.length == 0;
    for (int i = 0; i < count; i++) {
        if (taken >= parts[i].iov_len) {
            taken -= parts[i].iov_len;
            continue;
        }
        output_add(&participant->output, (char *)parts[i].iov_base + taken,
                   parts[i].iov_len - taken);
        taken = 0;
    }
    if (participant->output.length > QUEUE_LIMIT) {
        drop(participant);
        return false;
    }
    if (was_empty && participant->output.length > 0)
        watch(participant, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    return true;
}

static void respond(struct participant *participant, const struct frame *frame, const char *status)
{
    struct slice ident = frame->ident, client = first_uri(frame->from_path),
                 server = first_uri(frame->to_path);
    bool ok = status[0] == '2', report = frame->failure_report.at != NULL;
    if (report && (SLICE_IS(frame->failure_report, "no") ||
                   (ok && SLICE_IS(frame->failure_report, "partial"))))
        return;
    if (client.length + server.length > 2 * PATH_LIMIT) {
        drop(participant);
        return;
    }
    char text[2 * PATH_LIMIT + 256];
    int length = snprintf(text, sizeof text,
                          "MSRP %.*s %s\r\nTo-Path: %.*s\r\nFrom-Path: %.*s\r\n-------%.*s$\r\n",
                          (int)ident.length, ident.at, status, (int)client.length, client.at,
                          (int)server.length, server.at, (int)ident.length, ident.at);
    struct iovec part = {text, (size_t)length};
    deliver(participant, &part, 1);
}

static void bind_session(struct participant *participant, const struct frame *frame)
{
    struct slice server = frame->to_path, client = frame->from_path;
    if (server.length > PATH_LIMIT || client.length > PATH_LIMIT) {
        respond(participant, frame, "400 Path too long");
        return;
    }
    participant->head_length = PATHS_AT + 9 + client.length + 2 + 11 + server.length + 2;
    participant->head = malloc(participant->head_length + 1);
    if (room_count == room_size) {
        room_size = room_size ? 2 * room_size : 64;
        room = realloc(room, room_size * sizeof *room);
    }
    if (participant->head == NULL || room == NULL)
        fail("no memory for a participant");
    sprintf(participant->head, START_LINE "To-Path: %.*s\r\nFrom-Path: %.*s\r\n",
            (int)client.length, client.at, (int)server.length, server.at);
    participant->session.at = participant->head + PATHS_AT + 9 + client.length + 2 + 11;
    participant->session.length = server.length;
    participant->place = room_count;
    participant->bound = true;
    room[room_count++] = participant;
    respond(participant, frame, "200 OK");
}

/* The headers of the copies, shared by them all: the sender's, but for its choice of reports. */
static size_t copy_headers(const struct frame *frame, char *text)
{
    const char *line = frame->headers.at, *end = line + frame->headers.length;
    size_t length = 0;
    static const char partial[] = "Failure-Report: partial\r\n";

    memcpy(text, partial, sizeof partial - 1);
    length += sizeof partial - 1;
    while (line < end) {
        const char *next = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
        size_t size = (size_t)(next - line);
        if (!(size > 16 && !memcmp(line, "Failure-Report: ", 16)) &&
            !(size > 16 && !memcmp(line, "Success-Report: ", 16))) {
            if (length + size + 2 > HEADERS_LIMIT)
                return 0;
            memcpy(text + length, line, size);
            length += size;
        }
        line = next;
    }
    memcpy(text + length, "\r\n", 2);
    return length + 2;
}

static void distribute(struct participant *sender, const struct frame *frame)
{
    char headers[HEADERS_LIMIT];
    size_t headers_length = copy_headers(frame, headers);
    if (headers_length == 0) {
        respond(sender, frame, "413 Too many headers");
        return;
    }
    respond(sender, frame, "200 OK");

    char end_line[] = "-------0123456789abcdef$\r\n";
    end_line[7 + IDENT_LENGTH] = frame->flag;
    struct iovec parts[] = {
        {NULL, 0},
        {headers, headers_length},
        /* The CRLF in front of the end-line is shared with the body. */
        {(char *)frame->body.at, frame->body.length + 2},
        {end_line, sizeof end_line - 1},
    };
    for (size_t i = 0; i < room_count;) {
        struct participant *recipient = room[i];
        if (recipient == sender) {
            i++;
            continue;
        }
        new_ident(end_line + 7);
        memcpy(recipient->head + IDENT_AT, end_line + 7, IDENT_LENGTH);
        parts[0] = (struct iovec){recipient->head, recipient->head_length};
        if (deliver(recipient, parts, 4))
            i++;
    }
}

static bool take(void *context, const struct frame *frame)
{
    struct participant *participant = context;
    if (frame->status != 0 || SLICE_IS(frame->method, "REPORT"))
        return true;
    if (!SLICE_IS(frame->method, "SEND"))
        respond(participant, frame, "501 Method not known here");
    else if (!participant->bound)
        bind_session(participant, frame);
    else if (!slice_is(frame->to_path, participant->session.at, participant->session.length))
        respond(participant, frame, "481 No such session on this connection");
    else if (frame->body.at != NULL)
        distribute(participant, frame);
    else
        respond(participant, frame, "200 OK"); /* an empty SEND keeps a path open, no more */
    return !participant->broken;
}

static void serve(struct participant *participant, uint32_t events)
{
    if (participant->broken)
        return;
    if (events & EPOLLOUT) {
        if (!output_flush(&participant->output, participant->fd)) {
            drop(participant);
            return;
        }
        if (participant->output.length == 0) {
            output_free(&participant->output);
            watch(participant, EPOLL_CTL_MOD, EPOLLIN);
        }
    }
    if (events & ~(uint32_t)EPOLLOUT) {
        long received = input_receive(&participant->input, participant->fd, take, participant);
        if (received == 0 || received == -2 ||
            (received == -1 && errno != EAGAIN && errno != EINTR))
            drop(participant);
    }
}

static void accept_all(int listener)
{
    int on = 1;
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE))
            fail("accept: %s", strerror(errno));
        if (fd < 0)
            return;
        struct participant *participant = calloc(1, sizeof *participant);
        if (participant == NULL)
            fail("no memory for a connection");
        participant->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(participant, EPOLL_CTL_ADD, EPOLLIN);
    }
}

int main(int count, char **arguments)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int on = 1;

    address.sin_port = htons((uint16_t)(count > 1 ? atoi(arguments[1]) : 0));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 1024) < 0)
        fail("127.0.0.1:%d: %s", ntohs(address.sin_port), strerror(errno));
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);

    /* Two addresses that are no participant stand for the listener and for standard input. */
    static char listening, standard_input;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listening};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        fail("epoll: %s", strerror(errno));
    event.data.ptr = &standard_input;
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event); /* not possible for a file: then never */

    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            char ignored[256];
            if (events[i].data.ptr == &listening)
                accept_all(listener);
            else if (events[i].data.ptr != &standard_input)
                serve(events[i].data.ptr, events[i].events);
            else if (read(STDIN_FILENO, ignored, sizeof ignored) <= 0)
                return 0;
        }
        close_broken();
    }
}
