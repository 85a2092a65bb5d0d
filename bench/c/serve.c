// A web server that forks a process for each request, and does nothing else: it listens on a port
// of the system's choice, reads one piece of a request, and sends one answer.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void answer(int client) {
    char request[4096], body[64], response[256];
    if (read(client, request, sizeof request) <= 0)
        return;
    int length = snprintf(body, sizeof body, "Process %d, parent %d.\n", getpid(), getppid());
    length = snprintf(response, sizeof response,
                      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                      "Connection: close\r\n\r\n%s",
                      length, body);
    if (write(client, response, length) == length)
        shutdown(client, SHUT_WR);
}

static void end(int signal) {
    (void)signal;
    _exit(0);
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) != 0 ||
        listen(listener, 128) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        return 1;
    printf("http://127.0.0.1:%d/\n", ntohs(address.sin_port));
    fflush(stdout);
    signal(SIGTERM, end);

    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            continue;
        pid_t child = fork();
        if (child == 0) {
            close(listener);
            answer(client);
            _exit(0);
        }
        close(client);
        // Reap whoever has ended by now.
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}
