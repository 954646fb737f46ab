/**
 * A connection of `meshlet mqtt pub|sub|rr`: MQTT.js, an independent client, so that it also proves the broker to
 * somebody else's code.
 */
import type { IClientOptions, MqttClient, Packet } from 'mqtt'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { NamedFiles } from '../../../core/os/named-files.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { explain } from '../../../core/cli/exit.ts'
import type { Io } from '../io.ts'
import type { ConnectOptions } from './options.ts'
import { FOREVER_SEC, parseProperties, type StageProperties } from './properties.ts'

const CONNECT_TIMEOUT_MS = 10_000
const RECONNECT_MS = 1_000
/** What `-W` ends with, as mosquitto's clients do (MOSQ_ERR_TIMEOUT). */
export const TIMED_OUT = 27
/** MQTT 5.0 §3.14.2.1: the will is to be published. */
const WITH_WILL = 0x04

export type Target = { readonly url: IClientOptions; readonly topic: string | undefined }

/** What a command does with its connection; `finish` ends it with an exit code. */
export type Conversation = (p: {
  readonly client: MqttClient
  readonly properties: StageProperties
  readonly finish: (code: number) => void
  /** Tells of a failure, unless --quiet. */
  readonly tell: (err: MeshError) => void
}) => void

/**
 * Connects, lets `converse` go on until it is finished, disconnects. A connection that is lost comes back by itself.
 * Ends with 0 when the process is asked to stop.
 * @returns exit code
 */
export async function withBroker(o: ConnectOptions, io: Io, target: Target, converse: Conversation): Promise<number> {
  const properties = parseProperties(o.property ?? [])
  const password = await readPassword(o, io)
  const options = clientOptions(o, io, { target, properties, password })
  const { connect } = await import('mqtt')
  const done = Promise.withResolvers<number>()
  const tell = (err: MeshError): void => {
    if (!o.quiet) io.err(`${explain('meshlet', err).text}\n`)
  }
  const client = connect(options)
  if (o.debug) debug(client, io)
  let [wasThere, isOver] = [false, false]
  const finish = (code: number): void => {
    isOver = true
    done.resolve(code)
  }
  client.on('connect', () => {
    wasThere = true
  })
  client.on('error', (err: Error & { code?: unknown }) => {
    const refusal = refusalOf(err, o)
    if (isOver || (!refusal && wasThere)) return
    tell(refusal?.err ?? cannotConnect(options, err))
    finish(refusal?.exit ?? 1)
  })
  client.on('close', () => {
    if (!wasThere) client.emit('error', new Error('the connection was closed'))
  })
  try {
    converse({ client, properties, finish, tell })
  } catch (thrown) {
    client.end(true)
    throw thrown
  }
  let isStopped = false
  const stopped = io.stopRequested().then(() => {
    isStopped = true
    return 0
  })
  const code = await Promise.race([done.promise, stopped])
  await disconnect(client, { ...properties.disconnect }, isStopped)
  return code
}

async function disconnect(client: MqttClient, properties: object, isStopped: boolean): Promise<void> {
  const isFive = client.options.protocolVersion === 5
  const packet = { ...(isFive && isStopped ? { reasonCode: WITH_WILL } : {}), ...(isFive ? { properties } : {}) }
  await client.endAsync(!client.connected, packet as object)
}

/** @throws MESH_CONFIG_INVALID */
export function parseTarget(o: ConnectOptions): Target {
  if (o.url !== undefined) return targetOfUrl(o, o.url)
  const isTls = usesTls(o) || o.port === 8883
  return {
    topic: undefined,
    url: {
      ...(o.ws ? { protocol: isTls ? 'wss' : 'ws', path: '/mqtt' } : { protocol: isTls ? 'mqtts' : 'mqtt' }),
      host: o.host,
      port: o.port ?? (isTls ? 8883 : 1883),
      ...(o.unix === undefined ? {} : { protocol: 'mqtt+unix', unixSocket: true, path: o.unix }),
    },
  }
}
function usesTls({ cafile, cert, tlsUseOsCerts, tlsAlpn, pskFile }: ConnectOptions): boolean {
  return [cafile, cert, tlsUseOsCerts, tlsAlpn, pskFile].some((one) => one !== undefined)
}

const PORTS: Readonly<Record<string, number>> = { mqtt: 1883, mqtts: 8883, ws: 80, wss: 443 }
function targetOfUrl(o: ConnectOptions, text: string): Target {
  const url = URL.parse(text)
  const scheme = url?.protocol.slice(0, -1) ?? ''
  const port = PORTS[scheme]
  if (!url || port === undefined || url.hostname === '')
    return rejectUsage(
      `-L must be mqtt(s)://[user@]host[:port]/topic or ws(s)://…, not "${text.replace(/\/\/.*@/, '//…@')}"`,
    )
  if (url.password !== '')
    return rejectUsage('-L has a password in it, which everybody on this machine can read: use --password-file')
  const isWeb = scheme.startsWith('ws')
  return {
    topic: isWeb ? undefined : decodeURIComponent(url.pathname.slice(1)) || undefined,
    url: {
      protocol: scheme as 'mqtt' | 'mqtts' | 'ws' | 'wss',
      host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: url.port === '' ? port : Number(url.port),
      ...(isWeb ? { path: url.pathname } : {}),
      ...(url.username === '' || o.username !== undefined ? {} : { username: decodeURIComponent(url.username) }),
    },
  }
}

type ClientParts = {
  readonly target: Target
  readonly properties: StageProperties
  readonly password: Buffer | undefined
}
function clientOptions(o: ConnectOptions, io: Io, { target, properties, password }: ClientParts): IClientOptions {
  // Who sets a property speaks MQTT 5, as with mosquitto's clients.
  const version = o.protocolVersion ?? (o.property || o.sessionExpiryInterval !== undefined ? 5 : 4)
  const clientId = o.id ?? (o.idPrefix === undefined ? undefined : `${o.idPrefix}${io.pid ?? ''}`)
  if (o.id !== undefined && o.idPrefix !== undefined) return rejectUsage('-i and -I exclude each other')
  const isKept = o.disableCleanSession === true
  const expirySec = o.sessionExpiryInterval ?? (isKept ? FOREVER_SEC : 0)
  if (clientId === undefined && (isKept || expirySec === FOREVER_SEC))
    return rejectUsage('a session that is kept needs a client id: -i')
  const user = o.username ?? target.url.username
  return {
    ...target.url,
    ...(user === undefined ? {} : { username: user }),
    ...(password === undefined ? {} : { password }),
    ...(version === 3 ? { protocolId: 'MQIsdp' as const } : {}),
    // Of version 5 the broker gives one.
    ...(clientId === undefined ? (version === 5 ? { clientId: '' } : {}) : { clientId }),
    protocolVersion: version,
    clean: !isKept,
    keepalive: o.keepalive,
    connectTimeout: CONNECT_TIMEOUT_MS,
    reconnectPeriod: RECONNECT_MS,
    resubscribe: false,
    ...(version === 5
      ? { properties: { ...(expirySec === 0 ? {} : { sessionExpiryInterval: expirySec }), ...properties.connect } }
      : {}),
    ...willOf(o, properties, version),
    ...tlsOf(o, target.url),
  }
}

function willOf(o: ConnectOptions, properties: StageProperties, version: number): IClientOptions {
  if (o.willTopic === undefined) {
    if (o.willPayload !== undefined || o.willQos !== undefined || o.willRetain)
      return rejectUsage('a will needs a topic: --will-topic')
    return {}
  }
  return {
    will: {
      topic: o.willTopic,
      payload: Buffer.from(o.willPayload ?? ''),
      qos: o.willQos ?? 0,
      retain: o.willRetain ?? false,
      ...(version === 5 ? { properties: properties.will } : {}),
    },
  }
}

function tlsOf(o: ConnectOptions, url: IClientOptions): IClientOptions {
  if (url.protocol !== 'mqtts' && url.protocol !== 'wss') return {}
  if ((o.cert === undefined) !== (o.key === undefined)) return rejectUsage('--cert and --key belong together')
  const tls = {
    ...(o.cafile === undefined ? systemRoots() : { ca: readFile(o.cafile) }),
    ...(o.cert === undefined ? {} : { cert: readFile(o.cert), key: readFile(o.key!) }),
    ...(o.tlsAlpn === undefined ? {} : { ALPNProtocols: [o.tlsAlpn] }),
    ...(o.tlsVersion === undefined ? {} : { minVersion: o.tlsVersion.replace('tlsv', 'TLSv') }),
    ...(o.ciphers === undefined ? {} : { ciphers: o.ciphers }),
    ...(o.insecure ? { checkServerIdentity: () => undefined } : {}),
    ...pskOf(o),
  }
  return url.protocol === 'wss' ? { ...tls, wsOptions: tls } : tls
}
/** Node has a list of its own, which an operator does not know of. */
function systemRoots(): IClientOptions {
  const roots = new NamedFiles({ folders: [], nowMs: () => systemClock.monotonicMs() }).systemRoots()
  return roots === undefined ? {} : { ca: Buffer.from(roots.text) }
}
/** OpenSSL offers a pre-shared key of this kind in TLS 1.2 alone. */
function pskOf(o: ConnectOptions): object {
  if (o.pskFile === undefined) return {}
  if (o.pskIdentity === undefined) return rejectUsage('--psk-file needs --psk-identity')
  const key = readFile(o.pskFile).toString('utf8').trim()
  if (!/^([0-9a-f]{2})+$/i.test(key)) return rejectUsage(`--psk-file: ${o.pskFile} is not a key in hexadecimal`)
  const answer = { psk: Buffer.from(key, 'hex'), identity: o.pskIdentity }
  return {
    pskCallback: () => answer,
    maxVersion: 'TLSv1.2',
    ciphers: o.ciphers ?? 'PSK',
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  }
}

/** @throws MESH_CONFIG_INVALID */
export function readFile(file: string): Buffer {
  let content: Buffer | undefined
  try {
    content = systemDisk.read(file)
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `${file} cannot be read`, { cause })
  }
  return content ?? rejectUsage(`there is no file ${file}`)
}

/** Without the end of its line, as editors leave it. */
async function readPassword({ passwordFile: file }: ConnectOptions, io: Io): Promise<Buffer | undefined> {
  const given = io.env['MESHLET_MQTT_PASSWORD']
  if (file === undefined) return given === undefined ? undefined : Buffer.from(given)
  const content = file === '-' ? await io.standardInput() : readFile(file)
  const end = content.indexOf('\n')
  return end < 0 ? content : content.subarray(0, content[end - 1] === 0x0d ? end - 1 : end)
}

function cannotConnect({ host, port, path, unixSocket }: IClientOptions, cause: Error): MeshError {
  const where = unixSocket ? String(path) : `${host}:${port}`
  return new MeshError('MESH_CONNECT_FAILED', `no MQTT broker answers on ${where}`, { cause })
}

/** The broker's own answer. 2 is of wrong usage here, and 1 of everything else that fails. */
function refusalOf(
  err: Error & { code?: unknown },
  o: ConnectOptions,
): { readonly err: MeshError; readonly exit: number } | undefined {
  if (typeof err.code !== 'number') return undefined
  const exit = err.code <= 2 ? 1 : err.code
  const why = err.message.replace(/^Connection refused: /, '')
  const who = o.username === undefined ? '' : ` of user ${o.username}`
  return {
    err: new MeshError('MESH_MQTT_UPSTREAM_REFUSED', `the broker refused the connection${who}: ${why} (${err.code})`),
    exit,
  }
}

function debug(client: MqttClient, io: Io): void {
  const tell = (what: string, packet: Packet): void => {
    const { cmd, messageId, topic, qos } = packet as Packet & { topic?: string; qos?: number }
    const more = [messageId === undefined ? '' : `m${messageId}`, topic ?? '', cmd === 'publish' ? `q${qos}` : '']
    io.err(`${what} ${cmd.toUpperCase()} ${more.filter((one) => one !== '').join(', ')}`.trimEnd() + '\n')
  }
  client.on('packetsend', (packet) => tell('sending', packet))
  client.on('packetreceive', (packet) => tell('received', packet))
}

/** For what MQTT.js says of a request. */
export function createRequestError(what: string, cause: unknown): MeshError {
  const why = toMeshError(cause).message
  return new MeshError('MESH_MQTT_UPSTREAM_REFUSED', `${what}: ${why}`)
}

export function rejectUsage(what: string): never {
  throw new MeshError('MESH_CONFIG_INVALID', what)
}
