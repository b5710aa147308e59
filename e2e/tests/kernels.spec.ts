// Every kernel variant goes through the browser's own WGSL compiler, which checks what the native one does not: that barriers
// are in uniform control flow, for one.

import { readFileSync } from "node:fs";
import { expect, test } from "../support/site.ts";

interface Kernel {
  label: string;
  source: string;
  subgroups: boolean;
}

/** What this test uses of WebGPU, for which TypeScript has no types of its own. */
interface Gpu {
  requestAdapter(): Promise<{ requestDevice(options: { requiredFeatures: string[] }): Promise<Device> } | null>;
}
interface Device {
  createShaderModule(options: { label: string; code: string }): {
    getCompilationInfo(): Promise<{ messages: { type: string; message: string; lineNum: number }[] }>;
  };
}

test("every kernel variant compiles without an error or a warning", async ({ site }) => {
  test.setTimeout(120_000);
  const file = process.env["HEARTH_KERNELS"];
  if (file === undefined) {
    throw new Error("HEARTH_KERNELS names no file: run `cargo hearth test e2e`, which writes the kernels");
  }
  const kernels = JSON.parse(readFileSync(file).toString()) as Kernel[];
  const distinct = [...new Map(kernels.map((kernel) => [kernel.source, kernel])).values()];
  expect(distinct.length).toBeGreaterThan(100);
  const page = await site.open("hearth");
  const complaints = await page.evaluate(async (kernels) => {
    const gpu = (navigator as unknown as { gpu: Gpu }).gpu;
    const adapter = await gpu.requestAdapter();
    if (adapter === null) throw new Error("no adapter");
    const device = await adapter.requestDevice({ requiredFeatures: ["subgroups"] });
    const complaints: string[] = [];
    for (const { label, source } of kernels) {
      const info = await device.createShaderModule({ label, code: source }).getCompilationInfo();
      for (const { type, message, lineNum } of info.messages) {
        if (type !== "info") complaints.push(`${label}, line ${lineNum}: ${type} ${message}`);
      }
    }
    return complaints;
  }, distinct);
  expect(complaints).toEqual([]);
});
