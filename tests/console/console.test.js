// Opens every view of the console and asserts what it shows.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { eventually, startBroker } from "./broker.js";
import { HOSTILE, join as joinGroup, until } from "./groups.js";
import { picture } from "./picture.js";

const here = dirname(fileURLToPath(import.meta.url));
const [programs, option] = process.argv.slice(2);
const broker = await startBroker(programs);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const failures = [];
let passed = 0;

/** A page that notes what must not happen. */
async function open(path, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  page.setDefaultTimeout(10_000);
  page.wrong = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && page.wrong.push(message.text()));
  page.on("pageerror", (error) => page.wrong.push(String(error)));
  page.on("request", (request) => request.url().startsWith(`${broker.url}/`) || page.wrong.push(`asks ${request.url()}`));
  await page.goto(`${broker.url}/console${path}`);
  await page.waitForSelector("main h1");
  return page;
}

async function test(claim, work, path = "", options = {}) {
  const page = await open(path, options);
  try {
    await work(page);
    assert.deepEqual(page.wrong, []);
    console.log(`ok      ${claim}`);
    passed += 1;
  } catch (error) {
    console.log(`FAILED  ${claim}\n${error.stack}`);
    failures.push(claim);
  } finally {
    await page.close();
  }
}

const text = (page) => page.innerText("main");

/** The cells of a table on the page, row by row. */
const cells = async (page, name) => {
  const rows = await page.locator(`section:has(h2:text-is('${name}')) tbody tr`).all();
  return Promise.all(rows.map((row) => row.locator("td").allInnerTexts().then((texts) => texts.map((one) => one.trim()))));
};

for (let topic = 0; topic < 120; topic += 1) broker.milena("", "topic", "create", `filler-${String(topic).padStart(3, "0")}`);
broker.milena("", "topic", "create", "orders", "--partitions", "4", "--config", "retention.ms=86400000");
const produce = (partition, count) => broker.milena(Array.from({ length: count }, (_, at) => `order ${at}\n`).join(""), "produce", "orders", "--partition", String(partition));
const PARTITIONS = [0, 1, 2, 3];
PARTITIONS.forEach((partition) => produce(partition, 750));

// Two members that have read everything stand still while more comes: what they are behind is known to the record.
const LATE = [400, 300, 200, 334];
broker.milena("", "topic", "create", "refunds");
const members = [joinGroup(broker, "billing", ["orders", "refunds"], { client: "billing-a", instance: "first" }), joinGroup(broker, "billing", ["orders", "refunds"], { client: "billing-b" })];
try {
  await eventually("a group that has read everything", () => until(broker, "billing", (group) => group.members.length === 2 && group.state === "Stable" && group.total.lag_records === 0 && group.total.partitions === 4));
  members.forEach((member) => member.hold());
  PARTITIONS.forEach((partition) => produce(partition, LATE[partition]));
  members.push(joinGroup(broker, HOSTILE, ["orders"], { client: HOSTILE, instance: HOSTILE }));
  await eventually("the group with the name of an enemy", () => until(broker, HOSTILE, (group) => group.total.lag_records === 0));
  await eventually("the lag", () => until(broker, "billing", (group) => group.total.lag_records === 1_234 && group.total.lag_ms !== null));
} catch (error) {
  console.log(`FAILED  ${error.message}: ${members.map((member) => member.said()).join()}`);
  await end(1);
}

await test("overview shows cluster, figures and brokers", async (page) => {
  const shown = await text(page);
  for (const wanted of ["Received", "Connections", "123", "PLAINTEXT://127.0.0.1:", "active", "ready"]) assert.ok(shown.includes(wanted), wanted);
  await page.waitForFunction(() => !document.querySelector("main").innerText.includes("measuring"));
  assert.equal(await page.innerText("#status"), "Live");
});

await test("topics are searched, paged and opened by click", async (page) => {
  await page.click("nav >> text=Topics");
  await page.waitForSelector("text=filler-000");
  await page.click("text=Next →");
  await page.waitForSelector("text=filler-110");
  await page.click("text=← Back");
  await page.waitForSelector("text=filler-000");
  await page.fill("input[type=search]", "ORD");
  await page.waitForSelector("td >> text=orders");
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  assert.match(await page.innerText("tbody tr"), /4,234[\s\S]*1 d[\s\S]*1 set/);
  await page.click("td >> text=orders");
  await page.waitForSelector("h1 >> text=orders");
  assert.match(await text(page), /High watermark/);
  assert.equal(await page.locator("section:has(h2:text-is('Partitions')) tbody tr").count(), 4);
  await page.click("text=only the 1 that are set");
  await page.waitForFunction(() => document.querySelectorAll("details").length === 1);
  await page.click("summary >> text=retention.ms");
  assert.match(await page.innerText("details"), /86400000 \(dynamic topic\)/);
});

await test("broker configuration has sources and synonyms and hides what is sensitive", async (page) => {
  await page.fill("input[type=search]", "ssl.key.password");
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  assert.match(await page.innerText("tbody tr"), /hidden/);
  await page.fill("input[type=search]", "milena.http");
  await page.waitForSelector("summary >> text=milena.http.listener");
  assert.match(await page.innerText("tbody tr"), /static broker/);
}, "#/configs");

await test("quorum shows leader, voters and observers", async (page) => {
  const shown = await text(page);
  assert.match(shown, /node 1[\s\S]*Voters[\s\S]*leader[\s\S]*Observers/);
}, "#/quorum");

await test("groups show members, what each is assigned, lag by partition and the curve of the last hour", async (page) => {
  await page.click("nav >> text=Groups");
  await page.waitForSelector("td >> text=billing");
  assert.match(await page.innerText("tr:has(a:text-is('billing'))"), /Stable\s+2\s+4\s+1.2\d*K?/);
  await page.click("td >> text=billing");
  // A line that is level has no height, and counts as hidden.
  await page.waitForSelector("figure svg path.line", { state: "attached" });
  const shown = await text(page);
  for (const wanted of ["Stable", "range", "billing-a", "static: first", "billing-b", "127.0.0.1"]) assert.ok(shown.includes(wanted), `${wanted} in ${shown}`);

  const rows = await cells(page, "Partitions");
  assert.deepEqual(rows.map((row) => row.slice(0, 2)), [["orders", "0"], ["orders", "1"], ["orders", "2"], ["orders", "3"], ["refunds", "0"]]);
  const number = (cell) => Number(cell.replaceAll(",", ""));
  const orders = rows.slice(0, 4).map((row) => row.slice(2, 5).map(number));
  assert.deepEqual(orders, LATE.map((late) => [750, 750 + late, late]));
  assert.match(rows[0][5], /^[\d.]+ (ms|s|min)/);
  assert.deepEqual(rows[4].slice(2, 6), ["–", "–", "–", "–"], "nothing is committed for a topic without records");

  // Range: the first member has the first half of each topic.
  const chips = (cell) => cell.replace(/(\d)([a-z])/g, "$1 $2").replace(/\s+/g, " ");
  const assigned = Object.fromEntries((await cells(page, "Members")).map((row) => [row[0].split("static:")[0].trim(), chips(row[2])]));
  const owners = rows.map((row) => row[6]);
  assert.deepEqual(Object.values(assigned).sort(), ["orders 0, 1 refunds 0", "orders 2, 3"]);
  for (const [client, parts] of Object.entries(assigned)) {
    const own = rows.filter((row) => row[6] === client).map((row) => `${row[0]} ${row[1]}`);
    assert.deepEqual(own, parts.startsWith("orders 0") ? ["orders 0", "orders 1", "refunds 0"] : ["orders 2", "orders 3"], client);
  }
  assert.deepEqual([...new Set(owners)].sort(), ["billing-a", "billing-b"]);
  await page.hover("figure svg");
  await page.waitForSelector(".pointed text");
});

await test("names full of markup stay text", async (page) => {
  await page.click("nav >> text=Groups");
  await page.waitForFunction((name) => [...document.querySelectorAll("td a")].some((link) => link.textContent === name), HOSTILE);
  await page.locator("td a", { hasText: HOSTILE }).click();
  await page.waitForSelector("figure");
  assert.equal(await page.textContent("h1"), HOSTILE);
  const member = await page.textContent("section:has(h2:text-is('Members')) tbody tr");
  assert.ok(member.includes(HOSTILE) && member.includes(`static: ${HOSTILE}`), member);
  assert.equal(await page.locator("main img, main script").count(), 0);
  assert.equal(await page.evaluate(() => window.pwned), undefined);
});

await test("what does not exist is said", async (page) => {
  await page.waitForSelector("text=there is no such topic");
  assert.match(page.wrong.splice(0).join(), /404/);
}, "#/topics/%3Cb%3E");

await test("keyboard reaches every view", async (page) => {
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  for (let tabs = 0; tabs < 3; tabs += 1) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForSelector("h1 >> text=Topics");
});

await test("narrow dark page fits its width", async (page) => {
  await page.waitForSelector("td >> text=filler-000");
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
}, "#/topics", { viewport: { width: 390, height: 800 }, colorScheme: "dark" });

await test("hidden page does not ask", async (page) => {
  await page.clock.install();
  await page.reload();
  await page.waitForFunction(() => document.getElementById("status").textContent === "Live");
  await page.evaluate(() => {
    Object.defineProperty(document, "hidden", { value: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  let asked = 0;
  page.on("request", () => { asked += 1; });
  await page.clock.runFor(60_000);
  assert.equal(asked, 0);
});

if (option === "--picture") {
  const images = join(here, "../../docs/images");
  mkdirSync(images, { recursive: true });
  await picture(broker, () => open("", { viewport: { width: 1280, height: 860 } }), join(images, "console.png"));
}

await end(failures.length === 0 ? 0 : 1);

async function end(code) {
  for (const member of members) await member.end();
  await browser.close();
  await broker.stop();
  console.log(`${passed} passed, ${failures.length} failed`);
  process.exit(code);
}
