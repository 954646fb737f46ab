/**
 * A folder of resource files as the hub's source. Files at its top are for every node, those in `<folder>/<node>/` for that node.
 * A node's folder stays watched after the node has gone: the last good content of a file that is broken now must be there when it returns.
 */
import fs from 'node:fs'
import { fromBinary } from '@bufbuild/protobuf'
import type { Clock } from '../../agent/core/clock.ts'
import { MeshError } from '../../agent/core/errors.ts'
import type { Log } from '../../agent/core/log.ts'
import type { Metrics } from '../../agent/core/metrics.ts'
import { TYPE_URLS } from '../../agent/model/snapshot.ts'
import { watchFolder, type FolderResult } from '../../control-sync/directory/watch.ts'
import { ClusterSchema } from '../../control-sync/proto/gen/envoy/config/cluster/v3/cluster_pb.ts'
import { contentHash, resourceSet, type HubResource, type ResourceSet, type Source } from './resources.ts'

/** Nodes that are not connected and whose folders are watched all the same; those that were seen longest ago go first. */
const MAX_IDLE_NODES = 1_000

type Watched = { set: ResourceSet; problems: ReadonlySet<string>; readonly listeners: Set<(next: ResourceSet) => void>; readonly stop: Disposable }
export type DirectoryOptions = { readonly folder: string; readonly clock: Clock; readonly log: Log; readonly metrics: Metrics }

export class DirectorySource implements Source, Disposable {
  readonly #p: DirectoryOptions
  /** By node, least recently used first; '' is the shared files alone. */
  readonly #nodes = new Map<string, Watched>()
  readonly #refused

  /** Starts with the nodes that have a folder, so that mistakes show before they connect. Throws MESH_CONFIG_INVALID when there is no folder. */
  constructor(p: DirectoryOptions) {
    this.#p = p
    this.#refused = p.metrics.counter('mesh_hub_resource_problems_total', 'Mistakes that the hub found in resource files, each once until it is mended.')
    this.#watched('')
    for (const entry of fs.readdirSync(p.folder, { withFileTypes: true })) if (entry.isDirectory() && /^[A-Za-z0-9]/.test(entry.name)) this.#watched(entry.name)
    const known = [...this.#nodes.values()].reduce((sum, node) => sum + [...node.set.types.values()].reduce((n, named) => n + named.size, 0), 0)
    p.log.info({ evt: 'hub.resources', folder: p.folder, nodes: this.#nodes.size - 1, resources: known }, 'resources read')
  }

  /** Throws MESH_CONFIG_INVALID when the name cannot be a folder's. */
  watch(node: string, onChange: (next: ResourceSet) => void): Disposable & { current(): ResourceSet } {
    const watched = this.#watched(node)
    const listener = (next: ResourceSet): void => onChange(next) // the same function may watch twice
    watched.listeners.add(listener)
    return { current: () => watched.set, [Symbol.dispose]: () => { watched.listeners.delete(listener) } }
  }

  [Symbol.dispose](): void { for (const node of this.#nodes.values()) node.stop[Symbol.dispose]() }

  #watched(name: string): Watched {
    const before = this.#nodes.get(name)
    if (before) {
      this.#nodes.delete(name)
      this.#nodes.set(name, before)
      return before
    }
    let first: FolderResult | undefined
    const stop = watchFolder({
      folder: this.#p.folder, node: name === '' ? undefined : name, clock: this.#p.clock,
      onChange: (found) => {
        const known = this.#nodes.get(name)
        if (known) this.#onChange(known, name, found)
        else first = found // while watchFolder is being called
      },
    })
    if (!first) throw new MeshError('MESH_INTERNAL', 'the folder was not read')
    const watched: Watched = { set: setOf(first), problems: new Set(), listeners: new Set(), stop }
    this.#nodes.set(name, watched)
    this.#report(watched, first)
    this.#dropIdle()
    return watched
  }

  #onChange(watched: Watched, name: string, found: FolderResult): void {
    watched.set = setOf(found)
    this.#report(watched, found)
    this.#p.log.info({ evt: 'hub.resources-changed', node: name, streams: watched.listeners.size, version: watched.set.version }, 'resources changed')
    for (const listener of watched.listeners) listener(watched.set)
  }

  /** Shared files are read for every node; a mistake in one is told once. */
  #report(watched: Watched, { problems }: FolderResult): void {
    const told = new Set([...this.#nodes.values()].flatMap((node) => [...node.problems]))
    for (const problem of problems) {
      if (told.has(problem)) continue
      this.#refused.cell({}).value++
      this.#p.log.warn({ evt: 'hub.resource-refused', problem }, 'mistake in a resource file; its last good content serves on')
    }
    watched.problems = new Set(problems)
  }

  #dropIdle(): void {
    const idle = [...this.#nodes].filter(([name, node]) => name !== '' && node.listeners.size === 0)
    // Not the last: it is about to be listened to.
    for (const [name, node] of idle.slice(0, Math.max(0, idle.length - MAX_IDLE_NODES))) {
      node.stop[Symbol.dispose]()
      this.#nodes.delete(name)
    }
  }
}

function setOf({ resources, problems }: FolderResult): ResourceSet {
  const all = [...resources].flatMap(([kind, named]) => [...named].map(([name, value]): HubResource => {
    const endpoints = kind === 'cluster' ? endpointsOf(value, name) : undefined
    return { name, typeUrl: TYPE_URLS[kind], version: contentHash(value), value, ...(endpoints === undefined ? {} : { endpoints }) }
  }))
  return resourceSet(all, problems.length ? 'later' : 'now')
}

/** envoy.config.cluster.v3.Cluster.EdsClusterConfig: service_name, or else the cluster's own name. */
function endpointsOf(cluster: Uint8Array, name: string): string | undefined {
  const eds = fromBinary(ClusterSchema, cluster).edsClusterConfig
  return eds && (eds.serviceName || name)
}
