/** Items of one request of a collector, put together. Pure. */
import type { Collector } from '../../../model/access-log/collector.ts'
import { frameGrpc, MessageWriter } from '../../protobuf/message.ts'

/** Who sends. */
export type Sender = {
  readonly nodeId: string
  readonly cluster: string
  readonly serviceName: string
  /** OTEL_RESOURCE_ATTRIBUTES. */
  readonly environment?: readonly Attribute[] | undefined
}
type Attribute = readonly [name: string, value: string]

export function encodeRequest({ envelope, speaks }: Collector, items: readonly Buffer[], sender: Sender): Buffer {
  switch (envelope.kind) {
    case 'zipkin':
      return Buffer.concat([
        Buffer.from('['),
        ...items.flatMap((item, i) => (i === 0 ? [item] : [COMMA, item])),
        Buffer.from(']'),
      ])
    case 'otlp':
      return framed(speaks, wrapOtlp(resourceOf(envelope, sender), items))
    case 'als':
      return framed(speaks, wrapAls(envelope, items, sender))
    default:
      return envelope satisfies never
  }
}
const COMMA = Buffer.from(',')

function framed(speaks: Collector['speaks'], message: MessageWriter): Buffer {
  return speaks === 'grpc' ? frameGrpc(message.finish()) : message.finish()
}

/** ExportTraceServiceRequest and ExportLogsServiceRequest have the same numbers all the way down. */
function wrapOtlp(resource: readonly Attribute[], items: readonly Buffer[]): MessageWriter {
  const ofResource = new MessageWriter()
  for (const [name, value] of resource) ofResource.message(1, writeAttribute(name, value))
  const scope = new MessageWriter()
  for (const item of items) scope.bytes(2, item)
  return new MessageWriter().message(1, new MessageWriter().message(1, ofResource).message(2, scope))
}

function resourceOf(
  { resource, builtin, withEnvironment, of }: Extract<Collector['envelope'], { kind: 'otlp' }>,
  sender: Sender,
): readonly Attribute[] {
  const own: readonly Attribute[] = builtin
    ? [
        ['log_name', builtin.logName],
        ['zone_name', ''],
        ['cluster_name', sender.cluster],
        ['node_name', sender.nodeId],
      ]
    : of === 'spans'
      ? [['service.name', sender.serviceName]]
      : []
  return [...new Map([...own, ...resource, ...((withEnvironment && sender.environment) || [])])]
}

function wrapAls(
  { logName, of }: Extract<Collector['envelope'], { kind: 'als' }>,
  items: readonly Buffer[],
  { nodeId, cluster }: Sender,
): MessageWriter {
  const node = new MessageWriter().text(1, nodeId).text(2, cluster)
  const entries = new MessageWriter()
  for (const item of items) entries.bytes(1, item)
  const identifier = new MessageWriter().message(1, node).text(2, logName)
  return new MessageWriter().message(1, identifier).message(of === 'http' ? 2 : 3, entries)
}

/** KeyValue with a text, which stands there also where it is empty: it is a member of a oneof. */
export function writeAttribute(name: string, value: string): MessageWriter {
  return new MessageWriter().text(1, name).message(2, new MessageWriter().bytes(1, Buffer.from(value)))
}

/** From bytes as latin1 characters, as headers have them, to what a text of protobuf may be. */
export function decodeText(text: string): string {
  return Buffer.from(text, 'latin1').toString('utf8')
}
