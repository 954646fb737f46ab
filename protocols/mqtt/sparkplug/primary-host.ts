/**
 * Whether the Primary Host Application is online at a broker, by its STATE messages there (Sparkplug 3.0 §5.4, §6.4.25).
 * Each connection begins without knowing it.
 */
import { nameLegacyStateTopic, nameStateTopic } from './topic.ts'

export type HostState = 'online' | 'offline' | 'unknown'
/** What a STATE message was good for. `stale`: an older one than that which was heard last. */
export type Heard = 'online' | 'offline' | 'stale' | 'invalid'

/** `{"online":true,"timestamp":1668114759262}`, with room for what later versions add. */
const MAX_STATE_BYTES = 4_096

export class PrimaryHost {
  readonly hostId: string
  readonly topics: readonly string[]
  #state: HostState = 'unknown'
  /** Of the last STATE on this connection that counted; undefined: none, or one of Sparkplug 2.2. */
  #timestampMs: number | undefined
  /** Of the online STATE that counted last, earlier connections included: a host says a new one when it connects. */
  #sessionMs: number | undefined

  constructor(hostId: string, legacyState: boolean) {
    this.hostId = hostId
    // In this order: what is retained comes in the order of the filters, and the first form counts for more.
    this.topics = legacyState ? [nameStateTopic(hostId), nameLegacyStateTopic(hostId)] : [nameStateTopic(hostId)]
  }

  get state(): HostState {
    return this.#state
  }
  /** The host has the MQTT session that it had when it was last online: what it knew it still knows. */
  get isSameSession(): boolean {
    return this.#sessionMs !== undefined && this.#timestampMs === this.#sessionMs
  }
  /** A connection begins or has ended. */
  forget(): void {
    this.#state = 'unknown'
    this.#timestampMs = undefined
  }

  /** @returns undefined when the topic is another one */
  hear(topic: string, payload: Uint8Array): Heard | undefined {
    const form = this.topics.indexOf(topic)
    if (form === -1) return undefined
    return form === 0 ? this.#hear(payload) : this.#hearLegacy(payload)
  }

  #hear(payload: Uint8Array): Heard {
    const state = parseState(payload)
    if (!state) return 'invalid'
    const { online, timestamp } = state
    // A will has the timestamp of the birth that it belongs to, so the same one counts
    // [tck-id-message-flow-edge-node-birth-publish-phid-wait-timestamp].
    if (timestamp < (this.#timestampMs ?? 0)) return 'stale'
    this.#timestampMs = timestamp
    this.#state = online ? 'online' : 'offline'
    return this.#state
  }
  /** It has no timestamp; a host that says both forms is believed by the newer one. */
  #hearLegacy(payload: Uint8Array): Heard {
    const text = payload.length <= MAX_STATE_BYTES ? Buffer.from(payload).toString('utf8').trim() : ''
    if (text !== 'ONLINE' && text !== 'OFFLINE') return 'invalid'
    if (this.#timestampMs !== undefined) return 'stale'
    this.#state = text === 'ONLINE' ? 'online' : 'offline'
    return this.#state
  }

  /** What is sent from now on goes to this session of the host. */
  settle(): void {
    this.#sessionMs = this.#timestampMs
  }
}

/** [tck-id-host-topic-phid-birth-payload]: `online` is a Boolean, `timestamp` whole milliseconds of UTC. */
function parseState(payload: Uint8Array): { readonly online: boolean; readonly timestamp: number } | undefined {
  if (payload.length > MAX_STATE_BYTES) return undefined
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(payload).toString('utf8'))
  } catch {
    return undefined
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined
  const { online, timestamp } = parsed as { online?: unknown; timestamp?: unknown }
  if (typeof online !== 'boolean' || !Number.isSafeInteger(timestamp) || (timestamp as number) < 0) return undefined
  return { online, timestamp: timestamp as number }
}
