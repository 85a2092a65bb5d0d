// Starts and joins a thread, a fork, a spawn of this program, a spawn of `true`: medians in
// microseconds.
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static char *self;

static void *nothing(void *argument) {
    return argument;
}

static void by_thread(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, nothing, NULL) != 0)
        exit(1);
    pthread_join(thread, NULL);
}

static void by_fork(void) {
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    if (child < 0 || waitpid(child, NULL, 0) != child)
        exit(1);
}

static void spawn(char *program, char *argument) {
    char *arguments[] = {program, argument, NULL};
    pid_t child;
    int status;
    if (posix_spawnp(&child, program, NULL, NULL, arguments, environ) != 0 ||
        waitpid(child, &status, 0) != child || status != 0)
        exit(1);
}

static void by_spawn(void) {
    spawn(self, "nothing");
}

static void by_spawn_of_true(void) {
    spawn("true", NULL);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static int by_size(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static void measure(const char *name, void (*start_and_join)(void), int starts) {
    double *times = calloc(starts, sizeof *times);
    for (int i = 0; i < starts; i++) {
        double start = now();
        start_and_join();
        times[i] = now() - start;
    }
    qsort(times, starts, sizeof *times, by_size);
    printf("%s: %f\n", name, times[starts / 2]);
    // Or else a fork would have a copy of this line to print.
    fflush(stdout);
    free(times);
}

int main(int count, char **arguments) {
    if (count != 2)
        return 2;
    if (strcmp(arguments[1], "nothing") == 0)
        return 0;
    self = arguments[0];
    int starts = atoi(arguments[1]);
    if (starts < 1)
        return 2;
    // Before any thread: the C library keeps the stack of a thread that has ended, and each fork would
    // copy the page tables for it.
    measure("fork", by_fork, starts);
    measure("thread", by_thread, starts);
    measure("spawn", by_spawn, starts);
    measure("spawn of true", by_spawn_of_true, starts);
    return 0;
}
