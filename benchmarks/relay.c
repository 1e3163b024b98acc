/* The plainest relay: what its last connection sends, all others get.
 *
 *   relay SINKS
 *
 * It listens on 127.0.0.1, prints "port NUMBER", takes SINKS connections and then the source, and
 * copies until the source ends. So it tells what it costs this machine to read some octets once and
 * write them SINKS times; a switch's large transfer is read beside it. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[65536];

static int write_all(int fd, const char *data, size_t length)
{
    while (length) {
        ssize_t written = write(fd, data, length);
        if (written <= 0)
            return -1;
        data += written;
        length -= (size_t)written;
    }
    return 0;
}

int main(int count, char **arguments)
{
    int sinks = count == 2 ? atoi(arguments[1]) : 0;
    if (sinks < 1 || sinks > 1000) {
        fprintf(stderr, "usage: relay SINKS\n");
        return 2;
    }
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) ||
        listen(listener, 128) || getsockname(listener, (struct sockaddr *)&address, &length)) {
        perror("relay");
        return 1;
    }
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    int fds[1001];
    for (int each = 0; each <= sinks; each++) {
        fds[each] = accept(listener, NULL, NULL);
        if (fds[each] < 0) {
            perror("relay");
            return 1;
        }
    }
    ssize_t got;
    while ((got = read(fds[sinks], buffer, sizeof buffer)) > 0)
        for (int each = 0; each < sinks; each++)
            if (write_all(fds[each], buffer, (size_t)got)) {
                perror("relay");
                return 1;
            }
    return 0;
}
