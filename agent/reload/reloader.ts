/**
 * agent.yaml read again while the agent runs (SIGHUP, `meshlet reload`). Parts say which settings they take live and
 * how; what nobody takes needs a restart and is named. All of them look at the new file before one acts, so a file that
 * is wrong changes nothing.
 */
import type { Prepared } from '../../core/current.ts'
import { doNothing } from '../../core/defects/guard.ts'
import { toMeshError, type MeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { AgentConfig } from '../config/schema.ts'

export type LiveSettings = {
  /** Paths as they stand in agent.yaml, each with all beneath it; `*` is any name or number. */
  readonly settings: readonly string[]
  /** Of what is beneath them, what is not taken live. */
  readonly exceptions?: readonly string[]
  /**
   * Looks at the new file and at what it names; rejects with what is wrong with it. Not called again before what it
   * returned was committed or disposed of.
   */
  prepare(next: AgentConfig): Promise<PreparedSettings>
}
/**
 * `renewed`: settings that are as they were, and name files that have changed. `left`: those that are not taken live
 * this time.
 */
export type PreparedSettings = Prepared & { readonly renewed?: readonly string[]; readonly left?: readonly string[] }
export type Reloaded = {
  /** Settings that changed and are in force. */
  readonly applied: readonly string[]
  /** Settings that changed and count from the next start on. */
  readonly needsRestart: readonly string[]
  /** Why, by setting. */
  readonly reasons: Readonly<Record<string, string>>
}

/** Settings that are read at the start alone, and why; the first that fits counts. */
const REASONS: readonly (readonly [setting: string, reason: string])[] = [
  ['mqtt.spool.profile', 'the spool is opened with it'],
  ['mqtt.sysIntervalSec', 'its timer runs from the start'],
  ['state', 'the files in it are open'],
  ['node', 'the certificate and the stored configuration are those of this node'],
  ['identity', 'the key and its certificate are opened at the start'],
  ['control.address', 'who certifies this node, and how the control plane is spoken to, is decided at the start'],
  ['control', 'the way to the control plane is made at the start'],
  ['directory', 'the folder is watched from the start'],
  ['admin', 'its port is open, and answers this very request'],
  ['dns', 'its port is open, and the control plane was asked for names or not'],
  ['capture', 'the control plane was told, and its sockets are passed at the start'],
  ['limits', 'buffers and counters are made with them'],
  ['bootSpreadMs', 'it is about the boot of the machine'],
  ['', 'it is read at the start alone'],
]

type ReloaderParts = {
  readonly config: AgentConfig
  /** Undefined: there is nothing to be read again. */
  readonly readConfig?: (() => AgentConfig) | undefined
  readonly log: Log
  readonly metrics: Metrics
}
/** With what belongs to no part. */
export function createReloader(p: ReloaderParts): Reloader {
  const reloader = new Reloader(p)
  reloader.takeLive({
    settings: ['log.level'],
    prepare: async (next) => ({
      commit() {
        p.log.level = next.log.level
      },
      [Symbol.dispose]: doNothing,
    }),
  })
  return reloader
}

export class Reloader {
  readonly #read: (() => AgentConfig) | undefined
  readonly #log: Log
  readonly #outcomes: Readonly<Record<'applied' | 'refused', { value: number }>>
  readonly #parts: LiveSettings[] = []
  /** As the file was when it was last taken; what was started with, of what needs a restart. */
  #inForce: AgentConfig
  #error: MeshError | undefined
  #needsRestart: readonly string[] = []
  /** One after another. */
  #work: Promise<unknown> = Promise.resolve()

  constructor(p: ReloaderParts) {
    this.#inForce = structuredClone(p.config)
    this.#read = p.readConfig
    this.#log = p.log
    const outcomes = p.metrics.counter('mesh_config_reloads_total', 'Times agent.yaml was read again.', ['outcome'])
    this.#outcomes = outcomes.cells(['applied', 'refused'])
  }

  takeLive(part: LiveSettings): void {
    this.#parts.push(part)
  }
  /** Why the last file was not taken; undefined: it was. */
  get error(): MeshError | undefined {
    return this.#error
  }
  get needsRestart(): readonly string[] {
    return this.#needsRestart
  }

  /** Rejects with MESH_CONFIG_INVALID and what parts say: the old file stays in force. */
  reload(): Promise<Reloaded> {
    const reloaded = this.#work.then(() => this.#reload())
    this.#work = reloaded.catch(doNothing)
    return reloaded
  }

  async #reload(): Promise<Reloaded> {
    let next: AgentConfig
    const changes: PreparedSettings[] = []
    try {
      next = this.#read?.() ?? this.#inForce
      using prepared = new DisposableStack()
      for (const part of this.#parts) changes.push(prepared.use(await part.prepare(next)))
      for (const change of changes) change.commit()
    } catch (thrown) {
      throw this.#refuse(toMeshError(thrown))
    }
    const changed = findChanged(this.#inForce, next)
    const left = changes.flatMap((one) => one.left ?? [])
    const isTaken = (path: string): boolean => this.#isLive(path) && !left.some((one) => isBeneath(path, one))
    const needsRestart = changed.filter((path) => !isTaken(path))
    const reasons = Object.fromEntries(needsRestart.map((path) => [path, findReason(path)]))
    const renewed = changes
      .flatMap((one) => one.renewed ?? [])
      .filter((one) => !changed.some((path) => isBeneath(path, one)))
    const result = { applied: [...changed.filter(isTaken), ...renewed], needsRestart, reasons }
    this.#error = undefined
    this.#needsRestart = needsRestart
    this.#inForce = withLive(this.#inForce, structuredClone(next), (path) => isTaken(path) && this.#isWhollyLive(path))
    this.#outcomes.applied.value++
    this.#log.info({ evt: 'config.reloaded', ...result }, 'agent.yaml was read again')
    return result
  }

  #isLive(path: string): boolean {
    return this.#parts.some(
      ({ settings, exceptions = [] }) =>
        settings.some((one) => isBeneath(path, one)) && !exceptions.some((one) => isBeneath(path, one)),
    )
  }
  #isWhollyLive(path: string): boolean {
    return this.#isLive(path) && !this.#parts.some((part) => part.exceptions?.some((one) => isBeneath(one, path)))
  }
  #refuse(err: MeshError): MeshError {
    this.#error = err
    this.#outcomes.refused.value++
    this.#log.error(
      { evt: 'config.reload-refused', code: err.code, err },
      'agent.yaml cannot be taken; what was in force stays',
    )
    return err
  }
}

function findReason(path: string): string {
  return REASONS.find(([setting]) => setting === '' || isBeneath(path, setting))![1]
}

function isBeneath(path: string, setting: string): boolean {
  const [names, wanted] = [path.split('.'), setting.split('.')]
  return wanted.every((name, i) => names[i] === name || (name === '*' && names[i] !== undefined))
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** @returns paths of the smallest settings that differ; lists of what has no name are compared as a whole */
export function findChanged(before: unknown, after: unknown, path = ''): string[] {
  if (!isObject(before) || !isObject(after) || isListOfUnnamed(before) || isListOfUnnamed(after))
    return JSON.stringify(before) === JSON.stringify(after) ? [] : [path]
  const [a, b] = [byName(before), byName(after)]
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((name) =>
    findChanged(a[name], b[name], path === '' ? name : `${path}.${name}`),
  )
}
const isListOfUnnamed = (value: object): boolean =>
  Array.isArray(value) && !value.every((one) => isObject(one) && typeof one['name'] === 'string')
function byName(value: Record<string, unknown>): Record<string, unknown> {
  if (!Array.isArray(value)) return value
  return Object.fromEntries(value.map((one: Record<string, unknown>) => [String(one['name']), one]))
}

/** What was taken of the new file; of the rest what was there before, so that it is named again. */
function withLive<T>(before: T, after: T, isLive: (path: string) => boolean, path = ''): T {
  if (path !== '' && isLive(path)) return after
  if (!isObject(before) || !isObject(after) || Array.isArray(before) || Array.isArray(after)) return before
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  // Of the same keys, each with a value of its own kind.
  return Object.fromEntries(
    names.map((name) => [
      name,
      withLive<unknown>(before[name], after[name], isLive, path === '' ? name : `${path}.${name}`),
    ]),
  ) as T
}
