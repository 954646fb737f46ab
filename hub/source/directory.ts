/**
 * A folder of resource files as the hub's source. Files at its top are for every node, those in `<folder>/<node>/` for
 * that node. The shared files are read once, whoever comes; a node without a folder of its own costs nothing, and one
 * with a folder costs what is in it. A node's folder stays watched after the node has gone: the last good content of a
 * file that is broken now must be there when it returns.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { Clock, Timer } from '../../core/os/clock.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import { MeshError } from '../../core/errors.ts'
import { detach } from '../../core/defects/guard.ts'
import { TimeSlice } from '../../core/os/time-slice.ts'
import { isNodeName } from '../registry/node-names.ts'
import { readIstioFile } from '../istio/read/istio-file.ts'
import { FolderReader } from '../../control-sync/directory/reader.ts'
import { watchFolder, type FolderResult } from '../../control-sync/directory/watch.ts'
import { readFiles, mergeFiles, NO_FILES, type Files } from './files.ts'
import type { ResourceSet, Source, Watched } from './resources.ts'

/**
 * Nodes that are not connected and whose folders are watched all the same; those that were seen longest ago go first.
 */
const MAX_IDLE_NODES = 1_000
/** A folder that is made for a node that is connected already is found within this time. */
const NEW_FOLDERS_MS = 1_000

type Listener = (next: ResourceSet) => void
type Own = { files: Files; readonly stop: DisposableStack; ready: Promise<void> }
type Node = { own: Own | undefined; set: ResourceSet; readonly listeners: Set<Listener> }
export type DirectoryOptions = {
  readonly folder: string
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

export class DirectorySource implements Source, Disposable {
  readonly #p: DirectoryOptions
  readonly #shared: Own
  /** By name, least recently used first: those that are connected, and those with a folder. */
  readonly #nodes = new Map<string, Node>()
  readonly #reader: FolderReader
  readonly #told = new Set<string>()
  readonly #refused
  #look: Timer | undefined

  private constructor(p: DirectoryOptions) {
    this.#p = p
    this.#reader = new FolderReader(p.clock, readIstioFile)
    this.#refused = p.metrics.counter(
      'mesh_hub_resource_problems_total',
      'Mistakes that the hub found in resource files, each once until it is mended.',
    )
    this.#shared = this.#read(p.folder, '', () => this.#sharedChanged())
    p.metrics.gaugeOf(
      'mesh_hub_nodes_known',
      'Nodes that the hub keeps resources for: those connected and those with a folder.',
      () => this.#nodes.size,
    )
  }

  /**
   * Resolves once the shared files and those of all nodes that have a folder are read, so that mistakes show before
   * they connect. Rejects with MESH_CONFIG_INVALID when there is no folder.
   */
  static async open(p: DirectoryOptions): Promise<DirectorySource> {
    const source = new DirectorySource(p)
    try {
      await source.#shared.ready
      for (const name of source.#folders()) await source.#open(name).own?.ready
    } catch (err) {
      source[Symbol.dispose]()
      throw err
    }
    p.log.info(
      { evt: 'hub.resources', folder: p.folder, nodes: source.#nodes.size, resources: source.#shared.files.count },
      'resources read',
    )
    source.#lookForFolders()
    return source
  }

  /** Throws MESH_CONFIG_INVALID when the name cannot be a folder's. */
  watch(name: string, onChange: Listener): Watched {
    // A name comes from a device: it may not lead out of the folder.
    if (!isNodeName(name))
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `${JSON.stringify(name.slice(0, 64))} cannot be the name of a node's folder`,
      )
    const node = this.#nodes.get(name) ?? this.#open(name)
    this.#nodes.delete(name)
    this.#nodes.set(name, node)
    const listener: Listener = (next) => onChange(next) // the same function may watch twice
    node.listeners.add(listener)
    this.#dropIdle()
    return {
      current: () => node.set,
      get ready() {
        return node.own?.files === NO_FILES ? node.own.ready.catch(doNothing) : undefined
      },
      [Symbol.dispose]: () => {
        node.listeners.delete(listener)
        if (!node.own && node.listeners.size === 0) this.#nodes.delete(name)
      },
    }
  }

  [Symbol.dispose](): void {
    this.#look?.cancel()
    this.#shared.stop[Symbol.dispose]()
    for (const node of this.#nodes.values()) node.own?.stop[Symbol.dispose]()
    this.#reader[Symbol.dispose]()
  }

  #open(name: string): Node {
    const node: Node = { own: undefined, set: this.#shared.files.set, listeners: new Set() }
    this.#nodes.set(name, node)
    this.#adopt(name, node)
    return node
  }

  /** Takes up the node's folder once there is one. */
  #adopt(name: string, node: Node): void {
    const folder = path.join(this.#p.folder, name)
    if (!fs.statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return
    const own = (node.own = this.#read(folder, `${name}/`, () => this.#changed(name, node)))
    // It was gone again: the next look finds it when it comes back.
    detach(
      'hub',
      own.ready.catch(() => {
        if (node.own === own) node.own = undefined
      }),
    )
  }

  /** @param prefix of the files' names where they are told */
  #read(folder: string, prefix: string, changed: () => void): Own {
    const { clock } = this.#p
    let work: Promise<void> = Promise.resolve()
    const take = async (found: FolderResult): Promise<void> => {
      const before = own.files
      own.files = await readFiles(found, prefix, new TimeSlice(clock))
      this.#report(before, own.files)
      changed()
    }
    const start = async (): Promise<void> => {
      const watching = await watchFolder({
        folder,
        node: undefined,
        clock,
        reader: this.#reader,
        onChange: (found) => {
          work = work.then(() => take(found))
          detach('hub', work)
        },
      })
      if (own.stop.disposed) watching[Symbol.dispose]()
      else own.stop.use(watching)
      await work
    }
    const own: Own = { files: NO_FILES, stop: new DisposableStack(), ready: Promise.resolve() }
    own.ready = start()
    return own
  }

  #sharedChanged(): void {
    const { set } = this.#shared.files
    this.#p.log.info(
      { evt: 'hub.resources-changed', node: '', nodes: this.#nodes.size, version: set.version },
      'shared resources changed',
    )
    detach('hub', this.#tellAll())
  }

  async #tellAll(): Promise<void> {
    const slice = new TimeSlice(this.#p.clock)
    for (const [name, node] of this.#nodes) {
      if (slice.due) await slice.yield()
      this.#changed(name, node)
    }
  }

  #changed(name: string, node: Node): void {
    const before = node.set
    node.set = node.own ? mergeFiles(this.#shared.files, node.own.files) : this.#shared.files.set
    if (node.set === before) return
    if (node.own)
      this.#p.log.info(
        { evt: 'hub.resources-changed', node: name, streams: node.listeners.size, version: node.set.version },
        'resources changed',
      )
    for (const listener of node.listeners) listener(node.set)
  }

  #report(before: Files, { problems }: Files): void {
    for (const problem of before.problems) if (!problems.has(problem)) this.#told.delete(problem)
    for (const problem of problems) {
      if (this.#told.has(problem)) continue
      this.#told.add(problem)
      this.#refused.cell({}).value++
      this.#p.log.warn(
        { evt: 'hub.resource-refused', problem },
        'mistake in a resource file; its last good content serves on',
      )
    }
  }

  #folders(): string[] {
    try {
      return fs
        .readdirSync(this.#p.folder, { withFileTypes: true })
        .filter((e) => e.isDirectory() && isNodeName(e.name))
        .map((e) => e.name)
    } catch {
      return []
    }
  }

  #lookForFolders(): void {
    this.#look = this.#p.clock.after(NEW_FOLDERS_MS, () => {
      for (const name of this.#folders()) {
        const node = this.#nodes.get(name)
        // Of those that nobody is connected for, only the hub's start reads all: many thousands may have been put
        // there.
        if (node && !node.own) this.#adopt(name, node)
      }
      this.#lookForFolders()
    })
  }

  #dropIdle(): void {
    const idle = [...this.#nodes].filter(([, node]) => node.listeners.size === 0)
    for (const [name, node] of idle.slice(0, Math.max(0, idle.length - MAX_IDLE_NODES))) {
      node.own?.stop[Symbol.dispose]()
      this.#nodes.delete(name)
    }
  }
}

function doNothing(): void {
  /* it has none of its own */
}
