/** The command line's way to a running agent: its loopback admin port. */
import http from 'node:http'
import { MeshError } from '../../core/errors.ts'

/** A configuration dump of a large mesh is some tens of megabytes. */
const MAX_BODY_BYTES = 512 * 1024 * 1024

/** Rejects with MESH_CONTROL_UNREACHABLE when no agent answers there. */
export function askAgent(
  admin: string,
  method: 'GET' | 'POST',
  path: string,
): Promise<{ status: number; body: string }> {
  const [, host, port] = /^\[?([^\]]+)\]?:(\d+)$/.exec(admin) ?? []
  if (host === undefined)
    return Promise.reject(new MeshError('MESH_CONFIG_INVALID', `--admin must be ADDRESS:PORT, not "${admin}"`))
  return new Promise((resolve, reject) => {
    const failed = (cause: Error): void =>
      reject(new MeshError('MESH_AGENT_UNREACHABLE', `no meshlet agent answers on ${admin}`, { cause }))
    const req = http.request({ host, port: Number(port), path, method, timeout: 10_000 }, (res) => {
      const parts: Buffer[] = []
      let bytes = 0
      res.on('data', (part: Buffer) => {
        bytes += part.length
        if (bytes > MAX_BODY_BYTES) res.destroy(new Error('the answer is too large'))
        else parts.push(part)
      })
      res.on('end', () => resolve({ status: res.statusCode ?? 0, body: Buffer.concat(parts).toString('utf8') }))
      res.on('error', failed)
    })
    req.on('timeout', () => req.destroy(new Error('no answer within 10 s')))
    req.on('error', failed)
    req.end()
  })
}
