// Real consumer groups: members are kcat processes, with the names that a test gives them.

import { spawn } from "node:child_process";

/** What an enemy would call a group, a client and an instance. */
export const HOSTILE = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'"&amp;`;

/** Bytes of a record that kcat prints, and so the measure of a member that reads slowly. */
export const RECORD_BYTES = 128;

const SLOW_TICK_MS = 100;

/** A member of `group` that reads `topics` and commits as it goes. Ended with `end`. */
export function join(broker, group, topics, { client = "kcat", instance = null } = {}) {
  const properties = [`client.id=${client}`, "auto.commit.interval.ms=200", "auto.offset.reset=earliest", "partition.assignment.strategy=range"];
  if (instance !== null) properties.push(`group.instance.id=${instance}`);
  const words = ["-b", `127.0.0.1:${broker.port}`, "-q", "-u", ...properties.flatMap((property) => ["-X", property]), "-G", group, ...topics];
  const member = spawn("kcat", words, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  member.stderr.on("data", (text) => { said = (said + text).slice(-2_000); });
  const ended = new Promise((over) => member.once("exit", over));
  let slow = null;
  member.stdout.resume();
  return {
    said: () => said,
    /** From here on it reads so many records a second at most: its output is a pipe that is full most of the time. */
    limit(perSecond) {
      clearInterval(slow);
      member.stdout.pause();
      let due = 0;
      slow = setInterval(() => {
        due = Math.min(due + (perSecond * RECORD_BYTES * SLOW_TICK_MS) / 1_000, perSecond * RECORD_BYTES);
        const bytes = member.stdout.read(Math.min(Math.floor(due), member.stdout.readableLength) || undefined);
        due -= bytes?.length ?? 0;
      }, SLOW_TICK_MS);
    },
    /** Stands still, as a process does whose machine has other things to do; its session goes on for 45 s. */
    hold: () => member.kill("SIGSTOP"),
    async end() {
      clearInterval(slow);
      member.stdout.resume();
      member.kill("SIGCONT");
      member.kill("SIGTERM");
      await ended;
    },
  };
}

/** What `/api/v1/group` says of a group once it says what is waited for. */
export async function until(broker, group, is) {
  const answer = await fetch(`${broker.url}/api/v1/group?name=${encodeURIComponent(group)}`);
  return answer.ok && is(await answer.json());
}
