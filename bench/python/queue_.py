"""The notes' program, with many items: one process puts them, another gets them, both print each.
Microseconds per item."""

import multiprocessing
import sys
import time


def write(items, put):
    for item in range(items):
        print(f"Put {item} to queue...")
        put(item)
    put(None)


def read(get):
    while (item := get()) is not None:
        print(f"Get {item} from queue.")


def main():
    how, items = sys.argv[1], int(sys.argv[2])
    if how == "Queue":
        queue = multiprocessing.Queue()
        put, get = queue.put, queue.get
    else:
        reader, writer = multiprocessing.Pipe(duplex=False)
        put, get = writer.send, reader.recv
    start = time.perf_counter()
    processes = [
        multiprocessing.Process(target=read, args=(get,)),
        multiprocessing.Process(target=write, args=(items, put)),
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    microseconds = (time.perf_counter() - start) * 1e6
    print(f"a queue, each printed twice: {microseconds / items}")


if __name__ == "__main__":
    main()
