/**
 * `$SYS/broker/…` with mosquitto's names: the broker's numbers as messages. They are retained in memory only. A new
 * subscriber gets the last values, and changes follow every `mqtt.sysIntervalSec`. Without subscribers to `$SYS` only a
 * few averages are computed.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import type { Cell } from '../../../core/metrics.ts'
import { NO_BYTES, type Qos } from '../codec/packet.ts'
import type { StoredMessage } from '../durability.ts'
import type { BrokerState } from '../state.ts'
import { matches } from '../topics/topics.ts'
import { Load } from './load.ts'
import { publishSys } from './publish-sys.ts'

const ROOT = '$SYS/broker/'
/** As mosquitto's have. */
const QOS: Qos = 2

export type SysTopicsOptions = {
  readonly state: BrokerState
  /** 0: there are none. */
  readonly intervalSec: number
  readonly version: string
  readonly heapBytes: () => number
  readonly connections: () => number
}

export class SysTopics implements Disposable {
  readonly #o: SysTopicsOptions
  readonly #clock: Clock
  readonly #startedMs: number
  readonly #loads: ReadonlyMap<string, { readonly load: Load; readonly count: () => number }>
  readonly #values = new Map<string, StoredMessage>()
  #maxClients = 0
  #maxHeapBytes = 0
  #sampledMs: number
  #timer: Timer | undefined

  constructor(options: SysTopicsOptions) {
    this.#o = options
    this.#clock = options.state.ctx.clock
    this.#startedMs = this.#sampledMs = this.#clock.monotonicMs()
    const { counters } = options.state
    const counts: Readonly<Record<string, () => number>> = {
      'messages/received': () => allPackets(counters.controlsReceived, counters.received),
      'messages/sent': () => allPackets(counters.controlsSent, counters.sent),
      'publish/dropped': () => this.#dropped,
      'publish/received': () => sum(counters.received),
      'publish/sent': () => sum(counters.sent),
      'bytes/received': () => counters.bytesReceived.all.value,
      'bytes/sent': () => counters.bytesSent.all.value,
      sockets: () => counters.sockets.value,
      connections: () => counters.controlsReceived.connect.value,
    }
    this.#loads = new Map(
      Object.entries(counts).map(([name, count]) => [name, { count, load: new Load(count()) }] as const),
    )
    if (options.intervalSec > 0) this.#wait()
  }
  [Symbol.dispose](): void {
    this.#timer?.cancel()
  }

  /** Gives those that the filter matches. */
  deliver(filter: string, give: (message: StoredMessage) => void): void {
    if (this.#o.intervalSec === 0 || !filter.startsWith('$SYS/')) return
    if (this.#values.size === 0) this.#refresh()
    for (const message of this.#values.values()) if (matches(filter, message.topic)) give(message)
  }
  #wait(): void {
    this.#timer = this.#clock.after(this.#o.intervalSec * 1000, () => {
      this.#tick()
      this.#wait()
    })
  }
  #tick(): void {
    this.#sample()
    const { subscriptions } = this.#o.state
    if (!subscriptions.hasSysFilters) {
      // The next subscriber gets the values of that time.
      this.#values.clear()
      return
    }
    for (const message of this.#refresh()) publishSys(this.#o.state, message)
  }
  #sample(): void {
    const nowMs = this.#clock.monotonicMs()
    const seconds = (nowMs - this.#sampledMs) / 1000
    this.#sampledMs = nowMs
    for (const { load, count } of this.#loads.values()) load.update(count(), seconds)
    this.#maxClients = Math.max(this.#maxClients, this.#o.connections())
    this.#maxHeapBytes = Math.max(this.#maxHeapBytes, this.#o.heapBytes())
  }

  /** @returns what has changed */
  #refresh(): readonly StoredMessage[] {
    const changed: StoredMessage[] = []
    for (const [name, value] of this.#read()) {
      const topic = ROOT + name
      const payload = Buffer.from(String(value))
      const known = this.#values.get(topic)
      if (known && payload.equals(known.payload)) continue
      const message = { topic, payload, qos: QOS, retain: true, properties: NO_BYTES, expiresAtMs: undefined }
      this.#values.set(topic, message)
      changed.push(message)
    }
    return changed
  }

  get #dropped(): number {
    const { counters, ctx } = this.#o.state
    return sum(Object.values(counters.dropped)) + ctx.metrics.total('mesh_mqtt_spool_dropped_total')
  }

  *#read(): Generator<readonly [name: string, value: string | number]> {
    const { state, version, heapBytes } = this.#o
    const { counters, retained, subscriptions, ctx, sessions } = state
    yield ['version', `meshlet version ${version}`]
    yield ['uptime', `${Math.floor((this.#clock.monotonicMs() - this.#startedMs) / 1000)} seconds`]
    yield* this.#clients()
    for (const [name, { load }] of this.#loads)
      for (const [minutes, value] of load.averages) yield [`load/${name}/${minutes}min`, value.toFixed(2)]
    const [messages, bytes] = ['mesh_mqtt_spool_messages', 'mesh_mqtt_spool_bytes'].map((n) => ctx.metrics.total(n))
    const stored = messages! + retained.size
    yield ['messages/stored', stored]
    yield ['messages/received', allPackets(counters.controlsReceived, counters.received)]
    yield ['messages/sent', allPackets(counters.controlsSent, counters.sent)]
    let inflight = 0
    for (const { flow } of sessions.values()) inflight += flow?.inflight ?? 0
    yield ['messages/inflight', inflight]
    yield ['store/messages/count', stored]
    yield ['store/messages/bytes', bytes! + retained.bytes]
    yield ['subscriptions/count', subscriptions.size]
    yield ['shared_subscriptions/count', subscriptions.sharedSize]
    yield ['retained messages/count', retained.size]
    yield ['heap/current', heapBytes()]
    yield ['heap/maximum', Math.max(this.#maxHeapBytes, heapBytes())]
    yield ['publish/messages/dropped', this.#dropped]
    yield ['publish/messages/received', sum(counters.received)]
    yield ['publish/messages/sent', sum(counters.sent)]
    yield ['publish/bytes/received', counters.bytesReceived.payload.value]
    yield ['publish/bytes/sent', counters.bytesSent.payload.value]
    yield ['bytes/received', counters.bytesReceived.all.value]
    yield ['bytes/sent', counters.bytesSent.all.value]
  }
  *#clients(): Generator<readonly [name: string, value: number]> {
    const { sessions, counters } = this.#o.state
    let connected = 0
    for (const { link } of sessions.values()) if (link) connected++
    this.#maxClients = Math.max(this.#maxClients, connected)
    const away = sessions.size - connected
    yield ['clients/total', sessions.size]
    yield ['clients/inactive', away]
    yield ['clients/disconnected', away]
    yield ['clients/active', connected]
    yield ['clients/connected', connected]
    yield ['clients/expired', counters.sessionsExpired.value]
    yield ['clients/maximum', this.#maxClients]
  }
}

function sum(cells: Iterable<Cell>): number {
  let all = 0
  for (const { value } of cells) all += value
  return all
}
function allPackets(controls: Readonly<Record<string, Cell>>, publish: Iterable<Cell>): number {
  return sum(Object.values(controls)) + sum(publish)
}
