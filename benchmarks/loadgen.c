/* The load generator: plays all participants of one room, in one process.
 *
 *   loadgen MODE [--option value ...]
 *
 * It reads the sessions ("ADDRESS PORT TO-PATH FROM-PATH s|r", one a line), connects them, binds
 * each with an empty SEND (RFC 4975 section 5.4), and then does one of:
 *
 *   fanout    the sender sends messages, so many at a time; a message counts as outstanding until
 *             it has its 200 and every receiver has it
 *   latency   the same, one at a time, and the time to the first and to the last receiver is kept
 *   hold      nothing: the connections stay open until standard input ends
 *
 * With --spin 1 it does not sleep while it waits: so no server pays for waking it up, neither a
 * fast one, which would keep it awake anyway, nor a slow one.
 *
 * A text of 50 octets goes in message/cpim. Every receiver's copies are compared with what was
 * sent, octet for octet, and their order is checked. It prints one JSON object, and ends with
 * status 0 if all was delivered in order, 1 if not, 2 if it could not run. */
#define _GNU_SOURCE
#include "client.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct {
    const char *mode, *sessions, *from, *to;
    long messages, warmup, outstanding, window, timeout, spin, pid;
} options = {
    .sessions = "-",
    .from = "sip:p0@bench.invalid",
    .to = "sip:room@bench.invalid",
    .messages = 1000,
    .warmup = 50,
    .outstanding = 10,
    .window = 32,
    .timeout = 60,
};

static struct {
    uint32_t receivers;          /* that have it */
    bool answered;
    int64_t sent, first, last;   /* nanoseconds of now() */
} *messages;
static uint32_t sent_count, complete_count;
static size_t receiver_count;
static struct client *sender;
static int64_t deadline;

static void completed(uint32_t number)
{
    if (messages[number].answered && messages[number].receivers == receiver_count)
        complete_count++;
}

static void delivered(struct client *client, uint32_t number)
{
    (void)client;
    if (number >= sent_count) {
        counts.bad++;
        return;
    }
    messages[number].last = now();
    if (messages[number].receivers++ == 0)
        messages[number].first = messages[number].last;
    completed(number);
}

static void answered(uint32_t number)
{
    if (number >= sent_count || messages[number].answered) {
        counts.bad++;
        return;
    }
    messages[number].answered = true;
    completed(number);
}

/* Sends so many more messages and waits until everybody has them; false if that fails. */
static bool run(uint32_t more, uint32_t outstanding)
{
    uint32_t goal = sent_count + more;

    while (complete_count < goal) {
        while (sent_count < goal && sent_count - complete_count < outstanding) {
            messages[sent_count].sent = now();
            message_send(sender, sent_count++);
        }
        clients_step(options.spin ? 0 : deadline);
        if (counts.closed > 0 || counts.refused > 0 || now() >= deadline)
            return false;
    }
    return true;
}

/* What the system has counted for a process or for ourselves. */
struct usage {
    int64_t wall, own, scheduled; /* nanoseconds; scheduled is the time all its threads ran */
    unsigned long user, system;   /* clock ticks */
    uint64_t copies;
};

static int64_t scheduled_time(long pid)
{
    char path[320], text[128];
    int64_t total = 0;

    snprintf(path, sizeof path, "/proc/%ld/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks != NULL && (task = readdir(tasks)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%ld/task/%s/schedstat", pid, task->d_name);
        FILE *file = task->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file == NULL)
            continue;
        if (fgets(text, sizeof text, file) != NULL)
            total += atoll(text);
        fclose(file);
    }
    if (tasks != NULL)
        closedir(tasks);
    return total;
}

static struct usage usage_now(void)
{
    struct usage usage = {.copies = counts.deliveries + counts.echoes};
    struct rusage own;
    char path[64], text[1024] = "";

    getrusage(RUSAGE_SELF, &own);
    usage.own = (own.ru_utime.tv_sec + own.ru_stime.tv_sec) * 1000000000L +
                (own.ru_utime.tv_usec + own.ru_stime.tv_usec) * 1000L;
    if (options.pid > 0) {
        snprintf(path, sizeof path, "/proc/%ld/stat", options.pid);
        FILE *file = fopen(path, "r");
        if (file == NULL)
            fail("no process %ld", options.pid);
        /* utime and stime are the 12th and 13th fields after the name, which may hold blanks. */
        size_t length = fread(text, 1, sizeof text - 1, file);
        text[length] = '\0';
        fclose(file);
        char *after = strrchr(text, ')');
        if (after == NULL ||
            sscanf(after + 1, " %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu", &usage.user,
                   &usage.system) != 2)
            fail("%s cannot be read", path);
        usage.scheduled = scheduled_time(options.pid);
    }
    usage.wall = now();
    return usage;
}

static int by_value(const void *one, const void *other)
{
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

/* Percentiles of the times of the messages from number on, in microseconds. */
static void print_times(const char *name, uint32_t number, bool last)
{
    uint32_t count = sent_count - number;
    double *times = calloc(count + 1, sizeof *times);

    for (uint32_t i = 0; i < count; i++)
        times[i] = (double)((last ? messages[number + i].last : messages[number + i].first) -
                            messages[number + i].sent) / 1e3;
    qsort(times, count, sizeof *times, by_value);
    printf(", \"%s_us\": {\"min\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, "
           "\"max\": %.1f}",
           name, times[0], times[count / 2], times[(size_t)(count * 0.9)],
           times[(size_t)(count * 0.99)], times[count ? count - 1 : 0]);
    free(times);
}

static void print_counts(bool complete)
{
    printf("{\"mode\": \"%s\", \"sessions\": %zu, \"complete\": %s, \"deliveries\": %lu, "
           "\"echoes\": %lu, \"out_of_order\": %lu, \"bad\": %lu, \"chunks\": %lu, "
           "\"other\": %lu, \"refused\": %lu, \"closed\": %lu",
           options.mode, client_count, complete ? "true" : "false", counts.deliveries,
           counts.echoes, counts.out_of_order, counts.bad, counts.chunks, counts.other,
           counts.refused, counts.closed);
}

static bool messages_run(bool latency)
{
    uint32_t outstanding = latency ? 1 : (uint32_t)options.outstanding;
    bool complete = run((uint32_t)options.warmup, outstanding);

    struct usage before = usage_now();
    complete = complete && run((uint32_t)options.messages, outstanding);
    struct usage after = usage_now();
    uint64_t copies = after.copies - before.copies;
    complete = complete && counts.out_of_order == 0 && counts.bad == 0;

    print_counts(complete);
    printf(", \"receivers\": %zu, \"outstanding\": %u, \"warmup\": %ld, \"messages\": %ld, "
           "\"answered\": %u, \"steady\": {\"deliveries\": %lu, \"seconds\": %.6f, "
           "\"own_cpu_seconds\": %.6f",
           receiver_count, outstanding, options.warmup, options.messages, complete_count, copies,
           (double)(after.wall - before.wall) / 1e9, (double)(after.own - before.own) / 1e9);
    if (options.pid > 0) {
        double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
        printf(", \"server_cpu_seconds\": %.6f, \"server_user_seconds\": %.2f, "
               "\"server_system_seconds\": %.2f",
               (double)(after.scheduled - before.scheduled) / 1e9,
               (double)(after.user - before.user) * tick,
               (double)(after.system - before.system) * tick);
    }
    printf("}");
    if (latency && complete) {
        print_times("first", (uint32_t)options.warmup, false);
        print_times("last", (uint32_t)options.warmup, true);
    }
    printf("}\n");
    return complete;
}

static void read_options(int count, char **arguments)
{
    static const struct {
        const char *name;
        long *number, least, most;
        const char **text;
    } known[] = {
        {"--sessions", NULL, 0, 0, &options.sessions},
        {"--cpim-from", NULL, 0, 0, &options.from},
        {"--cpim-to", NULL, 0, 0, &options.to},
        {"--messages", &options.messages, 1, 10000000, NULL},
        {"--warmup", &options.warmup, 0, 1000000, NULL},
        {"--outstanding", &options.outstanding, 1, 10000, NULL},
        {"--window", &options.window, 1, 1000, NULL},
        {"--timeout", &options.timeout, 1, 3600, NULL},
        {"--spin", &options.spin, 0, 1, NULL},
        {"--pid", &options.pid, 1, 1L << 30, NULL},
    };

    if (count < 2 || (strcmp(arguments[1], "fanout") && strcmp(arguments[1], "latency") &&
                      strcmp(arguments[1], "hold")))
        fail("usage: loadgen fanout|latency|hold [--sessions FILE] [--cpim-from URI] "
             "[--cpim-to URI] [--messages N] [--warmup N] [--outstanding N] [--window N] "
             "[--timeout SECONDS] [--spin 0|1] [--pid PID]");
    options.mode = arguments[1];
    for (int i = 2; i < count; i += 2) {
        size_t found = 0, size = sizeof known / sizeof *known;
        while (found < size && strcmp(arguments[i], known[found].name))
            found++;
        if (found == size || i + 1 == count)
            fail("%s: not an option, or without its value", arguments[i]);
        if (known[found].text != NULL) {
            *known[found].text = arguments[i + 1];
            continue;
        }
        char *end;
        long value = strtol(arguments[i + 1], &end, 10);
        if (*end != '\0' || value < known[found].least || value > known[found].most)
            fail("%s %s: expected a number from %ld to %ld", arguments[i], arguments[i + 1],
                 known[found].least, known[found].most);
        *known[found].number = value;
    }
}

int main(int count, char **arguments)
{
    struct rlimit files;

    read_options(count, arguments);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    clients_read(options.sessions);
    for (size_t i = 0; i < client_count; i++) {
        if (clients[i].sender)
            sender = &clients[i];
        else
            receiver_count++;
    }
    bool hold = !strcmp(options.mode, "hold");
    if (!hold && (sender == NULL || receiver_count + 1 != client_count || receiver_count == 0))
        fail("%s: expected one sender and at least one receiver", options.sessions);
    messages = calloc((size_t)(options.messages + options.warmup), sizeof *messages);
    if (messages == NULL)
        fail("no memory for %ld messages", options.messages);
    on_delivery = delivered;
    on_answer = answered;
    message_addresses(options.from, options.to);

    deadline = now() + options.timeout * 1000000000L;
    if (!clients_bind((size_t)options.window, deadline)) {
        print_counts(false);
        printf("}\n");
        fprintf(stderr, "not every session could be bound\n");
        return 1;
    }
    if (!hold)
        return messages_run(!strcmp(options.mode, "latency")) ? 0 : 1;
    print_counts(true);
    printf("}\n");
    fflush(stdout);
    watch_input();
    while (clients_step(now() + 3600 * 1000000000L))
        continue;
    return 0;
}
