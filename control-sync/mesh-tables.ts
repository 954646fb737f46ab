/**
 * Tables over a snapshot: what is asked for is decoded then and kept with its raw resource. An edge node uses few of a mesh's services,
 * and the others should cost their bytes only. A raw resource that two snapshots share has one decoded value, so `===` tells what changed.
 */
import type { Cluster, ClusterLoad } from '../agent/model/cluster.ts'
import type { Listener } from '../agent/model/listener.ts'
import type { RawResource, Snapshot } from '../agent/model/snapshot.ts'
import { RouteTable, type Tables } from '../agent/model/tables.ts'
import { decode } from './decode/decode.ts'

const values = new WeakMap<RawResource, object>()

/** Undefined for what does not decode: it was refused when it came, or was stored by another version of meshlet. */
function valueOf<T extends object>(raw: RawResource | undefined, make: (bytes: Uint8Array) => T | undefined): T | undefined {
  if (!raw) return undefined
  const known = values.get(raw)
  if (known) return known as T
  const made = make(raw.value)
  if (made) values.set(raw, made)
  return made
}

const clusterOf = (bytes: Uint8Array): Cluster | undefined => orUndefined(decode('cluster', bytes))
const loadOf = (bytes: Uint8Array): ClusterLoad | undefined => orUndefined(decode('endpoint', bytes))
const listenerOf = (bytes: Uint8Array): Listener | undefined => orUndefined(decode('listener', bytes))
const routesOf = (bytes: Uint8Array): RouteTable | undefined => {
  const config = orUndefined(decode('route', bytes))
  return config && new RouteTable(config)
}
const namesOf = (bytes: Uint8Array): Tables['names'] => orUndefined(decode('nameTable', bytes))

function orUndefined<T>(decoded: { ok: true; value: T } | { ok: false }): T | undefined {
  return decoded.ok ? decoded.value : undefined
}

export function meshTables(snapshot: Snapshot, generation: number, stale: boolean): Tables {
  const { resources } = snapshot
  const listeners = new Map<string, Listener>()
  for (const [name, raw] of resources.listener) {
    const listener = valueOf(raw, listenerOf)
    if (listener) listeners.set(name, listener)
  }
  return {
    generation, stale, listeners,
    cluster: (name) => valueOf(resources.cluster.get(name), clusterOf),
    load: (serviceName) => valueOf(resources.endpoint.get(serviceName), loadOf),
    routes: (name) => valueOf(resources.route.get(name), routesOf),
    clusterNames: () => resources.cluster.keys(),
    get names() {
      const [raw] = resources.nameTable.values()
      return valueOf(raw, namesOf as (bytes: Uint8Array) => NonNullable<Tables['names']> | undefined)
    },
  }
}
