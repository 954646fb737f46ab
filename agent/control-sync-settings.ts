/** From agent.yaml to what control-sync needs: addresses, roots, token, names. */
import { X509Certificate } from 'node:crypto'
import { promises as dns } from 'node:dns'
import path from 'node:path'
import { listControlNames, type Lookup } from '../control-sync/connection/last-known-addresses.ts'
import { createByteCount, createWireCount, type ControlPlane } from '../control-sync/connection/control-plane.ts'
import type { NodeSettings } from '../control-sync/ads/node.ts'
import type { AgentConfig } from './config/schema.ts'
import type { Disk } from '../core/os/disk.ts'
import { MeshError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import { createSealer, type Sealer } from '../core/pki/sealing.ts'
import { secureFolder } from '../core/os/state-folder.ts'
import type { World } from '../core/world.ts'

type Control = Omit<NonNullable<AgentConfig['control']>, 'token'> & { readonly token?: string | undefined }

/** A token is a JWT of some hundred bytes; anything longer is another file. */
const MAX_TOKEN_BYTES = 16 * 1024

/** What the configuration stream and the CA share besides: the addresses that DNS last gave, and the count of bytes. */
export function createControlLink({
  config,
  world: { disk, clock },
  log,
  metrics,
  findProxy,
}: {
  readonly config: AgentConfig
  readonly world: World
  readonly log: Log
  readonly metrics: Metrics
  readonly findProxy?: ControlPlane['findProxy']
}): Pick<ControlPlane, 'names' | 'bytes' | 'wire' | 'findProxy'> {
  return {
    findProxy,
    names: listControlNames({
      lookup: systemLookup,
      disk,
      clock,
      log,
      file: path.join(config.state, 'control-names.json'),
    }),
    bytes: createByteCount(metrics),
    wire: createWireCount(metrics),
  }
}

const systemLookup: Lookup = async (host) => (await dns.lookup(host, { all: true })).map((a) => a.address)

export function readControlPlane(
  control: Control,
  clusterId: string,
  disk: Disk,
  link: Pick<ControlPlane, 'names' | 'bytes' | 'wire' | 'findProxy' | 'certificateClock'> = {},
): ControlPlane {
  return {
    ...link,
    // A reload may change where it is (reload/live-control.ts).
    get addresses() {
      return control.address
    },
    get serverName() {
      return control.serverName
    },
    clusterId,
    maxMessageBytes: control.maxMessageBytes,
    roots() {
      const roots = read(control.roots, 'control.roots', disk)
      if (!roots) throw new MeshError('MESH_CONFIG_INVALID', `control.roots: there is no file ${control.roots}`)
      // OpenSSL reads a file without certificates as an empty list, and reports later that the server's certificate is
      // not in it.
      try {
        new X509Certificate(roots)
      } catch (cause) {
        throw new MeshError('MESH_CONFIG_INVALID', `control.roots: ${control.roots} holds no certificate`, { cause })
      }
      return roots
    },
    token() {
      if (control.token === undefined) return undefined
      return readToken(read(control.token, 'control.token', disk) ?? Buffer.alloc(0), control.token)
    },
  }
}

/**
 * Undefined where there is nothing. Throws MESH_TOKEN_INVALID for what cannot be a token; its text is not repeated.
 * @param where for the message
 */
export function readToken(content: Buffer, where: string): string | undefined {
  const token = content.toString('utf8').trim()
  if (token === '') return undefined
  if (token.length > MAX_TOKEN_BYTES || !/^[\x21-\x7e]+$/.test(token))
    throw new MeshError('MESH_TOKEN_INVALID', `${where} holds something that is no token`)
  return token
}

/** Undefined when agent.yaml asks for no encryption. Throws MESH_CONFIG_INVALID. */
export function readSealer(
  { identity: { encryptionKey } }: Pick<AgentConfig, 'identity'>,
  disk: Disk,
): Sealer | undefined {
  if (encryptionKey === undefined) return undefined
  const setting = 'identity.encryptionKey'
  const content = read(encryptionKey, setting, disk)
  if (!content) throw new MeshError('MESH_CONFIG_INVALID', `${setting}: there is no file ${encryptionKey}`)
  return createSealer(content, `${setting}: ${encryptionKey}`)
}

/** A proxy that routes by another table needs no table of that name, and to a gateway istiod sends none. */
export function findHttpProxyPort({ listeners, node }: AgentConfig): number | undefined {
  if (node.type === 'router') return undefined
  return listeners.find((l) => l.kind === 'http_proxy' && l.routes === 'http_proxy')?.port
}

/** What a control plane is told of the listeners of agent.yaml. */
export function findWhatIsTold(config: AgentConfig): Pick<NodeSettings, 'httpProxyPort' | 'takesTunnels'> {
  return {
    httpProxyPort: findHttpProxyPort(config),
    takesTunnels: config.listeners.some(({ kind }) => kind === 'hbone'),
  }
}

/** @param p.ip where agent.yaml names none */
export function readNodeSettings<Ip extends string | undefined>(
  config: AgentConfig,
  p: { readonly version: string; readonly hostName: string; readonly ip: Ip },
): Omit<NodeSettings, 'ip'> & { readonly ip: string | Ip } {
  const { node } = config
  return {
    ...node,
    name: node.name ?? p.hostName,
    ip: node.ip ?? p.ip,
    version: p.version,
    capture: config.capture,
    dns: config.dns !== undefined,
    ...findWhatIsTold(config),
    discoveryAddress: config.control?.address[0] ?? '',
    readinessProbe: config.readinessProbe,
  }
}

/**
 * Makes the state folder. Throws MESH_STATE_UNUSABLE when that fails, nothing can be written there, or somebody else
 * could.
 */
export function prepareState(folder: string, disk: Disk): void {
  try {
    disk.makeFolder(folder, 0o700)
    secureFolder(folder)
    disk.tryWriting(folder)
  } catch (cause) {
    if (cause instanceof MeshError) throw cause
    if ((cause as NodeJS.ErrnoException).code === 'ENOSPC')
      throw new MeshError('MESH_STORAGE_FULL', `the disk of the state directory ${folder} is full`, { cause })
    throw new MeshError('MESH_STATE_UNUSABLE', `the state directory ${folder} cannot be written to`, { cause })
  }
}

function read(file: string, setting: string, disk: Disk): Buffer | undefined {
  try {
    return disk.read(file)
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `${setting}: ${file} cannot be read`, { cause })
  }
}
