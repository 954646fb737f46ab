/** The bound of what waits in memory. */
import type { Metrics } from '../../core/metrics.ts'
import { collectAll, collectNow, saveMemory } from '../../core/runtime/full-gc.ts'
import { GarbageWatch, MOST_LIMIT_BYTES } from '../../core/runtime/garbage-watch.ts'
import { deriveBudgetBytes, MemoryBudget } from '../../core/runtime/memory-budget.ts'
import { MemoryPressure } from '../../core/runtime/memory-pressure.ts'
import { readMemoryUsage, readOwnBytes } from '../../core/runtime/memory-usage.ts'
import type { World } from '../../core/world.ts'

/** What waits in memory for slow peers, and the garbage that their connections leave behind, share one bound. */
export function createBudget(
  maxBytes: number | undefined,
  limitBytes: number,
  metrics: Metrics,
  { clock, trimMalloc }: Pick<World, 'clock' | 'trimMalloc'>,
): MemoryBudget {
  const budget = new MemoryBudget({ maxBytes: maxBytes ?? deriveBudgetBytes(limitBytes), metrics })
  const pressure = new MemoryPressure({ limitBytes, readOwnBytes, nowMs: () => clock.monotonicMs() })
  if (limitBytes <= MOST_LIMIT_BYTES) budget.pressure = pressure
  metrics.gaugeOf(
    'mesh_memory_own_bytes',
    'Memory of the process without pages of files (RssAnon); 0 where the system does not say.',
    readOwnBytes,
  )
  budget.garbage = new GarbageWatch({
    limitBytes,
    heldBytes: () => budget.heldBytes,
    usage: readMemoryUsage,
    pressure,
    collect: (what) => {
      if (what === 'all') collectAll()
      else collectNow(what)
    },
    trimMalloc: () => trimMalloc?.(),
    nowMs: () => clock.monotonicMs(),
    saveMemory,
    after: (ms, fn) => {
      clock.after(ms, fn)
    },
  })
  return budget
}
