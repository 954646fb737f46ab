/** An entry of an access log as Envoy's access log service takes it: envoy/data/accesslog/v3/accesslog.proto. Pure. */
import type { EntryFormat } from '../../../model/access-log/entry.ts'
import type { HostPort, LogFacts, TimePoint } from '../../../model/access-log/facts.ts'
import { MessageWriter } from '../../protobuf/message.ts'
import { decodeText } from './envelope.ts'

const MAX_TEXT_LENGTH = 16 * 1024
const asText = (text: string): string => decodeText(text.slice(0, MAX_TEXT_LENGTH))

export function encodeHttpEntry(format: Extract<EntryFormat, { kind: 'http' }>, facts: LogFacts): Buffer {
  return new MessageWriter()
    .message(1, commonOf(facts))
    .integer(2, PROTOCOLS[facts.protocol ?? ''] ?? 0)
    .message(3, requestOf(format, facts))
    .message(4, responseOf(format, facts))
    .finish()
}
const PROTOCOLS: Readonly<Record<string, number>> = { 'HTTP/1.0': 1, 'HTTP/1.1': 2, 'HTTP/2': 3 }

export function encodeTcpEntry(facts: LogFacts): Buffer {
  const connection = new MessageWriter().integer(1, facts.receivedBytes).integer(2, facts.sentBytes)
  return new MessageWriter().message(1, commonOf(facts)).message(2, connection).finish()
}

/** AccessLogCommon: its durations, by number. */
const TIMES: readonly (readonly [no: number, point: TimePoint])[] = [
  [6, 'DS_RX_END'],
  [7, 'US_TX_BEG'],
  [8, 'US_TX_END'],
  [9, 'US_RX_BEG'],
  [10, 'US_RX_END'],
  [11, 'DS_TX_BEG'],
  [12, 'DS_TX_END'],
]
const TYPES: Readonly<Record<LogFacts['type'], number>> = { NotSet: 0, TcpConnectionEnd: 4, DownstreamEnd: 6 }

function commonOf(f: LogFacts): MessageWriter {
  const made = new MessageWriter().message(2, address(f.client)).message(3, address(f.local))
  if (f.tlsVersion !== undefined) made.message(4, tlsOf(f))
  made.message(5, timestamp(f.startedMs))
  for (const [no, point] of TIMES) {
    const ms = f.time(point)
    if (ms !== undefined) made.message(no, timestamp(ms))
  }
  if (f.upstream) made.message(13, address(f.upstream))
  if (f.upstreamLocal) made.message(14, address(f.upstreamLocal))
  made.text(15, f.cluster ?? '')
  const flags = flagsOf(f.flags)
  if (flags) made.message(16, flags)
  made
    .text(18, asText(f.upstreamFailure ?? ''))
    .text(19, f.routeName ?? '')
    .message(20, address(f.remote))
  const durationMs = f.time('DS_TX_END')
  if (durationMs !== undefined) made.message(23, timestamp(durationMs))
  return made
    .integer(24, f.attempts)
    .text(25, f.terminationDetails ?? '')
    .text(26, asText(f.request('x-request-id') ?? ''))
    .integer(33, TYPES[f.type])
}

/** core.v3.Address with a SocketAddress. */
function address({ host, port }: HostPort): MessageWriter {
  return new MessageWriter().message(1, new MessageWriter().text(2, host).integer(3, port))
}

/** google.protobuf.Timestamp and Duration alike. */
function timestamp(ms: number): MessageWriter {
  const whole = Math.floor(ms / 1_000)
  return new MessageWriter().integer(1, whole).integer(2, Math.round((ms - whole * 1_000) * 1e6))
}

const TLS_VERSIONS: Readonly<Record<string, number>> = { TLSv1: 1, 'TLSv1.1': 2, 'TLSv1.2': 3, 'TLSv1.3': 4 }
function tlsOf(f: LogFacts): MessageWriter {
  const made = new MessageWriter().integer(1, TLS_VERSIONS[f.tlsVersion ?? ''] ?? 0).text(3, f.serverName ?? '')
  if (f.ownUri !== undefined) made.message(4, uris([f.ownUri]))
  if (f.peer && f.peer.uriSans.length > 0) made.message(5, uris(f.peer.uriSans))
  return made
}
function uris(all: readonly string[]): MessageWriter {
  const made = new MessageWriter()
  for (const uri of all) made.message(1, new MessageWriter().text(1, uri))
  return made
}

/** ResponseFlags: a field for each, by its short name. */
const FLAGS = 'LH UH UT LR UR UF UC UO NR DI FI RL UAEX RLSE DC URX SI IH DPE UMSDR RFCF NFCF DT UPE NC OM DF DR'.split(
  ' ',
)
const UNAUTHORIZED = 13

function flagsOf(flags: readonly string[]): MessageWriter | undefined {
  const set = flags.map((flag) => FLAGS.indexOf(flag) + 1).filter((no) => no > 0)
  if (set.length === 0) return undefined
  const made = new MessageWriter()
  for (const no of set.sort((a, b) => a - b))
    if (no === UNAUTHORIZED) made.message(no, new MessageWriter().integer(1, 1))
    else made.integer(no, 1)
  return made
}

const METHODS = ['', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH']

function requestOf({ requestHeaders }: Extract<EntryFormat, { kind: 'http' }>, f: LogFacts): MessageWriter {
  const field = (name: string): string => asText(f.request(name) ?? '')
  const made = new MessageWriter()
    .integer(1, Math.max(0, METHODS.indexOf(field(':method'))))
    .text(2, field(':scheme'))
    .text(3, field(':authority'))
    .text(5, field(':path'))
    .text(6, field('user-agent'))
    .text(7, field('referer'))
    .text(8, field('x-forwarded-for'))
    .text(9, field('x-request-id'))
    .text(10, field('x-envoy-original-path'))
    .integer(12, f.receivedBytes)
  addFields(made, 13, requestHeaders, (name) => f.request(name))
  return made
}

function responseOf(
  { responseHeaders, responseTrailers }: Extract<EntryFormat, { kind: 'http' }>,
  f: LogFacts,
): MessageWriter {
  const made = new MessageWriter()
  if (f.status !== 0) made.message(1, new MessageWriter().integer(1, f.status))
  made.integer(3, f.sentBytes)
  addFields(made, 4, responseHeaders, (name) => f.response(name))
  addFields(made, 5, responseTrailers, (name) => f.trailer(name))
  return made.text(6, f.codeDetails ?? '')
}

function addFields(
  made: MessageWriter,
  no: number,
  names: readonly string[],
  find: (name: string) => string | undefined,
): void {
  for (const name of names) {
    const value = find(name)
    if (value !== undefined) made.entry(no, name, asText(value))
  }
}
