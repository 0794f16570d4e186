// Clicks through plots/review.html as a person who knows the true labels would: see correction_rounds.py, which calls this.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [packages, executablePath, file, truthFile, saved] = process.argv.slice(2);
const { chromium } = createRequire(join(packages, "package.json"))("playwright-core");
const truth = JSON.parse(readFileSync(truthFile, "utf8"));

const browser = await chromium.launch({ executablePath, args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"] });
const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
await page.goto(pathToFileURL(file).href);
const counts = { kept: 0, changed: 0 };
for (const card of await page.locator("article.card").all()) {
  const right = truth[await card.locator(".path").textContent()];
  const suggested = card.locator('button[data-do="label"]').filter({ hasText: right });
  if ((await card.locator("h2 bdi").textContent()) === right) {
    await card.locator('button[data-do="keep"]').click();
    counts.kept++;
    continue;
  }
  counts.changed++;
  if (await suggested.count()) {
    await suggested.first().click();
  } else {
    await card.locator('button[data-do="other"]').click();
    await page.keyboard.type(right);
    await page.keyboard.press("Enter");
  }
}
const [download] = await Promise.all([page.waitForEvent("download"), page.locator('button[data-do="save"]').click()]);
await download.saveAs(saved);
console.log(`${counts.kept} kept, ${counts.changed} changed; ${await page.locator("#progress").textContent()}`);
await browser.close();
