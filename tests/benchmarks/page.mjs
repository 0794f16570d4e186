// Opens pages in headless Chromium and prints the results of the checks as JSON: see page.py, which calls this.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";

const [packages, executablePath, shots, ...pages] = process.argv.slice(2);
const require = createRequire(join(packages, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({
  executablePath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"],
});
const views = [];
for (const [number, path] of pages.entries()) {
  for (const width of [360, 768, 1280, 1920]) {
    for (const colorScheme of ["light", "dark"]) {
      const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme });
      const address = pathToFileURL(path).href;
      const requests = [], messages = [];
      page.on("request", (request) => {
        if (request.url() !== address && !request.url().startsWith("data:")) requests.push(request.url());
      });
      page.on("console", (message) => messages.push(message.text()));
      page.on("pageerror", (error) => messages.push(String(error)));
      await page.goto(address, { waitUntil: "load" });
      const broken = await page.$$eval("img", (images) => images.filter((image) => !image.naturalWidth).length);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (shots) await page.screenshot({ path: join(shots, `${number}-${width}-${colorScheme}.png`), fullPage: true });
      await page.keyboard.press("Tab");
      const first = await page.evaluate(() => document.activeElement.className);
      await page.evaluate(() => document.activeElement.blur()); // the skip link covers what is below it
      // Closed details are checked as well, and what lies outside of the viewport or below a bar that stays in it.
      await page.addStyleTag({ content: ".card { content-visibility: visible !important } .bar { position: static !important }" });
      await page.$$eval("details", (all) => all.forEach((one) => { one.open = true; }));
      await page.evaluate(axe);
      const { violations, incomplete } = await page.evaluate(() => window.axe.run());
      // An image enlarges by the keyboard; Escape closes it and leads back.
      let enlarges = true;
      if (await page.$(".enlarge")) {
        await page.focus(".enlarge");
        await page.keyboard.press("Enter");
        enlarges = await page.$eval("dialog", (dialog) => dialog.open && dialog.querySelector("img").naturalWidth > 0);
        violations.push(...(await page.evaluate(() => window.axe.run("dialog"))).violations);
        if (shots) await page.screenshot({ path: join(shots, `${number}-${width}-${colorScheme}-enlarged.png`) });
        await page.keyboard.press("Escape");
        enlarges &&= await page.evaluate(() => !document.querySelector("dialog").open && document.activeElement.className === "enlarge");
      }
      const brief = ({ id, impact, nodes }) => ({
        id, impact, count: nodes.length, first: nodes[0].html.slice(0, 200), why: nodes[0].any[0]?.message ?? "",
      });
      views.push({
        page: basename(path), width, colorScheme, requests, messages, broken, overflow, skipLinkFirst: first === "skip", enlarges,
        violations: violations.map(brief), incomplete: incomplete.map(brief),
      });
      if (shots && width === 1280 && colorScheme === "light") {
        await page.$$eval("details", (all) => all.forEach((one) => { one.open = false; }));
        await page.pdf({ path: join(shots, `${number}.pdf`), format: "A4", preferCSSPageSize: true });
      }
      await page.close();
    }
  }
}
await browser.close();
console.log(JSON.stringify(views));
