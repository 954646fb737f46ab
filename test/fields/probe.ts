/**
 * What the decoders make of each field of Envoy's: set to values of its kind, in a resource that is sound without it.
 */
import {
  fromJson,
  toBinary,
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
} from '@bufbuild/protobuf'
import { inspect } from 'node:util'
import { decode } from '../../control-sync/decode/decode.ts'
import { loadFullRegistry } from '../../proto/full/registry.ts'
import { PLACES } from './places.ts'
import type { Place } from './place.ts'
import { VALUES, WITH } from './values.ts'

/**
 * `acted upon`: the model differs. `refused`: the resource, or the smallest piece with it. `ignored`: reported with its
 * path. `nothing`: neither.
 */
export type Outcome = 'acted upon' | 'refused' | 'ignored' | 'nothing'
export type Probed = {
  readonly type: string
  readonly field: string
  readonly outcome: Outcome
  /** Where the values differ in it. */ readonly outcomes: ReadonlySet<Outcome>
  readonly said: string
}

export function probeAll(): Probed[] {
  return PLACES.flatMap((place) =>
    loadFullRegistry()
      .getMessage(place.type)!
      .fields.map((field) => probe(place, field)),
  )
}

function probe(place: Place, field: DescField): Probed {
  const key = `${place.type.slice(place.type.lastIndexOf('.v3.') + 4)}.${field.name}`
  const base = { ...place.base, ...WITH[key] }
  const before = look(place, base)
  if (before.refused || before.blocked > 0)
    throw new Error(`${key}: the base is refused: ${before.said.join()} ${before.text}`)
  const outcomes = new Set<Outcome>()
  let said = ''
  for (const value of VALUES[key] ?? valuesOf(field)) {
    const after = look(place, withField(base, field, value))
    const outcome = outcomeOf(before, after)
    outcomes.add(outcome)
    if (said === '' && outcome !== 'nothing' && outcome !== 'acted upon')
      said = after.said.find((s) => !before.said.includes(s)) ?? ''
  }
  const outcome = (['acted upon', 'refused', 'ignored', 'nothing'] as const).find((o) => outcomes.has(o))!
  return { type: place.type, field: field.name, outcome, outcomes, said }
}

type Look = {
  readonly refused: boolean
  readonly blocked: number
  readonly ignored: number
  readonly said: readonly string[]
  readonly text: string
}

function look(place: Place, message: JsonObject): Look {
  const { kind, json } = place.embed(message)
  const registry = loadFullRegistry()
  const schema = registry.getMessage(
    {
      listener: 'envoy.config.listener.v3.Listener',
      route: 'envoy.config.route.v3.RouteConfiguration',
      cluster: 'envoy.config.cluster.v3.Cluster',
      endpoint: 'envoy.config.endpoint.v3.ClusterLoadAssignment',
    }[kind as 'cluster'],
  )!
  const bytes = toBinary(schema, fromJson(schema, JSON.parse(JSON.stringify(json)) as JsonObject, { registry }))
  const made = decode(kind, bytes, { readFile: () => 'text' })
  if (!made.ok)
    return {
      refused: true,
      blocked: made.issues.length,
      ignored: 0,
      said: made.issues.map((i) => `${i.path}: ${i.problem}`),
      text: inspect(made.issues),
    }
  const said = [...made.blocked.map((i) => `${i.path}: ${i.problem}`), ...made.ignored]
  return {
    refused: false,
    blocked: made.blocked.length,
    ignored: made.ignored.length,
    said,
    text: inspect(made.value, { depth: Infinity, maxArrayLength: null, maxStringLength: null }),
  }
}

function outcomeOf(before: Look, after: Look): Outcome {
  if (
    after.refused ||
    after.blocked > before.blocked ||
    after.said.some((s) => !before.said.includes(s) && /refused|refuses|blocked|answered with 501/.test(s))
  )
    return 'refused'
  // A condition of a policy that is not understood: unknown, which refuses whenever it matters.
  if (
    after.ignored > before.ignored &&
    after.text !== before.text &&
    after.text.includes("'unknown'") &&
    !before.text.includes("'unknown'")
  )
    return 'refused'
  if (after.ignored > before.ignored) return isBlocked(after) && !isBlocked(before) ? 'refused' : 'ignored'
  return after.text === before.text ? 'nothing' : 'acted upon'
}

const isBlocked = ({ text }: Look): boolean => text.includes("kind: 'blocked'")

/** Without the other members of its oneof. */
function withField(base: JsonObject, field: DescField, value: JsonValue): JsonObject {
  const others = new Set(field.oneof?.fields.map((f) => f.name))
  return { ...Object.fromEntries(Object.entries(base).filter(([key]) => !others.has(key))), [field.name]: value }
}

function valuesOf(field: DescField): JsonValue[] {
  const one = ofKind(field, 1)
  if (field.fieldKind === 'list') return one.map((v) => [v])
  if (field.fieldKind === 'map') return one.map((v) => ({ [keyOf(field)]: v }))
  return one
}

function ofKind(field: DescField, depth: number): JsonValue[] {
  if (field.message) return ofMessage(field.message, depth)
  if (field.enum) return field.enum.values.map((v) => v.name)
  const { scalar } = field
  return scalar === 8 ? [true, false] : scalar === 9 ? ['probe'] : scalar === 12 ? ['AAAA'] : [7]
}

const keyOf = (field: DescField): string => (field.fieldKind === 'map' && field.mapKey !== 9 ? '1' : 'k')

const WELL_KNOWN: Readonly<Record<string, JsonValue[]>> = {
  Duration: ['7s'],
  Timestamp: ['2026-01-01T00:00:00Z'],
  BoolValue: [true, false],
  UInt32Value: [7],
  UInt64Value: ['7'],
  Int32Value: [7],
  Int64Value: ['7'],
  DoubleValue: [7],
  FloatValue: [7],
  StringValue: ['probe'],
  Struct: [{ k: 'v' }],
  Value: ['v'],
  Empty: [{}],
  ListValue: [['v']],
  Any: [{ '@type': 'type.googleapis.com/envoy.config.core.v3.Metadata' }],
}

/** Empty, and with something in it. */
function ofMessage(message: DescMessage, depth: number): JsonValue[] {
  if (message.typeName.startsWith('google.protobuf.')) return WELL_KNOWN[message.name] ?? [{}]
  if (depth > 3) return [{}]
  const filled: JsonObject = {}
  const seen = new Set<string>()
  for (const field of message.fields) {
    if (field.oneof && seen.has(field.oneof.name)) continue
    if (field.oneof) seen.add(field.oneof.name)
    const value = ofKind(field, depth + 1).at(-1)
    if (value !== undefined)
      filled[field.name] =
        field.fieldKind === 'list'
          ? [value]
          : field.fieldKind === 'map'
            ? { [keyOf(field)]: value }
            : field.enum
              ? 0
              : value
  }
  return [{}, filled]
}
