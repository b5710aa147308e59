// Which Chromium is started, and with which flags: the one place for the tests, the demo and the benchmark.

import { accessSync, constants } from "node:fs";
import { chromium } from "@playwright/test";

/** WebGPU on any adapter, no sandbox (containers have none to offer), and no calls home. */
const DEFAULT_FLAGS = [
  "--enable-unsafe-webgpu",
  "--no-sandbox",
  "--disable-background-networking",
  "--disable-component-update",
];

/** `cargo hearth` gives them one a line, since flags may hold commas; they fit the machine's GPU. */
export const FLAGS = process.env["HEARTH_CHROMIUM_FLAGS"]?.split("\n").filter(Boolean) ?? DEFAULT_FLAGS;

/** Looked at in this order when `HEARTH_CHROMIUM` names none. */
const PLACES = [chromium.executablePath(), "/usr/bin/chromium", "/usr/lib/chromium/chromium-headless-shell"];

/** The program to start; throws when there is none. */
export function chromiumPath() {
  const named = process.env["HEARTH_CHROMIUM"];
  const found = named ?? PLACES.find(isExecutable);
  if (found === undefined || !isExecutable(found)) {
    throw new Error(`No Chromium: looked for ${named ?? PLACES.join(", ")}. Set HEARTH_CHROMIUM, or run \`cargo hearth test e2e\`.`);
  }
  return found;
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
