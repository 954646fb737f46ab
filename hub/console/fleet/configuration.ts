/**
 * What a device is to have and what is in force there, resource by resource, as the revisions say. What an istiod or the
 * compilation of Istio's files makes of them on the way is not in them.
 */
import { detach } from '../../../core/defects/guard.ts'
import type { Clock } from '../../../core/os/clock.ts'
import { describeResource } from '../../../control-sync/config-dump.ts'
import { ISTIO_TYPE_URL, unpackConfig } from '../../istio/stored.ts'
import type { Registry } from '../../registry/registry.ts'
import { decideRevision } from '../../rollout/desired.ts'
import { compareLines } from '../../rollout/diff.ts'
import { CompiledRevision, type ServedNode } from '../../source/compiled.ts'
import type { HubResource } from '../../source/resources.ts'
import type { Configuration, ConfigurationResource, ResourceDiff } from '../fleet-schemas.ts'

/** Revisions that somebody has looked at, in the form in which they are served. */
const MAX_KEPT = 2
const MAX_RESOURCES = 2_000
const MAX_LINES = 20_000
const MAX_SHOWN_LINES = 2_000
const SECRET = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret'

export class DeviceConfigurations {
  readonly #registry: Registry
  readonly #clock: Clock
  /** Least recently used first. */
  readonly #kept = new Map<string, Promise<CompiledRevision | undefined>>()

  constructor(registry: Registry, clock: Clock) {
    this.#registry = registry
    this.#clock = clock
  }

  async describe(device: ServedNode): Promise<Configuration> {
    const { desired, running, stored } = await this.#revisionsOf(device)
    const [to, from] = [await this.#resourcesOf(desired, device), await this.#resourcesOf(running, device)]
    const refused = new Map(stored?.report.refused.map((r) => [`${r.kind} ${r.name}`, r.reason]))
    const all = [...new Set([...(to ?? []), ...(from ?? [])].map(([key]) => key))].map((key) =>
      compareResource(to?.get(key), from ? from.get(key) : to?.get(key), refused),
    )
    all.sort((a, b) => rank(a) - rank(b) || (a.type + a.name < b.type + b.name ? -1 : 1))
    return {
      desired: desired ?? null,
      running: running ?? null,
      content: stored ? { expected: stored.expected, running: stored.report.content } : null,
      isRunningKnown: from !== undefined,
      resources: all.slice(0, MAX_RESOURCES),
      resourcesTotal: all.length,
    }
  }

  /** Undefined: it has no such resource, here or there. */
  async compare(device: ServedNode, wanted: { type: string; name: string }): Promise<ResourceDiff | undefined> {
    const { desired, running } = await this.#revisionsOf(device)
    const key = `${wanted.type} ${wanted.name}`
    const to = (await this.#resourcesOf(desired, device))?.get(key)
    const inForce = await this.#resourcesOf(running, device)
    // As `describe`: what is not known is not told as new.
    const from = inForce ? inForce.get(key) : to
    if (!to && !from) return undefined
    if ((to ?? from)!.typeUrl === SECRET) return { lines: [], isCut: false, isHidden: true }
    const lines = compareLines(toLines(from), toLines(to))
    // What is the same on both sides is shown whole.
    const shown = lines.length === 0 ? toLines(to).map((line) => ` ${line}`) : lines
    return { lines: shown.slice(0, MAX_SHOWN_LINES), isCut: shown.length > MAX_SHOWN_LINES, isHidden: false }
  }

  async #revisionsOf(device: ServedNode) {
    const registry = this.#registry
    const desired = decideRevision(await registry.rollouts.desired(), device)
    const stored = await registry.reports.latest(device.name)
    const node = await registry.device(device.name)
    return { desired, stored, running: stored?.report.revision || node?.inForce || undefined }
  }

  async #resourcesOf(
    id: string | undefined,
    device: ServedNode,
  ): Promise<ReadonlyMap<string, HubResource> | undefined> {
    const revision = id === undefined ? undefined : await this.#load(id)
    if (!revision) return undefined
    const found = new Map<string, HubResource>()
    for (const named of revision.resourcesOf(device).types.values())
      for (const resource of named.values()) found.set(`${describeType(resource)} ${resource.name}`, resource)
    return found
  }

  /** Undefined: it was dropped, or never was one of this hub's. */
  #load(id: string): Promise<CompiledRevision | undefined> {
    const made = this.#kept.get(id) ?? this.#compile(id)
    this.#kept.delete(id)
    this.#kept.set(id, made)
    detach(
      'hub',
      made.catch(() => {
        if (this.#kept.get(id) === made) this.#kept.delete(id)
      }),
    )
    if (this.#kept.size > MAX_KEPT) this.#kept.delete(this.#kept.keys().next().value!)
    return made
  }
  async #compile(id: string): Promise<CompiledRevision | undefined> {
    const { revisions } = this.#registry
    if (!(await revisions.get(id))) return undefined
    return CompiledRevision.compile(await revisions.load(id), this.#clock)
  }
}

const STATES = ['changed', 'added', 'removed', 'same'] as const satisfies readonly ConfigurationResource['state'][]
const rank = ({ state, refused }: ConfigurationResource): number => (refused === null ? STATES.indexOf(state) : -1)

function compareResource(
  to: HubResource | undefined,
  from: HubResource | undefined,
  refused: ReadonlyMap<string, string>,
): ConfigurationResource {
  const one = (to ?? from)!
  const type = describeType(one)
  const state = !from ? 'added' : !to ? 'removed' : to.version === from.version ? 'same' : 'changed'
  const kind = type.toLowerCase().replace('routeconfiguration', 'route').replace('clusterloadassignment', 'endpoint')
  return {
    type,
    name: one.name,
    state,
    desired: to?.version ?? null,
    running: from?.version ?? null,
    refused: refused.get(`${kind} ${one.name}`) ?? null,
  }
}

/** `Cluster`, `Listener`; of Istio `Istio`, whose names begin with their kind. */
const describeType = ({ typeUrl }: HubResource): string =>
  typeUrl === ISTIO_TYPE_URL ? 'Istio' : typeUrl.slice(typeUrl.lastIndexOf('.') + 1)

function toLines(resource: HubResource | undefined): readonly string[] {
  if (!resource) return []
  const { typeUrl, value } = resource
  const shown = typeUrl === ISTIO_TYPE_URL ? unpackWithoutPlace(value) : describeResource(typeUrl, value)
  return JSON.stringify(shown, undefined, 2).split('\n').slice(0, MAX_LINES)
}

/** Where it stood in its folder is not kept. */
function unpackWithoutPlace(value: Uint8Array): object {
  const { file: _file, place: _place, ...config } = unpackConfig(value)
  return config
}
