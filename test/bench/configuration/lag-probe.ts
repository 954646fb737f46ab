/**
 * Preloaded into a shipped agent by bench -- sync (`node --import`): for how long its event loop came to nothing else.
 * Each time of LEAST_MS and more is a line of the file that MESHLET_BENCH_LAG names: wall-clock milliseconds at its
 * end, milliseconds, how many of them its thread was on a CPU (the others it waited: for the disk, or for a core that
 * somebody else had). A timer of its own and not monitorEventLoopDelay: that tells no times, and by iteration it misses
 * what a worker thread's answer starts (Node 26.10).
 */
import fs from 'node:fs'
import { isMainThread } from 'node:worker_threads'

const EVERY_MS = 1
const LEAST_MS = 2
const file = process.env['MESHLET_BENCH_LAG']

if (file !== undefined && isMainThread) {
  const out = fs.openSync(file, 'a')
  const cpuMs = (): number => {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1_000
  }
  let [last, lastCpu] = [performance.now(), cpuMs()]
  setInterval(() => {
    const lagMs = performance.now() - last - EVERY_MS
    if (lagMs >= LEAST_MS) fs.writeSync(out, `${Date.now()} ${lagMs.toFixed(2)} ${(cpuMs() - lastCpu).toFixed(2)}\n`)
    last = performance.now()
    lastCpu = cpuMs()
  }, EVERY_MS).unref()
}
