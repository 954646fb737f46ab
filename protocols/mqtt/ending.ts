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

/** @returns to be disposed of when the connection is over */
export function listenToSignals(
  { draining, aborted }: Connection,
  on: {
    readonly aborted: () => void
    readonly draining: (err: MeshError) => void
    readonly defect: (err: MeshError) => void
  },
): Disposable {
  const onAborted = guard('mqtt', on.defect, on.aborted)
  const onDraining = guard('mqtt', on.defect, () => {
    const { reason } = draining
    on.draining(reason instanceof MeshError ? reason : new MeshError('MESH_DRAINING', 'the listener is draining'))
  })
  aborted.addEventListener('abort', onAborted, { once: true })
  if (aborted.aborted) onAborted()
  draining.addEventListener('abort', onDraining, { once: true })
  if (draining.aborted) onDraining()
  return {
    [Symbol.dispose]: () => {
      aborted.removeEventListener('abort', onAborted)
      draining.removeEventListener('abort', onDraining)
    },
  }
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
