"""A broker for the client tests: Milena's program, or the real Apache Kafka."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

COMPAT = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", COMPAT.parent.parent / "target"))
KAFKA = COMPAT.parent / "apache-kafka"
os.environ.setdefault("APACHE_KAFKA_HOME", str(TARGET / "apache-kafka"))
os.environ.setdefault("EXTRA_CLASSPATH", str(TARGET / "clients/java"))

# Below the ephemeral range, so that no client can be given the port it is waiting for.
PORTS = range(24_000, 31_700)
LIMIT_S = 30


def free_port(avoid=()):
    start = os.getpid() * 7 % len(PORTS)
    for step in range(len(PORTS)):
        port = PORTS[(start + step) % len(PORTS)]
        if port not in avoid and is_free(port):
            return port
    raise RuntimeError("no free port")


def is_free(port):
    with socket.socket() as probe:
        # As brokers do, so that connections of a broker that ended a moment ago are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


class Milena:
    """The broker's program on files below `folder`; ports stay the same over restarts."""

    def __init__(self, folder, properties=None, port=None):
        self.folder = pathlib.Path(folder)
        self.port = port or free_port()
        self.http_port = free_port(avoid=(self.port,))
        self.properties = properties or {}
        self.process = None
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.data = self.folder / "data"

    def start(self):
        program = os.environ.get("MILENA_BROKER", TARGET / "release/milena-broker")
        settings = {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            # Said and not left to follow from the line above, as tests/apache-kafka does: DescribeConfigs tells them apart.
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": self.data,
            "milena.http.listener": f"127.0.0.1:{self.http_port}",
            **self.properties,
        }
        file = self.folder / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        with open(self.folder / "broker.log", "ab") as log:
            self.process = subprocess.Popen([program, file], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            time.sleep(0.01)
        raise RuntimeError(f"the broker did not start:\n{self.output()[-2000:]}")

    def output(self):
        return (self.folder / "broker.log").read_text(errors="replace")

    def stop(self):
        """A clean stop; anything but exit code 0 is an error."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(LIMIT_S)
        if code != 0:
            raise RuntimeError(f"the broker ended with {code}:\n{self.output()[-2000:]}")

    def kill(self):
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running(broker, bootstrap, folder, properties, node=1, port=None):
    """Gives the bootstrap address of what the options ask for, and ends what was started for it."""
    if bootstrap:
        yield bootstrap
    elif port and not is_free(port):
        raise RuntimeError(f"port {port} is in use, and what follows needs a broker of its own there")
    elif broker == "apache-kafka":
        name = f"compat-{os.getpid()}"
        port = port or free_port()
        words = [KAFKA, "start", "--name", name, "--first-id", str(node), "--port", str(port)]
        words += [word for item in properties.items() for word in ("--set", "=".join(item))]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            subprocess.run([KAFKA, "stop", name], check=True)
    else:
        milena = Milena(folder, {"node.id": str(node)} | properties, port).start()
        try:
            yield milena.bootstrap
            milena.stop()
        except BaseException:
            print(milena.output()[-4000:], file=sys.stderr)
            milena.kill()
            raise
