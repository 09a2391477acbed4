"""What both Python members share: the command line of ../README.md (`member`) and its trace."""

import sys
import threading
import time


def options():
    """Bootstrap, group, topic, assignor, instance id or None."""
    bootstrap, group, topic, assignor, instance = sys.argv[1:]
    return bootstrap, group, topic, assignor, None if instance == "-" else instance


def told_to_leave():
    """An event that is set when standard input ends."""
    ended = threading.Event()

    def wait():
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    return ended


def trace(what, partitions):
    """One line; `partitions` are (topic, partition) or (topic, partition, offset)."""
    words = " ".join(":".join(map(str, partition)) for partition in partitions)
    print(f"{time.time_ns() // 1000}\t{what}\t{words}", flush=True)
