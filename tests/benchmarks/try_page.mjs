// Tries the model on the page in headless Chromium: see try_page.py, which calls this and reads what it prints.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const require = createRequire(join(settings.folder, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const problems = [];
const check = (right, text) => { if (!right) problems.push(text); };

const browser = await chromium.launch({
  executablePath: settings.chromium,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
});

async function open(path, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
  const page = await context.newPage(), address = pathToFileURL(path).href;
  page.on("request", (request) => { if (!/^(data|blob):/.test(request.url()) && request.url() !== address) problems.push(`request to ${request.url()}`); });
  page.on("console", (message) => { if (message.type() !== "debug") problems.push(`on the console: ${message.text()}`); });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("dialog", (dialog) => { problems.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
  await page.goto(address);
  return page;
}
const status = (page) => page.locator("#status").textContent();
const said = (page, pattern, timeout = 60000) => page.waitForFunction(
  (source) => new RegExp(source).test(document.getElementById("status").textContent), pattern, { timeout, polling: 20 },
).catch(async () => problems.push(`the status is not ${pattern}, but ${await status(page)}`));
const shoot = async (page, name) => { if (settings.shots) await page.screenshot({ path: join(settings.shots, `${name}.png`), fullPage: true }); };
const violations = async (page, what) => {
  await page.evaluate(axe);
  const { violations: found, incomplete } = await page.evaluate(() => window.axe.run());
  const unclear = incomplete.filter((x) => x.id === "color-contrast");
  problems.push(...[...found, ...unclear].map((x) => `axe, ${what}: ${x.id}, such as ${x.nodes[0].html.slice(0, 200)}`));
};
const save = async (page, name) => {
  const download = page.waitForEvent("download");
  await page.locator("[data-do=save]").click();
  await (await download).saveAs(join(settings.folder, name));
};
const choose = (page, files) => page.locator("#files").setInputFiles(files);

// All test images.
let start = performance.now();
let page = await open(settings.page);
await said(page, "is ready");
const loaded = performance.now() - start;
const client = await page.context().newCDPSession(page);
await client.send("Performance.enable");
const used = async () => (await client.send("Performance.getMetrics")).metrics.find((x) => x.name === "ProcessTime").value * 1000;
const before = await used();
start = performance.now();
await choose(page, settings.images);
await said(page, `${settings.images.length} images done`, 600000);
const milliseconds = performance.now() - start, processor = (await used()) - before;
await save(page, "tested.csv");
await shoot(page, "tested");
check((await page.locator("#rows tr").count()) === settings.images.length, "the table lacks rows");

// An image of the table, by the keyboard.
await page.locator("#rows button").nth(2).press("Enter");
await said(page, basename(settings.images[2]).replaceAll(".", "\\."));
check((await page.locator("#rows [aria-current=true] th").textContent()) === basename(settings.images[2]), "the row is not marked");
await page.locator("[data-do=clear]").press("Enter");
check((await page.locator("#rows tr").count()) === 0 && !(await page.locator("#answer").isVisible()), "images are not removed");
check(await page.evaluate(() => document.activeElement.dataset.do === "choose"), "after that, the focus is elsewhere");

// Made-up images of many kinds, the last of which is broken.
await choose(page, settings.odd);
await said(page, `${settings.odd.length} images done, 1 of which cannot be read`);
await save(page, "odd.csv");
await page.close();

// One image: dropped, pasted, photographed; and only an answer, no table.
page = await open(settings.page);
const files = await page.evaluateHandle(async (base64) => {
  const bytes = Uint8Array.from(atob(base64), (x) => x.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "<i>dropped</i>.png", { type: "image/png" }));
  return transfer;
}, readFileSync(settings.odd[0]).toString("base64"));
await page.evaluate((dataTransfer) => document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true })), files);
await said(page, "^<i>dropped</i>.png: .*%");
check(!(await page.locator("#all").isVisible()), "one image makes a table");
check((await page.locator("#name i").count()) === 0, "the name of a file is markup");
await shoot(page, "one");
await page.evaluate((clipboardData) => document.dispatchEvent(new ClipboardEvent("paste", { clipboardData })), files);
await page.locator("#rows tr").nth(1).waitFor();
check(await page.locator("#all").isVisible(), "two images make no table");
await page.locator("#photo").setInputFiles(settings.odd[1]);
await said(page, `${basename(settings.odd[1])}: `);
const ring = await page.locator("[data-do=choose]").press("Tab").then(() => page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle));
check(ring === "solid", "the focus is not visible");

// The camera, and without one.
await page.locator("[data-do=camera]").press("Enter");
await page.waitForFunction(() => document.getElementById("name").textContent === "Camera", null, { timeout: 20000 }).catch(() => problems.push("the camera shows nothing"));
await page.waitForTimeout(1000);
check((await page.locator("[data-do=camera]").getAttribute("aria-pressed")) === "true", "the button of the camera is not pressed");
await shoot(page, "camera");
await page.locator("[data-do=camera]").press("Enter");
await said(page, "camera is off");
await page.evaluate(() => { Object.defineProperty(navigator, "mediaDevices", { value: undefined }); });
await page.locator("[data-do=camera]").click();
await said(page, "does not let a page that is a file use the camera");
await page.close();

// Class names are text; and axe, with answers, at two widths in light and dark.
for (const width of [360, 1280]) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [name, path, images] of [["page", settings.page, settings.images.slice(0, 3)], ["hostile", settings.hostile, settings.odd.slice(0, 3)]]) {
      page = await open(path, { viewport: { width, height: 800 }, colorScheme, hasTouch: width === 360, isMobile: width === 360 });
      await said(page, "is ready");
      await choose(page, [...images, settings.odd.at(-1)]);
      await said(page, "4 images done");
      await shoot(page, `${name}-${width}-${colorScheme}`);
      check((await page.locator("bdi *").count()) === 0, "a name is markup");
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      check(overflow <= 0, `${overflow} pixels too wide at ${width}`);
      check((await page.locator("[data-do=photograph]").isVisible()) === (width === 360), "the button for a photo");
      await violations(page, `${name}, ${width}, ${colorScheme}`);
      await page.close();
    }
  }
}
page = await open(settings.hostile);
await choose(page, settings.odd.slice(0, 2));
await said(page, "2 images done");
check((await page.locator("#bars tr").count()) === 10, "more than 10 classes at first");
await page.locator("#more").press("Enter");
check((await page.locator("#bars tr").count()) === 12, "not all classes");
const names = await page.locator("#bars bdi").allTextContents();
check(names.includes("<b>bold</b>") && names.includes("'two\\nlines'") && names.includes("</script><!--"), `names: ${names}`);
check((await page.locator("#unlike").getAttribute("class")) === "warning", "an image is not unlike the training images");

await browser.close();
console.log(JSON.stringify({ problems, loaded, milliseconds, processor }));
