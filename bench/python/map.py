"""Maps a function that returns its argument, by pools of 4: tasks per second, medians of 3 rounds."""

import concurrent.futures
import multiprocessing
import multiprocessing.pool
import statistics
import sys
import time

WORKERS = 4


def echo(number):
    return number


def tasks_per_second(run, tasks):
    times = []
    for _ in range(3):
        start = time.perf_counter()
        results = run()
        times.append(time.perf_counter() - start)
        assert results == list(range(tasks))
    return tasks / statistics.median(times)


def main():
    library, tasks = sys.argv[1], int(sys.argv[2])
    # What `Pool.map` takes if it is not told.
    chunk = -(-tasks // (4 * WORKERS))
    if library == "multiprocessing":
        pools = {"processes": multiprocessing.Pool, "threads": multiprocessing.pool.ThreadPool}
    else:
        pools = {
            "processes": concurrent.futures.ProcessPoolExecutor,
            "threads": concurrent.futures.ThreadPoolExecutor,
        }
    for kind, make in pools.items():
        with make(WORKERS) as pool:
            for name, size in [("one by one", 1), ("in chunks", chunk)]:
                run = lambda: list(pool.map(echo, range(tasks), chunksize=size))
                if library != "multiprocessing" and (kind, size) == ("threads", chunk):
                    print("threads, in chunks: its threads know no chunks")
                    continue
                print(f"{kind}, {name}: {tasks_per_second(run, tasks)}")


if __name__ == "__main__":
    main()
