/** For work that nobody waits for and that cannot be cut into slices: V8 writes down what it compiled in some twenty milliseconds, once per installed version. */

const LOOK_MS = 250
/** With somebody connected for ever it is done nevertheless: the next start needs it. */
const LATEST_MS = 10_000

/** Calls `work` once, in the first moment in which nobody is connected. */
export function inIdleMoment(work: () => void, { isIdle, after }: { readonly isIdle: () => boolean; readonly after: (ms: number, fn: () => void) => void }): void {
  let leftMs = LATEST_MS
  const look = (): void => {
    if (isIdle() || leftMs <= 0) { work(); return }
    leftMs -= LOOK_MS
    after(LOOK_MS, look)
  }
  look()
}
