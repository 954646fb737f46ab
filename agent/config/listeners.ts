/** agent.yaml's `listeners` as model listeners, so that the data path knows one kind only. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { MeshError } from '../core/errors.ts'
import type { Disk } from '../core/disk.ts'
import type { Codec, FilterChain, HttpConnectionManager, Listener } from '../model/listener.ts'
import type { DownstreamTls } from '../model/tls.ts'
import type { MqttPolicy } from '../model/mqtt-policy.ts'
import { NO_HEADER_CHANGES } from '../model/route.ts'
import type { AgentConfig, ListenerConfig } from './schema.ts'

/** Throws MESH_CONFIG_INVALID when a certificate or key cannot be read, is none, or the two do not belong together. */
export function listenersOf(config: AgentConfig, disk: Disk): readonly Listener[] {
  return config.listeners.map((l) => ({
    name: l.name, address: l.address, port: l.port, ...(l.ipv4Compat ? { ipv4Compat: true } : {}), bindToPort: true,
    direction: l.kind === 'http_proxy' || l.kind === 'tcp' ? 'outbound' : 'unspecified', useOriginalDst: false,
    sniff: { tls: false, http: l.kind === 'http' || l.kind === 'http_proxy', timeoutMs: 0, onTimeout: 'close' },
    filterChains: [], defaultFilterChain: chainOf(l, config.mqtt, disk), source: `agent.yaml listeners.${l.name}`,
  }))
}

function chainOf(l: ListenerConfig, mqtt: MqttPolicy, disk: Disk): FilterChain {
  const tls = 'tls' in l ? l.tls : undefined
  return {
    name: l.name, policies: [], codec: codecOf(l, mqtt), tls: tls && tlsOf(l.name, tls, l.kind, disk),
    match: { destinationPort: undefined, destinationRanges: [], serverNames: [], transportProtocol: undefined, applicationProtocols: [], sourceRanges: [], sourcePorts: [] },
  }
}

function codecOf(l: ListenerConfig, mqtt: MqttPolicy): Codec {
  switch (l.kind) {
    case 'http': return { kind: 'http', http: httpManager(l.name, l.routes, { explicitProxy: false }) }
    case 'http_proxy': return { kind: 'http', http: httpManager(l.name, l.routes, { explicitProxy: true }) }
    case 'tcp': return { kind: 'tcp', tcp: { clusters: [{ name: l.cluster, weight: 1, headers: NO_HEADER_CHANGES }], idleMs: undefined } }
    case 'mqtt': return { kind: 'mqtt', mqtt, transport: l.transport }
    default: return l satisfies never
  }
}

function httpManager(name: string, routes: string, { explicitProxy }: { explicitProxy: boolean }): HttpConnectionManager {
  return {
    statPrefix: name, codec: 'auto', routes: { from: 'rds', name: routes }, filters: [],
    // What a local application claims about certificates is not to be believed by anybody further on.
    forwardClientCert: 'sanitize', clientCertDetails: { subject: false, uri: false, dns: false, cert: false, chain: false },
    serverName: 'meshlet', useRemoteAddress: false, xffTrustedHops: 0, requestId: 'keep-or-make', normalizePath: true, mergeSlashes: false,
    upgrades: ['websocket'], streamIdleMs: 300_000, requestTimeoutMs: undefined, connectionIdleMs: undefined, maxRequestHeadersBytes: 60 * 1024,
    accessLog: undefined, explicitProxy,
  }
}

type TlsConfig = NonNullable<Extract<ListenerConfig, { kind: 'mqtt' }>['tls']>

function tlsOf(name: string, tls: TlsConfig, kind: ListenerConfig['kind'], disk: Disk): DownstreamTls {
  const alpnProtocols = kind === 'http' ? ['h2', 'http/1.1'] : kind === 'mqtt' ? ['mqtt', 'istio-peer-exchange', 'istio'] : []
  const common = { alpnProtocols, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3', cipherSuites: [] } as const
  if (tls.mode === 'mutual') {
    return { ...common, certificate: { from: 'workload' }, validation: { roots: { from: 'workload' }, sans: [] }, requireClientCertificate: true }
  }
  const read = (file: string): string => {
    let content: Buffer | undefined
    try { content = disk.read(file) } catch (cause) { throw new MeshError('MESH_CONFIG_INVALID', `listeners.${name}.tls: ${file} cannot be read`, { cause }) }
    if (!content) throw new MeshError('MESH_CONFIG_INVALID', `listeners.${name}.tls: there is no file ${file}`)
    return content.toString('utf8')
  }
  const [chainPem, keyPem] = [read(tls.chain), read(tls.key)]
  const part = <T>(what: string, file: string, parse: () => T): T => {
    try { return parse() } catch (cause) { throw new MeshError('MESH_CONFIG_INVALID', `listeners.${name}.tls: ${file} holds no ${what}`, { cause }) }
  }
  const key = part('private key that can be used', tls.key, () => createPrivateKey(keyPem))
  if (!part('certificate', tls.chain, () => new X509Certificate(chainPem)).checkPrivateKey(key)) {
    throw new MeshError('MESH_CONFIG_INVALID', `listeners.${name}.tls: the certificate of ${tls.chain} was not made for the key of ${tls.key}`)
  }
  const { clientRoots } = tls
  const rootsPem = clientRoots === undefined ? undefined : read(clientRoots)
  if (rootsPem !== undefined) part('certificate', clientRoots!, () => new X509Certificate(rootsPem))
  return {
    ...common,
    certificate: { from: 'pem', chainPem, keyPem },
    validation: rootsPem === undefined ? undefined : { roots: { from: 'pem', rootsPem }, sans: [] },
    requireClientCertificate: rootsPem !== undefined,
  }
}
