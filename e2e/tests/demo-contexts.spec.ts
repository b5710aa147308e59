// What the demo shows of contexts: the shared memory and its tabs, what is left out, branches, documents, stress. The first two
// groups need no model.

import { expect, test, type Page } from "@playwright/test";
import { TestServer } from "../server.mjs";
import { ANSWER_MS, answers, ask, beGreedy, limit, open as openDemo, openPanel, panel, tabRows } from "../support/demo.ts";

const server = new TestServer();
test.beforeAll(() => server.start());
test.afterAll(() => server.stop());

const open = (page: Page) => openDemo(page, server.origin);

test.describe("words", () => {
  test("say of every event what was done, with its numbers", async ({ page }) => {
    await page.goto(`${server.origin}/`);
    const texts = await page.evaluate(async () => {
      const path = "/demo/sentences.js";
      const { describeEvent, describeContext } = await import(path);
      const event = (more: object): string => describeEvent({ tab: "t", modelId: "m", ...more }).text;
      const overflow = { type: "overflow", droppedMessages: 4, droppedTokens: 310, keptTokens: 200, window: 512, budget: 2048 };
      return [
        event({ ...overflow, policy: "truncate", phase: "prefill" }),
        event({ ...overflow, policy: "summarize", phase: "prefill" }),
        event({ ...overflow, policy: "sliding", phase: "decode" }),
        event({ type: "near-limit", used: 461, limit: 512, fraction: 0.9 }),
        event({ type: "evicted", pages: 1, tokens: 16, reason: "pressure" }),
        event({ type: "restored", tokens: 1600, source: "store" }),
        event({ type: "budget-changed", budget: 1024, previous: 2048, tabs: 2 }),
        describeContext({ window: 2048, budget: 512, used: 300, policy: "truncate", dropped_messages: 2, dropped_tokens: 120 }, 5),
        describeContext({ window: 2048, budget: 512, used: 300, dropped_messages: 0, dropped_tokens: 0 }, 5),
      ];
    });
    expect(texts).toEqual([
      "dropped 4 messages (310 tokens) to stay within 512 tokens",
      "replaced 4 messages (310 tokens) by a summary to stay within 512 tokens",
      "let its oldest 310 tokens slide out of view while writing, to stay within 512 tokens",
      "has filled 90 % of its room: 461 of 512 tokens",
      "gave back 1 page (16 tokens): another tab needed the room",
      "has 1,600 tokens back, read from IndexedDB",
      "may now hold 1,024 tokens instead of 2,048: 2 tabs share the pool",
      "512 tokens are all the room there is: the first 2 messages (120 tokens) were left out. Kept: the instructions and the last 3 messages.",
      undefined,
    ]);
  });

  test("of the sample are many, the same every time, and hold the answers to its questions", async ({ page }) => {
    await page.goto(`${server.origin}/`);
    const sample = await page.evaluate(async () => {
      const path = "/demo/sample.js";
      const { QUESTIONS, sampleLog } = await import(path);
      const text: string = sampleLog();
      return {
        numWords: text.split(/\s+/).length,
        isSame: text === sampleLog(),
        leftOver: /[{}|]|undefined/.exec(text)?.[0],
        missing: (QUESTIONS as { answer: string }[]).filter(({ answer }) => !text.includes(answer)),
      };
    });
    expect(sample).toEqual({ numWords: expect.any(Number), isSame: true, missing: [] });
    expect(Math.abs(sample.numWords - 20_000)).toBeLessThan(1_500);
  });

  test("of a pool are its sums", async ({ page }) => {
    await page.goto(`${server.origin}/`);
    const sums = await page.evaluate(async () => {
      const path = "/demo/pool-summary.js";
      const { pagesByTab, summarise } = await import(path);
      const pages = [
        { state: "held", tabs: ["a", "b", "c"] },
        { state: "held", tabs: ["a"] },
        { state: "cached", tabs: ["b", "a"] },
        { state: "cached", tabs: [] },
        { state: "free", tabs: [] },
      ];
      const pool = { modelId: "m", blockSizeTokens: 16, pagesMax: 8, pageBytes: 1000, pages };
      return { summary: summarise(pool), a: pagesByTab(pool).get("a") };
    });
    expect(sums.summary).toEqual({ total: 5, held: 2, shared: 2, cached: 2, free: 1, max: 8, pageBytes: 1000, savedBytes: 3000 });
    expect(sums.a).toEqual({ held: 2, cached: 1, shared: 2 });
  });
});

test.describe("the panel without a model", () => {
  test("the panel opens, tells what it waits for, is remembered, and closes with Escape", async ({ page }) => {
    await page.setViewportSize({ width: 900, height: 700 });
    await page.goto(`${server.origin}/demo/`);
    const toggle = page.getByRole("button", { name: "Shared memory", exact: true });
    await expect(panel(page)).toBeHidden();
    await expect(toggle).toHaveAttribute("aria-expanded", "false");
    await toggle.click();
    await expect(panel(page)).toBeVisible();
    await expect(panel(page).getByRole("heading", { level: 2 })).toBeFocused();
    await page.reload();
    await expect(panel(page)).toBeVisible();
    await panel(page).getByRole("button", { name: "Close the panel" }).focus();
    await page.keyboard.press("Escape");
    await expect(panel(page)).toBeHidden();
    await expect(toggle).toBeFocused();
  });
});

test.describe("with the model", () => {
  test.setTimeout(4 * ANSWER_MS);

  test("the panel shows this tab, its pages, and other tabs while they live", async ({ context }) => {
    const page = await context.newPage();
    // Questions about the pool that this page asks.
    await page.addInitScript(() => {
      const counted = window as unknown as { numPoolRequests: number };
      counted.numPoolRequests = 0;
      const post = ServiceWorker.prototype.postMessage;
      ServiceWorker.prototype.postMessage = function (this: ServiceWorker, message: { kind?: string }, ...rest: []) {
        if (message.kind === "hearth.pool") counted.numPoolRequests += 1;
        post.call(this, message, ...rest);
      } as typeof post;
    });
    await open(page);
    await openPanel(page);
    await beGreedy(page, 16);
    await expect(tabRows(page)).toHaveCount(1);
    await expect(tabRows(page)).toContainText("this tab");
    await ask(page, "What is the capital of France?");
    await expect(answers(page)).toContainText("Paris", { timeout: ANSWER_MS });
    await expect(tabRows(page).locator(".tab-foot")).toHaveText(/[1-9]\d* (pages?|cached)/);
    await expect(tabRows(page).getByRole("meter")).toHaveAttribute("aria-valuetext", /^[1-9]\d* of/);
    await expect(panel(page).locator("#pool-size")).toHaveText(/^[\d,]+ pages, [\d.]+ MB/);

    const map = panel(page).getByRole("application");
    await expect(map).toHaveAccessibleName(/\d+ pages: /);
    await map.focus();
    await expect(panel(page).locator("#page-detail")).toHaveText(/^Page 0: /);
    await page.keyboard.press("End");
    await expect(panel(page).locator("#page-detail")).not.toHaveText(/^Page 0: /);

    const other = await context.newPage();
    await open(other);
    await beGreedy(other, 16);
    await ask(other, "Name a bird.");
    await expect(answers(other)).toHaveCount(1, { timeout: ANSWER_MS });
    await page.bringToFront();
    await expect(tabRows(page)).toHaveCount(2);
    await expect(tabRows(page).nth(1)).toContainText("Hearth");
    await other.close();
    await expect(tabRows(page)).toHaveCount(1);

    // A closed panel asks nothing.
    await page.getByRole("button", { name: "Close the panel" }).click();
    await expect(panel(page)).toBeHidden();
    const numRequests = () => page.evaluate(() => (window as unknown as { numPoolRequests: number }).numPoolRequests);
    const before = await numRequests();
    expect(before).toBeGreaterThan(1);
    await ask(page, "And of Italy?");
    await expect(answers(page)).toHaveCount(2, { timeout: ANSWER_MS });
    // One may have been on its way.
    expect(await numRequests()).toBeLessThanOrEqual(before + 1);
  });

  test("a conversation that outgrows its window says what was left out, in the chat and in the panel", async ({ page }) => {
    await open(page);
    await openPanel(page);
    await beGreedy(page, 8);
    await limit(page, 512, "truncate");
    const long = "The sheep stood on the hill and looked down at the sea. ".repeat(14);
    for (const number of [1, 2, 3, 4]) {
      await ask(page, `${number}. ${long}`);
      await expect(answers(page)).toHaveCount(number, { timeout: ANSWER_MS });
    }
    await expect(page.getByRole("note")).toContainText(/512 tokens are all the room there is: the first \d+ messages \(\d+ tokens\) were left out/);
    await expect(page.locator(".turn.unseen").first()).toContainText("1. The sheep");
    await expect(page.locator(".turn").last()).not.toHaveClass(/unseen/);
    await expect(page.locator("#context")).toHaveText(/\/ 512$/);
    await expect(panel(page).locator("#events li").first()).toBeVisible();
    await expect(panel(page).locator("#events")).toContainText(/This tab dropped \d+ messages \(\d+ tokens\) to stay within 512 tokens/);

    const pause = panel(page).getByRole("button", { name: "Pause" });
    await pause.click();
    await expect(panel(page).getByRole("button", { name: /^Go on/ })).toHaveAttribute("aria-pressed", "true");
    await panel(page).getByRole("button", { name: "Clear" }).click();
    await expect(panel(page).locator("#events li")).toHaveCount(0);
  });

  test("a branch goes on by itself and leaves its origin as it is", async ({ page }) => {
    await open(page);
    await beGreedy(page, 16);
    await ask(page, "What is the capital of France?");
    await expect(answers(page)).toContainText("Paris", { timeout: ANSWER_MS });
    await ask(page, "And of Spain?");
    await expect(answers(page)).toHaveCount(2, { timeout: ANSWER_MS });
    await page.getByRole("button", { name: "Branch" }).first().click();
    const branches = page.getByRole("tab");
    await expect(branches).toHaveCount(2);
    await expect(branches.nth(1)).toHaveAttribute("aria-selected", "true");
    const shown = page.locator(".conversation:visible");
    await expect(shown.locator(".turn")).toHaveCount(2);
    await expect(shown).not.toContainText("Spain");
    await ask(page, "And of Italy?");
    await expect(shown.locator(".turn.assistant:not([aria-busy]) .text")).toHaveCount(2, { timeout: ANSWER_MS });
    // What both have in common was not read again.
    await expect(page.locator("#cached")).not.toHaveText("0");
    await branches.nth(1).press("ArrowLeft");
    await expect(branches.first()).toBeFocused();
    await expect(shown.locator(".turn")).toHaveCount(4);
    await expect(shown).not.toContainText("Italy");

    await page.reload();
    await expect(branches).toHaveCount(2);
    await branches.nth(1).click();
    await expect(shown).toContainText("Italy");
    await page.getByRole("button", { name: "Close branch" }).click();
    await expect(page.getByRole("tablist")).toBeHidden();
    await expect(shown).not.toContainText("Italy");
  });

  test("a draft is read while the person pauses", async ({ page }) => {
    await open(page);
    await beGreedy(page, 24);
    await ask(page, "Write one sentence about the sea.");
    await expect(answers(page)).toHaveCount(1, { timeout: ANSWER_MS });
    await expect(page.locator("#cached")).toHaveText("0");
    await page.getByLabel("Message", { exact: true }).fill("Now write one about the mountains, and one about");
    // Nothing was sent: what is found in the cache is what reading ahead has put there or found.
    await expect(page.locator("#cached")).not.toHaveText("0", { timeout: ANSWER_MS });
    await expect(page.locator(".turn")).toHaveCount(2);
  });

  test("a document is measured, asked and answered; a long one can be cancelled", async ({ page }) => {
    await open(page);
    await page.getByRole("link", { name: "Document" }).click();
    await expect(page.getByLabel("Message", { exact: true })).toBeHidden();
    const text = page.getByLabel("The text", { exact: true });
    await text.fill("# Boats\n\nThe red boat is called Heron.\n\n# Harbour\n\nThe harbour master is called Olga.");
    await expect(page.locator("#document-words")).toHaveText("16");
    await expect(page.locator("#document-tokens")).toHaveText(/^[1-9]\d*$/);
    await expect(page.locator("#document-chunks")).toHaveText(/^[1-9]$/);
    await page.getByText("Outline").click();
    await expect(page.locator("#outline li").first()).toContainText(/\d+ tokens/);
    await page.getByLabel("Question", { exact: true }).fill("What is the red boat called?");
    await page.getByRole("button", { name: "Ask" }).click();
    const answer = page.getByRole("article", { name: "Answer" });
    await expect(answer.locator(".text")).not.toBeEmpty({ timeout: ANSWER_MS });
    await expect(answer.locator(".note")).toHaveText(/^Read (\d+) of the document's \1 tokens \(100 %\) in 1 piece: 1 request/, { timeout: ANSWER_MS });

    await page.getByRole("button", { name: "Load the sample" }).click();
    await expect(page.locator("#document-words")).toHaveText(/^2\d,\d{3}$/);
    await expect(page.locator("#document-tokens")).toHaveText(/^\d\d,\d{3}$/, { timeout: ANSWER_MS });
    await page.getByLabel("How much is read").selectOption("All of it");
    await page.getByRole("button", { name: "Ask" }).click();
    await expect(page.getByRole("status").filter({ hasText: /^Read \d+ of \d+ pieces/ })).toBeVisible({ timeout: ANSWER_MS });
    await expect(page.locator("#chunk-grid li").nth(1)).toBeVisible();
    await page.getByRole("button", { name: "Cancel" }).click();
    await expect(page.getByText("Cancelled.")).toBeVisible();
    await expect(page.getByRole("button", { name: "Ask" })).toBeEnabled();

    // The worker is free again at once.
    await page.getByRole("link", { name: "Chat" }).click();
    await beGreedy(page, 8);
    await ask(page, "What is the capital of France?");
    await expect(answers(page)).toHaveCount(1, { timeout: ANSWER_MS });
  });

  test("stress tabs come and go, and the chat goes on", async ({ page }) => {
    await open(page);
    await openPanel(page);
    await beGreedy(page, 16);
    await expect(tabRows(page)).toHaveCount(1);
    await page.getByLabel("Extra tabs").fill("3");
    const stress = panel(page).getByRole("region", { name: "Stress" });
    await stress.getByRole("button", { name: "Start" }).click();
    await expect(page.locator("#stress-frames iframe")).not.toHaveCount(0);
    await expect(tabRows(page).filter({ hasText: /Stress \d/ }).first()).toBeVisible({ timeout: ANSWER_MS });
    await expect(page.locator("#stress-status")).toContainText(/[1-9]\d* answers?/, { timeout: ANSWER_MS });
    await ask(page, "What is the capital of France?");
    await expect(answers(page)).toContainText("Paris", { timeout: ANSWER_MS });

    await stress.getByRole("button", { name: "Stop" }).click();
    await expect(page.locator("#stress-frames iframe")).toHaveCount(0);
    await expect(tabRows(page)).toHaveCount(1);
    await expect(tabRows(page)).toContainText("this tab");
    await expect(page.locator("#stress-status")).toContainText("Stopped, all closed");
    await expect(page.getByRole("alert")).toBeHidden();
  });
});
