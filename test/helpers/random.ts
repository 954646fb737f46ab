import type { Random } from '../../core/os/clock.ts'

/** The same sequence for the same seed (mulberry32). */
export function seededRandom(seed: number): Random {
  let a = seed >>> 0
  return {
    float() {
      a = (a + 0x6d2b79f5) >>> 0
      let t = Math.imul(a ^ (a >>> 15), 1 | a)
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296
    },
  }
}
