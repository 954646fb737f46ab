/** One message to the hub over a relay stream of its own, and the one that answers it. */
import { MeshError } from '../../core/errors.ts'
import type { Clock } from '../../core/os/clock.ts'
import type { Kind } from '../../core/relay/kinds.ts'
import type { Mux } from '../../core/relay/mux.ts'
import type { ControlPlane } from '../connection/control-plane.ts'

const ANSWER_MS = 15_000

export type AskOnce = {
  readonly mux: Mux
  readonly kind: Kind
  readonly message: Uint8Array
  /** Of the hub, for messages. */
  readonly address: string
  readonly clock: Clock
  /** Counted as spent on certificates. */
  readonly bytes: ControlPlane['bytes']
}

/** Rejects with what the hub resets the stream with, MESH_CONTROL_TIMEOUT or MESH_CONTROL_PROTOCOL. */
export async function askOnce({ mux, kind, message, address, clock, bytes }: AskOnce): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
  const silent = new MeshError('MESH_CONTROL_TIMEOUT', `${address} sent no certificate within ${ANSWER_MS} ms`)
  const late = clock.after(ANSWER_MS, () => reject(silent))
  const stream = mux.open(kind).listen({
    onMessage: resolve,
    onReset: reject,
    onEnd: () => reject(new MeshError('MESH_CONTROL_PROTOCOL', `${address} ended the stream without an answer`)),
  })
  stream.send(message)
  stream.end()
  bytes?.('certificate', 'sent', message.length)
  try {
    const answer = await promise
    bytes?.('certificate', 'received', answer.length)
    return answer
  } catch (thrown) {
    stream.reset(silent)
    throw thrown
  } finally {
    late.cancel()
  }
}
