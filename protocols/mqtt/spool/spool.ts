/** The spool: everything durable of the MQTT part in one SQLite file. What was acknowledged is here or was delivered; see durability.ts for the promises. */
import type { Clock, Timer } from '../../../agent/core/clock.ts'
import { MeshError } from '../../../agent/core/errors.ts'
import type { Log } from '../../../agent/core/log.ts'
import type { Cell, Metrics } from '../../../agent/core/metrics.ts'
import type { DurabilityProfile, OpenStorage, Storage } from '../../../agent/core/storage.ts'
import type { MqttPolicy } from '../../../agent/model/mqtt-policy.ts'
import type { Durability, DurableQueue, StoredMessage, StoredSession } from '../durability.ts'
import { SpoolQueue, type QueueHost } from './queue.ts'
import { restoreSpool } from './restore.ts'
import { MIGRATIONS, SQL } from './schema.ts'
import { encodeSegment, entryBytes } from './segment.ts'
import { sessionText } from './session-text.ts'
import { SpoolWriter } from './writer.ts'

export type SpoolStats = { readonly messages: number; readonly bytes: number; readonly maxBytes: number; readonly profile: DurabilityProfile }
export type Spool = Durability & AsyncDisposable & { readonly stats: SpoolStats; readonly setAside: string | undefined }
export type SpoolOptions = {
  readonly openStorage: OpenStorage
  readonly path: string
  readonly policy: MqttPolicy
  readonly clock: Clock
  readonly metrics: Metrics
  readonly log: Log
  /** Free bytes of the disk that the file is on. */
  readonly freeBytes: () => number
}

/** Acknowledgements of receivers are written at the latest so long after they came; a crash before repeats those messages (with DUP). */
const MAX_DONE_DELAY_MS = 250
const DISK_LOOK_MS = 1_000
const NO_IDS: ReadonlySet<number> = new Set()

/** Rejects with MESH_STORAGE_NEWER, MESH_STORAGE_FULL or MESH_STORAGE_FAILED. */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { spool } = options.policy
  const { storage, setAside } = await options.openStorage({ path: options.path, profile: spool.profile, migrations: MIGRATIONS })
  if (setAside !== undefined) options.log.error({ evt: 'spool.damaged', code: 'MESH_STORAGE_DAMAGED', file: setAside }, 'the spool was damaged and was set aside')
  const made = new SqliteSpool(options, storage, setAside)
  await made.restore()
  return made
}

class SqliteSpool implements Spool, QueueHost {
  readonly setAside: string | undefined
  readonly storage: Storage
  readonly sessions = new Map<string, StoredSession>()
  readonly retained = new Map<string, StoredMessage>()
  readonly #o: SpoolOptions
  readonly #writer: SpoolWriter
  readonly #queues = new Map<string, SpoolQueue>()
  readonly #inbound = new Map<string, Set<number>>()
  readonly #refused: Cell
  readonly #dropped: Cell
  readonly #damaged: Cell
  #messages = 0
  #bytes = 0
  #queueIds = 0
  #flush: Timer | undefined
  #diskLow = false
  #diskLookedMs = -Infinity

  constructor(options: SpoolOptions, storage: Storage, setAside: string | undefined) {
    this.#o = options
    this.storage = storage
    this.setAside = setAside
    this.#writer = new SpoolWriter(storage)
    const { metrics } = options
    this.#refused = metrics.counter('mesh_mqtt_spool_refused_total', 'Messages that were not accepted because the spool was full.').cell({})
    this.#dropped = metrics.counter('mesh_mqtt_spool_dropped_total', 'Oldest messages given up to make room (mqtt.spool.whenFull: drop-oldest).').cell({})
    this.#damaged = metrics.counter('mesh_mqtt_spool_damaged_segments_total', 'Segments that could not be read back.').cell({})
    metrics.gaugeOf('mesh_mqtt_spool_messages', 'Messages in the spool, once per queue.', () => this.#messages)
    metrics.gaugeOf('mesh_mqtt_spool_bytes', 'Bytes of the messages in the spool.', () => this.#bytes)
    metrics.gaugeOf('mesh_mqtt_spool_commits', 'Transactions since start, each with its fsync in the strict profile.', () => storage.stats.commits)
  }

  get stats(): SpoolStats {
    const { maxBytes, profile } = this.#o.policy.spool
    return { messages: this.#messages, bytes: this.#bytes, maxBytes, profile }
  }

  async restore(): Promise<void> {
    const found = await restoreSpool(this.storage, this)
    for (const queue of found.queues) { this.#queues.set(queue.name, queue); this.#queueIds = Math.max(this.#queueIds, queue.id); this.counted(queue.depth, queue.bytes) }
    for (const [clientId, ids] of found.inbound) this.#inbound.set(clientId, ids)
    for (const session of found.sessions) this.sessions.set(session.clientId, session)
    for (const message of found.retained) this.retained.set(message.topic, message)
  }

  queue(name: string): DurableQueue | undefined { return this.#queues.get(name) }
  async createQueue(name: string): Promise<DurableQueue> {
    const known = this.#queues.get(name)
    if (known) return known
    const queue = new SpoolQueue(this, { id: ++this.#queueIds, name, firstSeq: 1, lastSeq: 0, doneAbove: [] })
    this.#queues.set(name, queue)
    try { await this.#writer.write({ sql: SQL.addQueue, params: [queue.id, name, new Uint8Array(0)] }) } catch (err) { this.#queues.delete(name); throw err }
    return queue
  }
  async deleteQueue(name: string): Promise<void> {
    const queue = this.#queues.get(name)
    if (!queue) return
    this.#queues.delete(name)
    queue.drop()
    this.#writer.forget(queue)
    await this.#writer.write({ sql: SQL.dropQueue, params: [queue.id] }, { sql: SQL.dropSegments, params: [queue.id] }, { sql: SQL.dropReleased, params: [queue.id] })
  }

  append(message: StoredMessage, to: readonly DurableQueue[], inbound?: { readonly clientId: string; readonly packetId: number }): Promise<void> {
    const queues = to as readonly SpoolQueue[]
    const bytes = entryBytes(message)
    const refusal = this.#room(bytes, queues)
    if (refusal) { this.#refused.value++; return Promise.reject(refusal) }
    if (!inbound) return this.#writer.append({ message, to: queues, bytes }, [])
    return this.#writer.append({ message, to: queues, bytes }, [{ sql: SQL.addInbound, params: [inbound.clientId, inbound.packetId] }]).then(() => {
      const ids = this.#inbound.get(inbound.clientId)
      if (ids) ids.add(inbound.packetId)
      else this.#inbound.set(inbound.clientId, new Set([inbound.packetId]))
    })
  }

  inbound(clientId: string): ReadonlySet<number> { return this.#inbound.get(clientId) ?? NO_IDS }
  async releaseInbound(clientId: string, packetId: number): Promise<void> {
    if (!this.#inbound.get(clientId)?.has(packetId)) return
    await this.#writer.write({ sql: SQL.dropInbound, params: [clientId, packetId] })
    this.#inbound.get(clientId)?.delete(packetId)
  }

  async saveSession(session: StoredSession): Promise<void> {
    this.sessions.set(session.clientId, session)
    await this.#writer.write({ sql: SQL.putSession, params: [session.clientId, sessionText(session)] })
  }
  async deleteSession(clientId: string): Promise<void> {
    this.sessions.delete(clientId)
    this.#inbound.delete(clientId)
    await this.#writer.write({ sql: SQL.dropSession, params: [clientId] }, { sql: SQL.dropInboundOf, params: [clientId] })
  }
  async saveRetained(topic: string, message: StoredMessage | undefined): Promise<void> {
    if (message) this.retained.set(topic, message)
    else if (!this.retained.delete(topic)) return
    await this.#writer.write(message ? { sql: SQL.putRetained, params: [topic, encodeSegment([message], entryBytes(message))] } : { sql: SQL.dropRetained, params: [topic] })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#flush?.cancel()
    await this.#writer.flush().catch(() => undefined)
    await this.storage[Symbol.asyncDispose]()
  }

  // What queues ask for.

  changed(queue: SpoolQueue): void {
    this.#writer.changed(queue)
    this.#flush ??= this.#o.clock.after(MAX_DONE_DELAY_MS, () => {
      this.#flush = undefined
      this.#writer.flush().catch((err: unknown) => this.#o.log.warn({ evt: 'spool.flush', err }, 'acknowledgements could not be written yet'))
    })
  }
  async release(queue: SpoolQueue, seq: number): Promise<void> {
    if (queue.released.has(seq)) return
    await this.#writer.write({ sql: SQL.addReleased, params: [queue.id, seq] })
    queue.released.add(seq)
    queue.hadReleased = true
  }
  damaged(queue: SpoolQueue, firstSeq: number): void {
    this.#damaged.value++
    this.#o.log.error({ evt: 'spool.segment', code: 'MESH_STORAGE_DAMAGED', queue: queue.name, firstSeq }, 'a segment of the spool cannot be read back')
  }
  counted(messages: number, bytes: number): void {
    this.#messages += messages
    this.#bytes += bytes
  }

  /** Undefined when there is room, if need be after giving up the oldest. */
  #room(bytes: number, queues: readonly SpoolQueue[]): MeshError | undefined {
    const { maxBytes, maxMessages, minDiskFreeBytes, whenFull } = this.#o.policy.spool
    if (this.#diskIsLow(minDiskFreeBytes)) return new MeshError('MESH_STORAGE_FULL', `the disk has less than ${minDiskFreeBytes} bytes free (mqtt.spool.minDiskFreeBytes)`)
    const fits = (): boolean => this.#bytes + this.#writer.pendingBytes + bytes * queues.length <= maxBytes && this.#messages + this.#writer.pendingMessages + queues.length <= maxMessages
    if (fits()) return undefined
    if (whenFull === 'drop-oldest') {
      for (const queue of queues) while (!fits() && queue.depth > 0) { queue.done(queue.firstSeq); this.#dropped.value++ }
      if (fits()) return undefined
    }
    return new MeshError('MESH_MQTT_QUOTA', `the spool holds ${this.#messages} messages with ${this.#bytes} bytes (mqtt.spool.maxMessages ${maxMessages}, maxBytes ${maxBytes})`)
  }
  #diskIsLow(minDiskFreeBytes: number): boolean {
    const now = this.#o.clock.monotonicMs()
    if (now - this.#diskLookedMs >= DISK_LOOK_MS) {
      this.#diskLookedMs = now
      this.#diskLow = this.#o.freeBytes() < minDiskFreeBytes
    }
    return this.#diskLow
  }
}
