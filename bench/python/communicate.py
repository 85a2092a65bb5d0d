"""Popen.communicate sends so many MiB to a child, `cat`, and gets them back: MB/s."""

import subprocess
import sys
import time


def main():
    size = int(sys.argv[1]) * 2**20
    text = b"0" * size
    start = time.perf_counter()
    child = subprocess.Popen(
        ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, _ = child.communicate(text)
    seconds = time.perf_counter() - start
    assert len(out) == size
    for row in ["three threads", "one thread"]:
        print(f"{row}: {size / 1e6 / seconds}")


if __name__ == "__main__":
    main()
