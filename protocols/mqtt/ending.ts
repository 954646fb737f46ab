/** How connections of both sides end. */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { guard } from '../../core/defects/guard.ts'
import type { Connection } from '../connection.ts'

/** For the last bytes, DISCONNECT among them, to leave. */
const FLUSH_TIMEOUT_MS = 1_000
/** For packets that came before the peer's end and wait for their turn, for the disk or for a rate. */
export const INPUT_END_TIMEOUT_MS = 5_000

/** Ends the stream after everything that was written. */
export function finish(stream: Duplex, clock: Clock, done: () => void): void {
  if (stream.destroyed || stream.writableFinished) return done()
  const late = clock.after(FLUSH_TIMEOUT_MS, done)
  const left = guard('mqtt', done, () => {
    late.cancel()
    done()
  })
  stream.once('close', left)
  stream.end(left)
}

/** Who is told that a connection is to end. */
export interface SignalHandler {
  onAborted(): void
  onDraining(err: MeshError): void
  onDefect(err: MeshError): void
}
/** One listener for both notices. */
class SignalListener implements Disposable {
  readonly #conn: Connection
  readonly #on: SignalHandler

  constructor(conn: Connection, on: SignalHandler) {
    this.#conn = conn
    this.#on = on
  }
  listen(): void {
    const { aborted, draining } = this.#conn
    aborted.addEventListener('abort', this)
    draining.addEventListener('abort', this)
    if (aborted.aborted || draining.aborted) this.handleEvent()
  }
  handleEvent(): void {
    tell(this)
  }
  tell(): void {
    const { aborted, draining } = this.#conn
    if (aborted.aborted) this.#on.onAborted()
    else this.#on.onDraining(toDrainReason(draining.reason))
  }
  fail(error: MeshError): void {
    this.#on.onDefect(error)
  }
  [Symbol.dispose](): void {
    this.#conn.aborted.removeEventListener('abort', this)
    this.#conn.draining.removeEventListener('abort', this)
  }
}
const tell = guard(
  'mqtt',
  (error, listener: SignalListener) => listener.fail(error),
  (listener: SignalListener) => listener.tell(),
)

function toDrainReason(reason: unknown): MeshError {
  return reason instanceof MeshError ? reason : new MeshError('MESH_DRAINING', 'the listener is draining')
}

/** @returns to be disposed of when the connection is over */
export function listenToSignals(conn: Connection, on: SignalHandler): Disposable {
  const listener = new SignalListener(conn, on)
  listener.listen()
  return listener
}

/** A protocol error of the broker is not the client's fault. */
export function asUpstream(err: MeshError): MeshError {
  return err.code === 'MESH_MQTT_PROTOCOL' ? new MeshError('MESH_UPSTREAM_PROTOCOL', err.message, { cause: err }) : err
}

/** Why the client's stream has ended; undefined after an end in order. */
export function explainClientEnd(cause: Error | undefined): MeshError | undefined {
  if (!cause || cause.message === 'closed') return undefined
  return new MeshError('MESH_CLIENT_GONE', 'the connection broke', { cause })
}
