// How smooth a page is while it is watched: the time between frames, what made long ones, and what stays in memory.
import type { CDPSession, Page } from "playwright-core";

export interface Frames {
  seconds: number;
  frames: number;
  /** Between one frame and the next, in ms: the longest, and how many took longer than so long. */
  longest_ms: number;
  over_50_ms: number;
  over_100_ms: number;
  /** What the browser itself calls long animation frames, and what scripts of the page took in the longest. */
  long_frames: number;
  longest_long_frame_ms: number;
  longest_script_ms: number;
  /** What called the longest script. */
  longest_script: string;
  heap_before_mib: number;
  heap_after_mib: number;
}

async function heapMib(session: CDPSession): Promise<number> {
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  return Math.round((usedSize / 1_048_576) * 10) / 10;
}

export async function watch(page: Page, seconds: number): Promise<Frames> {
  const session = await page.context().newCDPSession(page);
  const heap_before_mib = await heapMib(session);
  const seen = await page.evaluate(async (forMs) => {
    type Script = PerformanceEntry & { invoker: string; forcedStyleAndLayoutDuration: number };
    type LongFrame = PerformanceEntry & { scripts: Script[] };
    const long: LongFrame[] = [];
    const observer = new PerformanceObserver((list) => long.push(...(list.getEntries() as LongFrame[])));
    observer.observe({ type: "long-animation-frame" });
    const gaps: number[] = [];
    await new Promise<void>((done) => {
      const began = performance.now();
      let last = began;
      const frame = (now: number) => {
        gaps.push(now - last);
        last = now;
        if (now - began >= forMs) done();
        else requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    });
    observer.disconnect();
    const scripts = long.flatMap((frame) => frame.scripts).sort((left, right) => right.duration - left.duration);
    return {
      frames: gaps.length,
      longest_ms: Math.round(Math.max(...gaps)),
      over_50_ms: gaps.filter((gap) => gap > 50).length,
      over_100_ms: gaps.filter((gap) => gap > 100).length,
      long_frames: long.length,
      longest_long_frame_ms: Math.round(Math.max(0, ...long.map(({ duration }) => duration))),
      longest_script_ms: Math.round(scripts[0]?.duration ?? 0),
      longest_script: scripts[0]
        ? `${scripts[0].invoker}, of it layout ${Math.round(scripts[0].forcedStyleAndLayoutDuration)} ms`
        : "",
    };
  }, seconds * 1_000);
  const heap_after_mib = await heapMib(session);
  await session.detach();
  return { seconds, ...seen, heap_before_mib, heap_after_mib };
}
