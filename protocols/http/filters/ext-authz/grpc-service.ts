/** envoy.service.auth.v3.Authorization/Check: the request as attributes, and what the answer means. Pure. */
import type { AuthService, ConnectionAuthz, ExtAuthz } from '../../../../model/http/ext-authz.ts'
import type { PeerIdentity } from '../../../../model/identity.ts'
import type { Connection } from '../../../connection.ts'
import type { ClientFacts } from '../policy-facts.ts'
import { asText } from '../../../../model/matcher.ts'
import { frameUnary } from '../../grpc-unary.ts'
import type { RequestHead } from '../../message.ts'
import type { FramedQuestion } from '../../service-question.ts'
import { matchesAny, PARTIAL_BODY, type SentBody } from './http-service.ts'
import {
  type Field,
  findBytes,
  findNumber,
  MessageWriter,
  readGrpc,
  readMessage,
  readText,
} from '../../../protobuf/message.ts'
import { decodeStruct, encodeStruct } from '../../../protobuf/struct.ts'
import type { HeaderChange, Verdict } from './verdict.ts'

const PATH = '/envoy.service.auth.v3.Authorization/Check'

export type Question = {
  readonly request: RequestHead
  readonly body: SentBody
  readonly asBytes: boolean
  readonly client: ClientFacts
  readonly clientPort: number
  /** Who we are, where there is a certificate. */
  readonly ownPrincipal: string | undefined
  /** The client's, as PEM, where it is to be sent. */
  readonly certificate?: string | undefined
  readonly startedMs: number
  readonly context: Readonly<Record<string, string>>
}

export function makeGrpcQuestion(settings: ExtAuthz, question: Question): FramedQuestion {
  return frameQuestion(settings.service, attributesOf(settings, question))
}

/** About a connection. @param certificate of the client, as text (PEM) */
export function makeConnectionQuestion(
  { service, sendsServerName }: ConnectionAuthz,
  { remote, local, tls, offered }: Connection,
  principals: { readonly own: string | undefined; readonly certificate: string | undefined },
): FramedQuestion {
  const { own, certificate } = principals
  const source = clientOf(peerOf(remote.host, remote.port, tls?.peer && principalOf(tls.peer)), certificate)
  const made = new MessageWriter().message(1, source).message(2, peerOf(local.host, local.port, own))
  // As Envoy: metadata_context, with nothing in it.
  made.message(11, new MessageWriter())
  const serverName = tls?.serverName ?? offered.serverName
  if (sendsServerName && serverName !== '') made.message(12, new MessageWriter().text(1, serverName))
  return frameQuestion(service, made)
}

function frameQuestion(service: Pick<AuthService, 'authority' | 'headers'>, attributes: MessageWriter): FramedQuestion {
  return frameUnary(service, PATH, new MessageWriter().message(1, attributes))
}

function attributesOf(settings: ExtAuthz, question: Question): MessageWriter {
  const { client, clientPort, ownPrincipal, certificate, context, request } = question
  const { peer } = client
  const made = new MessageWriter()
    .message(1, clientOf(peerOf(client.remoteIp, clientPort, peer && principalOf(peer)), certificate))
    .message(2, peerOf(client.destinationIp, client.destinationPort, ownPrincipal))
    .message(4, requestOf(settings, question))
  for (const [key, value] of Object.entries(context)) made.entry(10, key, value)
  const metadata = new MessageWriter()
  for (const name of settings.metadata) {
    const found = request.metadata?.[name]
    if (typeof found !== 'object' || found === null || Array.isArray(found)) continue
    const struct = encodeStruct(found as { readonly [key: string]: never })
    metadata.message(1, new MessageWriter().text(1, name).message(2, struct))
  }
  made.message(11, metadata)
  if (settings.sendsServerName && client.serverName !== '')
    made.message(12, new MessageWriter().text(1, client.serverName))
  return made
}

const principalOf = (peer: PeerIdentity): string => peer.uriSans[0] ?? peer.dnsSans[0] ?? peer.subject

function peerOf(ip: string, port: number, principal: string | undefined): MessageWriter {
  const address = new MessageWriter().text(2, ip).integer(3, port)
  return new MessageWriter().message(1, new MessageWriter().message(1, address)).text(4, principal ?? '')
}

function clientOf(peer: MessageWriter, certificate: string | undefined): MessageWriter {
  return certificate === undefined ? peer : peer.text(5, encodeURIComponent(certificate))
}

function requestOf(settings: ExtAuthz, { request, body, asBytes, startedMs }: Question): MessageWriter {
  const time = new MessageWriter().integer(1, startedMs / 1_000).integer(2, (startedMs % 1_000) * 1_000_000)
  const http = new MessageWriter().text(1, request.header('x-request-id') ?? '').text(2, request.method)
  for (const [name, value] of headersOf(settings, request, body)) http.entry(3, name, asText(value))
  http.text(4, asText(request.path)).text(5, asText(request.authority)).text(6, request.scheme)
  if (request.bodyLength > 0) http.integer(9, request.bodyLength)
  http.text(10, request.version)
  if (body && body.bytes.length > 0) {
    if (asBytes) http.bytes(12, body.bytes)
    else http.text(11, body.bytes.toString('utf8'))
  }
  return new MessageWriter().message(1, time).message(2, http)
}

function headersOf({ allowed, disallowed }: ExtAuthz, request: RequestHead, body: SentBody): Map<string, string> {
  const found = new Map<string, string>()
  const { headers, method, path, authority, scheme } = request
  const flat = [':method', method, ':path', path, ':authority', authority, ':scheme', scheme, ...headers]
  for (let i = 0; i < flat.length; i += 2) {
    const [name, value] = [flat[i]!, flat[i + 1]!]
    if ((allowed && !matchesAny(allowed, name)) || matchesAny(disallowed, name)) continue
    const before = found.get(name)
    found.set(name, before === undefined ? value : `${before},${value}`)
  }
  if (body) found.set(PARTIAL_BODY, String(body.isPartial))
  return found
}

/** @param bytes all of the answer's body @param status grpc-status; undefined: none came */
export function readGrpcAnswer(bytes: Buffer, status: string | undefined): Verdict {
  if (status !== '0') return { kind: 'error', why: `the service answered with grpc-status ${status ?? '(none)'}` }
  const fields = readGrpc(bytes)
  const said = fields && readMessage(findBytes(fields, 1) ?? NOTHING)
  if (!fields || !said) return { kind: 'error', why: 'the answer of the service is no CheckResponse' }
  const struct = findBytes(fields, 4)
  const metadata = struct && decodeStruct(struct)
  if (findNumber(said, 1) !== 0) {
    const denied = readMessage(findBytes(fields, 2) ?? NOTHING) ?? []
    const code = findNumber(readMessage(findBytes(denied, 1) ?? NOTHING) ?? [], 1)
    return {
      kind: 'denied',
      status: code >= 200 && code <= 599 ? code : 403,
      // Each a line of its own, as of several cookies.
      headers: changesOf(denied, 2, 'add', NO_ACTIONS).map((change) => ({ ...change, how: 'add' })),
      body: findBytes(denied, 3)?.toString('latin1') ?? '',
      metadata,
    }
  }
  const ok = readMessage(findBytes(fields, 3) ?? NOTHING) ?? []
  const inner = findBytes(ok, 3)
  return {
    kind: 'ok',
    request: changesOf(ok, 2, 'set', NO_ACTIONS),
    remove: textsOf(ok, 5).map((name) => name.toLowerCase()),
    response: changesOf(ok, 6, 'add', ACTIONS),
    query: [
      ...ok
        .filter(({ no }) => no === 7)
        .map(({ bytes: pair }): readonly [string, string] => {
          const read = readMessage(pair) ?? []
          return [readText(read, 1), readText(read, 2)]
        }),
      ...textsOf(ok, 8).map((name) => [name, undefined] as const),
    ],
    metadata: metadata ?? (inner && decodeStruct(inner)),
  }
}
const NOTHING = Buffer.alloc(0)

function textsOf(fields: readonly Field[], no: number): string[] {
  return fields.filter((field) => field.no === no).map(({ bytes }) => bytes.toString('utf8'))
}

type Actions = Readonly<Record<number, HeaderChange['how']>>
/** HeaderValueOption. @param byDefault where neither append nor append_action says something */
function changesOf(fields: readonly Field[], no: number, byDefault: 'set' | 'add', actions: Actions): HeaderChange[] {
  return fields.flatMap((field): HeaderChange[] => {
    const option = field.no === no ? readMessage(field.bytes) : undefined
    const header = option && readMessage(findBytes(option, 1) ?? NOTHING)
    if (!option || !header) return []
    const append = findBytes(option, 2)
    const raw = findBytes(header, 3)?.toString('latin1')
    return [
      {
        name: readText(header, 1).toLowerCase(),
        value: raw === undefined || raw === '' ? readText(header, 2) : raw,
        how: append
          ? findNumber(readMessage(append) ?? [], 1) === 0
            ? 'set'
            : byDefault === 'set'
              ? 'append'
              : 'add'
          : (actions[findNumber(option, 3)] ?? byDefault),
      },
    ]
  })
}
/** HeaderAppendAction but for APPEND_IF_EXISTS_OR_ADD, which is what stands there when nothing was said. */
const ACTIONS: Actions = { 1: 'if-absent', 2: 'set', 3: 'overwrite-present' }
/** As in Envoy, of the request and of a refusal only `append` counts: what a client wrote never stays in its place. */
const NO_ACTIONS: Actions = {}
