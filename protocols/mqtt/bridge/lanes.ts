/**
 * What goes up waits in lanes: durable queues of one session, each with a priority, bounds and an overflow of its own.
 * A packet id follows from a message's number in its queue, so that a repetition carries the old one also after a
 * restart [MQTT-4.4.0-1]. Where one queue is enough it has all ids; else each queue has a slot of them, which its name
 * remembers. What is left in queues that the plan does not have any more goes first and alone: no id stands for two
 * messages, and nothing is overtaken.
 */
import { MeshError } from '../../../core/errors.ts'
import type { Durability, DurableQueue } from '../durability.ts'
import type { LaneSparkplug } from '../sparkplug/forwarding.ts'
import type { LanePlan, SessionPlan } from './plan.ts'
import { LanePair } from './sending/lane-pair.ts'

const SLOTS = 24
const IDS_PER_SLOT = 2_730
const ALL_IDS = 65_535
/** Above those of all slots. */
const FREE_ID = SLOTS * IDS_PER_SLOT + 1
/** Half of the range away from the messages in flight, whose ids follow from their sequence numbers. */
const ID_DISTANCE = 32_000

export type Ids = { readonly first: number; readonly count: number }
const WHOLE: Ids = { first: 1, count: ALL_IDS }

/**
/**
 * Kept across connections. Up to `seq` a message may have been sent, so sending it is a repetition; up to `begunSeq`
 * this process has sent it in the session that the peer has, up to `highestSeq` in whatever session.
 */
export type SentMark = { seq: number; begunSeq: number; highestSeq: number }

/** Which messages of its routes a lane has: all, or those that came with or without a connection. */
export type Traffic = 'all' | 'live' | 'backlog'

export type Lane = {
  readonly queue: DurableQueue
  readonly ids: Ids
  readonly priority: number
  readonly traffic: Traffic
  /** Of both lanes of a route with `live-first`; the same object as long as they are. */
  readonly pair: LanePair | undefined
  /** Left over from an earlier plan. */
  readonly isDraining: boolean
  readonly mark: SentMark
  /** When it carries Sparkplug; of what is left over nobody knows. */
  readonly sparkplug: LaneSparkplug | undefined
}
/** Before a connection: a crash must not hide that something was sent. Never rejects. */
export async function prepareSending({ queue, mark }: Pick<Lane, 'queue' | 'mark'>): Promise<void> {
  try {
    await queue.startSending()
  } catch {
    mark.seq = queue.lastSeq // DUP too often is the lesser evil
  }
}
export const computePacketId = ({ ids }: Lane, seq: number): number => ids.first + ((seq - 1) % ids.count)

/** For SUBSCRIBE and UNSUBSCRIBE: one that no message in flight has, and none will have soon. */
export function freePacketId(lanes: readonly Lane[], isInFlight: (packetId: number) => boolean): number {
  const whole = lanes.find(({ ids, queue }) => ids === WHOLE && (lanes.length === 1 || queue.depth > 0))
  if (!whole) return FREE_ID
  let id = ((whole.queue.firstSeq - 1 + ID_DISTANCE) % ALL_IDS) + 1
  while (isInFlight(id)) id = (id % ALL_IDS) + 1
  return id
}

/** Where messages of a route are appended. */
export type Target = { readonly queue: DurableQueue }

export class Lanes {
  readonly #durability: Durability
  readonly #marks = new Map<DurableQueue, SentMark>()
  readonly #pairs = new Map<DurableQueue, LanePair>()
  #lanes: readonly Lane[] = []
  #targets = new Map<string, Target>()
  /** Whether what is published now is live traffic. */
  isLinkUp = false

  constructor(durability: Durability) {
    this.#durability = durability
  }
  /** Those to send from. */
  get all(): readonly Lane[] {
    return this.#lanes
  }
  get depth(): number {
    return this.#lanes.reduce((sum, { queue }) => sum + queue.depth, 0)
  }
  /** @param key of a lane of the plan that was used last */
  findTarget(key: string): Target {
    return this.#targets.get(key)!
  }

  /**
   * Makes what is missing.
   * @throws MESH_MQTT_QUOTA when there are too many queues, MESH_STORAGE_FULL or MESH_STORAGE_FAILED
   * @returns whether the lanes to send from are others than before
   */
  async use(plan: SessionPlan): Promise<boolean> {
    const before = this.#lanes
    const targets = new Map<string, Target>()
    const lanes: Lane[] = []
    for (const lane of plan.lanes) {
      const added = lane.order === 'live-first' ? await this.#openPair(plan, lane) : [await this.#openLane(plan, lane)]
      targets.set(lane.key, this.#makeTarget(added))
      lanes.push(...added)
    }
    for (const { queue, ids } of this.#known(plan)) {
      if (queue.isEmpty || lanes.some((lane) => lane.queue === queue)) continue
      const { priority } = queue
      const mark = this.#markOf(queue)
      lanes.push({
        queue,
        ids,
        priority,
        traffic: 'all',
        pair: undefined,
        isDraining: true,
        mark,
        sparkplug: undefined,
      })
    }
    this.#targets = targets
    this.#lanes = lanes
    const names = (of: readonly Lane[]): string => JSON.stringify(of.map(nameForSending))
    return names(before) !== names(lanes)
  }
  #makeTarget([one, backlog]: readonly Lane[]): Target {
    if (!backlog) return { queue: one!.queue }
    const readQueue = (): DurableQueue => (this.isLinkUp ? one! : backlog).queue
    return {
      get queue() {
        return readQueue()
      },
    }
  }

  async #openLane(plan: SessionPlan, lane: LanePlan): Promise<Lane> {
    const { queue, ids } = await this.#open(plan, lane.key)
    const { priority, whenFull, limits, sparkplug } = lane
    Object.assign(queue, { whenFull, limits, priority, group: undefined })
    const mark = this.#markOf(queue)
    return { queue, ids, priority, traffic: 'all', pair: undefined, isDraining: false, mark, sparkplug }
  }
  async #openPair(plan: SessionPlan, lane: LanePlan): Promise<readonly [live: Lane, backlog: Lane]> {
    const backlog = await this.#openLane(plan, lane)
    const live = await this.#openLane(plan, { ...lane, key: nameLiveLane(lane.key) })
    backlog.queue.group = live.queue.group = [backlog.queue, live.queue]
    const pair = this.#pairs.get(live.queue) ?? new LanePair(backlog.queue, lane.key)
    this.#pairs.set(live.queue, pair)
    return [
      { ...live, traffic: 'live', pair },
      { ...backlog, traffic: 'backlog', pair },
    ]
  }

  async #open(plan: SessionPlan, key: string): Promise<{ readonly queue: DurableQueue; readonly ids: Ids }> {
    const durability = this.#durability
    const keys = plan.lanes.flatMap((lane) =>
      lane.order === 'live-first' ? [lane.key, nameLiveLane(lane.key)] : lane.key,
    )
    if (keys.length === 1) {
      const queue = durability.queue(plan.queueName) ?? (await durability.createQueue(plan.queueName))
      return { queue, ids: WHOLE }
    }
    const known = [...this.#slots(plan)]
    const mine = known.find((one) => one.key === key)
    if (mine) return mine
    const taken = new Set(known.map(({ slot }) => slot))
    const slot = Array.from({ length: SLOTS }, (_, i) => i).find((i) => !taken.has(i))
    if (slot === undefined) {
      const empty = known.find((one) => one.queue.isEmpty && !keys.includes(one.key))
      if (!empty) throw new MeshError('MESH_MQTT_QUOTA', `${SLOTS} queues of routes to ${plan.cluster} hold messages`)
      await durability.deleteQueue(empty.queue.name)
      return this.#open(plan, key)
    }
    return { queue: await durability.createQueue(slotName(plan, slot, key)), ids: idsOf(slot) }
  }

  *#known(plan: SessionPlan): Iterable<{ readonly queue: DurableQueue; readonly ids: Ids }> {
    const whole = this.#durability.queue(plan.queueName)
    if (whole) yield { queue: whole, ids: WHOLE }
    yield* this.#slots(plan)
  }
  *#slots(plan: SessionPlan): Iterable<{ queue: DurableQueue; ids: Ids; slot: number; key: string }> {
    for (const name of this.#durability.queueNames(lanePrefix(plan))) {
      const { slot, key } = slotOf(plan, name)
      const queue = this.#durability.queue(name)
      if (queue && slot !== undefined) yield { queue, ids: idsOf(slot), slot, key }
    }
  }
  /** What may have been sent before a restart counts as a repetition [MQTT-3.3.1-1]. */
  #markOf(queue: DurableQueue): SentMark {
    const known = this.#marks.get(queue)
    if (known) return known
    const mark = { seq: queue.sentSeq, begunSeq: 0, highestSeq: 0 }
    this.#marks.set(queue, mark)
    return mark
  }
}

const nameLiveLane = (key: string): string => `${key} live`
/** What a connection sends from, and how. Filters do not matter for that. */
function nameForSending({ queue, priority, traffic, sparkplug }: Lane): readonly unknown[] {
  return [queue.name, priority, traffic, sparkplug && { ...sparkplug, filters: undefined }]
}
const idsOf = (slot: number): Ids => ({ first: slot * IDS_PER_SLOT + 1, count: IDS_PER_SLOT })

/** No cluster or client id holds U+0000. */
const lanePrefix = ({ queueName }: SessionPlan): string => `${queueName}\0`
const slotName = (plan: SessionPlan, slot: number, key: string): string => `${lanePrefix(plan)}${slot}\0${key}`
function slotOf(plan: SessionPlan, name: string): { readonly slot: number | undefined; readonly key: string } {
  const [slot = '', ...key] = name.slice(lanePrefix(plan).length).split('\0')
  const number = Number(slot)
  return { slot: /^\d+$/.test(slot) && number < SLOTS ? number : undefined, key: key.join('\0') }
}
