/** What one folder holds, ready to be sent, and two folders laid over one another. */
import { fromBinary } from '@bufbuild/protobuf'
import type { TimeSlice } from '../../core/os/time-slice.ts'
import { TYPE_URLS } from '../../model/snapshot.ts'
import type { FileKind } from '../../control-sync/directory/parse.ts'
import { ISTIO_TYPE_URL } from '../istio/stored.ts'
import type { FolderResult } from '../../control-sync/directory/watch.ts'
import { ClusterSchema } from '../../proto/gen/envoy/config/cluster/v3/cluster_pb.ts'
import { hashContent, overlay, makeResourceSet, type HubResource, type ResourceSet } from './resources.ts'

export type Files = {
  readonly count: number
  /** All of it as one node is sent it that has nothing else. */
  readonly set: ResourceSet
  /** One sentence each. */
  readonly problems: ReadonlySet<string>
}

/** Of a folder that is not read yet. */
export const NO_FILES: Files = { count: 0, set: makeResourceSet([]), problems: new Set() }

/** What did not change since is not hashed again. */
const made = new WeakMap<Uint8Array, HubResource>()

/** @param prefix what the names of the files begin with where they are told, e.g. `edge/` */
export async function readFiles(
  { resources, problems }: FolderResult,
  prefix: string,
  slice: TimeSlice,
): Promise<Files> {
  const all: HubResource[] = []
  for (const [kind, named] of resources) {
    for (const [name, value] of named) {
      if (slice.due) await slice.yield()
      const resource = made.get(value) ?? resourceOf(kind, name, value)
      made.set(value, resource)
      all.push(resource)
    }
  }
  if (slice.due) await slice.yield()
  return {
    count: all.length,
    set: makeResourceSet(all, removals(problems.length > 0)),
    problems: new Set(problems.map((problem) => prefix + problem)),
  }
}

/** The node's own resources win over the shared ones of the same name. */
export function mergeFiles(shared: Files, own: Files): ResourceSet {
  if (own.count === 0 && own.problems.size === 0) return shared.set
  return overlay(shared.set, own.set, removals(shared.problems.size + own.problems.size > 0))
}

function removals(isDoubtful: boolean): ResourceSet['removals'] {
  return isDoubtful ? 'later' : 'now'
}

function resourceOf(kind: FileKind, name: string, value: Uint8Array): HubResource {
  const endpoints = kind === 'cluster' ? endpointsOf(value, name) : undefined
  return {
    name,
    typeUrl: kind === 'istio' ? ISTIO_TYPE_URL : TYPE_URLS[kind],
    version: hashContent(value),
    value,
    ...(endpoints === undefined ? {} : { endpoints }),
  }
}

/** envoy.config.cluster.v3.Cluster.EdsClusterConfig: service_name, or else the cluster's own name. */
function endpointsOf(cluster: Uint8Array, name: string): string | undefined {
  const eds = fromBinary(ClusterSchema, cluster).edsClusterConfig
  return eds && (eds.serviceName || name)
}
