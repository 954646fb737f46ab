/**
 * Nobody stands above a callback that Node calls: what it throws would end the process, and everybody's traffic with
 * it. So a callback of a socket, a stream, a session, a signal, a worker or a timer, and a promise that nobody awaits,
 * goes through here: what it belongs to ends, the defect is reported, the process lives. test/rules/guards.test.ts
 * holds everybody to it.
 */
import { toMeshError, type MeshError } from '../errors.ts'

export const PARTS = [
  'network',
  'tls',
  'http1',
  'http2',
  'exchange',
  'upstream',
  'tcp',
  'mqtt',
  'bridge',
  'websocket',
  'dns',
  'admin',
  'storage',
  'control',
  'identity',
  'health',
  'configuration',
  'hub',
  'timer',
  'process',
] as const
/** Where a defect showed itself: a closed set, for it labels a metric. */
export type Part = (typeof PARTS)[number]
export type Defects = (part: Part, error: MeshError) => void

const listeners = new Set<Defects>()

/**
 * Hears of every defect of the process from now on. While nobody listens, a defect is thrown as uncaught: a test that
 * meets one fails.
 */
export function listenForDefects(listener: Defects): Disposable {
  listeners.add(listener)
  return {
    [Symbol.dispose]: () => {
      listeners.delete(listener)
    },
  }
}

export function hasListeners(): boolean {
  return listeners.size > 0
}

/** Reports what was thrown where nobody can catch it. Never throws. */
export function reportDefect(part: Part, thrown: unknown): void {
  if (listeners.size === 0)
    queueMicrotask(() => {
      throw thrown
    })
  const error = toMeshError(thrown)
  for (const listener of listeners) {
    try {
      listener(part, error)
    } catch {
      /* who cannot even report has nobody left to tell */
    }
  }
}

/**
 * `fn` for Node to call. What it throws is reported and then told to `end`, with the first argument of the call: it
 * destroys the stream or connection that the callback belongs to, may throw, and may be called for something that is
 * over.
 */
export function guard<A extends readonly unknown[]>(
  part: Part,
  end: (error: MeshError, first: A[0]) => void,
  fn: (...args: A) => void,
): (...args: A) => void {
  // No list of arguments per call: this stands before every byte that is served. Four at most.
  const call = fn as unknown as (a: A[0], b: unknown, c: unknown, d: unknown) => void
  const guarded = (a: A[0], b: unknown, c: unknown, d: unknown): void => {
    try {
      call(a, b, c, d)
    } catch (thrown) {
      endBy(part, (error) => end(error, a), thrown)
    }
  }
  return guarded as unknown as (...args: A) => void
}

/** For a promise that nobody awaits: a rejection is treated as `guard` treats what is thrown. */
export function detach(part: Part, promise: PromiseLike<unknown>, end: (error: MeshError) => void = doNothing): void {
  promise.then(undefined, (thrown: unknown) => {
    endBy(part, end, thrown)
  })
}

function endBy(part: Part, end: (error: MeshError) => void, thrown: unknown): void {
  reportDefect(part, thrown)
  try {
    end(toMeshError(thrown))
  } catch (again) {
    reportDefect(part, again)
  }
}

/** The `end` of what belongs to nobody. */
export function doNothing(): void {
  /* nothing to end */
}
