/** Converts listeners of mosquitto.conf to listeners of agent.yaml. */
import { ORIGIN } from '../../../model/mqtt-policy.ts'
import { isCipherList } from '../../../protocols/tls/cipher-list.ts'
import { isIp } from './is-ip.ts'
import type { Block, Blocks } from './blocks.ts'
import { splitWords, type Line } from './read.ts'
import type { Report } from './report.ts'
import { resolveFile, type Settings } from './settings.ts'

const ANY = { address: '::', ipv4Compat: true }
const LOCAL = { address: '127.0.0.1' }

export function convertListeners(
  { listeners, global, isPerListener, isPluginAsked }: Blocks,
  settings: Settings,
  report: Report,
): object[] {
  const [first, ...named] = listeners
  // mosquitto 2 without any is for this machine alone, and lets anybody in.
  const isLocalOnly = named.length === 0 && !first!.lines.some(({ name }) => name === 'port' || name === 'bind_address')
  const isByDefault = named.length === 0 || first!.lines.some((line) => beginsDefault(line, report))
  if (!isByDefault)
    for (const line of first!.lines)
      report.left(line, 'stands before any `listener`: put it behind the one that it is for')
  const names = new Set<string>()
  return (isByDefault ? listeners : named).flatMap((block) => {
    const own = isPerListener ? block.lines : global
    const anonymous = own.findLast(({ name }) => name === 'allow_anonymous')
    const isAnonymous = anonymous ? report.bool(anonymous) : isLocalOnly
    const unnamed = own.findLast(({ name }) => name === 'allow_zero_length_clientid')
    const takesUnnamed = unnamed && report.bool(unnamed)
    const how = {
      isLocalOnly,
      isAnonymous,
      anonymous,
      takesUnnamed,
      isPerListener,
      isPluginAsked,
      names,
      settings,
      report,
    }
    const one = convertListener(block, how)
    return one ? [one] : []
  })
}

/** Options of the default listener that do not open it beside others. */
const BEGIN_NOTHING = new Set(['acl_file', 'allow_anonymous', 'max_topic_alias', 'tls_version', 'websockets_origin'])
/** mosquitto opens port 1883 beside the listeners that have a name when something is said of the default one. */
function beginsDefault(line: Line, report: Report): boolean {
  switch (line.name) {
    case 'max_connections':
      return report.number(line) >= 0
    case 'max_qos':
    case 'maximum_qos':
      return report.number(line) !== 2
    case 'protocol':
      return splitWords(line.value)[0] !== 'mqtt'
    case 'require_certificate':
    case 'use_identity_as_username':
    case 'use_subject_as_username':
      return report.bool(line)
    default:
      return !BEGIN_NOTHING.has(line.name)
  }
}

type How = {
  readonly isLocalOnly: boolean
  readonly isAnonymous: boolean
  /** The line that says so, or not. */
  readonly anonymous: Line | undefined
  /** allow_zero_length_clientid, where it is said. */
  readonly takesUnnamed: boolean | undefined
  readonly isPerListener: boolean
  readonly isPluginAsked: boolean
  readonly names: Set<string>
  readonly settings: Settings
  readonly report: Report
}
function convertListener(block: Block, how: How): object | undefined {
  const { report, settings, names } = how
  const of = (name: string): Line | undefined => block.lines.findLast((line) => line.name === name)
  const where = whereOf(block, how)
  if (!where || isWiderWithout(of, how) || hasOddOrigin(block, report)) return undefined
  const mqtt: Record<string, unknown> = { anonymous: how.isAnonymous && !of('psk_hint') }
  const hint = of('psk_hint')
  const certificateUser = hint ? undefined : certificateUserOf(of, report)
  if (certificateUser !== undefined) {
    mqtt['certificateUser'] = certificateUser
    settings.certificateUser ??= certificateUser
    mqtt['authentication'] = ['certificate']
  } else if (hint) mqtt['authentication'] = ['psk']
  else if (settings.passwordFile !== undefined) mqtt['authentication'] = takesPasswords(of, how) ? ['password'] : []
  const methods = mqtt['authentication'] as readonly string[] | undefined
  if (!how.isAnonymous && (methods ?? []).length === 0)
    return report.left(
      (block.head ?? how.anonymous ?? block.lines[0])!,
      `lets nobody in: it has no users${how.isPerListener ? ' of its own' : ''}, so it is not opened`,
    )
  const acl = how.isPerListener ? of('acl_file') : undefined
  if (acl) mqtt['aclFile'] = resolveFile(acl, report)
  if (settings.clientIdPrefix !== undefined) mqtt['clientIdPrefixes'] = [settings.clientIdPrefix]
  const max = of('max_connections')
  if (max && report.number(max) > 0) mqtt['maxConnections'] = report.number(max)
  const origins = originsOf(block).map(({ value }) => value)
  if (origins.length > 0) mqtt['allowedOrigins'] = origins
  const aliases = of('max_topic_alias')
  if (aliases) settings.limits['maxTopicAliases'] = Math.min(65_535, Math.max(0, report.number(aliases)))
  Object.assign(mqtt, offerOf(of, how))
  const tls = hint ? pskOf(hint, of, how) : tlsOf(of, report)
  if (hint && !tls) return undefined
  if (certificateUser !== undefined && !(tls && 'clientRoots' in tls))
    return report.left(
      (of('use_identity_as_username') ?? of('use_subject_as_username'))!,
      'lets nobody in: clients are not asked for certificates (require_certificate), so the listener is not opened',
    )
  const name = 'unix' in where ? 'mqtt-unix' : `mqtt-${where.port}`
  const isFree = !names.has(name)
  const unique = isFree ? name : `${name}-${names.size}`
  names.add(unique)
  const transport = transportOf(of('protocol'), report)
  if (transport === undefined) return undefined
  return {
    name: unique,
    kind: 'mqtt',
    ...where,
    ...(transport === 'websocket' ? { transport } : {}),
    ...(tls ? { tls } : {}),
    ...(how.isAnonymous && !hint && isReachable(where) ? { acceptAnyone: true } : {}),
    mqtt,
  }
}

/** What cannot be had keeps clients out, or apart: without it more would come in or be seen, so it is not opened. */
function isWiderWithout(of: Find, { isPluginAsked, report }: How): boolean {
  const [required, roots] = [of('require_certificate'), of('cafile')]
  const asksForOne = required !== undefined && report.bool(required)
  const [folder, mounted] = [of('capath'), of('mount_point')]
  if (folder) report.left(folder, 'put the certificates into one file: listeners[].tls.clientRoots')
  const isOdd = mounted !== undefined && !isTopicPrefix(mounted.value)
  if (isOdd)
    report.left(
      mounted,
      'must end with "/" and begin with neither "$" nor "/", without wildcards, so it is not opened: listeners[].mqtt.topicPrefix',
    )
  const isUnverified = asksForOne && !roots && of('psk_hint') === undefined
  if (isUnverified) report.left(required, 'nothing says whose certificates count (cafile), so it is not opened')
  // Its line is told (options.ts).
  return isOdd || isUnverified || isPluginAsked
}
const originsOf = ({ lines }: Block): readonly Line[] => lines.filter(({ name }) => name === 'websockets_origin')
/** Without it pages of all origins would come in. */
function hasOddOrigin(block: Block, report: Report): boolean {
  const odd = originsOf(block).filter(({ value }) => !ORIGIN.test(value))
  for (const line of odd) report.left(line, 'is no origin, as in https://panel.example, so the listener is not opened')
  return odd.length > 0
}
const isTopicPrefix = (value: string): boolean => /^[^$+#\0/][^+#\0]{0,254}\/$/.test(value)

/** What its clients are offered, where it is not everything. */
function offerOf(of: Find, { settings, takesUnnamed, report }: How): object {
  const [mounted, versions] = [of('mount_point'), of('accept_protocol_versions')]
  const maxQos = of('max_qos') ?? of('maximum_qos')
  return {
    ...(mounted && { topicPrefix: mounted.value }),
    ...(maxQos && maxQosOf(maxQos, report)),
    ...(versions && protocolVersionsOf(versions, report)),
    ...(settings.isRetainAvailable ? {} : { retainAvailable: false }),
    ...(takesUnnamed === undefined ? {} : { allowZeroLengthClientIds: takesUnnamed }),
  }
}
function maxQosOf(line: Line, report: Report): object {
  const qos = report.number(line)
  if (qos === 2) report.same(line, 'it is so here')
  else if (qos !== 0 && qos !== 1) report.left(line, 'must be 0, 1 or 2')
  return qos === 0 || qos === 1 ? { maxQos: qos } : {}
}
const VERSIONS: Readonly<Record<string, string>> = { 3: '3.1', 4: '3.1.1', 5: '5.0' }
function protocolVersionsOf(line: Line, report: Report): object {
  const said = splitWords(line.value.replaceAll(',', ' '))
  const unknown = said.filter((one) => VERSIONS[one] === undefined)
  if (unknown.length > 0 || said.length === 0) {
    report.left(line, 'must be some of 3, 4 and 5, with commas between: all are taken until then')
    return {}
  }
  const all = [...new Set(said)]
  if (all.length === Object.keys(VERSIONS).length) report.same(line, 'it is so here')
  return all.length === Object.keys(VERSIONS).length ? {} : { protocolVersions: all.map((one) => VERSIONS[one]) }
}

/** With per_listener_settings one without a password file takes whatever name and password a client says, or nobody. */
function takesPasswords(of: Find, { isPerListener, settings }: How): boolean {
  if (!isPerListener) return true
  const file = of('password_file')
  return file !== undefined && file.value === settings.passwordFile
}

function transportOf(line: Line | undefined, report: Report): 'tcp' | 'websocket' | undefined {
  const [word] = line ? splitWords(line.value) : []
  if (line === undefined || word === 'mqtt') return 'tcp'
  if (word === 'websockets') return 'websocket'
  return report.left(line, 'only mqtt and websockets are listened for: metrics are on the admin port')
}

type Where = { readonly port: number; readonly address: string } | { readonly unix: { readonly path: string } }
const isReachable = (where: Where): boolean => 'address' in where && where.address !== LOCAL.address

function whereOf({ head, lines }: Block, { isLocalOnly, report }: How): Where | undefined {
  const portLine = head ?? lines.findLast(({ name }) => name === 'port')
  const [portText = '1883', ...rest] = splitWords(portLine?.value ?? '1883')
  const bind = lines.findLast(({ name }) => name === 'bind_address')
  const host = head ? rest[0] : bind?.value
  if (head && portText === '0') return unixOf(head, rest[0], report)
  const port = Number(portText)
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    return report.left(head ?? portLine!, `"${portText}" is no port`)
  const device = lines.findLast(({ name }) => name === 'bind_interface')
  if (device && host === undefined) {
    report.left(device, 'name the address of that interface: listeners[].address; 127.0.0.1 until then')
    return { port, ...LOCAL }
  }
  if (isLocalOnly) return { port, ...LOCAL }
  if (host === undefined) {
    const family = lines.findLast(({ name }) => name === 'socket_domain')
    return { port, ...(family ? familyOf(family, report) : ANY) }
  }
  if (isIp(host)) return { port, address: host }
  if (host === 'localhost') return { port, ...LOCAL }
  report.left(head ?? bind ?? portLine!, `name the IP address of ${host}: listeners[].address; 127.0.0.1 until then`)
  return { port, ...LOCAL }
}
function familyOf(line: Line, report: Report): { readonly address: string } {
  const [word] = splitWords(line.value)
  if (word === 'ipv4') return { address: '0.0.0.0' }
  if (word === 'ipv6') return { address: '::' }
  report.left(line, 'must be ipv4 or ipv6: both until then')
  return ANY
}

function unixOf(head: Line, path: string | undefined, report: Report): Where | undefined {
  if (path?.startsWith('/') !== true)
    return report.left(head, 'names no absolute path for its Unix socket: listeners[].unix.path')
  report.same(head, 'its group may connect, too: listeners[].unix.mode has the permissions of the socket')
  return { unix: { path } }
}

type Find = (name: string) => Line | undefined
function certificateUserOf(of: Find, report: Report): 'cn' | 'subject' | undefined {
  const [identity, subject] = [of('use_identity_as_username'), of('use_subject_as_username')]
  if (identity && report.bool(identity)) return 'cn'
  return subject && report.bool(subject) ? 'subject' : undefined
}

/** The identity of the key is the user, whatever use_identity_as_username says. */
function pskOf(hint: Line, of: Find, { settings: { pskFile }, report }: How): object | undefined {
  const [version, ciphers] = [of('tls_version'), of('ciphers')]
  if (version && version.value !== 'tlsv1.2') report.left(version, 'pre-shared keys are taken with TLS 1.2')
  if (ciphers) report.left(ciphers, 'with pre-shared keys the ciphers with forward secrecy are used')
  if (pskFile !== undefined) return { mode: 'psk', hint: hint.value }
  return report.left(hint, 'needs psk_file, so the listener is not opened')
}

function tlsOf(of: Find, report: Report): object | undefined {
  const [chain, key, roots, required] = [of('certfile'), of('keyfile'), of('cafile'), of('require_certificate')]
  if (!chain || !key) {
    for (const line of [chain, key, required]) if (line) report.left(line, 'TLS needs certfile and keyfile')
    for (const line of [roots, of('crlfile'), of('tls_version'), of('ciphers')])
      if (line) report.same(line, 'without certfile and keyfile there is no TLS')
    return undefined
  }
  const asksForOne = required !== undefined && report.bool(required)
  const revoked = of('crlfile')
  if (revoked && !asksForOne) report.same(revoked, 'clients are not asked for certificates (require_certificate)')
  if (roots && !asksForOne) report.same(roots, 'clients are not asked for certificates (require_certificate)')
  return {
    mode: 'server',
    chain: chain.value,
    key: key.value,
    ...handshakeOf(of, report),
    ...(asksForOne && roots ? { clientRoots: roots.value, ...(revoked && { clientCrl: revoked.value }) } : {}),
  }
}

const VERSIONS_OF_TLS: Readonly<Record<string, object>> = { 'tlsv1.2': {}, 'tlsv1.3': { minVersion: 'TLSv1.3' } }
/** mosquitto's tls_version is the least that it speaks. */
function handshakeOf(of: Find, report: Report): object {
  const [version, ciphers] = [of('tls_version'), of('ciphers')]
  const least = version && VERSIONS_OF_TLS[version.value]
  if (version && !least) report.left(version, 'TLS 1.2 is the least that is spoken: tlsv1.2 or tlsv1.3')
  const isKnown = ciphers && isCipherList(ciphers.value)
  if (ciphers && !isKnown) report.left(ciphers, 'is no list of ciphers that OpenSSL knows')
  return { ...least, ...(isKnown ? { ciphers: ciphers.value } : {}) }
}
