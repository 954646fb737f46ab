import type { Clock, Timer } from './clock.ts'

/** The wall clock may be set, so it is looked at in between. */
const LOOK_MS = 60_000

/** Calls `due` once when the wall clock says so. @returns to be disposed of when it is not wanted any more */
export function callAtWallTime(clock: Clock, atMs: number, due: () => void): Disposable {
  let timer: Timer | undefined
  const wait = (): void => {
    const leftMs = atMs - clock.wallMs()
    timer = clock.after(Math.max(0, Math.min(leftMs, LOOK_MS)), () => {
      if (clock.wallMs() >= atMs) due()
      else wait()
    })
  }
  wait()
  return {
    [Symbol.dispose]: () => {
      timer?.cancel()
    },
  }
}
