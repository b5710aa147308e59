// Long texts through `documents`: cut to the token, shortened to the token, and asked about.

import { expect, poolUsage, SMOLLM2, test, TINY } from "../support/site.ts";
import { article, articleWith } from "../support/prose.ts";

interface Outcome {
  answer: string;
  chunks: number;
  tokensRead: number;
  originalTokens: number;
  usage: { calls: number; cachedTokens: number };
  steps: { phase: string; done: number; total: number }[];
}

const NEEDLE = "The password of the harbour office is blue heron, said the old keeper.";
const QUESTION = "What is the password of the harbour office?";

test("a document of 20,000 words is answered: by its closest sentences, or read in parts as one batch", async ({ site }) => {
  test.setTimeout(300_000);
  const page = await site.openWith("hearth", { url: SMOLLM2, id: "SmolLM2", chatOpts: { context_window_size: 512 } });
  const text = articleWith(NEEDLE, 7, 20_200);
  expect(text.split(/\s+/).length).toBeGreaterThan(20_000);
  const outcome = (detail: number): Promise<Outcome> =>
    page.evaluate(
      async ([document, question, options]) => {
        const steps: { phase: string; done: number; total: number }[] = [];
        const onProgress = (step: { phase: string; done: number; total: number }): unknown => steps.push(step);
        return { ...(await engine.documents.ask(document, question, { ...options, onProgress })), steps };
      },
      [text, QUESTION, { detail, chunkTokens: 200, maxTokens: 24 }] as const,
    );
  const short = await outcome(200);
  console.log(`20,000 words: read ${short.tokensRead} of ${short.originalTokens} tokens: ${short.answer}`);
  expect(short.originalTokens).toBeGreaterThan(20_000);
  expect(short.tokensRead).toBeLessThanOrEqual(200);
  expect(short.answer.toLowerCase()).toContain("blue heron");

  const reading = outcome(600);
  let mostAtOnce = 0;
  let isDone = false;
  void reading.finally(() => (isDone = true));
  while (!isDone) mostAtOnce = Math.max(mostAtOnce, (await poolUsage(page)).running);
  const long = await reading;
  expect(long.chunks).toBeGreaterThan(2);
  expect(mostAtOnce).toBe(long.chunks);
  expect(long.tokensRead).toBeLessThanOrEqual(600);
  expect(long.answer).not.toBe("");
  expect(long.usage.calls).toBe(long.chunks + 1);
  // The instruction of the parts is read once.
  expect(long.usage.cachedTokens).toBeGreaterThanOrEqual((long.chunks - 1) * 32);
  expect(long.steps.filter(({ phase }) => phase === "read").at(-1)).toMatchObject({ done: long.chunks, total: long.chunks });
});

test("pieces are the text again, and none has a token too many", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY });
  const text = `# Title\n\n${article(3, 600)}\n\n\`\`\`\nlet code = 1;\n\`\`\`\n\n今日は良い天気です。明日は雨が降るでしょう。`;
  const pieces = await page.evaluate((given) => engine.documents.chunk(given, { maxTokens: 100 }), text);
  expect(pieces.map((piece) => piece.text).join("")).toBe(text);
  for (const piece of pieces) {
    expect(piece.tokens).toBeLessThanOrEqual(100);
    expect(await page.evaluate((given) => engine.measure(given), piece.text)).toBe(piece.tokens);
    expect(text.slice(piece.start, piece.end)).toBe(piece.text);
  }
  expect(pieces.some(({ headings }) => headings.some((heading) => heading.includes("Day 2")))).toBe(true);
});

test("a shortened text keeps what was asked about, within its tokens", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY });
  const text = articleWith(NEEDLE, 5, 1_500);
  const short = await page.evaluate(([given, query]) => engine.documents.compress(given, { maxTokens: 200, query }), [text, QUESTION] as const);
  expect(short.text).toContain("blue heron");
  expect(short.tokens).toBeLessThanOrEqual(200);
  expect(short.tokens).toBeGreaterThan(120);
  expect(await page.evaluate((given) => engine.measure(given), short.text)).toBe(short.tokens);
});

test("a hook may read the document first: a function, or an endpoint", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY });
  site.server.pages.set("/preprocess", { type: "application/json", body: JSON.stringify({ text: "what the endpoint made of it" }) });
  const read = await page.evaluate(async () => {
    const record = { model: new URL("/made/tiny.gguf", location.href).href, model_id: "model", model_lib: "" };
    const seen: unknown[] = [];
    const hooks = [
      async (document: { text: string; maxTokens: number; query?: string }): Promise<string> => {
        seen.push({ ...document, text: document.text.length });
        return "what the function made of it";
      },
      { endpoint: "/preprocess" },
    ];
    const tokens: number[] = [];
    for (const preprocess of hooks) {
      const made = await client["CreateServiceWorkerMLCEngine"]("model", { appConfig: { model_list: [record] }, hearth: { preprocess } });
      tokens.push((await made.documents.ask("long ".repeat(500), "why?", { maxTokens: 4 })).tokensRead);
      made.close();
    }
    return { seen, tokens };
  });
  expect(read.seen).toEqual([{ text: 2_500, maxTokens: expect.any(Number), query: "why?" }]);
  expect(read.tokens.every((tokens) => tokens > 0 && tokens < 40)).toBe(true);
});
