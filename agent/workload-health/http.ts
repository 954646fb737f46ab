/** One GET on a connection of its own; the status says it all (200 to 399, as with Kubernetes). */
import net from 'node:net'
import tls from 'node:tls'
import type { Duplex } from 'node:stream'
import { MeshError } from '../../core/errors.ts'
import { guard } from '../../core/defects/guard.ts'
import type { Address, Network } from '../../core/os/network.ts'
import type { HttpProbe } from '../../model/readiness-probe.ts'

/** Of the heads that are read for the status; what follows is not. */
const MAX_HEAD_BYTES = 16 * 1024

/** Rejects with MESH_PROBE_FAILED, the OS error of the connection, or the signal's reason. */
export async function askHttp(probe: HttpProbe, to: Address, network: Network, signal: AbortSignal): Promise<void> {
  const { stream } = await network.dial(to, signal)
  // As Kubernetes and Istio: the question is whether it answers, not who it is.
  const secured: Duplex =
    probe.scheme === 'HTTPS'
      ? tls.connect({
          socket: stream,
          servername: net.isIP(to.host) ? '' : to.host,
          rejectUnauthorized: false,
          ALPNProtocols: ['http/1.1'],
        })
      : stream
  stream.on('error', ignore)
  try {
    const answer = statusOf(secured, signal)
    secured.write(requestOf(probe, to), 'latin1')
    const status = await answer
    if (status < 200 || status > 399) throw new MeshError('MESH_PROBE_FAILED', `the status is ${status}`)
  } finally {
    secured.destroy()
    stream.destroy()
  }
}

function requestOf({ path, httpHeaders }: HttpProbe, { host, port }: Address): string {
  const has = (name: string): boolean => httpHeaders.some((h) => h.name.toLowerCase() === name)
  const lines = [
    `GET ${path} HTTP/1.1`,
    ...(has('host') ? [] : [`Host: ${host.includes(':') ? `[${host}]` : host}:${port}`]),
    ...(has('user-agent') ? [] : ['User-Agent: meshlet-probe']),
    ...httpHeaders.filter((h) => h.name.toLowerCase() !== 'connection').map((h) => `${h.name}: ${h.value}`),
    'Connection: close',
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** Past interim answers (RFC 9110 §15.2). */
function statusOf(stream: Duplex, signal: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    let head = ''
    const failed = (problem: string): void => reject(new MeshError('MESH_PROBE_FAILED', problem))
    signal.addEventListener(
      'abort',
      guard('health', reject, () => reject(signal.reason)),
      { once: true },
    )
    stream.on(
      'data',
      guard('health', reject, (chunk: Buffer) => {
        head += chunk.toString('latin1')
        for (;;) {
          const line = head.indexOf('\n')
          if (line < 0) break
          const status = Number(/^HTTP\/1\.[01] ([1-5]\d\d)(?: .*)?\r?$/.exec(head.slice(0, line))?.[1])
          if (Number.isNaN(status)) {
            failed('the answer is no HTTP/1.1')
            return
          }
          if (status >= 200) {
            resolve(status)
            return
          }
          const end = /\r?\n\r?\n/.exec(head)
          if (!end) break
          head = head.slice(end.index + end[0].length)
        }
        if (head.length > MAX_HEAD_BYTES) failed('the answer has no end of its head')
      }),
    )
    const closed = guard('health', reject, () => failed('the connection was closed before an answer'))
    stream.on('end', closed)
    stream.on('close', closed)
    stream.on('error', reject)
  })
}

function ignore(): void {
  /* seen as the end of what it carries */
}
