/** What one folder holds, ready to be sent, and two folders laid over one another. Pure. */
import { fromBinary } from '@bufbuild/protobuf'
import { TYPE_URLS } from '../../agent/model/snapshot.ts'
import type { FolderResult } from '../../control-sync/directory/watch.ts'
import { ClusterSchema } from '../../control-sync/proto/gen/envoy/config/cluster/v3/cluster_pb.ts'
import { contentHash, resourceSet, type HubResource, type ResourceSet } from './resources.ts'

export type Files = {
  /** By type and name. */
  readonly resources: ReadonlyMap<string, HubResource>
  /** All of it as one node is sent it that has nothing else. */
  readonly set: ResourceSet
  /** One sentence each. */
  readonly problems: ReadonlySet<string>
}

/** Of a folder that is not read yet. */
export const NO_FILES: Files = { resources: new Map(), set: resourceSet([]), problems: new Set() }

/** @param prefix what the names of the files begin with where they are told, e.g. `edge/` */
export function filesOf({ resources, problems }: FolderResult, prefix: string): Files {
  const all = new Map<string, HubResource>()
  for (const [kind, named] of resources) {
    for (const [name, value] of named) {
      const endpoints = kind === 'cluster' ? endpointsOf(value, name) : undefined
      all.set(`${kind} ${name}`, { name, typeUrl: TYPE_URLS[kind], version: contentHash(value), value, ...(endpoints === undefined ? {} : { endpoints }) })
    }
  }
  return { resources: all, set: setOf(all.values(), problems.length > 0), problems: new Set(problems.map((problem) => prefix + problem)) }
}

/** The node's own resources win over the shared ones of the same name. */
export function merged(shared: Files, own: Files): ResourceSet {
  if (own.resources.size === 0 && own.problems.size === 0) return shared.set
  return setOf(new Map([...shared.resources, ...own.resources]).values(), shared.problems.size + own.problems.size > 0)
}

function setOf(resources: Iterable<HubResource>, isDoubtful: boolean): ResourceSet { return resourceSet(resources, isDoubtful ? 'later' : 'now') }

/** envoy.config.cluster.v3.Cluster.EdsClusterConfig: service_name, or else the cluster's own name. */
function endpointsOf(cluster: Uint8Array, name: string): string | undefined {
  const eds = fromBinary(ClusterSchema, cluster).edsClusterConfig
  return eds && (eds.serviceName || name)
}
