/**
 * grpc.health.v1.Health/Check (gRPC health checking protocol), the message by hand: one text to ask with, one number as
 * the answer.
 */
import type { Address, Network } from '../../core/os/network.ts'
import { MeshError } from '../../core/errors.ts'
import { guard } from '../../core/defects/guard.ts'
import type { FieldList } from '../../protocols/http/codec/hpack/decoder.ts'
import { findField } from '../../protocols/http/codec/h2-message-rules.ts'
import { CONNECTION_CLOSED, type SessionOptions, type SessionOwner } from '../../protocols/http/h2/events.ts'
import type { StreamOwner } from '../../protocols/http/h2/stream/stream.ts'
import { Http2Session } from '../../protocols/http/h2/session.ts'
import { frameGrpc, MessageWriter } from '../../protocols/protobuf/message.ts'

const SERVING = 1
const STATUS_NAMES: Readonly<Record<number, string>> = { 0: 'UNKNOWN', 2: 'NOT_SERVING', 3: 'SERVICE_UNKNOWN' }
const UNIMPLEMENTED = '12'
/** The answer has seven bytes. */
const MAX_ANSWER_BYTES = 1_024
const SESSION: Omit<SessionOptions, 'socket'> = {
  role: 'client',
  maxHeaderListBytes: 64 * 1024,
  maxHeaderCount: 100,
  maxConcurrentStreams: 0,
  streamWindowBytes: 64 * 1024,
  connectionWindowBytes: 64 * 1024,
  extendedConnect: false,
}
const HEAD = [
  ':method',
  'POST',
  ':scheme',
  'http',
  ':path',
  '/grpc.health.v1.Health/Check',
  'content-type',
  'application/grpc',
  'te',
  'trailers',
  'user-agent',
  'meshlet-probe',
]

/** Rejects with MESH_PROBE_FAILED, the OS error of the connection, or the signal's reason. */
export async function askGrpc(service: string, to: Address, network: Network, signal: AbortSignal): Promise<void> {
  const { stream } = await network.dial(to, signal)
  try {
    const status = await new Promise<number>((resolve, reject) => {
      signal.addEventListener(
        'abort',
        guard('health', reject, () => reject(signal.reason)),
        { once: true },
      )
      stream.on('error', guard('health', reject, reject))
      const check = new Check(resolve, reject)
      const session = new Http2Session({ ...SESSION, socket: stream }, check)
      session.begin()
      const call = session.open(check, 'POST')
      call.sendHead([':authority', `${to.host.includes(':') ? `[${to.host}]` : to.host}:${to.port}`, ...HEAD])
      call.sendData(frameGrpc(requestOf(service)))
      call.sendEnd()
    })
    if (status !== SERVING) throw new MeshError('MESH_PROBE_FAILED', `it says ${STATUS_NAMES[status] ?? status}`)
  } finally {
    stream.destroy()
  }
}

/** One call on a connection of its own. What floods it ends with the probe's time. */
class Check implements SessionOwner, StreamOwner {
  readonly #resolve: (status: number) => void
  readonly #reject: (error: MeshError) => void
  #answer = Buffer.alloc(0)
  #code: string | undefined

  constructor(resolve: (status: number) => void, reject: (error: MeshError) => void) {
    this.#resolve = resolve
    this.#reject = reject
  }
  #failed(problem: string): void {
    this.#reject(new MeshError('MESH_PROBE_FAILED', problem))
  }

  onHead({ fields }: FieldList): void {
    const [, status] = fields
    if (status !== '200') this.#failed(`the HTTP status is ${status}`)
    this.#code = findField(fields, 'grpc-status')
  }
  onData(chunk: Buffer): void {
    this.#answer = Buffer.concat([this.#answer, chunk])
    if (this.#answer.length > MAX_ANSWER_BYTES) this.#failed('the answer is too long')
  }
  onEnd(trailers: FieldList | undefined): void {
    this.#code ??= findField(trailers?.fields ?? [], 'grpc-status')
  }
  onStreamClose(code: number, problem: string | undefined): void {
    if (problem !== undefined) this.#failed(problem)
    else if (code === CONNECTION_CLOSED) this.#failed('the connection was closed before an answer')
    else if (this.#code === UNIMPLEMENTED) this.#failed('the port does not serve grpc.health.v1.Health')
    else if (this.#code !== '0') this.#failed(`the gRPC status is ${this.#code ?? 'missing'}`)
    else this.#resolve(statusIn(this.#answer))
  }
  onSessionClose(): void {
    this.#failed('the connection was closed before an answer')
  }

  onInformational(): void {
    /* Nothing that a probe asks for. */
  }
  onPause(): void {
    /* Nothing is gathered. */
  }
  onWritten(): void {
    /* The request is short. */
  }
  onStream(): void {
    /* A server's. */
  }
  onMalformed(): void {
    /* A server's. */
  }
  onCostlyFrame(): void {
    /* See above. */
  }
  onGoaway(): void {
    /* The call at hand goes on. */
  }
}

/** HealthCheckRequest {string service = 1}. */
const requestOf = (service: string): Buffer => new MessageWriter().text(1, service).finish()

/** HealthCheckResponse {enum status = 1}; 0 where there is none. */
function statusIn(frame: Buffer): number {
  return frame.length >= 7 && frame[0] === 0 && frame[5] === 0x08 ? frame[6]! : 0
}
