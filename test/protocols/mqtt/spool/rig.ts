/** A spool in a folder of its own, on a storage whose commits can wait, fail and be cut off. */
import type { TestContext } from 'node:test'
import path from 'node:path'
import { silentLog } from '../../../../core/log.ts'
import { Metrics } from '../../../../core/metrics.ts'
import { openStorageWith } from '../../../../core/storage/worker-storage.ts'
import { createMqttPolicySchema } from '../../../../model/mqtt-policy.ts'
import type { DurableQueue, QueueEntry, StoredMessage } from '../../../../protocols/mqtt/durability.ts'
import { openSpool, type Spool } from '../../../../protocols/mqtt/spool/spool.ts'
import { FaultyStorage } from '../../../helpers/disk/faulty-storage.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

export const message = (text: string, over: Partial<StoredMessage> = {}): StoredMessage => ({
  topic: 't',
  payload: Buffer.from(text),
  qos: 1,
  retain: false,
  properties: Buffer.alloc(0),
  expiresAtMs: undefined,
  ...over,
})

export type Input = { readonly spool?: object; readonly limits?: object; readonly freeBytes?: () => number }

export class Rig {
  readonly storage: FaultyStorage
  readonly metrics = new Metrics()
  readonly clock = new SimClock()
  spool!: Spool

  constructor(file: string) {
    this.storage = new FaultyStorage(file)
  }

  async open({ spool = {}, limits = {}, freeBytes = () => 1e12 }: Input = {}): Promise<this> {
    this.spool = await openSpool({
      openStorage: this.storage.open,
      path: this.storage.path,
      policy: createMqttPolicySchema().parse({ spool: { profile: 'balanced', ...spool }, limits }),
      clock: this.clock,
      metrics: this.metrics,
      log: silentLog,
      freeBytes,
    })
    return this
  }

  async queue(name = 'q'): Promise<DurableQueue> {
    return this.spool.queue(name) ?? this.spool.createQueue(name)
  }

  /** Closes it in order and opens the same file. */
  async reopen(): Promise<Rig> {
    await this.spool[Symbol.asyncDispose]()
    return await new Rig(this.storage.path).open()
  }

  /** Opens what a power cut at this instant leaves on the disk. A commit that runs may be on it or not. */
  async crash(image = `${this.storage.path}.image`): Promise<Rig> {
    this.storage.crashImage(image)
    await this.spool[Symbol.asyncDispose]()
    return await new Rig(image).open()
  }
}

export const rig = (t: TestContext, input: Input = {}): Promise<Rig> =>
  new Rig(path.join(temporaryFolder(t), 'spool.db')).open(input)

export type Settings = {
  maxBytes?: number
  maxMessages?: number
  minDiskFreeBytes?: number
  whenFull?: 'refuse' | 'drop-oldest'
  profile?: 'strict' | 'balanced'
}
/** With the storage thread, as the agent has it. */
export const openOnThread = (
  dir: string,
  settings: Settings = {},
  freeBytes = 1e12,
  metrics = new Metrics(),
): Promise<Spool> =>
  openSpool({
    openStorage: openStorageWith({ bundle: undefined }),
    path: path.join(dir, 'spool.db'),
    policy: createMqttPolicySchema().parse({ spool: { profile: 'balanced', ...settings } }),
    clock: new SimClock(),
    metrics,
    log: silentLog,
    freeBytes: () => freeBytes,
  })

export async function all(queue: DurableQueue, after = 0): Promise<QueueEntry[]> {
  const found: QueueEntry[] = []
  for (;;) {
    const part = await queue.read(found.at(-1)?.seq ?? after, 50)
    if (part.length === 0) return found
    found.push(...part)
  }
}

export const textOf = (entry: QueueEntry): string => Buffer.from(entry.message.payload).toString()
export const texts = (entries: readonly QueueEntry[]): string[] => entries.map(textOf)
export const numbered = (entries: readonly QueueEntry[]): { seq: number; text: string }[] =>
  entries.map((entry) => ({ seq: entry.seq, text: textOf(entry) }))
