"""What differs between any two brokers, hidden by rules; everything else must be equal."""

import re

# Everywhere: pattern, and what stands there instead.
RULES = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>"),
    # Ids of topics, directories and clusters: 16 bytes in base64.
    (r"(?<![\w.-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])[\w-]{22}(?![\w(-]|\.\w)", "<id>"),
    (r"\bA{22}\b", "<id>"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d([.,:]\d{3})?(Z|[+-]\d\d:\d\d)?", "<time>"),
    (r"\b1[6-9]\d{11}\b", "<time>"),
    (r"(console|perf)-consumer-\d+", r"\1-consumer-<number>"),
    # The wording of a refusal is the broker's own; that it is one, and of which kind, must be equal.
    (r"((?:^|: )(?:org\.apache\.kafka\.[\w.]+|java\.[\w.]+)\.\w+(?:Exception|Error)): .*", r"\1: <message>"),
    (r"(the following feature had an error): .*", r"\1: <message>"),
    (r"(Error while executing [\w -]+ command) ?: .*", r"\1: <message>"),
)
# For one tool: its measurements.
OF_TOOLS = {
    "producer-perf": ((r"\d+\.\d+", "<number>"), (r"\b\d+ ms", "<number> ms")),
    "consumer-perf": ((r"\d+\.\d+", "<number>"), (r", \d+, \d+, ", ", <number>, <number>, ")),
    "log-dirs": ((r'"size":\d+', '"size":<number>'),),
    "features": ((r"Epoch: \d+", "Epoch: <number>"),),
    "metadata-quorum": ((r"(LeaderEpoch|HighWatermark): \d+", r"\1: <number>"), (r"(<id>) \d+ 0 ", r"\1 <number> 0 "), (r"\d+ ms ago", "<number> ms ago")),
}
# Of a stack trace the first line is said to people; the rest is where in the tool it came about.
TRACE = re.compile(r"^\s+at |^\s*\.\.\. \d+ more")


class Masks:
    def __init__(self, bootstrap, folder):
        host, port = bootstrap.split(":")
        self.own = ((re.escape(bootstrap), "<broker>"), (rf"(?<![\d.]){port}(?![\d.])", "<port>"), (rf"(?<![\d.]){int(port) + 1001}(?![\d.])", "<controller port>"), (r"(milena.http.listener=127.0.0.1):\d{5}", r"\1:<port>"), (re.escape(str(folder)), "<folder>"), (r"/\S*/clusters/[\w-]+/data-\d+", "<data>"), (r"<folder>/data\b", "<data>"))

    def lines(self, text, call):
        rules = (*self.own, *RULES, *OF_TOOLS.get(call.split(" ", 1)[0], ()))
        found = []
        for line in text.splitlines():
            if TRACE.match(line):
                continue
            line = re.sub(r"[ \t]+", " ", line).strip()
            for pattern, instead in rules:
                line = re.sub(pattern, instead, line)
            if line:
                found.append(line)
        return found
