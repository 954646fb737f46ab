/**
 * The spool holds everything durable of the MQTT part in one SQLite file. An acknowledged message is in it or was
 * delivered. durability.ts states the promises.
 */
import type { Clock } from '../../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { doNothing } from '../../../core/defects/guard.ts'
import type { Log } from '../../../core/log.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { Loss, Opened, OpenStorage, Storage } from '../../../core/storage/storage.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import type {
  Durability,
  DurableQueue,
  Inbound,
  Kept,
  SessionHead,
  StoredMessage,
  StoredSession,
  StoredSubscription,
} from '../durability.ts'
import { DailyRate } from '../../../core/storage/daily-rate.ts'
import { Losses } from './restore/losses.ts'
import { type Blobs, SpoolQueue, type QueueHost } from './queue.ts'
import { type Restored, restoreSpool } from './restore/restore.ts'
import { salvageSpool } from './restore/salvage.ts'
import { readSegmentBytes } from './restore/segments.ts'
import { Quota } from './quota.ts'
import { toRowKey } from './row-key.ts'
import { buildInboundRow, buildNewQueueRow, buildSessionRow, RetainedRows } from './rows.ts'
import { MAX_QUEUE_ID, MIGRATIONS, SQL } from './schema.ts'
import { countEntryBytes } from './segment.ts'
import { type Segment, SegmentCache } from './segment-cache.ts'
import { SessionRows } from './session-rows.ts'
import { encodeSession } from './session-text.ts'
import type { SpoolStats } from './stats.ts'
import { SpoolWriter } from './writer.ts'

export type Spool = Durability &
  AsyncDisposable & {
    readonly stats: SpoolStats
    readonly setAside: string | undefined
    /** What became of it; undefined when nothing was set aside. */ readonly damage: string | undefined
    /** Why nothing is stored at the moment. */ readonly error: MeshError | undefined
  }
export type SpoolOptions = {
  readonly openStorage: OpenStorage
  readonly path: string
  /** Its `spool`, and of its `limits` those for what a session may hold. */
  readonly policy: MqttPolicy
  readonly clock: Clock
  readonly metrics: Metrics
  readonly log: Log
  /**
   * Free bytes of the disk that the file is on; throws what the system says when it is gone. Asked once a second and
   * once a megabyte.
   */
  readonly freeBytes: () => number
}

const NO_IDS: ReadonlySet<number> = new Set()
const sessionQueue = (clientId: string): string => `session/${clientId}`

/** Rejects with MESH_STORAGE_NEWER, MESH_STORAGE_FULL or MESH_STORAGE_FAILED. */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  try {
    return await openFrom(options, 'file')
  } catch (thrown) {
    // Pages of a large file, which are not looked at before they are read.
    if (toMeshError(thrown).code !== 'MESH_STORAGE_DAMAGED') throw thrown
    return await openFrom(options, 'nothing')
  }
}
async function openFrom(options: SpoolOptions, startFrom: 'file' | 'nothing'): Promise<Spool> {
  const { profile, maxDamagedFiles, maxDamagedBytes } = options.policy.spool
  const { storage, setAside, lost, damaged } = await options.openStorage({
    path: options.path,
    profile,
    damagedLimits: { maxFiles: maxDamagedFiles, maxBytes: maxDamagedBytes },
    migrations: MIGRATIONS,
    startFrom,
    tellsLoss: true,
  })
  const made = new SqliteSpool(options, storage, { setAside, damaged })
  try {
    if (lost !== undefined) made.tellLoss(lost)
    if (setAside !== undefined) await made.salvage(setAside)
    await made.restore()
  } catch (err) {
    await storage[Symbol.asyncDispose]()
    throw err
  }
  return made
}

class SqliteSpool implements Spool, QueueHost {
  readonly setAside: string | undefined
  readonly cache = new SegmentCache()
  readonly sessions = new Map<string, StoredSession>()
  readonly retained = new Map<string, StoredMessage>()
  readonly #o: SpoolOptions
  readonly #storage: Storage
  readonly #writer: SpoolWriter
  readonly #room: Quota
  readonly #queues = new Map<string, SpoolQueue>()
  readonly #creating = new Map<string, Promise<DurableQueue>>()
  /** By row key. */
  readonly #inbound = new Map<string, Set<number>>()
  /** Not yet durable: a repetition that comes now waits for the first. */
  readonly #arriving = new Map<string, Promise<void>>()
  readonly #rows = new SessionRows()
  readonly #retainedRows = new RetainedRows()
  readonly #losses: Losses
  readonly #rate: DailyRate
  readonly #damaged: Pick<SpoolStats, 'damagedFiles' | 'damagedBytes'>
  #queueIds = 0
  #closed: Promise<void> | undefined

  constructor(options: SpoolOptions, storage: Storage, { setAside, damaged }: Pick<Opened, 'setAside' | 'damaged'>) {
    this.#o = options
    this.#storage = storage
    this.setAside = setAside
    this.#damaged = { damagedFiles: damaged.files, damagedBytes: damaged.bytes }
    const { metrics, clock, policy } = options
    this.#rate = new DailyRate(clock.monotonicMs())
    const written = metrics
      .counter('mesh_mqtt_spool_written_bytes_total', 'Bytes of the spool that went to the device, in whole pages.', [
        'profile',
      ])
      .cell({ profile: policy.spool.profile })
    this.#writer = new SpoolWriter({
      ...options,
      storage,
      onCommit: () => {
        written.value = storage.stats.writtenBytes ?? 0
        this.#rate.note(written.value, clock.monotonicMs())
      },
    })
    this.#room = new Quota({
      ...options,
      writer: this.#writer,
      queues: () => this.#queues.values(),
      spareBytes: async () => Number((await storage.query({ sql: SQL.spareBytes }))[0]?.['bytes']),
    })
    this.#losses = new Losses(options)
    this.#losses.countDamagedFiles(damaged)
    metrics.gaugeOf('mesh_mqtt_spool_messages', 'Messages in the spool, once per queue.', () => this.#room.messages)
    metrics.gaugeOf('mesh_mqtt_spool_bytes', 'Bytes of the messages in the spool.', () => this.#room.bytes)
    metrics.gaugeOf(
      'mesh_mqtt_spool_commits',
      'Transactions since start, each with its fsync in the strict profile.',
      () => storage.stats.commits,
    )
    metrics.gaugeOf(
      'mesh_mqtt_spool_written_bytes_per_day',
      'The same in a day, by the last one or what has passed since the start; -1 where the system does not say.',
      () => this.stats.writtenPerDay?.bytes ?? -1,
    )
  }

  get damage(): string | undefined {
    return this.#losses.text
  }
  get refusals(): number {
    return this.#room.refusals
  }
  get error(): MeshError | undefined {
    return this.#writer.error
  }
  get stats(): SpoolStats {
    const { maxBytes, profile } = this.#o.policy.spool
    const { messages, bytes } = this.#room
    const { writtenBytes } = this.#storage.stats
    const writtenPerDay =
      writtenBytes === undefined ? undefined : this.#rate.read(writtenBytes, this.#o.clock.monotonicMs())
    return { messages, bytes, maxBytes, profile, writtenBytes, writtenPerDay, ...this.#damaged }
  }

  /** @param from name of the damaged file */
  async salvage(from: string): Promise<void> {
    const { log, clock } = this.#o
    log.error(
      { evt: 'spool.damaged', code: 'MESH_STORAGE_DAMAGED', file: from },
      'the spool was damaged and was set aside',
    )
    const report = await salvageSpool(from, this.#storage, clock)
    const { sessions, messages, retained, pages, damagedPages } = report
    const sentence =
      `${sessions} sessions, ${messages} messages in queues and ${retained} retained messages were read from it; ` +
      `${damagedPages} of its ${pages} pages hold nothing that can be read`
    this.#losses.tell(sentence, 'page', damagedPages)
    log.error({ evt: 'spool.salvaged', code: 'MESH_STORAGE_DAMAGED', file: from, ...report }, sentence)
  }

  /** What is not there any more, or cannot be read. */
  tellLoss(lost: Loss): void {
    const { log, path } = this.#o
    const sentence = {
      file: `${path} was used and is gone or empty: the sessions, messages and retained messages in it are lost`,
      log: `the log of ${path} is gone: what was committed last before the agent ended is lost`,
      'broken log': `the log of ${path} is broken: what was committed last before the agent ended may be lost`,
      unsynced: `a power cut has left a hole in the log of ${path}: what was committed behind it, after the last sync, is lost (mqtt.spool.profile)`,
      'log end': `the log of ${path} ends within a transaction: that was being written when the agent ended, and nobody was told that it is stored; or the log is damaged, and what was committed last is lost`,
    }[lost]
    this.#losses.tell(sentence, 'log', 1)
    log.error({ evt: 'spool.lost', code: 'MESH_STORAGE_DAMAGED', lost }, sentence)
  }

  async restore(): Promise<void> {
    const found = await restoreSpool(this.#storage, this, this.#losses)
    for (const queue of found.queues) {
      this.#queues.set(queue.name, queue)
      this.#queueIds = Math.max(this.#queueIds, queue.id)
    }
    for (const [key, ids] of found.inbound) this.#inbound.set(key, ids)
    for (const session of found.sessions) {
      this.sessions.set(session.clientId, session)
      this.#rows.noteRestored(session.clientId)
    }
    for (const clientId of found.damagedSessions) this.#rows.noteRestored(clientId)
    for (const [id, message] of found.retained) {
      this.retained.set(message.topic, message)
      this.#retainedRows.noteRestored(message.topic, id)
    }
    this.#writer.lastShared = found.lastShared
    for (const queue of found.damagedQueues) this.#writer.writeLater(queue)
    this.#tellIncomplete(found)
    if (found.repairs.length > 0) await this.#writer.write(found.repairs)
  }

  /** Queues whose session is not there: rows of one transaction, so the file has lost some. */
  #tellIncomplete({ sessions, queues }: Restored): void {
    const known = new Set(sessions.map((session) => sessionQueue(session.clientId)))
    for (const { name, depth, isSession, firstSeq, lastSeq } of queues) {
      if (!isSession || known.has(name)) continue
      this.#losses.reportMessages(name, depth, [firstSeq, lastSeq], 'a session is lost, and its messages with it')
    }
  }

  queue(name: string): DurableQueue | undefined {
    return this.#queues.get(name)
  }
  queueNames(prefix: string): readonly string[] {
    return [...this.#queues.keys()].filter((name) => name.startsWith(prefix))
  }
  createQueue(name: string, session?: Kept): Promise<DurableQueue> {
    const known = this.#queues.get(name)
    if (known) return Promise.resolve(known)
    const creating =
      this.#creating.get(name) ??
      this.#create(name, session).finally(() => {
        this.#creating.delete(name)
      })
    this.#creating.set(name, creating)
    return creating
  }
  async #create(name: string, session: Kept | undefined): Promise<DurableQueue> {
    this.#refuseWhenClosed()
    this.#bringAlong(session)
    const queue = new SpoolQueue(this, { id: this.#freeId(), name, firstSeq: 1, lastSeq: 0, done: [], released: [] })
    await this.#writer.write([buildNewQueueRow(queue.id, name)], () => {
      this.#queues.set(name, queue)
    })
    return queue
  }
  async deleteQueue(name: string): Promise<void> {
    // Without a turn in between otherwise: what is asked for together lands in one transaction.
    const creating = this.#creating.get(name)
    if (creating) await creating
    const queue = this.#queues.get(name)
    if (!queue) return
    this.#refuseWhenClosed()
    this.#queues.delete(name)
    try {
      await this.#writer.drop(queue)
    } catch (err) {
      if (!this.#queues.has(name)) this.#queues.set(name, queue)
      throw err
    }
  }

  append(message: StoredMessage, to: readonly DurableQueue[], inbound?: Inbound): Promise<void> {
    if (this.#closed) return Promise.reject(closedError())
    // A message that several routes bring to one queue is one message.
    const queues = (to.length > 1 ? [...new Set(to)] : to) as readonly SpoolQueue[]
    if (inbound) return this.#appendOnce(message, queues, inbound)
    if (queues.length === 0) return Promise.resolve()
    const bytes = countEntryBytes(message)
    const taking = message.qos === 0 ? this.#room.admitExpendable(bytes, queues) : this.#room.admit(bytes, queues)
    if (taking instanceof MeshError) return Promise.reject(taking)
    return taking.length > 0 ? this.#writer.append(message, taking, bytes) : Promise.resolve()
  }
  settle(): Promise<void> {
    return this.#writer.write([]).catch(doNothing)
  }
  #appendOnce(
    message: StoredMessage,
    queues: readonly SpoolQueue[],
    { clientId, packetId, session }: Inbound,
  ): Promise<void> {
    const key = `${packetId}/${clientId}`
    const arriving = this.#arriving.get(key)
    if (arriving) return arriving
    const bytes = countEntryBytes(message)
    const taking = queues.length > 0 ? this.#room.admit(bytes, queues) : queues
    if (taking instanceof MeshError) return Promise.reject(taking)
    this.#bringAlong(session)
    // Of one transaction with what follows, whose failure tells of both.
    if (taking.length > 0) this.#writer.append(message, taking, bytes).catch(doNothing)
    const name = toRowKey(clientId)
    const durable = this.#writer
      .write([buildInboundRow(name, packetId)], () => {
        const ids = this.#inbound.get(name)
        if (ids) ids.add(packetId)
        else this.#inbound.set(name, new Set([packetId]))
      })
      .finally(() => {
        this.#arriving.delete(key)
      })
    this.#arriving.set(key, durable)
    return durable
  }

  inbound(clientId: string): ReadonlySet<number> {
    return this.#inbound.get(toRowKey(clientId)) ?? NO_IDS
  }
  arriving({ clientId, packetId }: Inbound): Promise<void> | undefined {
    return this.#arriving.get(`${packetId}/${clientId}`)
  }
  async releaseInbound(clientId: string, packetId: number): Promise<void> {
    const name = toRowKey(clientId)
    if (!this.#inbound.get(name)?.has(packetId)) return
    await this.#write(SQL.dropInbound, [name, packetId], () => {
      const ids = this.#inbound.get(name)
      ids?.delete(packetId)
      if (ids?.size === 0) this.#inbound.delete(name)
    })
  }

  holds(clientId: string): boolean {
    return this.#rows.has(clientId) || this.#inbound.has(toRowKey(clientId)) || this.#queues.has(sessionQueue(clientId))
  }
  async saveSession(session: SessionHead): Promise<void> {
    this.#refuseWhenClosed()
    const { clientId } = session
    await this.#writer.write([buildSessionRow(clientId, encodeSession(session))], this.#rows.put(clientId))
  }
  /** Of one transaction with what follows in the same turn, whose failure tells of both. */
  #bringAlong(session: Kept | undefined): void {
    if (session && !this.#rows.isDurable(session.clientId)) this.saveSession(session.toStored()).catch(doNothing)
  }
  saveSubscriptions(session: Kept, kept: readonly StoredSubscription[], gone: readonly string[]): Promise<void> {
    if (this.#closed) return Promise.reject(closedError())
    if (kept.length > 0) this.#bringAlong(session)
    return kept.length + gone.length > 0 ? this.#writer.changeSubscriptions(session, kept, gone) : Promise.resolve()
  }
  async deleteSession(clientId: string): Promise<void> {
    this.#refuseWhenClosed()
    const name = toRowKey(clientId)
    const gone = this.#rows.drop(clientId)
    const forgotten = (): void => {
      gone()
      this.#inbound.delete(name)
      this.sessions.delete(clientId)
    }
    // One turn of the event loop, so one transaction.
    await Promise.all([
      this.deleteQueue(sessionQueue(clientId)),
      this.#write(SQL.dropSession, [clientId]),
      this.#write(SQL.dropInboundOf, [name], forgotten),
      this.#writer.dropSubscriptions(name),
    ])
  }
  saveRetained(topic: string, message: StoredMessage | undefined, applied?: () => void): Promise<void> {
    if (this.#closed) return Promise.reject(closedError())
    const refusal = message && this.#room.findDiskRefusal(countEntryBytes(message))
    if (refusal) return Promise.reject(refusal)
    return message ? this.#putRetained(message, applied) : this.#dropRetained(topic, applied)
  }
  #putRetained(message: StoredMessage, applied: (() => void) | undefined): Promise<void> {
    const { id, isNew } = this.#retainedRows.put(message.topic)
    const saved = this.#writer.putRetained(id, message, applied)
    if (isNew) this.#retainedRows.settleWith(message.topic, saved)
    return saved
  }
  #dropRetained(topic: string, applied: (() => void) | undefined): Promise<void> {
    const { statements, gone } = this.#retainedRows.drop(topic)
    return this.#writer.write(statements, () => {
      gone()
      applied?.()
    })
  }
  forgetRetained(): void {
    this.retained.clear()
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#writer.close().then(() => this.#storage[Symbol.asyncDispose]())
    return this.#closed
  }

  // What queues ask for.

  async load({ id }: SpoolQueue, firstSeq: number, upToSeq: number): Promise<Blobs | 'damaged'> {
    try {
      const rows = await this.#storage.query({ sql: SQL.segmentsFromTo, params: [id, firstSeq, id, upToSeq] })
      return new Map(rows.map((row) => [Number(row['first_seq']), readSegmentBytes(row)]))
    } catch (thrown) {
      if (toMeshError(thrown).code === 'MESH_STORAGE_DAMAGED') return 'damaged'
      throw thrown
    }
  }
  changed(queue: SpoolQueue): void {
    this.#writer.writeLater(queue)
  }
  releases(queue: SpoolQueue): Promise<void> {
    return this.#writer.writeSoon(queue)
  }
  damaged(queue: SpoolQueue, { firstSeq, lastSeq }: Segment, messages: number): void {
    this.#losses.reportMessages(queue.name, messages, [firstSeq, lastSeq], 'messages of the spool cannot be read back')
  }
  counted(messages: number, bytes: number): void {
    this.#room.messages += messages
    this.#room.bytes += bytes
  }

  async #write(sql: string, params: readonly (string | number | Uint8Array)[], applied?: () => void): Promise<void> {
    this.#refuseWhenClosed()
    await this.#writer.write([{ sql, params }], applied)
  }
  #refuseWhenClosed(): void {
    if (this.#closed) throw closedError()
  }
  #freeId(): number {
    if (this.#queueIds < MAX_QUEUE_ID) return ++this.#queueIds
    const taken = new Set([...this.#queues.values()].map((q) => q.id))
    for (let id = 1; id <= MAX_QUEUE_ID; id++) if (!taken.has(id)) return id
    throw new MeshError('MESH_MQTT_QUOTA', `${MAX_QUEUE_ID} queues are in the spool`)
  }
}

const closedError = (): MeshError => new MeshError('MESH_DRAINING', 'the spool is closed')
