/** Converts bridges of mosquitto.conf to routes, bridges and clusters. */
import { isIp } from './is-ip.ts'
import { MeshError } from '../../../core/errors.ts'
import { filterProblem } from '../../../protocols/mqtt/topics/topics.ts'
import type { Block } from './blocks.ts'
import { splitWords, type Line } from './read.ts'
import type { Report } from './report.ts'

export type SecretFile = { readonly name: string; readonly content: string }
export type ConvertedBridge = {
  readonly routes: readonly object[]
  readonly bridge: object
  readonly clusters: readonly object[]
  readonly secrets: readonly SecretFile[]
}
type Place = {
  /** Where passwords are written, as agent.yaml names it. */
  readonly secretsFolder: string
  readonly hostName: string
}
export function convertBridge(
  { head, lines }: Block,
  { secretsFolder, hostName }: Place,
  report: Report,
): ConvertedBridge | undefined {
  const name = nameOf(head!.value)
  const of = (...names: readonly string[]): Line | undefined => lines.findLast((line) => names.includes(line.name))
  const addresses = lines
    .filter((line) => line.name === 'address' || line.name === 'addresses')
    .flatMap(({ value }) => splitWords(value))
  if (addresses.length === 0) return report.left(head!, 'has no address')
  const psk = pskOf(name, of, secretsFolder)
  const tls = psk ? undefined : tlsOf(of, report)
  if (tls === 'not offered') return report.left(head!, 'is left out whole: without TLS it would say everything aloud')
  const from = of('bridge_bind_address')
  const clusters = addresses.map((address, i) => ({
    ...clusterOf(clusterName(name, i), address, tls),
    ...(from ? bindTo(from, report) : {}),
  }))
  // mosquitto's own: the session upstream, with what waits in it, and the broker's rules are about it.
  const clientId = of('remote_clientid', 'clientid')?.value ?? `${hostName}.${head!.value}`
  const common = { cluster: clusterName(name, 0), clientId }
  const isRetainKept = flag(of('bridge_outgoing_retain'), report) ?? true
  const routes = lines
    .filter((line) => line.name === 'topic')
    .flatMap((line) =>
      routesOf(line, report).map((route) => ({ ...route, ...common, ...retainOf(route, isRetainKept) })),
    )
  if (routes.length === 0) report.left(head!, 'has no topic that could be taken, so that it would carry nothing')
  const { credentials, secret } = credentialsOf(name, of, secretsFolder)
  return {
    routes,
    clusters,
    secrets: [...(secret ? [secret] : []), ...(psk ? [psk.secret] : [])],
    bridge: {
      ...common,
      ...(clusters.length > 1 ? { failover: clusters.slice(1).map((_, i) => clusterName(name, i + 1)) } : {}),
      ...(credentials ? { credentials } : {}),
      ...(psk ? { psk: psk.setting } : {}),
      ...protocolOf(of('bridge_protocol_version'), report),
      ...startOf(of, report),
      ...waitsOf(of('restart_timeout'), report),
      ...notificationsOf(of, report),
      ...numberOf(of('keepalive_interval'), 'keepAliveSec', { least: 5, max: 65_535 }, report),
      ...switchesOf(of, report),
      ...packetBytesOf(of('bridge_max_packet_size'), report),
      ...numberOf(of('bridge_receive_maximum'), 'maxInflight', { min: 1, max: 65_535, most: 60_000 }, report),
    },
  }
}

/** In names of clusters and files. Two bridges that differ in other letters only still have two names. */
function nameOf(connection: string): string {
  const plain = connection.replace(/[^A-Za-z0-9._-]/g, '-')
  return plain === connection ? plain : `${plain}-${Buffer.from(connection).toString('hex').slice(0, 64)}`
}

type Find = (...names: readonly string[]) => Line | undefined
const clusterName = (name: string, i: number): string => (i === 0 ? `bridge-${name}` : `bridge-${name}-${i + 1}`)
const flag = (line: Line | undefined, report: Report): boolean | undefined => line && report.bool(line)

type Route = { readonly direction: string; readonly match: string }
function retainOf({ direction }: Route, isKept: boolean): object {
  return isKept || direction === 'down' ? {} : { retain: 'clear' }
}

/** `topic pattern [[[out | in | both] qos-level] local-prefix remote-prefix]`; a comment may stand behind the direction. */
function routesOf(line: Line, report: Report): readonly Route[] {
  const [, said, rest = ''] = /^(\S+)(?:\s+(.*))?$/.exec(line.value) ?? []
  const pattern = unquoted(said ?? '')
  const [way = 'out', qos = '0', local = '', remote = ''] = splitWords(rest).map(unquoted)
  const direction = way.toLowerCase()
  const maxQos = Number(qos)
  if (said === undefined || !['in', 'out', 'both'].includes(direction) || !/^[012]$/.test(qos)) {
    report.left(line, 'must be `topic pattern [[[out | in | both] qos-level] local-prefix remote-prefix]`')
    return []
  }
  const up = { match: `${local}${pattern}`, ...prefixes(local, remote), maxQos }
  switch (direction) {
    case 'in':
      return [{ direction: 'down', match: `${remote}${pattern}`, ...prefixes(remote, local), maxQos }].filter(isNamed)
    case 'out':
      return [{ direction: 'up', ...up }].filter(isNamed)
    default:
      return [{ direction: 'both', ...up }].filter(isNamed)
  }
  function isNamed({ match }: { match: string }): boolean {
    const problem = filterProblem(match)
    if (match === '') report.left(line, 'names no topic')
    else if (problem) report.left(line, `${match} is no topic filter: ${problem}`)
    return problem === undefined
  }
}
const unquoted = (word: string): string => (word === '""' ? '' : word)
function prefixes(from: string, to: string): object {
  return { ...(from === '' ? {} : { stripPrefix: from }), ...(to === '' ? {} : { addPrefix: to }) }
}

function credentialsOf(
  name: string,
  of: Find,
  folder: string,
): { readonly credentials: object | undefined; readonly secret: SecretFile | undefined } {
  const [username, password] = [of('remote_username', 'username'), of('remote_password', 'password')]
  if (!username && !password) return { credentials: undefined, secret: undefined }
  const file = `bridge-${name}.password`
  return {
    credentials: {
      ...(username ? { username: username.value } : {}),
      ...(password ? { passwordFile: `${folder}/${file}` } : {}),
    },
    secret: password && { name: file, content: `${password.value}\n` },
  }
}

function protocolOf(line: Line | undefined, report: Report): object {
  // mosquitto's bridges speak 3.1.1 where nothing says otherwise.
  if (line === undefined || line.value === 'mqttv311') return { protocol: '3.1.1' }
  if (line.value === 'mqttv50') return { protocol: 'auto' }
  report.left(line, 'bridges speak MQTT 3.1.1 or 5.0; 3.1.1 it is')
  return { protocol: '3.1.1' }
}

function startOf(of: Find, report: Report): object {
  const type = of('start_type')
  const [kind] = splitWords(type?.value ?? '')
  const [threshold, idle] = [of('threshold'), of('idle_timeout')]
  if (kind !== 'lazy')
    for (const line of [threshold, idle]) if (line) report.same(line, 'it counts with start_type lazy only')
  switch (kind) {
    case undefined:
    case 'automatic':
      return {}
    case 'once':
      return { start: 'once' }
    case 'lazy':
      return {
        start: 'lazy',
        ...numberOf(threshold, 'lazyMessages', { least: 1, max: MAX_INT }, report),
        ...numberOf(idle, 'idleSec', { least: 1, max: 86_400 }, report),
      }
    default:
      report.left(type!, `a bridge starts by itself; "${type!.value}" is not offered`)
      return {}
  }
}

/** `restart_timeout base cap` or `restart_timeout constant`, in seconds. */
function waitsOf(line: Line | undefined, report: Report): object {
  if (!line) return {}
  const [said = NaN, most = said] = splitWords(line.value).map(Number)
  const [base, cap] = [Math.max(1, said), Math.max(1, most)]
  if (!(Number.isInteger(base) && Number.isInteger(cap) && cap >= base && cap <= 3600)) {
    report.left(line, 'must be 1 to 3600 seconds, the cap no less: mqtt.bridges[].reconnectMinMs, reconnectMaxMs')
    return {}
  }
  return { reconnectMinMs: base * 1000, reconnectMaxMs: cap * 1000 }
}

function notificationsOf(of: Find, report: Report): object {
  const topic = of('notification_topic')
  const isOn = flag(of('notifications'), report) ?? true
  if (!isOn && topic) report.same(topic, 'there are no notifications')
  if (!isOn) return { notifications: 'none' }
  const isLocal = flag(of('notifications_local_only'), report) ?? false
  if (topic && /[+#]/.test(topic.value)) {
    report.left(topic, 'is no topic name, so there are no notifications')
    return { notifications: 'none' }
  }
  return { notifications: isLocal ? 'local' : 'both', ...(topic ? { notificationTopic: topic.value } : {}) }
}

function switchesOf(of: Find, report: Report): object {
  const [cleanStart, roundRobin] = [of('cleansession'), of('round_robin')]
  const isClean = flag(cleanStart, report) ?? false
  const isRound = flag(roundRobin, report) ?? false
  if (cleanStart)
    report.same(cleanStart, isClean ? 'what goes up waits in the spool, where mosquitto drops it' : 'it is so here')
  if (roundRobin && !isRound) report.same(roundRobin, 'it is so here')
  return { ...(isClean ? { cleanStart: true } : {}), ...(isRound ? { roundRobin: true } : {}) }
}

function packetBytesOf(line: Line | undefined, report: Report): object {
  if (line && report.number(line) <= 0) report.same(line, 'it is no bound')
  else return numberOf(line, 'maxPacketBytes', { min: 1, least: 20, max: MAX_INT, most: 268_435_460 }, report)
  return {}
}

/** mosquitto's own are 32 bits. */
const MAX_INT = 2_147_483_647
/** Below `least` mosquitto takes that instead; above `most` nobody sees a difference. */
type Range = { readonly min?: number; readonly least?: number; readonly max: number; readonly most?: number }
function numberOf(line: Line | undefined, setting: string, range: Range, report: Report): object {
  if (!line) return {}
  const { min = -Infinity, least = min, max, most = max } = range
  const value = report.number(line)
  if (value >= min && value <= max) return { [setting]: Math.min(most, Math.max(least, value)) }
  report.left(line, `mqtt.bridges[].${setting} must be ${least} to ${max}`)
  return {}
}

/** mosquitto takes a key before certificates. */
function pskOf(
  name: string,
  of: Find,
  folder: string,
): { readonly setting: object; readonly secret: SecretFile } | undefined {
  const [identity, key] = [of('bridge_identity'), of('bridge_psk')]
  if (!identity || !key || !/^(?:[0-9A-Fa-f]{2})+$/.test(key.value)) return undefined
  const file = `bridge-${name}.psk`
  return {
    setting: { identity: identity.value, keyFile: `${folder}/${file}` },
    secret: { name: file, content: `${key.value}\n` },
  }
}

const SYSTEM_ROOTS = '/etc/ssl/certs/ca-certificates.crt'
const PSK = 'needs bridge_identity and bridge_psk, in hexadecimal'
const NOT_OFFERED: Readonly<Record<string, string>> = {
  bridge_capath: 'put the certificates into one file: bridge_cafile',
  bridge_identity: PSK,
  bridge_psk: PSK,
}
type Tls = { readonly roots: string; readonly isNameChecked: boolean; readonly rest: object }
/** `not offered`: it asks for TLS in a way that there is not. */
function tlsOf(of: Find, report: Report): Tls | 'not offered' | undefined {
  const system = flag(of('bridge_tls_use_os_certs'), report) ?? false
  const others = Object.entries(NOT_OFFERED).flatMap(([name, why]) => {
    const line = of(name)
    if (line) report.left(line, why)
    return line ? [line] : []
  })
  const [roots, chain, key] = [of('bridge_cafile'), of('bridge_certfile'), of('bridge_keyfile')]
  if (!roots && !system) {
    for (const line of [chain, key, of('bridge_alpn'), of('bridge_insecure'), of('bridge_tls_version')])
      if (line) report.left(line, 'TLS towards the broker needs bridge_cafile or bridge_tls_use_os_certs')
    return others.length > 0 ? 'not offered' : undefined
  }
  const version = of('bridge_tls_version')
  const [alpn] = [of('bridge_alpn')]
  const file = (line: Line): object => ({ filename: line.value })
  return {
    roots: roots?.value ?? SYSTEM_ROOTS,
    isNameChecked: !(flag(of('bridge_insecure'), report) ?? false),
    rest: {
      ...(chain && key ? { tls_certificates: [{ certificate_chain: file(chain), private_key: file(key) }] } : {}),
      ...(alpn ? { alpn_protocols: [alpn.value] } : {}),
      ...(version?.value === 'tlsv1.3' ? { tls_params: { tls_minimum_protocol_version: 'TLSv1_3' } } : {}),
    },
  }
}

function bindTo(line: Line, report: Report): object {
  if (isIp(line.value)) return { upstream_bind_config: { source_address: { address: line.value, port_value: 0 } } }
  report.left(line, 'must be an address of this machine')
  return {}
}

/**
 * `HOST[:PORT]`: mosquitto takes what stands behind the last colon for the port, and an address of IPv6 as it is. The
 * port is the same with TLS.
 *
 * @throws MESH_CONFIG_INVALID
 */
function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const [, bracketed, before, portText = '1883'] = /^(?:\[([^\]]+)\]|(.+?))(?::(\d+))?$/.exec(address) ?? []
  const host = bracketed ?? before ?? ''
  const isNamed = host !== '' && (isIp(host) || !/[:[\]]/.test(host))
  if (isNamed && Number(portText) >= 1 && Number(portText) <= 65_535) return { host, port: Number(portText) }
  if (isIp(address)) return { host: address, port: 1883 }
  throw new MeshError('MESH_CONFIG_INVALID', `address ${address} must be HOST[:PORT]`)
}

function clusterOf(name: string, address: string, tls: Tls | undefined): object {
  const { host, port } = splitAddress(address)
  const endpoint = { endpoint: { address: { socket_address: { address: host, port_value: port } } } }
  return {
    '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
    name,
    type: isIp(host) ? 'STATIC' : 'STRICT_DNS',
    connect_timeout: '10s',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [endpoint] }] },
    ...(tls ? { transport_socket: transportOf(host, tls) } : {}),
  }
}
function transportOf(host: string, { roots, isNameChecked, rest }: Tls): object {
  const san = { san_type: isIp(host) ? 'IP_ADDRESS' : 'DNS', matcher: { exact: host } }
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
      ...(isIp(host) ? {} : { sni: host }),
      common_tls_context: {
        ...rest,
        validation_context: {
          trusted_ca: { filename: roots },
          ...(isNameChecked ? { match_typed_subject_alt_names: [san] } : {}),
        },
      },
    },
  }
}
