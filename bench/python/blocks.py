"""One process sends blocks of 64 KiB to another: MB/s, by a pipe or a pair of sockets."""

import multiprocessing
import sys
import time

SIZE = 65_536


def write(writer, items):
    block = bytes(SIZE)
    for _ in range(items):
        writer.send_bytes(block)


def main():
    way, items = sys.argv[1], int(sys.argv[2])
    reader, writer = multiprocessing.Pipe(duplex=way == "sockets")
    start = time.perf_counter()
    process = multiprocessing.Process(target=write, args=(writer, items))
    process.start()
    writer.close()
    # Into the same memory each time, as ours does.
    block = bytearray(SIZE)
    for _ in range(items):
        assert reader.recv_bytes_into(block) == SIZE
    process.join()
    rate = items * SIZE / 1e6 / (time.perf_counter() - start)
    for row in ["a pipe", "a pair of sockets"]:
        print(f"{row}: {rate}")


if __name__ == "__main__":
    main()
