// One browser, one worker, no second tries: the tests share a GPU, and a test that passes only sometimes is a failure.

import { defineConfig } from "@playwright/test";
import { chromiumPath, FLAGS } from "./support/browser.mjs";

export default defineConfig({
  testDir: "tests",
  outputDir: "../target/e2e",
  fullyParallel: false,
  workers: 1,
  retries: 0,
  forbidOnly: process.env["CI"] !== undefined,
  timeout: 60_000,
  reporter: "line",
  globalSetup: "./support/require-webgpu.ts",
  use: {
    browserName: "chromium",
    headless: true,
    launchOptions: { executablePath: chromiumPath(), args: FLAGS },
    trace: "off",
  },
});
