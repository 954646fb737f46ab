/** envoy.config.core.v3.SubstitutionFormatString → LogFormat: text with operators, or JSON whose texts have them. */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'
import { parseFormat, type JsonFormat, type LogFormat } from '../../../model/access-log/format.ts'
import type { SubstitutionFormatString } from '../../../proto/gen/envoy/config/core/v3/substitution_format_string_pb.ts'
import type { DecodePath } from '../fields/decode-path.ts'
import { decodeText } from '../fields/values.ts'

const MAX_DEPTH = 16

/** Why a format, and whatever needs it, is left out. */
export class LeftOut extends Error {}

/** Throws LeftOut. */
export function decodeFormat(at: DecodePath, { format, omitEmptyValues }: SubstitutionFormatString): LogFormat {
  switch (format.case) {
    case 'textFormat':
      return decodeTextFormat(format.value, omitEmptyValues)
    case 'textFormatSource': {
      const text = decodeText(at.in('text_format_source'), format.value)
      if (text === undefined) throw new LeftOut('its format cannot be read')
      return decodeTextFormat(text, omitEmptyValues)
    }
    case 'jsonFormat':
      return { kind: 'json', value: decodeJsonFormat(format.value), omitEmpty: omitEmptyValues }
    case undefined:
      throw new LeftOut('its format is neither text nor JSON')
    default:
      return format satisfies never
  }
}

export function decodeTextFormat(text: string, omitEmpty = false): LogFormat {
  return { kind: 'text', parts: partsOf(text), omitEmpty }
}

function partsOf(text: string): Extract<LogFormat, { kind: 'text' }>['parts'] {
  const parts = parseFormat(text)
  if ('unknown' in parts) throw new LeftOut(`${parts.unknown.slice(0, 128)} is no operator that meshlet knows`)
  return parts
}

export function decodeJsonFormat(from: JsonObject): JsonFormat {
  return structOf(from, 0)
}

function valueOf(from: JsonValue, depth: number): JsonFormat {
  if (typeof from === 'string') return { kind: 'text', parts: partsOf(from) }
  if (typeof from !== 'object' || from === null) return { kind: 'literal', value: from }
  if (depth > MAX_DEPTH) throw new LeftOut(`its format is nested deeper than ${MAX_DEPTH}`)
  return Array.isArray(from)
    ? { kind: 'list', items: from.map((item) => valueOf(item, depth + 1)) }
    : structOf(from, depth + 1)
}

/** Sorted, as Envoy writes them. */
function structOf(from: JsonObject, depth: number): JsonFormat {
  const names = Object.keys(from).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  return { kind: 'struct', fields: names.map((name) => [name, valueOf(from[name]!, depth)]) }
}
