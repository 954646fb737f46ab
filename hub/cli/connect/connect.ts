/** `meshlet-hub connect DEVICE PORT`: ports of a device, on loopback or on standard input and output. */
import type { Duplex } from 'node:stream'
import type { ExitCode } from '../../../core/cli/exit.ts'
import { detach } from '../../../core/defects/guard.ts'
import { formatSentence, MeshError } from '../../../core/errors.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { systemNetwork, type NetStream } from '../../../core/os/network.ts'
import { findHubBeside, type HubBeside } from '../../relay/connect-client.ts'
import type { ConnectRequest } from '../../relay/connect-request.ts'
import { readHubConfig } from '../../config.ts'
import { nameOperator } from '../open.ts'
import type { Io } from '../io.ts'

export type LocalAddress = { readonly host: '127.0.0.1' | '::1'; readonly port: number }
export type ConnectOptions = {
  readonly config: string
  readonly host: string
  readonly listen: LocalAddress
  readonly stdio: boolean
}
type Wanted = ConnectOptions & { readonly device: string; readonly port: number }

/** Rejects with MESH_CONNECT_*, MESH_CONFIG_INVALID, MESH_PORT_IN_USE. */
export async function connect(o: Wanted, io: Io): Promise<ExitCode> {
  const { state } = readHubConfig(o.config, systemDisk)
  using hub = await findHubBeside(state)
  const { device, host, port } = o
  const request = (address: string): ConnectRequest => ({ device, host, port, operator: nameOperator(io), address })
  if (!o.stdio) return await listen(o, hub, { io, request })
  if (!io.stdio) throw new MeshError('MESH_CONFIG_INVALID', 'there is no standard input here')
  const { reason } = await hub.carry(io.stdio(), request('stdio'))
  if (reason) throw reason
  return 0
}

type Served = { readonly io: Io; readonly request: (address: string) => ConnectRequest }

/** Until somebody stops it, or the hub has gone. */
async function listen(o: Wanted, hub: HubBeside, { io, request }: Served): Promise<ExitCode> {
  const open = new Set<Duplex>()
  const serve = async ({ stream, remote }: NetStream): Promise<void> => {
    open.add(stream)
    const { reason } = await hub.carry(stream, request(`${remote.host}:${remote.port}`))
    open.delete(stream)
    if (reason) io.err(`${formatSentence(reason)}\n`)
  }
  await using listening = await openPort(o.listen, (accepted) => detach('hub', serve(accepted)))
  const host = o.listen.host === '::1' ? '[::1]' : o.listen.host
  io.out(`${host}:${listening.port} is port ${o.port} of ${o.device}, until Ctrl-C\n`)
  const ended = await Promise.race([hub.ended, io.stopRequested().then(() => undefined)])
  for (const stream of open) stream.destroy()
  if (ended) throw new MeshError('MESH_CONNECT_NO_HUB', `the hub has ended this: ${ended.message}`)
  return 0
}

async function openPort(at: LocalAddress, accept: (accepted: NetStream) => void) {
  try {
    return await systemNetwork.listen(at, accept)
  } catch (cause) {
    throw new MeshError('MESH_PORT_IN_USE', `${at.host}:${at.port} cannot be listened on: ${String(cause)}`, { cause })
  }
}
