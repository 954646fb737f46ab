/**
 * Istio YAML beside resources of Envoy: what a node is sent is compiled when it asks, once for all nodes that are sent
 * the same, and lies under what stands in the folder as it is.
 */
import { fromBinary } from '@bufbuild/protobuf'
import { reportDefect } from '../../core/defects/guard.ts'
import { TYPE_URLS } from '../../model/snapshot.ts'
import { ClusterSchema } from '../../proto/gen/envoy/config/cluster/v3/cluster_pb.ts'
import { FolderCompiler, type Compile, type CompiledResource } from '../istio/compile-folder.ts'
import { readIstioNode, type IstioNode } from '../istio/node.ts'
import { ISTIO_TYPE_URL, unpackConfig } from '../istio/stored.ts'
import {
  hashContent,
  makeResourceSet,
  overlay,
  type ByName,
  type HubResource,
  type NodeFacts,
  type ResourceSet,
  type Source,
  type Watched,
} from './resources.ts'

export class IstioSource implements Source {
  readonly #source: Source
  readonly #compiler: FolderCompiler
  readonly #compiles = new WeakMap<ByName, Compile>()
  /** Nodes that are sent the same share one set. */
  readonly #sets = new WeakMap<ResourceSet, WeakMap<readonly CompiledResource[], ResourceSet>>()

  /** @param source of files @param trustDomain of the hub's certificates */
  constructor(source: Source, { trustDomain }: { readonly trustDomain: string }) {
    this.#source = source
    this.#compiler = new FolderCompiler({ trustDomain })
  }

  watch(node: string, onChange: (next: ResourceSet) => void, facts?: NodeFacts): Watched {
    let last: ResourceSet | undefined
    const asking = facts && readIstioNode(facts, facts.namespace)
    const take = (set: ResourceSet): ResourceSet => (last = this.#compiled(set, asking, last))
    const watched = this.#source.watch(
      node,
      (next) => {
        const before = last
        const set = take(next)
        if (set !== before) onChange(set)
      },
      facts,
    )
    return {
      current: () => take(watched.current()),
      get ready() {
        return watched.ready
      },
      [Symbol.dispose]: () => watched[Symbol.dispose](),
    }
  }

  #compiled(set: ResourceSet, node: IstioNode | undefined, last: ResourceSet | undefined): ResourceSet {
    const configs = set.types.get(ISTIO_TYPE_URL)
    if (!configs) return set
    const rest = withoutConfigs(set)
    if (!node) return rest
    try {
      const compile = this.#compiles.get(configs) ?? this.#prepare(configs)
      const made = compile(node)
      const known = this.#sets.get(set) ?? new WeakMap<readonly CompiledResource[], ResourceSet>()
      this.#sets.set(set, known)
      const merged = known.get(made) ?? {
        ...overlay(makeResourceSet(made.map(toHubResource)), rest, set.removals),
        revision: set.revision,
      }
      known.set(made, merged)
      return merged
    } catch (err) {
      // What users write is checked when it is read: this is the compiler's mistake. Nobody loses what he has.
      reportDefect('hub', err)
      return last ?? { ...rest, removals: 'later' }
    }
  }

  #prepare(configs: ByName): Compile {
    const compile = this.#compiler.prepare([...configs.values()].map(({ value }) => unpackConfig(value)))
    this.#compiles.set(configs, compile)
    return compile
  }
}

const stripped = new WeakMap<ResourceSet, ResourceSet>()

function withoutConfigs(set: ResourceSet): ResourceSet {
  const known = stripped.get(set)
  if (known) return known
  const types = new Map([...set.types].filter(([typeUrl]) => typeUrl !== ISTIO_TYPE_URL))
  const made = { ...set, types }
  stripped.set(set, made)
  return made
}

/** What did not change since is the same for all. */
const made = new WeakMap<CompiledResource, HubResource>()

function toHubResource(resource: CompiledResource): HubResource {
  const known = made.get(resource)
  if (known) return known
  const { kind, name, value } = resource
  const eds = kind === 'cluster' ? fromBinary(ClusterSchema, value).edsClusterConfig : undefined
  const converted: HubResource = {
    name,
    typeUrl: TYPE_URLS[kind],
    version: hashContent(value),
    value,
    ...(eds ? { endpoints: eds.serviceName || name } : {}),
  }
  made.set(resource, converted)
  return converted
}
