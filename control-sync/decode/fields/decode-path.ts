/**
 * A place in a resource while it is decoded, and the report about it: issues (the resource cannot be used) and ignored
 * fields (it can, but these have no effect). The text of a path is made only when something is reported.
 */
import type { DescField, DescMessage, Message, MessageShape } from '@bufbuild/protobuf'
import type { Issue } from '../../../model/snapshot.ts'
import { findLeftOutName } from '../../../proto/field-names.ts'
import { ACTED_ON, REFUSED } from './supported-fields.ts'
import { findSkippedField } from './skipped.ts'

/** A hostile resource may hold a million mistakes; nobody reads more than these. */
const MAX_REPORTED = 200

export type ReadFile = (file: string) => string | undefined
export type Sources = {
  /**
   * Content of a file that a DataSource names, undefined when there is none. Left out: resources that name files are
   * refused.
   */
  readonly readFile?: ReadFile | undefined
  /**
   * Where files are not read at once: which may be read when they are used, for TLS (core/os/named-files.ts). Left out:
   * none. `permitsLog`: which may be written to.
   */
  readonly files?: { permits(file: string): boolean; permitsLog?(file: string): boolean } | undefined
  /** This node is a gateway: its listeners let clients in, though istiod calls them OUTBOUND. */
  readonly gateway?: boolean | undefined
  /** Bytes of the TypedExtensionConfig of that name (ECDS); undefined while it has not come. */
  readonly extension?: ((name: string) => Uint8Array | undefined) | undefined
}

class Report {
  readonly issues: Issue[] = []
  /** Issues that no piece has taken upon itself yet, and the first of them. */
  open = 0
  firstOpen: Issue | undefined
  readonly ignored: string[] = []
  readonly skipped = new Set<string>()
  readonly awaited = new Set<string>()
  readonly sources: Sources
  constructor(sources: Sources) {
    this.sources = sources
  }
}

export class DecodePath {
  readonly #parent: DecodePath | undefined
  readonly #key: string
  readonly #report: Report
  private constructor(report: Report, parent: DecodePath | undefined, key: string) {
    this.#report = report
    this.#parent = parent
    this.#key = key
  }

  static top(sources: Sources = {}): DecodePath {
    return new DecodePath(new Report(sources), undefined, '')
  }

  in(field: string): DecodePath {
    return new DecodePath(this.#report, this, field)
  }
  item(index: number | string): DecodePath {
    return new DecodePath(this.#report, this, `[${index}]`)
  }

  get path(): string {
    if (!this.#parent) return this.#key
    const before = this.#parent.path
    return before === '' || this.#key.startsWith('[') ? before + this.#key : `${before}.${this.#key}`
  }
  get issues(): readonly Issue[] {
    return this.#report.issues
  }
  /** Whether there are issues outside of every piece: then the resource as a whole cannot be used. */
  get isOpen(): boolean {
    return this.#report.open > 0
  }
  get ignored(): readonly string[] {
    return this.#report.ignored
  }
  get skipped(): readonly string[] {
    return [...this.#report.skipped]
  }
  /** Nothing was reported. */
  get isClean(): boolean {
    const { issues, ignored, skipped } = this.#report
    return issues.length + ignored.length + skipped.size === 0
  }
  get readFile(): ReadFile | undefined {
    return this.#report.sources.readFile
  }
  get isGateway(): boolean {
    return this.#report.sources.gateway ?? false
  }
  get files(): Sources['files'] {
    return this.#report.sources.files
  }
  /** Names of extensions that were asked for, come or not. */
  get awaited(): readonly string[] {
    return [...this.#report.awaited]
  }

  /** Configuration of a filter that comes as a resource of its own. */
  extension(name: string): Uint8Array | undefined {
    this.#report.awaited.add(name)
    return this.#report.sources.extension?.(name)
  }

  /** The piece that this place belongs to cannot be used; where it belongs to none, the resource. */
  issue(problem: string): void {
    const report = this.#report
    const issue = { path: this.path, problem }
    report.open++
    report.firstOpen ??= issue
    if (report.issues.length < MAX_REPORTED) report.issues.push(issue)
  }

  /** Reports what was found in a part of the resource that was decoded by itself, all of it within pieces. */
  adopt(part: DecodePath): void {
    const [own, found] = [this.#report, part.#report]
    own.issues.push(...found.issues.slice(0, MAX_REPORTED - own.issues.length))
    own.ignored.push(...found.ignored.slice(0, MAX_REPORTED - own.ignored.length))
    for (const what of found.skipped) this.skip(what)
  }

  /**
   * What can be refused by itself: a filter chain, a route, a virtual host, a cluster. An issue in it makes it what
   * refuses everything that it would have got, and the rest of the resource is used as it was sent: to go on with the
   * version before could be weaker than what is asked for.
   * @param blocked is given the reason, and must not fail
   */
  piece<T>(make: () => T, blocked: (reason: string) => T): T {
    const report = this.#report
    const { open, firstOpen } = report
    report.open = 0
    report.firstOpen = undefined
    let made: { readonly value: T } | undefined
    try {
      made = { value: make() }
    } catch (err) {
      this.issue(`cannot be read: ${err instanceof Error ? err.message : String(err)}`)
    }
    const found = report.firstOpen as Issue | undefined
    report.open = open
    report.firstOpen = firstOpen
    return made && !found
      ? made.value
      : blocked(found ? `${found.path === '' ? '' : `${found.path}: `}${found.problem}` : 'it cannot be read')
  }

  /** This place has no effect. `why` where the field's name alone does not tell. */
  ignore(why?: string): void {
    if (this.#report.ignored.length < MAX_REPORTED)
      this.#report.ignored.push(why === undefined ? this.path : `${this.path} (${why})`)
  }

  /** Something that was asked for is left out. @param what in a person's words (skipped.ts) */
  skip(what: string): void {
    if (this.#report.skipped.size < MAX_REPORTED) this.#report.skipped.add(what)
  }
}

/**
 * Reports every set field of `message`, at any depth, that the decoders do not act upon (supported-fields.ts), and
 * every field that our protos do not have.
 */
export function noteIgnored<T extends DescMessage>(at: DecodePath, schema: T, message: MessageShape<T>): void {
  const acted = ACTED_ON.get(schema.typeName)
  const refused = REFUSED.get(schema.typeName)
  for (const field of schema.fields) {
    const value = valueOf(message, field)
    if (value === undefined || refused?.has(field.name)) continue
    if (acted && !acted.has(field.name)) left(at, schema, field.name)
    else if (field.message && descend(field.message)) noteBelow(at.in(field.name), field, field.message, value)
    // Decoders take some such value for its field's default; where that would be weaker they have an issue of their
    // own.
    else if (field.enum && typeof value === 'number' && !field.enum.value[value])
      at.in(field.name).ignore(`unknown value ${value}`)
  }
  for (const { no } of message.$unknown ?? []) {
    const name = findFieldName(schema, no)
    if (!refused?.has(name)) left(at, schema, name)
  }
}

function left(at: DecodePath, schema: DescMessage, field: string): void {
  at.in(field).ignore()
  const what = findSkippedField(schema.typeName, field)
  if (what !== undefined) at.skip(what)
}

/**
 * An issue for every set field of `message` itself that may not get lost (supported-fields.ts). Each decoder asks in
 * the piece that the message belongs to.
 */
export function refuse<T extends DescMessage>(at: DecodePath, schema: T, message: MessageShape<T> | undefined): void {
  const refused = REFUSED.get(schema.typeName)
  if (!refused || !message) return
  for (const field of schema.fields)
    if (refused.has(field.name) && valueOf(message, field) !== undefined) at.in(field.name).issue(NOT_SUPPORTED)
  for (const { no } of message.$unknown ?? []) {
    const name = findFieldName(schema, no)
    if (refused.has(name)) at.in(name).issue(NOT_SUPPORTED)
  }
}
const NOT_SUPPORTED = 'is not supported'

/** Envoy's name of a field that our protos do not have, its number where Envoy has none either. */
export function findFieldName(schema: DescMessage, no: number): string {
  return findLeftOutName(schema.typeName, no) ?? `<field ${no}>`
}

/** True when `message` carries fields that our protos do not have. */
export function hasUnknown(message: Message): boolean {
  return (message.$unknown?.length ?? 0) > 0
}

function noteBelow(at: DecodePath, field: DescField, schema: DescMessage, value: unknown): void {
  if (field.fieldKind === 'list') (value as readonly Message[]).forEach((m, i) => noteIgnored(at.item(i), schema, m))
  else if (field.fieldKind === 'map')
    for (const [key, m] of Object.entries(value as Record<string, Message>)) noteIgnored(at.item(key), schema, m)
  else noteIgnored(at, schema, value as Message)
}

/** Undefined for a field that is not set (proto3: or has its type's zero). */
function valueOf(message: Message, field: DescField): unknown {
  // Generated messages have no index signature; `field` is of the message's own schema.
  const fields = message as unknown as Record<string, unknown>
  if (field.oneof) {
    const chosen = fields[field.oneof.localName] as { case?: string; value?: unknown } | undefined
    return chosen?.case === field.localName ? chosen.value : undefined
  }
  const value = fields[field.localName]
  if (Array.isArray(value)) return value.length === 0 ? undefined : value
  if (value instanceof Uint8Array) return value.length === 0 ? undefined : value
  if (field.fieldKind === 'map') return Object.keys(value as object).length === 0 ? undefined : value
  return value === '' || value === 0 || value === 0n || value === false ? undefined : value
}

/** Where a source is fetched from, and free-form metadata, are not settings of the data path. */
const OPAQUE = new Set(['envoy.config.core.v3.ConfigSource', 'envoy.config.core.v3.Metadata'])
function descend(schema: DescMessage): boolean {
  return !schema.typeName.startsWith('google.protobuf.') && !OPAQUE.has(schema.typeName)
}
