// One byte goes to and fro over two pipes, between two processes and between two threads:
// microseconds per round trip, the mean of each of a hundred stretches, and of these the median.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STRETCHES 100

// A multiple of STRETCHES.
static int round_trips;
static int to[2], back[2];

static void send_or_exit(int pipe) {
    char byte = 0;
    if (write(pipe, &byte, 1) != 1)
        _exit(1);
}

static void receive_or_exit(int pipe) {
    char byte;
    if (read(pipe, &byte, 1) != 1)
        _exit(1);
}

static void *partner(void *nothing) {
    for (int i = 0; i < round_trips; i++) {
        receive_or_exit(to[0]);
        send_or_exit(back[1]);
    }
    return nothing;
}

static double stretch(void) {
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < round_trips / STRETCHES; i++) {
        send_or_exit(to[1]);
        receive_or_exit(back[0]);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 1e9;
    return seconds * 1e6 / (round_trips / STRETCHES);
}

static int by_size(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static double play(void) {
    double times[STRETCHES];
    for (int i = 0; i < STRETCHES; i++)
        times[i] = stretch();
    qsort(times, STRETCHES, sizeof *times, by_size);
    return times[STRETCHES / 2];
}

int main(int count, char **arguments) {
    round_trips = count == 2 ? atoi(arguments[1]) : 0;
    if (round_trips < 1 || round_trips % STRETCHES != 0)
        return 2;
    if (pipe(to) != 0 || pipe(back) != 0)
        return 1;

    pid_t child = fork();
    if (child < 0)
        return 1;
    if (child == 0) {
        partner(NULL);
        _exit(0);
    }
    printf("processes: %f\n", play());
    waitpid(child, NULL, 0);

    pthread_t thread;
    if (pthread_create(&thread, NULL, partner, NULL) != 0)
        return 1;
    printf("threads: %f\n", play());
    pthread_join(thread, NULL);
    return 0;
}
