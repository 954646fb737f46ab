/** grpc.health.v1.Health/Check (gRPC health checking protocol), the message by hand: one text to ask with, one number as the answer. */
import { createRequire } from 'node:module'
import type Http2 from 'node:http2'
import type { Address, Network } from '../../agent/core/network.ts'
import { MeshError } from '../../agent/core/errors.ts'
import { guarded } from '../../agent/core/guard.ts'

const SERVING = 1
const STATUS_NAMES: Readonly<Record<number, string>> = { 0: 'UNKNOWN', 2: 'NOT_SERVING', 3: 'SERVICE_UNKNOWN' }
const UNIMPLEMENTED = '12'
/** The answer has seven bytes. */
const MAX_ANSWER_BYTES = 1_024

/** Rejects with MESH_PROBE_FAILED, the OS error of the connection, or the signal's reason. */
export async function askGrpc(service: string, to: Address, network: Network, signal: AbortSignal): Promise<void> {
  const { stream } = await network.dial(to, signal)
  // Loaded at the first such probe: a fifth of the time of a start, and memory that a device without one keeps.
  const http2 = createRequire(import.meta.url)('node:http2') as typeof Http2
  const session = http2.connect(`http://${to.host.includes(':') ? `[${to.host}]` : to.host}:${to.port}`, { createConnection: () => stream, settings: { enablePush: false } })
  stream.on('error', ignore)
  try {
    const status = await new Promise<number>((resolve, reject) => {
      const failed = (problem: string): void => reject(new MeshError('MESH_PROBE_FAILED', problem))
      signal.addEventListener('abort', guarded('health', reject, () => reject(signal.reason)), { once: true })
      session.on('error', reject)
      // node:http2 does not notice the end of a socket that permits half-open.
      for (const event of ['end', 'close']) stream.once(event, guarded('health', reject, () => failed('the connection was closed before an answer')))
      const call = session.request({ ':method': 'POST', ':path': '/grpc.health.v1.Health/Check', 'content-type': 'application/grpc', 'te': 'trailers', 'user-agent': 'meshlet-probe' })
      let answer = Buffer.alloc(0)
      let code: string | undefined
      const ended = guarded('health', reject, (fields: Http2.IncomingHttpHeaders) => { code ??= fields['grpc-status']?.toString() })
      call.on('response', guarded('health', reject, (headers: Http2.IncomingHttpHeaders & Http2.IncomingHttpStatusHeader) => {
        if (headers[':status'] !== 200) failed(`the HTTP status is ${headers[':status']}`)
        ended(headers)
      }))
      call.on('trailers', ended)
      call.on('data', guarded('health', reject, (chunk: Buffer) => {
        answer = Buffer.concat([answer, chunk])
        if (answer.length > MAX_ANSWER_BYTES) failed('the answer is too long')
      }))
      call.on('error', reject)
      call.on('close', guarded('health', reject, () => {
        if (code === UNIMPLEMENTED) failed('the port does not serve grpc.health.v1.Health')
        else if (code !== '0') failed(`the gRPC status is ${code ?? 'missing'}`)
        else resolve(statusIn(answer))
      }))
      call.end(framed(requestOf(service)))
    })
    if (status !== SERVING) throw new MeshError('MESH_PROBE_FAILED', `it says ${STATUS_NAMES[status] ?? status}`)
  } finally {
    // The session goes with it; the other way round node:http2 would say goodbye first, in the middle of a write.
    stream.destroy()
  }
}

/** HealthCheckRequest {string service = 1}. */
function requestOf(service: string): Buffer {
  if (service === '') return Buffer.alloc(0)
  const name = Buffer.from(service, 'utf8')
  const length = name.length < 128 ? [name.length] : [(name.length & 127) | 128, name.length >> 7]
  return Buffer.concat([Buffer.from([0x0a, ...length]), name])
}

/** gRPC over HTTP/2: a byte for the compression, four for the length. */
function framed(message: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

/** HealthCheckResponse {enum status = 1}; 0 where there is none. */
function statusIn(frame: Buffer): number {
  return frame.length >= 7 && frame[0] === 0 && frame[5] === 0x08 ? frame[6]! : 0
}

function ignore(): void { /* seen as the end of the session */ }
