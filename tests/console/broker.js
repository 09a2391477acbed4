// A broker with a directory of its own and some data, and the programs to fill it with.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const START_MS_MAX = 20_000;

async function freePort() {
  const server = createServer();
  await new Promise((bound) => server.listen(0, "127.0.0.1", bound));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** Calls `check` until it gives something true. */
export async function eventually(what, check, msMax = START_MS_MAX) {
  const end = Date.now() + msMax;
  for (;;) {
    const found = await check().catch(() => false);
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what} did not come true`);
    await new Promise((next) => setTimeout(next, 50));
  }
}

export async function startBroker(programs) {
  const [port, http] = [await freePort(), await freePort()];
  const data = mkdtempSync(join(tmpdir(), "milena-console-"));
  const properties = [`listeners=PLAINTEXT://127.0.0.1:${port}`, `log.dirs=${data}`, `milena.http.listener=127.0.0.1:${http}`];
  const broker = spawn(join(programs, "milena-broker"), properties.flatMap((property) => ["--override", property]), { stdio: ["ignore", "ignore", "inherit"] });
  const url = `http://127.0.0.1:${http}`;
  const stop = async () => {
    broker.kill("SIGTERM");
    if (broker.exitCode === null) await new Promise((ended) => broker.once("exit", ended));
    rmSync(data, { recursive: true });
  };
  const milena = (input, ...words) => {
    const done = spawnSync(join(programs, "milena"), ["-b", `127.0.0.1:${port}`, ...words], { input, encoding: "utf8" });
    if (done.status !== 0) throw new Error(`milena ${words.join(" ")}: ${done.stderr}`);
  };
  try {
    await eventually("a ready broker", async () => (await fetch(`${url}/readyz`)).ok);
    return { url, port, milena, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
