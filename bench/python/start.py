"""Starts and joins a process that does nothing, by each start method: medians in microseconds."""

import multiprocessing
import statistics
import sys
import time


def nothing():
    pass


def start_and_join(context):
    start = time.perf_counter()
    process = context.Process(target=nothing)
    process.start()
    process.join()
    return (time.perf_counter() - start) * 1e6


def main():
    starts = int(sys.argv[1])
    for method in ["fork", "forkserver", "spawn"]:
        if method not in multiprocessing.get_all_start_methods():
            print(f"{method}: this Python does not have it")
            continue
        context = multiprocessing.get_context(method)
        # The first one starts the fork server.
        start_and_join(context)
        times = [start_and_join(context) for _ in range(starts)]
        print(f"{method}: {statistics.median(times)}")


if __name__ == "__main__":
    main()
