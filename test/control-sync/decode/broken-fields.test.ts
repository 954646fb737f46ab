/**
 * Every field of what a real istiod sent (test/golden) is broken, one at a time: an enum value that nobody knows, an
 * extension that is not there, bytes that are none, a number out of range, a field of tomorrow. Whatever becomes of it,
 * nothing may be weaker than what was asked for, everything else is as it was sent, and it is told.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromBinary, ScalarType, toBinary, type DescField, type DescMessage, type Message } from '@bufbuild/protobuf'
import type { Any, Duration } from '@bufbuild/protobuf/wkt'
import { Current } from '../../../core/current.ts'
import type { Cluster, Transport } from '../../../model/cluster.ts'
import type { FilterChain, Listener } from '../../../model/listener.ts'
import type { RouteConfig } from '../../../model/route.ts'
import { TYPE_URLS, type Decoded } from '../../../model/snapshot.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import { decode, type ModelOf } from '../../../control-sync/decode/decode.ts'
import { OBSERVING_HTTP_FILTERS, OBSERVING_NETWORK_FILTERS } from '../../../control-sync/decode/fields/known-filters.ts'
import { loadRegistry } from '../../../proto/registry.ts'
import { golden, GOLDEN, issuesOf, sample } from '../../helpers/control-plane/resources.ts'
import { bareApplier } from '../../helpers/control-plane/applier.ts'

type Break = 'unknown enum value' | 'unknown extension' | 'unreadable Any' | 'out of range' | 'unknown field'
type Broken = { readonly path: string; readonly how: Break; readonly bytes: Uint8Array }
type Fields = Record<string, unknown>

/** Number 20,000 is nobody's (19,000 to 19,999 are protobuf's own). */
const FIELD_OF_TOMORROW = Buffer.from([0x80, 0xe2, 0x09, 0x01])
const OPAQUE = new Set([
  'google.protobuf.Struct',
  'google.protobuf.Value',
  'envoy.config.core.v3.Metadata',
  'envoy.config.core.v3.ConfigSource',
])

/** Nothing in them is looked at: they only observe, or have no settings. */
const UNREAD: ReadonlySet<string> = new Set([
  ...OBSERVING_HTTP_FILTERS,
  ...OBSERVING_NETWORK_FILTERS,
  'envoy.extensions.filters.http.router.v3.Router',
  'envoy.extensions.filters.http.cors.v3.Cors',
])

function* broken(schema: DescMessage, bytes: Uint8Array): Generator<Broken> {
  const parsed = fromBinary(schema, bytes)
  yield { path: '', how: 'unknown field', bytes: Buffer.concat([bytes, FIELD_OF_TOMORROW]) }
  for (const field of schema.fields) {
    for (const one of brokenField(field, valueOf(parsed, field))) {
      const copy = fromBinary(schema, bytes)
      setValue(copy, field, one.value)
      yield { path: joined(field.name, one.path), how: one.how, bytes: toBinary(schema, copy) }
    }
  }
}

type BrokenValue = { readonly path: string; readonly how: Break; readonly value: unknown }

function* brokenField(field: DescField, value: unknown): Generator<BrokenValue> {
  if (value === undefined) {
    // One that istiod did not set, with something in it that nobody knows.
    const { message } = field
    if (field.fieldKind !== 'message' || field.oneof || !message) return
    if (message.typeName === 'google.protobuf.UInt32Value' || message.typeName === 'google.protobuf.Duration')
      yield* brokenValue(field, fromBinary(message, new Uint8Array()))
    else if (!OPAQUE.has(message.typeName) && !message.typeName.startsWith('google.protobuf.'))
      yield { path: '', how: 'unknown field', value: fromBinary(message, FIELD_OF_TOMORROW) }
    return
  }
  if (field.fieldKind === 'list') {
    // Two of each are enough: what a first one and another one do.
    for (const [i, item] of (value as unknown[]).slice(0, 2).entries()) {
      for (const one of brokenValue(field, item))
        yield { path: joined(`[${i}]`, one.path), how: one.how, value: (value as unknown[]).with(i, one.value) }
    }
  } else if (field.fieldKind === 'map') {
    for (const [key, item] of Object.entries(value as Fields).slice(0, 2)) {
      for (const one of brokenValue(field, item))
        yield { path: joined(`[${key}]`, one.path), how: one.how, value: { ...(value as Fields), [key]: one.value } }
    }
  } else yield* brokenValue(field, value)
}

function* brokenValue(field: DescField, value: unknown): Generator<BrokenValue> {
  if (field.enum) {
    yield { path: '', how: 'unknown enum value', value: 9_999 }
    return
  }
  if (!field.message) {
    if (typeof value === 'number')
      yield { path: '', how: 'out of range', value: field.scalar === ScalarType.UINT32 ? 0xffff_ffff : -1 }
    return
  }
  const { message } = field
  switch (message.typeName) {
    case 'google.protobuf.Any':
      yield* brokenAny(value as Any)
      return
    case 'google.protobuf.Duration':
      yield { path: '', how: 'out of range', value: { ...(value as Duration), seconds: -1n } }
      return
    case 'google.protobuf.UInt32Value':
      yield { path: '', how: 'out of range', value: 0xffff_ffff }
      return
    default:
      if (OPAQUE.has(message.typeName) || message.typeName.startsWith('google.protobuf.')) return
      for (const { bytes, ...one } of broken(message, toBinary(message, value as Message)))
        yield { ...one, value: fromBinary(message, bytes) }
  }
}

function* brokenAny(any: Any): Generator<BrokenValue> {
  const type = any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1)
  yield { path: '', how: 'unknown extension', value: { ...any, typeUrl: 'type.googleapis.com/acme.Tomorrow' } }
  if (UNREAD.has(type)) return
  yield { path: '', how: 'unreadable Any', value: { ...any, value: Buffer.from([0x0f, 0xff]) } }
  // Its inside is of another type, and read as that.
  const schema = type.endsWith('.TypedStruct') ? undefined : loadRegistry().getMessage(type)
  if (schema)
    for (const { bytes, ...one } of broken(schema, any.value)) yield { ...one, value: { ...any, value: bytes } }
}

function valueOf(message: Message, field: DescField): unknown {
  const fields = message as unknown as Fields
  if (field.oneof) {
    const chosen = fields[field.oneof.localName] as { case?: string; value?: unknown }
    return chosen.case === field.localName ? chosen.value : undefined
  }
  const value = fields[field.localName]
  if (field.fieldKind === 'enum' || field.fieldKind === 'scalar')
    return value === 0 && field.fieldKind === 'enum' ? 0 : value || undefined
  return value
}
function setValue(message: Message, field: DescField, value: unknown): void {
  const fields = message as unknown as Fields
  if (field.oneof) fields[field.oneof.localName] = { case: field.localName, value }
  else fields[field.localName] = value
}
const joined = (outer: string, inner: string): string =>
  inner === '' ? outer : inner.startsWith('[') ? outer + inner : `${outer}.${inner}`

const text = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) =>
    typeof v === 'bigint' ? String(v) : v instanceof Map || v instanceof Set ? [...v] : v === undefined ? null : v,
  )
const same = (a: unknown, b: unknown): boolean => text(a) === text(b)
/** A condition of a policy that is not understood refuses whenever that matters (protocols/authz.ts). */
const isRefusing = (policies: unknown): boolean =>
  /"kind":"unsupported"|"action":"allow","rules":\[\]/.test(text(policies))

/** @returns what is weaker, or is not as it was sent although nothing of it is broken */
function weakerCluster(was: Cluster, is: Cluster): string | undefined {
  if (is.blocked !== undefined) return undefined
  const isSame = (a: Transport, b: Transport): boolean => b.kind === 'blocked' || same(a, b)
  const areMatchesSame =
    was.transportMatches.length === is.transportMatches.length &&
    was.transportMatches.every(
      (m, i) => same(m.match, is.transportMatches[i]!.match) && isSame(m.transport, is.transportMatches[i]!.transport),
    )
  return areMatchesSame && isSame(was.transport, is.transport) ? undefined : 'its TLS is another'
}

function weakerListener(was: Listener, is: Listener, path: string): string | undefined {
  const isBlocked = is.filterChains.length === 0 && is.defaultFilterChain?.codec.kind === 'blocked'
  if (isBlocked) return path.startsWith('filter_chains') ? 'one of its chains has blocked all of them' : undefined
  const named = /^filter_chains\[(\d)\]/.exec(path)?.[1]
  for (const [i, chain] of was.filterChains.entries()) {
    const why = weakerChain(
      chain,
      is.filterChains[i]!,
      named === String(i) || path.startsWith('listener_filters') ? path : undefined,
    )
    if (why) return `chain ${i}: ${why}`
  }
  return was.defaultFilterChain
    ? weakerChain(
        was.defaultFilterChain,
        is.defaultFilterChain!,
        path.startsWith('default_filter_chain') || path.startsWith('listener_filters') ? path : undefined,
      )
    : undefined
}

function weakerChain(was: FilterChain, is: FilterChain, path: string | undefined): string | undefined {
  if (path === undefined) return same(was, is) ? undefined : 'it is not as it was sent'
  if (is.codec.kind === 'blocked') return undefined
  if (!same(was.match, is.match)) return 'its match is another and it serves'
  if (!same(was.tls, is.tls)) return 'its TLS is another'
  if (!same(was.policies, is.policies) && !isRefusing(is.policies)) return 'its policies are others'
  if (was.codec.kind !== is.codec.kind) return 'its codec is another'
  if (was.codec.kind !== 'http' || is.codec.kind !== 'http') return undefined
  const [before, after] = [was.codec.http, is.codec.http]
  if (
    !same(before.filters, after.filters) &&
    !after.filters.some((f) => f.kind === 'blocked') &&
    !isRefusing(after.filters) &&
    !/fault|cors/.test(path)
  )
    return 'its filters are others'
  if (before.routes.from === 'inline' && after.routes.from === 'inline')
    return weakerTable(before.routes.config, after.routes.config, path.replace(/^.*?route_config\./, ''))
  return undefined
}

function weakerTable(was: RouteConfig, is: RouteConfig, path: string): string | undefined {
  const isBlocked =
    is.virtualHosts.length === 1 &&
    is.virtualHosts[0]!.domains.join() === '*' &&
    is.virtualHosts[0]!.routes[0]?.action.kind === 'blocked'
  if (isBlocked)
    return path.startsWith('virtual_hosts') && was.virtualHosts.length > 1
      ? 'one of its hosts has blocked all of them'
      : undefined
  const [, host, , route] = /^virtual_hosts\[(\d)\](\.routes\[(\d)\])?/.exec(path) ?? []
  for (const [i, before] of was.virtualHosts.entries()) {
    const after = is.virtualHosts[i]!
    if (String(i) !== host) {
      if (!same(before, after)) return `host ${i} is not as it was sent`
      continue
    }
    if (after.routes.every((r) => r.action.kind === 'blocked' && r.match.path.kind === 'any')) continue
    for (const [n, r] of before.routes.entries()) {
      const now = after.routes[n]!
      if (String(n) !== route) {
        if (!same(r, now)) return `host ${i}, route ${n} is not as it was sent`
        continue
      }
      if (now.action.kind === 'blocked') continue
      if (!same(r.match, now.match)) return `host ${i}, route ${n}: its match is another and it serves`
      if (!same(r.filters, now.filters) && !isRefusing([...(now.filters ?? [])]) && !/fault/.test(path))
        return `host ${i}, route ${n}: its policy is another`
    }
  }
  return undefined
}

type Kind = 'cluster' | 'listener' | 'route'
const WEAKER: { readonly [K in Kind]: (was: ModelOf<K>, is: ModelOf<K>, path: string) => string | undefined } = {
  cluster: weakerCluster,
  listener: weakerListener,
  route: weakerTable,
}

/** Fields whose value means nothing to us, whatever it is. */
const HARMLESS =
  /(^|\.)(stat_prefix|metadata|alt_stat_name|decorator|tracing|access_log|traffic_direction|request_id_extension|config_source|sds_config|stats_|generate_request_id)/

for (const file of GOLDEN) {
  test(`nothing of ${file} is weaker for a broken field, everything else is as it was sent, and it is told`, () => {
    const found: string[] = []
    const seen = new Map<string, number>()
    let count = 0
    for (const { kind, name, bytes } of golden(file)) {
      if (kind !== 'cluster' && kind !== 'listener' && kind !== 'route') continue
      const was = decode(kind, bytes)
      assert.ok(was.ok)
      for (const one of broken(loadRegistry().getMessage(TYPE_URLS[kind].split('/')[1]!)!, bytes)) {
        // Of a mesh's many alike resources a few are enough.
        const key = `${kind} ${one.how} ${one.path.replaceAll(/\[\d+\]/g, '[]')}`
        seen.set(key, (seen.get(key) ?? 0) + 1)
        if (seen.get(key)! > 3) continue
        count++
        const is = decode(kind, one.bytes)
        const why = !is.ok
          ? `it is refused as a whole: ${text(is.issues)}`
          : (WEAKER[kind](was.value as never, is.value as never, one.path) ?? untold(was, is, one))
        if (why) found.push(`${kind} ${name}: ${one.path} (${one.how}): ${why}`)
      }
    }
    assert.deepEqual(found, [])
    assert.ok(count > 300, `${count} fields were broken`)
  })
}

function untold(was: Decoded<unknown>, is: Decoded<unknown>, { how, path }: Broken): string | undefined {
  if (how === 'out of range' || HARMLESS.test(path)) return undefined
  const before = new Set(was.ok ? was.ignored : [])
  return issuesOf(is).length > 0 || (is.ok && is.ignored.some((line) => !before.has(line)))
    ? undefined
    : 'nobody is told'
}

test('whatever is broken in it, a new version is in force and never the one before', async () => {
  const tables = new Current<Tables>(EMPTY_TABLES)
  const applier = bareApplier({ tables })
  const put = async (kind: Kind, name: string, value: Uint8Array): Promise<void> => {
    await applier.apply([{ kind, put: [{ name, version: '', value }], removed: [] }])
  }
  const inForce: { readonly [K in Kind]: (name: string) => unknown } = {
    cluster: (name) => tables.get().cluster(name),
    listener: (name) => tables.get().listeners.get(name),
    route: (name) => tables.get().routes(name),
  }
  const older = {
    cluster: { type: 'EDS' },
    listener: { address: { socket_address: { address: '127.0.0.1', port_value: 1 } } },
    route: {},
  }
  const done = new Set<string>()
  for (const { kind, name, bytes } of golden('istiod-strict-authz')) {
    if (kind !== 'cluster' && kind !== 'listener' && kind !== 'route') continue
    const before = sample(
      JSON.parse(JSON.stringify({ '@type': TYPE_URLS[kind], name, ...older[kind] })) as Parameters<typeof sample>[0],
    ).bytes
    for (const one of broken(loadRegistry().getMessage(TYPE_URLS[kind].split('/')[1]!)!, bytes)) {
      const key = `${kind} ${one.how} ${one.path.replaceAll(/\[\d+\]/g, '[]')}`
      if (done.has(key)) continue
      done.add(key)
      await put(kind, name, before)
      const old = inForce[kind](name)
      assert.ok(old !== undefined)
      await put(kind, name, one.bytes)
      assert.notEqual(inForce[kind](name), undefined, `${name} ${key}`)
      assert.notEqual(inForce[kind](name), old, `${name} ${key}`)
    }
  }
  assert.ok(done.size > 200, String(done.size))
})
