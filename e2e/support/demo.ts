// The demo page as a person drives it: what several of its tests do and look at.

import { expect, type Page } from "@playwright/test";

/** Loading 98 MB and answering on a software GPU takes its time. */
export const ANSWER_MS = 120_000;

export async function open(page: Page, origin: string): Promise<void> {
  await page.goto(`${origin}/demo/`);
  const trouble = page.getByRole("alert");
  await expect(page.locator("#send:enabled").or(trouble)).toBeVisible({ timeout: ANSWER_MS });
  // Its text is in the failure then, at once.
  if (await trouble.isVisible()) expect(await trouble.textContent()).toBe("");
}

/** Greedy and short, so that the text is known. */
export async function beGreedy(page: Page, maxTokens: number): Promise<void> {
  await page.getByText("Settings").click();
  await page.getByLabel("Randomness").fill("0");
  await page.getByLabel("Longest answer").fill(String(maxTokens));
  await page.keyboard.press("Escape");
}

export async function ask(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.keyboard.press("Enter");
}

/** Window and policy of the conversation, in the open or closed settings. */
export async function limit(page: Page, windowTokens: number, policy: string): Promise<void> {
  await page.getByText("Settings").click();
  await page.getByLabel("Context window").selectOption(String(windowTokens));
  await page.getByLabel("When the conversation outgrows its room").selectOption(policy);
  await page.keyboard.press("Escape");
}

export const panel = (page: Page) => page.getByRole("complementary", { name: "Shared memory" });
export const tabRows = (page: Page) => panel(page).locator(".tab-row");

export async function openPanel(page: Page): Promise<void> {
  const toggle = page.getByRole("button", { name: "Shared memory", exact: true });
  // It has a state once the page's script has decided whether there is room for the panel.
  await expect(toggle).toHaveAttribute("aria-expanded", /true|false/);
  if ((await toggle.getAttribute("aria-expanded")) === "false") await toggle.click();
  await expect(panel(page)).toBeVisible();
}

export const answers = (page: Page) => page.locator(".turn.assistant:not([aria-busy]) .text");

/** Every control that can be seen has a name, and where it is labelled by others, they exist. */
export async function expectNames(page: Page): Promise<void> {
  const controls = page.locator("a:visible, button:visible, input:visible, select:visible, textarea:visible, summary:visible, canvas:visible");
  for (const control of await controls.all()) await expect(control).toHaveAccessibleName(/\S/);
  const dangling = await page.evaluate(() =>
    ["aria-labelledby", "aria-describedby", "aria-controls", "for"].flatMap((name) =>
      [...document.querySelectorAll(`[${name}]`)].filter((element) => document.getElementById(element.getAttribute(name) ?? "") === null).map(({ outerHTML }) => outerHTML.slice(0, 80)),
    ),
  );
  expect(dangling).toEqual([]);
}
