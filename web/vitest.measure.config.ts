// Measures, and asserts nothing about time: not part of the tests.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["measure/**/*.measure.ts"], fileParallelism: false, disableConsoleIntercept: true },
});
