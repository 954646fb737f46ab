/**
 * A folder of Istio YAML as something that nodes are compiled from, lazily: what is said in the files is checked at
 * once, what a node is sent is made when it asks. Nodes that are told the same share one compile.
 */
import { createHash } from 'node:crypto'
import { formatProblem, groupByKind, type Config, type Problem } from './config.ts'
import { compileNode, type NodeResources } from './compile-node.ts'
import { encode, type CompiledKind, type CompiledResource } from './encode/encode.ts'
import { makeMesh, DEFAULT_MESH, type Mesh, type MeshOptions } from './mesh/mesh.ts'
import { placeNode, type Proxy } from './mesh/proxy.ts'
import { ANY_ADDRESS } from './mesh/services.ts'
import type { IstioNode } from './node.ts'
import { readConfigs, type ReadConfigs, type SourceFile } from './read/read-configs.ts'
import { findClashes } from './read/check-configs.ts'
import { computeFingerprint, listRelevantLabels } from './dependencies.ts'

export { formatProblem }
export type { IstioNode, MeshOptions, Problem, SourceFile, CompiledResource }

/** What a node is sent: the same array for nodes that are sent the same. */
export type Compile = (node: IstioNode) => readonly CompiledResource[]
export type CompiledFolder =
  | { readonly ok: true; readonly count: number; readonly compile: Compile }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** Kinds of nodes whose resources are kept. More are compiled again when they ask. */
const MAX_COMPILED = 2_000

/** What outlives a revision: files that did not change are not read again, and resources keep their bytes. */
export class FolderCompiler {
  readonly #options: MeshOptions
  #files = new Map<string, { readonly text: string; readonly read: ReadConfigs }>()
  /** Fingerprint of what is said for a namespace, and what tells nodes apart → resources, least recently used first. */
  readonly #compiled = new Map<string, readonly CompiledResource[]>()
  #reads = 0
  #compiles = 0

  constructor(options: Partial<MeshOptions> = {}) {
    this.#options = { ...DEFAULT_MESH, ...options }
  }

  /** Files that were read, since they were new or changed. */
  get reads(): number {
    return this.#reads
  }
  /** Nodes that were compiled, since nothing that was there is theirs. */
  get compiles(): number {
    return this.#compiles
  }

  /** One revision. All of its problems, or none. */
  take(files: readonly SourceFile[]): CompiledFolder {
    const known = new Map(files.map((file) => [file.name, this.#read(file)]))
    this.#files = known
    const reads = [...known.values()].map(({ read }) => read)
    const configs = reads.flatMap((r) => r.configs)
    const problems = [...reads.flatMap((r) => r.problems), ...findClashes(configs)]
    if (problems.length > 0) return { ok: false, problems: problems.sort(comparePlaces) }
    return { ok: true, count: configs.length, compile: this.prepare(configs) }
  }

  /** @param configs that stand beside each other, checked */
  prepare(configs: readonly Config[]): Compile {
    const mesh = makeMesh(groupByKind(configs), this.#options)
    const labels = listRelevantLabels(configs)
    return (node) => this.#compile(mesh, labels, node)
  }

  #read(file: SourceFile): { readonly text: string; readonly read: ReadConfigs } {
    const before = this.#files.get(file.name)
    if (before?.text === file.text) return before
    this.#reads++
    return { text: file.text, read: readConfigs(file) }
  }

  #compile(mesh: Mesh, labels: ReadonlySet<string>, node: IstioNode): readonly CompiledResource[] {
    const proxy = placeNode(mesh, node)
    const key = `${computeFingerprint(mesh, node.namespace)} ${describeView(proxy, labels)}`
    const made = this.#compiled.get(key) ?? this.#make(proxy)
    this.#compiled.delete(key)
    this.#compiled.set(key, made)
    for (const oldest of this.#compiled.keys())
      if (this.#compiled.size > MAX_COMPILED) this.#compiled.delete(oldest)
      else break
    return made
  }

  #make(proxy: Proxy): readonly CompiledResource[] {
    this.#compiles++
    return listResources(compileNode(proxy))
  }
}

/** A folder by itself, as for a check of what somebody wrote. */
export function compileFolder(files: readonly SourceFile[], options: Partial<MeshOptions> = {}): CompiledFolder {
  return new FolderCompiler(options).take(files)
}

function listResources(all: NodeResources): CompiledResource[] {
  return (Object.keys(all) as CompiledKind[]).flatMap((kind) => all[kind].map((json) => encode(kind, json)))
}

/** What tells nodes apart: two of one view are sent the same. */
function describeView({ node, labels, locality, targets, scope }: Proxy, relevant: ReadonlySet<string>): string {
  const { ips, labels: _, staticLabels: __, ...rest } = node
  const ingress = scope.sidecar?.ingress ?? []
  const usesAddress =
    ingress.some((i) => !i.bind || /^(?:0\.0\.0\.0|\[::\])/.test(i.defaultEndpoint ?? '')) ||
    scope.services.some((s) => s.resolution === 'NONE' && s.address === ANY_ADDRESS)
  const view = {
    ...rest,
    locality,
    ips: usesAddress ? ips : ips.map((ip) => (ip.includes(':') ? 6 : 4)),
    labels: Object.entries(labels)
      .filter(([label]) => relevant.has(label))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
    targets: targets.map((t) => [t.service.hostname, t.port.number, t.targetPort]),
  }
  return createHash('sha256').update(JSON.stringify(view)).digest('base64')
}

function comparePlaces(a: Problem, b: Problem): number {
  return a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column
}
export type { Config }
