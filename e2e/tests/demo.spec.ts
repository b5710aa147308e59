// The demo page as a person uses it. Everything but the first group talks to the real model.

import { expect, test, type Page } from "@playwright/test";
import { TestServer } from "../server.mjs";
import { ANSWER_MS, answers, ask, beGreedy, expectNames, open as openDemo, openPanel, panel } from "../support/demo.ts";

const server = new TestServer();
test.beforeAll(() => server.start());
test.afterAll(() => server.stop());

const open = (page: Page) => openDemo(page, server.origin);

/** Renders markdown in the page and returns its HTML. */
async function render(page: Page, texts: string[]): Promise<string[]> {
  await page.goto(`${server.origin}/demo/icon.svg`);
  await page.goto(`${server.origin}/`);
  return page.evaluate(async (list) => {
    const path = "/demo/markdown.js";
    const { renderMarkdown } = await import(path);
    return list.map((text) => {
      const box = document.createElement("div");
      document.body.append(box);
      box.append(renderMarkdown(text));
      return box.innerHTML;
    });
  }, texts);
}

test.describe("markdown", () => {
  test("becomes the elements that it means", async ({ page }) => {
    const cases: [string, string][] = [
      ["a *b* **c** `d` ~~e~~", "<p>a <em>b</em> <strong>c</strong> <code>d</code> <s>e</s></p>"],
      ["**bold *and* more**", "<p><strong>bold <em>and</em> more</strong></p>"],
      ["snake_case_name and 2 * 3 * 4", "<p>snake_case_name and 2 * 3 * 4</p>"],
      ["an *unfinished", "<p>an *unfinished</p>"],
      ["# Title #", "<h3>Title</h3>"],
      ["- a\n- b\n  - c\n\n- d", "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>"],
      ["3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'],
      ["> q\nmore", "<blockquote><p>q\nmore</p></blockquote>"],
      ["a\nb  \nc", "<p>a\nb<br>c</p>"],
      ["---", "<hr>"],
      ["\\*literal\\*", "<p>*literal*</p>"],
      ["[x](https://a.example/?q=1&r)", '<p><a href="https://a.example/?q=1&amp;r" rel="noopener noreferrer nofollow" target="_blank">x</a></p>'],
      ["|a|b|\n|-|-:|\n|1|2|", '<div class="table"><table><thead><tr><th>a</th><th class="end">b</th></tr></thead><tbody><tr><td>1</td><td class="end">2</td></tr></tbody></table></div>'],
    ];
    expect(await render(page, cases.map(([text]) => text))).toEqual(cases.map(([, html]) => html));
  });

  test("keeps unfinished code as code", async ({ page }) => {
    const [html] = await render(page, ["```js\nconst a = `<b>`;\n**x**"]);
    expect(html).toContain("<code>const a = `&lt;b&gt;`;\n**x**</code>");
  });

  test("never lets a model's text become anything but text", async ({ page }) => {
    const hostile = [
      "<img src=x onerror=\"window.hacked=1\">",
      "<script>window.hacked=1</script>",
      "**<svg onload=window.hacked=1>**",
      "`</code><img src=x onerror=window.hacked=1>`",
      "```\n</code></pre><img src=x onerror=window.hacked=1>\n```",
      "```\"><img src=x onerror=window.hacked=1>\nx\n```",
      "[x](javascript:window.hacked=1)",
      "[x](JaVaScRiPt:window.hacked=1)",
      "[x](data:text/html,<script>window.hacked=1</script>)",
      "[x](vbscript:x) [y](//evil.example) [z](/hearth/)",
      "[<img src=x onerror=window.hacked=1>](https://a.example)",
      "[x](https://a.example/\"onmouseover=\"window.hacked=1)",
      "|<img src=x onerror=window.hacked=1>|b|\n|-|-|\n|<iframe>|<style>*{display:none}</style>|",
      "> - # <object data=x>",
      "1. <a href=javascript:window.hacked=1>x</a>",
      "\u2028<form action=//evil.example><input></form>",
    ];
    const rendered = await render(page, hostile);
    const bad = await page.evaluate(() => {
      const allowed = new Set("p em strong code s h3 h4 h5 h6 ul ol li blockquote br hr a div table thead tbody tr th td figure figcaption span button pre".split(" "));
      const found: string[] = [];
      for (const element of document.querySelectorAll("body > div *")) {
        if (!allowed.has(element.localName)) found.push(element.localName);
        for (const { name } of element.attributes) {
          if (!["href", "rel", "target", "class", "start", "type", "tabindex"].includes(name)) found.push(`${element.localName}[${name}]`);
        }
        if (element instanceof HTMLAnchorElement && element.protocol !== "https:") found.push(element.href);
      }
      return { found, hacked: "hacked" in window };
    });
    expect(bad).toEqual({ found: [], hacked: false });
    expect(rendered.every((html) => html !== "")).toBe(true);
  });

  test("stays quick on text that a model which has gone wrong writes", async ({ page }) => {
    const elapsedMs = await page.goto(`${server.origin}/`).then(() =>
      page.evaluate(async () => {
        const path = "/demo/markdown.js";
        const { renderMarkdown } = await import(path);
        const start = performance.now();
        for (const unit of ["*", "**a ", "`", "[", "[a](", "> ", "- ", "|", "_a", "~~a", "\\", "  - a\n", "```\n", "|a\n|-\n"]) {
          renderMarkdown(unit.repeat(2000));
        }
        return performance.now() - start;
      }),
    );
    expect(elapsedMs).toBeLessThan(5_000);
  });
});

test.describe("without a model", () => {
  test("a browser without WebGPU is told so, with what to do", async ({ page }) => {
    await page.addInitScript(() => Reflect.deleteProperty(Navigator.prototype, "gpu"));
    await page.goto(`${server.origin}/demo/`);
    const alert = page.getByRole("alert");
    await expect(alert).toContainText("This browser has no WebGPU");
    await expect(alert.getByRole("listitem").first()).toContainText("Chrome");
    await expect(page.getByRole("button", { name: "Send" })).toBeDisabled();
  });

  test("a browser without service workers is told so", async ({ page }) => {
    await page.addInitScript(() => Reflect.deleteProperty(Navigator.prototype, "serviceWorker"));
    await page.goto(`${server.origin}/demo/`);
    await expect(page.getByRole("alert")).toContainText("Service workers are switched off");
  });

  test("a worker script that is missing is an error with its reason and another try", async ({ page }) => {
    server.faults.set("/hearth/hearth-sw.js", { status: 404 });
    await page.goto(`${server.origin}/demo/`);
    await expect(page.getByRole("alert")).toContainText("404");
    server.faults.clear();
    await expect(page.getByRole("button", { name: "Try again" })).toBeVisible();
  });

  for (const colorScheme of ["light", "dark"] as const) {
    test(`text is readable in ${colorScheme}`, async ({ page }) => {
      await page.emulateMedia({ colorScheme });
      await page.goto(`${server.origin}/demo/`);
      const contrasts = await page.evaluate(() => {
        const probe = document.createElement("i");
        document.body.append(probe);
        const luminance = (name: string): number => {
          probe.style.color = `var(${name})`;
          const parts = getComputedStyle(probe).color.match(/[\d.]+/g)!.slice(0, 3).map((part) => Number(part) / 255);
          const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
        };
        const ratio = (a: string, b: string): number => {
          const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
          return (high! + 0.05) / (low! + 0.05);
        };
        const pairs = [["--ink", "--paper"], ["--ink", "--warm"], ["--soft", "--paper"], ["--soft", "--raised"], ["--soft", "--sunk"], ["--ember-ink", "--ember"], ["--ember", "--raised"], ["--bad", "--raised"], ["--ember", "--paper"], ["--soft", "--warm"], ...Array.from({ length: 9 }, (_, at) => ["--tab-ink", `--tab-${at}`])];
        return pairs.map(([a, b]) => ({ pair: `${a} on ${b}`, ratio: ratio(a!, b!) }));
      });
      for (const { pair, ratio } of contrasts) expect(ratio, pair).toBeGreaterThanOrEqual(4.5);
    });
  }

  test("every control has a name and the page has its landmarks", async ({ page }) => {
    await page.goto(`${server.origin}/demo/`);
    for (const role of ["banner", "main", "contentinfo"] as const) await expect(page.getByRole(role)).toHaveCount(1);
    await expect(page.getByRole("heading", { level: 1 })).toHaveText(/Hearth/);
    await expect(page.getByRole("progressbar")).toHaveAccessibleName("Loading the model");
    await page.getByText("Settings").click();
    await expectNames(page);
    await page.keyboard.press("Escape");
    await openPanel(page);
    await expectNames(page);
    await page.getByRole("link", { name: "Document" }).click();
    await expect(page.getByRole("heading", { name: "Ask a long document" })).toBeVisible();
    await expectNames(page);
    const ids = await page.evaluate(() => [...document.querySelectorAll("[id]")].map(({ id }) => id));
    expect(new Set(ids).size, "ids are unique").toBe(ids.length);
    await expect(page.locator("#events-spoken")).toHaveAttribute("aria-live", "polite");
    await expect(page.locator("#spoken")).toHaveAttribute("aria-live", "polite");
  });

  test("whatever has the focus shows it, in both views and in the panel", async ({ page }) => {
    await page.goto(`${server.origin}/demo/`);
    await openPanel(page);
    for (const view of ["Chat", "Document"]) {
      await page.getByRole("link", { name: view, exact: true }).click();
      const bare = await page.evaluate(() => {
        for (const details of document.querySelectorAll("details")) details.open = true;
        const controls = document.querySelectorAll<HTMLElement>("a, button, input, select, textarea, summary, canvas");
        const found: string[] = [];
        for (const control of controls) {
          if (!control.checkVisibility() || control.tabIndex < 0 || control.matches(":disabled")) continue;
          // As from the keyboard, so that the browser finds showing the focus in place.
          control.focus({ focusVisible: true } as FocusOptions);
          const shown = control.closest<HTMLElement>(".composer") ?? control;
          const { outlineStyle, borderTopColor } = getComputedStyle(shown);
          const isShown = shown === control ? outlineStyle !== "none" : borderTopColor === getComputedStyle(document.querySelector(".brand svg")!).fill;
          if (document.activeElement !== control || !isShown) found.push(control.outerHTML.slice(0, 80));
        }
        return found;
      });
      expect(bare, view).toEqual([]);
    }
  });

  test("a phone shows everything without scrolling sideways", async ({ page }) => {
    await page.setViewportSize({ width: 320, height: 640 });
    await page.goto(`${server.origin}/demo/`);
    await page.getByText("Settings").click();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
    await expect(page.getByLabel("Longest answer")).toBeInViewport();
    await page.keyboard.press("Escape");
    await expect(panel(page)).toBeHidden();
    await openPanel(page);
    await expect(page.getByRole("button", { name: "Close the panel" })).toBeInViewport({ ratio: 1 });
    await expect(panel(page)).toBeInViewport({ ratio: 0.99 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
    await page.getByRole("button", { name: "Close the panel" }).click();
    await page.getByRole("link", { name: "Document" }).click();
    await page.getByRole("button", { name: "Load the sample" }).click();
    await expect(page.getByLabel("Question", { exact: true })).not.toHaveValue("");
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
  });
});

test.describe("with the model", () => {
  test.setTimeout(4 * ANSWER_MS);

  test("answers, shows its numbers, reads the answer out, and keeps it over a reload", async ({ page }) => {
    await open(page);
    await beGreedy(page, 16);
    await ask(page, "What is the capital of France?");
    await expect(answers(page)).toContainText("Paris", { timeout: ANSWER_MS });
    await expect(page.locator("#speed")).toHaveText(/\d tok\/s/);
    await expect(page.locator("#context")).toHaveText(/^[\d,]+ \/ [\d,]+$/);
    await expect(page.locator("#pages")).toHaveText(/^[\d,]+ \/ [\d,]+$/);
    await expect(page.getByRole("meter", { name: "Context used" })).toHaveAttribute("aria-valuetext", /^\d+ of [\d,]+ tokens/);
    await expect(page.locator("#spoken")).toContainText("Paris");
    await expect(page.getByLabel("Message", { exact: true })).toBeFocused();

    await page.reload();
    await expect(answers(page)).toContainText("Paris");
    await page.getByRole("button", { name: "New chat" }).click({ timeout: ANSWER_MS });
    await expect(answers(page)).toHaveCount(0);
    await expect(page.getByRole("heading", { name: "A model that lives in your browser" })).toBeVisible();
  });

  test("Shift and Enter begin a new line, Escape and the button stop, and the next message works", async ({ page }) => {
    await open(page);
    await beGreedy(page, 512);
    const message = page.getByLabel("Message", { exact: true });
    await message.fill("Write a long story about");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("the sea.");
    await expect(message).toHaveValue("Write a long story about\nthe sea.");
    await page.keyboard.press("Enter");
    await expect(page.locator(".turn.assistant .text")).not.toBeEmpty({ timeout: ANSWER_MS });
    await page.keyboard.press("Escape");
    await expect(page.getByText("You stopped this answer.")).toHaveCount(1);
    const stoppedAt = await answers(page).textContent();

    await ask(page, "Go on.");
    await expect(page.locator(".turn.assistant .text").nth(1)).not.toBeEmpty({ timeout: ANSWER_MS });
    await page.getByRole("button", { name: "Stop" }).click();
    await expect(page.getByText("You stopped this answer.")).toHaveCount(2);
    await expect(page.getByRole("button", { name: "Send" })).toBeVisible();
    expect(await answers(page).first().textContent()).toBe(stoppedAt);
  });

  test("two tabs are answered at the same time", async ({ context }) => {
    const tabs = [await context.newPage(), await context.newPage()] as const;
    for (const tab of tabs) {
      await open(tab);
      await beGreedy(tab, 48);
    }
    for (const tab of tabs) await ask(tab, "Write a short poem about the sea.");
    // Both are under way before either has ended.
    const busy = (tab: Page) => tab.locator(".turn.assistant[aria-busy] .text");
    await Promise.all(tabs.map((tab) => expect(busy(tab)).not.toBeEmpty({ timeout: ANSWER_MS })));
    expect(await Promise.all(tabs.map((tab) => busy(tab).count()))).toEqual([1, 1]);
    const texts = await Promise.all(
      tabs.map(async (tab) => {
        await expect(answers(tab)).toHaveCount(1, { timeout: ANSWER_MS });
        return answers(tab).textContent();
      }),
    );
    expect(texts[0]).toBe(texts[1]);
  });
});
