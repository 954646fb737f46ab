/** agent.yaml's `listeners` as model listeners, so that the data path knows one kind only. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { MeshError } from '../../core/errors.ts'
import { parseCrls } from '../../core/pki/x509.ts'
import type { Disk } from '../../core/os/disk.ts'
import {
  ANY_CONNECTION,
  type Codec,
  type FilterChain,
  type HttpConnectionManager,
  type Listener,
} from '../../model/listener.ts'
import type { DownstreamTls } from '../../model/tls.ts'
import type { MqttPolicy } from '../../model/mqtt-policy.ts'
import { parseRange } from '../../model/ip.ts'
import { NO_HEADER_CHANGES } from '../../model/route.ts'
import { toListenAddress } from './schema/listeners.ts'
import type { AgentConfig, ListenerConfig } from './schema.ts'

/** What listeners need of this machine. */
export type Machine = {
  readonly disk: Pick<Disk, 'read'>
  /** Of `mqtt.users.pskFile`, for handshakes. Undefined: nobody has that identity. */
  readonly findPskKey: (identity: string) => Uint8Array | undefined
}

/**
 * Files of `tls` are read before the port is opened (`prepare`): one that is not there yet keeps its own listener
 * closed, and nothing else.
 */
export function createListeners(config: AgentConfig, machine: Machine): readonly Listener[] {
  const { users: _, ...mqtt } = config.mqtt
  return config.listeners.map((l) => ({
    name: l.name,
    ...toListenAddress(l),
    ...('unix' in l && l.unix ? { unixMode: Number.parseInt(l.unix.mode, 8) } : {}),
    ...(l.ipv4Compat ? { ipv4Compat: true } : {}),
    bindToPort: true,
    direction: DIRECTION[l.kind],
    useOriginalDst: false,
    sniff: { tls: false, http: l.kind === 'http' || l.kind === 'http_proxy', timeoutMs: 0, onTimeout: 'close' },
    filterChains: [],
    ...(l.proxyProtocol && {
      proxyProtocol: {
        trusted: l.proxyProtocol.trusted.flatMap((text) => parseRange(text) ?? []),
        isOptional: false,
        disallowedVersions: [],
        believesCertificate: l.proxyProtocol.clientCertificate,
        requiresTls: l.proxyProtocol.requireTls,
      },
    }),
    source: `agent.yaml listeners.${l.name}`,
    ...chainOf(l, mqtt, machine),
  }))
}

const DIRECTION: Readonly<Record<ListenerConfig['kind'], Listener['direction']>> = {
  http_proxy: 'outbound',
  tcp: 'outbound',
  http: 'unspecified',
  mqtt: 'unspecified',
  hbone: 'inbound',
}

function chainOf(
  l: ListenerConfig,
  mqtt: MqttPolicy,
  machine: Machine,
): Partial<Listener> & Pick<Listener, 'defaultFilterChain'> {
  const settings = l.kind === 'hbone' ? MUTUAL : 'tls' in l ? l.tls : undefined
  const { tls, prepare } = settings ? tlsOf(l.name, settings, l.kind, machine) : {}
  const defaultFilterChain: FilterChain = {
    name: l.name,
    policies: [],
    codec: codecOf(l, mqtt),
    tls,
    match: ANY_CONNECTION,
  }
  if (l.kind !== 'mqtt' || !tls || !l.plainText) return { defaultFilterChain, ...(prepare && { prepare }) }
  const match = { ...ANY_CONNECTION, transportProtocol: 'tls' }
  return {
    sniff: { tls: true, http: false, timeoutMs: 0, onTimeout: 'close' },
    filterChains: [{ ...defaultFilterChain, match }],
    defaultFilterChain: { ...defaultFilterChain, tls: undefined },
    ...(prepare && { prepare }),
  }
}

const MUTUAL = { mode: 'mutual' } as const

/** Route tables that agent.yaml's own listeners name. */
export function collectOwnRoutes(own: readonly Listener[]): ReadonlySet<string> {
  const names = new Set<string>()
  for (const { defaultFilterChain: chain } of own)
    if (chain?.codec.kind === 'http' && chain.codec.http.routes.from === 'rds') names.add(chain.codec.http.routes.name)
  return names
}

/** Settings of `mqtt`, with the listener's own where it has some. */
function policyOf({ mqtt: its }: Extract<ListenerConfig, { kind: 'mqtt' }>, all: MqttPolicy): MqttPolicy {
  if (!its) return all
  const {
    aclFile = all.aclFile,
    allowedOrigins = all.allowedOrigins,
    maxPacketBytes = all.limits.maxPacketBytes,
    maxKeepAliveSec = all.limits.maxKeepAliveSec,
    ...listener
  } = its
  return {
    ...all,
    aclFile,
    allowedOrigins,
    limits: { ...all.limits, maxPacketBytes, maxKeepAliveSec },
    listener: { ...all.listener, ...listener },
  }
}

function codecOf(l: ListenerConfig, mqtt: MqttPolicy): Codec {
  switch (l.kind) {
    case 'http':
      return { kind: 'http', http: httpManager(l.name, l.routes, { explicitProxy: false }) }
    case 'http_proxy':
      return { kind: 'http', http: httpManager(l.name, l.routes, { explicitProxy: true }) }
    case 'tcp':
      return {
        kind: 'tcp',
        tcp: { clusters: [{ name: l.cluster, weight: 1, headers: NO_HEADER_CHANGES }], idleMs: undefined },
      }
    case 'hbone':
      return { kind: 'hbone', hbone: { cluster: undefined } }
    case 'mqtt':
      return {
        kind: 'mqtt',
        mqtt: policyOf(l, mqtt),
        transport: l.transport,
        ...(l.cluster !== undefined && {
          proxy: {
            cluster: l.cluster,
            forwardCredentials: l.forwardCredentials ?? false,
            ...(l.sendProxyProtocol && { sendProxyProtocol: l.sendProxyProtocol }),
          },
        }),
      }
    default:
      return l satisfies never
  }
}

function httpManager(
  name: string,
  routes: string,
  { explicitProxy }: { explicitProxy: boolean },
): HttpConnectionManager {
  return {
    statPrefix: name,
    codec: 'auto',
    routes: { from: 'rds', name: routes },
    filters: [],
    // A local application must not claim a client certificate (x-forwarded-client-cert) to anybody further on.
    forwardClientCert: 'sanitize',
    clientCertDetails: { subject: false, uri: false, dns: false, cert: false, chain: false },
    serverName: 'meshlet',
    useRemoteAddress: false,
    xffTrustedHops: 0,
    requestId: 'keep-or-make',
    normalizePath: true,
    mergeSlashes: false,
    upgrades: ['websocket'],
    streamIdleMs: 300_000,
    requestTimeoutMs: undefined,
    connectionIdleMs: undefined,
    maxRequestHeadersBytes: 60 * 1024,
    explicitProxy,
  }
}

const ALPN: { readonly [kind in ListenerConfig['kind']]?: readonly string[] } = {
  http: ['h2', 'http/1.1'],
  mqtt: ['mqtt', 'http/1.1', 'istio-peer-exchange', 'istio'],
  hbone: ['h2'],
}

type TlsConfig = NonNullable<Extract<ListenerConfig, { kind: 'mqtt' }>['tls']>

type Material = {
  readonly chainPem: string
  readonly keyPem: string
  readonly rootsPem: string | undefined
  readonly crlPem: string | undefined
}

function tlsOf(
  name: string,
  tls: TlsConfig,
  kind: ListenerConfig['kind'],
  { disk, findPskKey }: Machine,
): { readonly tls: DownstreamTls; readonly prepare?: () => void } {
  const alpnProtocols = ALPN[kind] ?? []
  const common = { alpnProtocols, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3', cipherSuites: [] } as const
  if (tls.mode === 'psk') {
    return {
      tls: {
        ...common,
        certificate: undefined,
        validation: undefined,
        requireClientCertificate: false,
        psk: { hint: tls.hint, find: findPskKey },
      },
    }
  }
  if (tls.mode === 'mutual') {
    return {
      tls: {
        ...common,
        certificate: { from: 'workload' },
        validation: { roots: { from: 'workload' }, sans: [] },
        requireClientCertificate: true,
      },
    }
  }
  // One object for the listener's life. The port is opened after its files were read, so nobody sees it without them.
  let material: Material | undefined
  const hasRoots = tls.clientRoots !== undefined
  return {
    prepare: () => {
      material ??= readMaterial(name, tls, disk)
    },
    tls: {
      ...common,
      minVersion: tls.minVersion,
      cipherSuites: tls.ciphers === undefined ? [] : [tls.ciphers],
      get certificate() {
        return { from: 'pem', chainPem: material?.chainPem ?? '', keyPem: material?.keyPem ?? '' } as const
      },
      get validation() {
        return hasRoots
          ? ({
              roots: { from: 'pem', rootsPem: material?.rootsPem ?? '' },
              sans: [],
              ...(tls.clientCrl !== undefined && { crl: { from: 'pem', crlPem: material?.crlPem ?? '' } as const }),
            } as const)
          : undefined
      },
      requireClientCertificate: hasRoots && tls.requireClientCertificate,
    },
  }
}

/** Throws MESH_LISTENER_TLS when a certificate or key cannot be read, is none, or the two do not belong together. */
function readMaterial(name: string, tls: Extract<TlsConfig, { mode: 'server' }>, disk: Machine['disk']): Material {
  const bad = (what: string, cause?: unknown): MeshError =>
    new MeshError('MESH_LISTENER_TLS', `listeners.${name}.tls: ${what}`, { cause })
  const read = (file: string): string => {
    let content: Buffer | undefined
    try {
      content = disk.read(file)
    } catch (cause) {
      throw bad(`${file} cannot be read`, cause)
    }
    if (!content) throw bad(`there is no file ${file}`)
    return content.toString('utf8')
  }
  const [chainPem, keyPem] = [read(tls.chain), read(tls.key)]
  const part = <T>(what: string, file: string, parse: () => T): T => {
    try {
      return parse()
    } catch (cause) {
      throw bad(`${file} holds no ${what}`, cause)
    }
  }
  const key = part('private key that can be used', tls.key, () => createPrivateKey(keyPem))
  if (!part('certificate', tls.chain, () => new X509Certificate(chainPem)).checkPrivateKey(key)) {
    throw bad(`the certificate of ${tls.chain} was not made for the key of ${tls.key}`)
  }
  const { clientRoots, clientCrl } = tls
  const rootsPem = clientRoots === undefined ? undefined : read(clientRoots)
  if (rootsPem !== undefined) part('certificate', clientRoots!, () => new X509Certificate(rootsPem))
  const crlPem = clientCrl === undefined ? undefined : read(clientCrl)
  if (crlPem !== undefined) part('revocation list in PEM', clientCrl!, () => requireSome(parseCrls(crlPem)))
  return { chainPem, keyPem, rootsPem, crlPem }
}

function requireSome(found: readonly unknown[]): void {
  if (found.length === 0) throw new Error('there is none')
}
