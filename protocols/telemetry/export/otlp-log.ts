/** An entry of an access log as opentelemetry.proto.logs.v1.LogRecord. Pure. */
import type { EntryFormat, EntryValue } from '../../../model/access-log/entry.ts'
import type { LogFacts } from '../../../model/access-log/facts.ts'
import { formatLine } from '../../../model/access-log/format.ts'
import { MessageWriter } from '../../protobuf/message.ts'
import { decodeText } from './envelope.ts'

/** A format may name the same long field many times. */
const MAX_TEXT_LENGTH = 64 * 1024

export function encodeLogRecord({ body, attributes }: Extract<EntryFormat, { kind: 'otlp' }>, facts: LogFacts): Buffer {
  const made = new MessageWriter().fixed64(1, BigInt(Math.round(facts.startedMs * 1_000)) * 1_000n)
  if (body) made.message(5, anyValue(body, facts))
  for (const [name, value] of attributes) made.message(6, keyValue(name, value, facts))
  const { traceId, spanId } = facts
  if (traceId !== undefined) made.bytes(9, Buffer.from(traceId.padStart(32, '0'), 'hex'))
  if (spanId !== undefined) made.bytes(10, Buffer.from(spanId, 'hex'))
  return made.finish()
}

function keyValue(name: string, value: EntryValue, facts: LogFacts): MessageWriter {
  return new MessageWriter().text(1, name).message(2, anyValue(value, facts))
}

function anyValue(value: EntryValue, facts: LogFacts): MessageWriter {
  switch (value.kind) {
    case 'text': {
      const text = formatLine(value.format, facts).slice(0, MAX_TEXT_LENGTH)
      return new MessageWriter().bytes(1, Buffer.from(decodeText(text)))
    }
    case 'list': {
      const list = new MessageWriter()
      for (const item of value.items) list.message(1, anyValue(item, facts))
      return new MessageWriter().message(5, list)
    }
    case 'struct': {
      const fields = new MessageWriter()
      for (const [name, one] of value.fields) fields.message(1, keyValue(name, one, facts))
      return new MessageWriter().message(6, fields)
    }
    default:
      return value satisfies never
  }
}
