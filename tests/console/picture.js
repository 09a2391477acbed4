// The picture in the documentation: a group whose members read slowly, under a load that comes in waves.

import { spawn } from "node:child_process";

import { eventually } from "./broker.js";
import { RECORD_BYTES, join, until } from "./groups.js";

/** So long the load lasts; a chart begins with a minute. */
const LOAD_MS = 90_000;
const TICK_MS = 100;

/** Records a second that each of the two members can read, and that come on average. */
const READS_PER_S = 400;
const WRITES_PER_S = 780;

export async function picture(broker, open, path) {
  broker.milena("", "topic", "create", "payments", "--partitions", "4");
  const producer = spawn("kcat", ["-P", "-b", `127.0.0.1:${broker.port}`, "-t", "payments", "-X", "linger.ms=5"], { stdio: ["pipe", "ignore", "inherit"] });
  const members = ["worker-1", "worker-2"].map((client) => join(broker, "payment-service", ["payments"], { client }));
  await eventually("both members", () => until(broker, "payment-service", (group) => group.members.length === 2 && group.state === "Stable"));
  members.forEach((member) => member.limit(READS_PER_S));
  const record = (at) => `${`payment ${at} `.padEnd(RECORD_BYTES - 1, ".")}\n`;
  const began = Date.now();
  for (let written = 0, due = 0; Date.now() - began < LOAD_MS; ) {
    const minutes = (Date.now() - began) / 60_000;
    due += (WRITES_PER_S * (1 + 0.9 * Math.sin(minutes * 7) + 0.3 * Math.sin(minutes * 31)) * TICK_MS) / 1_000;
    for (; written < due; written += 1) producer.stdin.write(record(written));
    await new Promise((next) => setTimeout(next, TICK_MS));
  }
  const page = await open();
  await page.goto(`${broker.url}/console#/groups/payment-service`);
  await page.waitForSelector("figure svg path.line");
  await page.screenshot({ path });
  await page.close();
  producer.stdin.end();
  for (const member of members) await member.end();
}
