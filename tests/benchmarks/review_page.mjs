// Uses the page to check labels in headless Chromium: see review_page.py, which calls this and reads what it prints.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [packages, executablePath, pagePath, rebuiltPath, manyPath, opened, shots] = process.argv.slice(2);
const require = createRequire(join(packages, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const problems = [];
const check = (right, text) => { if (!right) problems.push(text); };

const browser = await chromium.launch({
  executablePath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"],
});
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true });

async function open(view, path = pagePath) {
  const page = await view.newPage();
  page.on("console", (message) => problems.push(`on the console: ${message.text()}`));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("dialog", (dialog) => { problems.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
  await page.goto(pathToFileURL(path).href);
  return page;
}

let page = await open(context);
const card = (n, on = page) => on.locator(`[data-number="${n}"]`);
const decision = (n) => card(n).locator(".decision").textContent();
const button = (n, name, on = page) => card(n, on).locator(`[data-do=${name}]`);
const progress = () => page.locator("#progress").textContent();
const shoot = async (name, on = page) => { if (shots) await on.screenshot({ path: join(shots, `${name}.png`) }); };
const violations = async (what, on = page) => {
  await on.evaluate(axe);
  const found = await on.evaluate(() => window.axe.run());
  problems.push(...found.violations.map((x) => `axe, ${what}: ${x.id}, such as ${x.nodes[0].html.slice(0, 200)}`));
};
const focused = () => page.evaluate(() => document.activeElement.dataset.number);

check((await progress()) === "1 of 20 decided", `at first: ${await progress()}`);
check((await page.locator("b b, .card i, article script").count()) === 0, "a name is markup");

// The mouse.
await button(0, "keep").click();
await button(1, "label").click();
check((await button(1, "label").getAttribute("aria-pressed")) === "true", "the pressed button does not say so");
await button(2, "keep").click();
await button(2, "keep").click();
check((await decision(2)) === "", "a second click does not take the decision back");
check((await progress()) === "3 of 20 decided", `after the mouse: ${await progress()}`);

// The keyboard: the Tab key reaches the images, one stop for all.
await page.locator("[data-do=open]").focus();
await page.keyboard.press("Tab");
check((await focused()) === "2", `the Tab key stops at image ${await focused()}`);
await page.keyboard.press("ArrowLeft");
await page.keyboard.press("j");
await page.keyboard.press("d");
check((await decision(2)) === "Drop" && (await focused()) === "3", "D does not drop and go on");
const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
check(ring === "solid", "the focus is not visible");
await page.keyboard.press("u");
await page.keyboard.press("k");
await page.keyboard.press("n");
await page.keyboard.type('who\nknows, "this"?');
await page.locator("#chooser [data-do=apply]").press("Enter");
check((await decision(3)).startsWith("Unsure ('who"), `a note: ${await decision(3)}`);
check((await focused()) === "3", "after the dialog, the focus is elsewhere");

// The list of classes.
await button(4, "other").click();
await page.keyboard.type('=new, "class"');
check(/New class.*No image has it yet/.test(await page.locator("#hint").textContent()), "a new class is not said to be new");
await shoot("new-class");
await violations("a new class");
await page.keyboard.press("Enter");
await button(5, "other").click();
await page.keyboard.type("'A\\u202");
await shoot("list");
await page.keyboard.press("Enter");
check((await decision(5)) === "Class 'a\\u202eb'", `from the list: ${await decision(5)}`);

// Several at once, by the keyboard and with the bar.
await card(6).focus();
await page.keyboard.press("x");
await page.keyboard.press("ArrowRight");
await page.keyboard.press("Shift+X");
check((await page.locator("#selected").textContent()) === "2 selected", "two are not selected");
await page.keyboard.press("o");
await page.keyboard.type("two");
await page.keyboard.press("Enter");
await page.locator("[data-do=deselect]").click();
await button(8, "select").click();
await button(9, "select").click({ modifiers: ["Shift"] });
await shoot("selected");
await violations("selected");
await page.locator(".selection [data-do=drop]").click();
await page.locator("[data-do=deselect]").click();
check((await decision(8)) === "Drop" && (await decision(9)) === "Drop", "the bar does not drop both");

// Undo and redo, each of several at once.
await page.keyboard.press("Control+z");
check((await decision(8)) === "" && (await decision(9)) === "", "undo");
await page.keyboard.press("z");
check((await decision(6)) === "", "undo once more");
await page.keyboard.press("Control+y");
await page.locator("[data-do=redo]").click();
check((await decision(7)) === "Class 'two\\nlines'" && (await decision(9)) === "Drop", "redo");

// Enlarged.
await card(11).focus();
await page.keyboard.press("Enter");
check((await page.locator("#viewer img").count()) === 1, "no image is enlarged");
await shoot("enlarged");
await violations("enlarged");
await page.keyboard.press("ArrowRight");
await page.keyboard.press("k");
await page.keyboard.press("u");
await page.keyboard.press("Escape");
check((await decision(11)) === "Unsure" && (await focused()) === "12", "enlarged: unsure, and the next image");

// Filters.
await page.locator("#state").selectOption("decided");
check((await page.locator(".card:visible").count()) === 12, `decided: ${await page.locator(".card:visible").count()}`);
await page.locator("#state").selectOption("undecided");
check((await page.locator(".card:visible").count()) === 8, `undecided: ${await page.locator(".card:visible").count()}`);
await page.locator("#class").selectOption({ label: "=1+1" });
check((await page.locator(".card:visible").count()) === 0, "a class all of whose images are decided");
await page.locator("#state").selectOption("");
check((await page.locator(".card:visible").count()) === 4, `a class: ${await page.locator(".card:visible").count()}`);
await page.locator("[data-do=select-all]").click();
check((await page.locator("#selected").textContent()) === "4 selected", "all shown are not selected");
await page.locator("[data-do=deselect]").click();

// Closed and opened again; by touch.
await page.close();
const touch = await browser.newContext({
  viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, colorScheme: "dark",
});
page = await open(context);
check((await progress()) === "12 of 20 decided", `after closing: ${await progress()}`);
check((await decision(7)) === "Class 'two\\nlines'", `after closing: ${await decision(7)}`);
const phone = await open(touch);
await button(10, "label", phone).tap();
check((await card(10, phone).locator(".decision").textContent()).startsWith("Class"), "touch decides nothing");
await button(10, "enlarge", phone).tap();
check(await phone.locator("#viewer img").isVisible(), "touch does not enlarge");
await shoot("phone-enlarged", phone);
await phone.locator("#viewer [data-do=close]").tap();
await shoot("phone", phone);
await violations("on a phone, dark", phone);
await touch.close();
await button(10, "label").click();
await page.emulateMedia({ colorScheme: "dark" });
await shoot("dark");

// A page made anew: what the project has decided otherwise since then stands, all else stays.
const rebuilt = await open(context, rebuiltPath);
check((await rebuilt.locator("#message").textContent()).startsWith("1 decision of this browser differs"), "no conflict is said");
check((await card(0, rebuilt).locator(".decision").textContent()) === "Class dog", "the project's decision does not stand");
check((await rebuilt.locator("#progress").textContent()) === "13 of 20 decided", await rebuilt.locator("#progress").textContent());
await rebuilt.close();

// A file of corrections is opened, and all is saved.
const wrong = { name: "wrong.csv", mimeType: "text/csv", buffer: Buffer.from("path,label\na,b\n") };
await page.locator("#file").setInputFiles(wrong);
await page.waitForFunction(() => document.getElementById("message").textContent.includes("is not opened"));
await page.locator("#file").setInputFiles(opened);
await page.waitForFunction(() => document.getElementById("message").textContent.startsWith("Opened 2 decisions"));
await page.reload();
const [download] = await Promise.all([page.waitForEvent("download"), page.locator("[data-do=save]").click()]);
check(download.suggestedFilename() === "corrections.csv", `saved as ${download.suggestedFilename()}`);
await download.saveAs("saved.csv");
await shoot("saved");

// Where nothing can be stored, the page says so, and asks before it is closed.
const strict = await browser.newContext();
await strict.addInitScript(() => {
  Object.defineProperty(window, "localStorage", { get() { throw new DOMException("refused", "SecurityError"); } });
});
page = await strict.newPage();
await page.goto(pathToFileURL(pagePath).href);
check((await page.locator("#message").textContent()).includes("stores nothing"), "storage that fails is not mentioned");
await button(0, "drop").click();
let asked = false;
page.on("dialog", (dialog) => { asked = dialog.type() === "beforeunload"; dialog.accept(); });
await page.close({ runBeforeUnload: true });
await new Promise((done) => setTimeout(done, 1000));
check(asked, "the page is closed without a question");

// Many images.
const many = await browser.newPage({ viewport: { width: 1280, height: 900 } });
await many.addInitScript(() => {
  window.tasks = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.tasks.push([entry.startTime, entry.duration]);
  }).observe({ entryTypes: ["longtask"] });
});
const before = Date.now();
await many.goto(pathToFileURL(manyPath).href, { waitUntil: "load" });
const loaded = Date.now() - before;
await many.waitForTimeout(1000);
const from = await many.evaluate(() => performance.now());
for (let step = 0; step < 60; step++) {
  await many.mouse.wheel(0, step < 40 ? 900 : 12000);
  await many.waitForTimeout(50);
}
await many.waitForTimeout(500);
check((await many.evaluate(() => scrollY)) > 20000, "the page of many images does not scroll");
const tasks = (await many.evaluate(() => window.tasks)).filter(([start]) => start > from).map(([, length]) => Math.round(length));
await browser.close();
console.log(JSON.stringify({ problems, tasks, loaded }));
