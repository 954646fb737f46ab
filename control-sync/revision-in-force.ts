/**
 * Which revision of the control plane is in force: what it calls what it sent (`system_version_info`), and a hash of all
 * that is in force, which the control plane can compute of what it sent.
 */
import { computeContent } from '../proto/relay/digest.ts'
import { TYPE_URLS, type ResourceKind } from '../model/snapshot.ts'
import type { AdsResponse } from './ads/protocol.ts'
import type { Applier } from './apply.ts'

export type Revision = {
  /** In force as a whole; '' none is known. */
  readonly revision: string
  /** Sent last. */
  readonly desired: string
  readonly content: string
}

const KINDS = Object.keys(TYPE_URLS) as ResourceKind[]

export class RevisionInForce {
  readonly #applier: Pick<Applier, 'snapshot' | 'rejected'>
  #revision = ''
  #desired = ''
  /** An equal resource of another version stays in force under the earlier one: what it is called by now. */
  readonly #renamed = new Map<string, string>()
  #hashed: { readonly of: object; readonly renames: number; readonly content: string } | undefined
  #renames = 0

  constructor(applier: Pick<Applier, 'snapshot' | 'rejected'>) {
    this.#applier = applier
  }

  /** The response has been applied. */
  note({
    kind,
    systemVersion,
    resources,
    removed,
  }: Pick<AdsResponse, 'kind' | 'systemVersion' | 'resources' | 'removed'>): void {
    const { snapshot, rejected } = this.#applier
    this.#desired = systemVersion
    if (rejected.length === 0) this.#revision = systemVersion
    const kept = new Set(rejected.filter((r) => r.kind === kind && !r.blocked).map((r) => r.name))
    for (const { name, version } of resources) {
      const known = snapshot.resources[kind].get(name)
      this.#rename(`${kind} ${name}`, known && known.version !== version && !kept.has(name) ? version : undefined)
    }
    for (const name of removed) this.#rename(`${kind} ${name}`, undefined)
  }

  read(): Revision {
    return { revision: this.#revision, desired: this.#desired, content: this.#hash() }
  }

  #rename(key: string, version: string | undefined): void {
    if (this.#renamed.get(key) === version) return
    this.#renames++
    if (version === undefined) this.#renamed.delete(key)
    else this.#renamed.set(key, version)
  }

  #hash(): string {
    const { resources } = this.#applier.snapshot
    const known = this.#hashed
    if (known?.of === resources && known.renames === this.#renames) return known.content
    const content = computeContent(KINDS.map((kind) => [TYPE_URLS[kind], this.#versions(kind)] as const))
    this.#hashed = { of: resources, renames: this.#renames, content }
    return content
  }
  *#versions(kind: ResourceKind): Iterable<readonly [string, string]> {
    for (const [name, { version }] of this.#applier.snapshot.resources[kind])
      yield [name, this.#renamed.get(`${kind} ${name}`) ?? version]
  }
}
