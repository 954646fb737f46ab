/**
 * A revision in the form in which it is served: the resources of each folder, and what they are together for a device.
 * Devices that are sent the same share one set; what is equal in two revisions is there once.
 */
import type { Clock } from '../../core/os/clock.ts'
import { TimeSlice } from '../../core/os/time-slice.ts'
import { fromBinary } from '@bufbuild/protobuf'
import { TYPE_URLS } from '../../model/snapshot.ts'
import type { FileKind } from '../../control-sync/directory/parse.ts'
import { ISTIO_TYPE_URL } from '../istio/stored.ts'
import { ClusterSchema } from '../../proto/gen/envoy/config/cluster/v3/cluster_pb.ts'
import { checkContents } from '../../control-sync/directory/check.ts'
import { hasLabels } from '../enrollment/labels.ts'
import type { Labels } from '../registry/enrollments.ts'
import type { FolderRevision } from './folder.ts'
import { parseLabelFolder } from './folder-tree.ts'
import { hashContent, makeResourceSet, overlay, type HubResource, type ResourceSet } from './resources.ts'

/** What decides which resources a device is sent. */
export type ServedNode = { readonly name: string; readonly labels: Labels }

type LabelFolder = { readonly folder: string; readonly labels: Labels }

export class CompiledRevision {
  readonly id: string
  readonly #folders: ReadonlyMap<string, ResourceSet>
  /** Those with more labels later, for they win. */
  readonly #labelFolders: readonly LabelFolder[]
  /** By the folders of labels that count: what devices without a folder of their own are sent. */
  readonly #byLabels = new Map<string, ResourceSet>()

  private constructor(id: string, folders: ReadonlyMap<string, ResourceSet>) {
    this.id = id
    this.#folders = folders
    this.#labelFolders = [...folders.keys()]
      .flatMap((folder) => {
        const labels = parseLabelFolder(folder)
        return labels ? [{ folder, labels }] : []
      })
      .sort((a, b) => Object.keys(a.labels).length - Object.keys(b.labels).length || (a.folder < b.folder ? -1 : 1))
  }

  static async compile({ id, files }: FolderRevision, clock: Clock): Promise<CompiledRevision> {
    const slice = new TimeSlice(clock)
    const contents = files.map(({ path, content }) => ({ file: path, content }))
    const { folders } = await checkContents(contents, slice)
    const sets = new Map<string, ResourceSet>()
    for (const [folder, kinds] of folders) {
      const all: HubResource[] = []
      for (const [kind, named] of kinds) {
        for (const [name, { value }] of named) {
          if (slice.due) await slice.yield()
          all.push(toHubResource(kind, name, value))
        }
      }
      if (slice.due) await slice.yield()
      sets.set(folder, makeResourceSet(all, 'now', id))
    }
    if (!sets.has('')) sets.set('', makeResourceSet([], 'now', id))
    return new CompiledRevision(id, sets)
  }

  /** Resources in all folders. */
  get count(): number {
    let count = 0
    for (const { types } of this.#folders.values()) for (const named of types.values()) count += named.size
    return count
  }
  /** '' is what is for all; then labels and devices. */
  get folders(): ReadonlyMap<string, ResourceSet> {
    return this.#folders
  }

  /** A device's own resources win over those of its labels, and those over what is for all. */
  resourcesOf({ name, labels }: ServedNode): ResourceSet {
    const counting = this.#labelFolders.filter((one) => hasLabels(labels, one.labels))
    const key = counting.map(({ folder }) => folder).join('/')
    let set = this.#byLabels.get(key)
    if (!set) {
      set = counting.reduce(
        (below, { folder }) => overlay(below, this.#folders.get(folder)!, 'now'),
        this.#folders.get('')!,
      )
      this.#byLabels.set(key, set)
    }
    const own = this.#folders.get(name)
    return own ? overlay(set, own, 'now') : set
  }
}

/** What did not change since is not hashed again, and is the same for two revisions. */
const made = new WeakMap<Uint8Array, HubResource>()

function toHubResource(kind: FileKind, name: string, value: Uint8Array): HubResource {
  const known = made.get(value)
  if (known) return known
  const endpoints = kind === 'cluster' ? endpointsOf(value, name) : undefined
  const resource: HubResource = {
    name,
    typeUrl: kind === 'istio' ? ISTIO_TYPE_URL : TYPE_URLS[kind],
    version: hashContent(value),
    value,
    ...(endpoints === undefined ? {} : { endpoints }),
  }
  made.set(value, resource)
  return resource
}

/** envoy.config.cluster.v3.Cluster.EdsClusterConfig: service_name, or else the cluster's own name. */
function endpointsOf(cluster: Uint8Array, name: string): string | undefined {
  const eds = fromBinary(ClusterSchema, cluster).edsClusterConfig
  return eds && (eds.serviceName || name)
}
