"""What both Python clients share: the command line of ../README.md and its record format."""

import sys

FIRST_TIMESTAMP = 1_700_000_000_000
STEP = 1000
LIMIT_S = 60


def records(path, partitions):
    """Each line of the input as (partition, timestamp, key, value, headers)."""
    with open(path, "rb") as file:
        for i, line in enumerate(file):
            key, value = line.rstrip(b"\n").split(b"\t", 1)
            yield i % partitions, FIRST_TIMESTAMP + STEP * i, key, value, [("n", b"%d" % i)]


def show(offset, timestamp, key, value, headers):
    n = dict(headers or []).get("n") or b""
    fields = [b"%d" % offset, b"%d" % timestamp, key or b"", value or b"", n]
    sys.stdout.buffer.write(b"\t".join(fields) + b"\n")


def main(client):
    command, bootstrap, topic, *rest = sys.argv[1:]
    if command == "create":
        client.create(bootstrap, topic, int(rest[0]))
    elif command == "write":
        partitions, codec, acks, idempotent, path = rest
        acks = acks if acks == "all" else int(acks)
        client.write(bootstrap, topic, records(path, int(partitions)), codec, acks, idempotent == "yes")
    elif command == "read":
        client.read(bootstrap, topic, *map(int, rest))
    elif command == "at":
        print(client.at(bootstrap, topic, *map(int, rest)))
    elif command == "ends":
        print(*client.ends(bootstrap, topic, int(rest[0])))
    else:
        sys.exit(f"cannot {command}")
