// Opens every view of the console and asserts what it shows.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { startBroker } from "./broker.js";
import { HOSTILE, list, one } from "./groups.js";

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
const answerGroups = async (page) => {
  const fulfil = (make) => (route) => route.fulfill({ json: make(new URL(route.request().url()).searchParams.get("name")) });
  await page.route("**/api/v1/groups?*", fulfil(() => list));
  await page.route("**/api/v1/group?*", fulfil(one));
};

for (let topic = 0; topic < 120; topic += 1) broker.milena("", "topic", "create", `filler-${String(topic).padStart(3, "0")}`);
broker.milena("", "topic", "create", "orders", "--partitions", "4", "--config", "retention.ms=86400000");
broker.milena(Array.from({ length: 3_000 }, (_, at) => `order ${at}\n`).join(""), "produce", "orders");

await test("overview shows cluster, figures and brokers", async (page) => {
  const shown = await text(page);
  for (const wanted of ["Received", "Connections", "121", "PLAINTEXT://127.0.0.1:", "active", "ready"]) assert.ok(shown.includes(wanted), wanted);
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
  assert.match(await page.innerText("tbody tr"), /3,000[\s\S]*1 d[\s\S]*1 set/);
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

await test("groups show members, lag by partition and the curve of the last hour", async (page) => {
  await answerGroups(page);
  await page.click("nav >> text=Groups");
  await page.waitForSelector("td >> text=billing");
  await page.click("td >> text=billing");
  await page.waitForSelector("figure svg path.line");
  const shown = await text(page);
  for (const wanted of ["12.3K", "1 min 35 s", "billing-worker", "/10.0.0.7", "4,115"]) assert.ok(shown.includes(wanted), wanted);
  const uncommitted = await page.innerText("section:has(h2:text-is('Partitions')) tbody tr:nth-child(4)");
  assert.match(uncommitted, /–\s+–\s+–\s+–\s+billing-worker/);
  await page.hover("figure svg");
  await page.waitForSelector(".pointed text");
});

await test("names full of markup stay text", async (page) => {
  await answerGroups(page);
  await page.click("nav >> text=Groups");
  await page.waitForFunction((name) => [...document.querySelectorAll("td a")].some((link) => link.textContent === name), HOSTILE);
  await page.locator("td a").last().click();
  await page.waitForSelector("figure");
  assert.equal(await page.textContent("h1"), HOSTILE);
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
  const page = await open("", { viewport: { width: 1280, height: 860 } });
  await answerGroups(page);
  await page.goto(`${broker.url}/console#/groups/billing`);
  await page.waitForSelector("figure svg path.line");
  await page.screenshot({ path: join(images, "console.png") });
  for (const [name, path] of [["overview", ""], ["topics", "#/topics"], ["topic", "#/topics/orders"], ["configs", "#/configs"]]) {
    if (!process.env.ALL_PICTURES) break;
    await page.goto(`${broker.url}/console${path}`);
    await page.waitForTimeout(3_200);
    await page.screenshot({ path: join(process.env.ALL_PICTURES, `${name}.png`) });
  }
}

await browser.close();
await broker.stop();
console.log(`${passed} passed, ${failures.length} failed`);
process.exit(failures.length === 0 ? 0 : 1);
