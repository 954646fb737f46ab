/** The four ways to ask a workload whether it works (istio pkg/istio-agent/health/health_probers.go). */
import type { RunCommand } from '../../core/os/command.ts'
import { MeshError } from '../../core/errors.ts'
import type { Network } from '../../core/os/network.ts'
import type { ReadinessProbe } from '../../model/readiness-probe.ts'
import { askHttp } from './http.ts'

export type Probe = {
  /** In a person's words. */
  readonly what: string
  /** Resolves when the workload works. Rejects with what speaks against it, or the signal's reason. */
  ask(signal: AbortSignal): Promise<void>
}

/** Where a workload is that names no host: beside meshlet, whatever its own address is. */
const LOCAL = '127.0.0.1'
/** More of a program's words would not be read. */
const MAX_SAID_CHARS = 200

export function createProbe(
  { httpGet, tcpSocket, exec, grpc }: ReadinessProbe,
  o: { readonly network: Network; readonly run: RunCommand },
): Probe {
  if (httpGet) {
    const to = { host: httpGet.host ?? LOCAL, port: httpGet.port }
    return {
      what: `${httpGet.scheme === 'HTTPS' ? 'https' : 'http'}://${place(to)}${httpGet.path}`,
      ask: (signal) => askHttp(httpGet, to, o.network, signal),
    }
  }
  if (tcpSocket) {
    const to = { host: tcpSocket.host ?? LOCAL, port: tcpSocket.port }
    return {
      what: `tcp ${place(to)}`,
      ask: async (signal) => {
        ;(await o.network.dial(to, signal)).stream.destroy()
      },
    }
  }
  if (grpc) {
    const to = { host: LOCAL, port: grpc.port }
    return {
      what: `grpc ${place(to)}${grpc.service && ` ${grpc.service}`}`,
      // Loaded at the first use, as HTTP/2 everywhere.
      ask: async (signal) => (await import('./grpc.ts')).askGrpc(grpc.service, to, o.network, signal),
    }
  }
  const { command } = exec ?? { command: [] }
  return { what: `command ${command[0] ?? ''}`, ask: (signal) => askCommand(command, o.run, signal) }
}

async function askCommand(command: readonly string[], run: RunCommand, signal: AbortSignal): Promise<void> {
  const { code, output } = await run(command, signal)
  if (code === 0) return
  const said = output.trim().replace(/\s+/g, ' ').slice(0, MAX_SAID_CHARS)
  throw new MeshError(
    'MESH_PROBE_FAILED',
    `${command[0]} ${code === undefined ? 'was ended by a signal' : `ended with ${code}`}${said && `: ${said}`}`,
  )
}

const place = ({ host, port }: { host: string; port: number }): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
