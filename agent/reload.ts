/**
 * agent.yaml read again while the agent runs (SIGHUP, `meshlet reload`). Parts say which settings they take live and
 * how; what nobody takes needs a restart and is named. All of them look at the new file before one acts, so a file that
 * is wrong changes nothing.
 */
import { toMeshError, type MeshError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from '../core/metrics.ts'
import type { AgentConfig } from './config/schema.ts'

export type LiveSettings = {
  /** Paths as they stand in agent.yaml, each with all beneath it; `*` is any name or number. */
  readonly settings: readonly string[]
  /**
   * Looks at the new file; throws what is wrong with it.
   * @returns what puts it in force, which does not fail
   */
  prepare(next: AgentConfig): () => void
}
export type Reloaded = {
  /** Settings that changed and are in force. */
  readonly applied: readonly string[]
  /** Settings that changed and count from the next start on. */
  readonly needsRestart: readonly string[]
}

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
    prepare: (next) => () => {
      p.log.level = next.log.level
    },
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

  /** @throws MESH_CONFIG_INVALID and what parts say: the old file stays in force */
  reload(): Reloaded {
    let next: AgentConfig
    try {
      next = this.#read?.() ?? this.#inForce
      const commits = this.#parts.map((part) => part.prepare(next))
      for (const commit of commits) commit()
    } catch (thrown) {
      const err = toMeshError(thrown)
      this.#error = err
      this.#outcomes.refused.value++
      this.#log.error(
        { evt: 'config.reload-refused', code: err.code, err },
        'agent.yaml cannot be taken; what was in force stays',
      )
      throw err
    }
    const isLive = (path: string): boolean =>
      this.#parts.some(({ settings }) => settings.some((one) => isBeneath(path, one)))
    const changed = findChanged(this.#inForce, next)
    const result = { applied: changed.filter(isLive), needsRestart: changed.filter((path) => !isLive(path)) }
    this.#error = undefined
    this.#needsRestart = result.needsRestart
    this.#inForce = withLive(this.#inForce, structuredClone(next), isLive)
    this.#outcomes.applied.value++
    this.#log.info({ evt: 'config.reloaded', ...result }, 'agent.yaml was read again')
    return result
  }
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
