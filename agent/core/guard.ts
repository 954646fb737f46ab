/**
 * Nobody stands above a callback that Node calls: what it throws would end the process, and everybody's traffic with it. So a callback of a
 * socket, a stream, a session, a worker or a timer, and a promise that nobody awaits, goes through here: what it belongs to ends, the defect is
 * reported, the process lives.
 */
import { toMeshError, type MeshError } from './errors.ts'

/** Where a defect showed itself: a closed set, for it labels a metric. */
export type Part = 'network' | 'tls' | 'http1' | 'http2' | 'exchange' | 'upstream' | 'tcp' | 'mqtt' | 'bridge' | 'websocket' | 'dns' | 'admin' | 'storage' | 'control' | 'identity' | 'health' | 'configuration' | 'hub'
export type Defects = (part: Part, error: MeshError) => void

const listeners = new Set<Defects>()

/** Hears of every defect of the process from now on. While nobody listens, a defect is thrown as uncaught: a test that meets one fails. */
export function onDefect(listener: Defects): Disposable {
  listeners.add(listener)
  return { [Symbol.dispose]: () => { listeners.delete(listener) } }
}

/** Reports what was thrown where nobody can catch it. Never throws. */
export function reportDefect(part: Part, thrown: unknown): void {
  if (listeners.size === 0) queueMicrotask(() => { throw thrown })
  for (const listener of listeners) listener(part, toMeshError(thrown))
}

/**
 * `fn` for Node to call. What it throws is reported and then told to `end`, which destroys the stream or connection that the callback belongs to;
 * `end` may throw and may be called for something that is over.
 */
export function guarded<A extends readonly unknown[]>(part: Part, end: (error: MeshError) => void, fn: (...args: A) => void): (...args: A) => void {
  return (...args) => {
    try { fn(...args) } catch (thrown) { endBy(part, end, thrown) }
  }
}

/** For a promise that nobody awaits: a rejection is treated as `guarded` treats what is thrown. */
export function detached(part: Part, promise: Promise<unknown>, end: (error: MeshError) => void = nothing): void {
  promise.catch((thrown: unknown) => { endBy(part, end, thrown) })
}

function endBy(part: Part, end: (error: MeshError) => void, thrown: unknown): void {
  reportDefect(part, thrown)
  try { end(toMeshError(thrown)) } catch (again) { reportDefect(part, again) }
}

function nothing(): void { /* belongs to nobody */ }
