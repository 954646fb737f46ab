/** Messages over which connections end: what an upstream broker does not take must not keep everything else from going. */
import type { Log } from '../../../../core/log.ts'
import type { DurableQueue, StoredMessage } from '../../durability.ts'

/** From then on messages go one by one, so that it is known which one the peer does not take. */
const ONE_BY_ONE_ENDS = 2
/** And then the message is set aside. */
export const MAX_ENDS = 5

type Message = { readonly queue: DurableQueue; readonly seq: number }

/** Kept across connections. */
export class Trouble {
  /** Connections in a row that have ended over one message. */
  #stuck: (Message & { readonly ends: number }) | undefined
  /** The same while the record of a gap was the first. */
  gapEnds = 0

  blame({ queue, seq }: Message): void {
    this.#stuck = { queue, seq, ends: this.#isStuck(queue, seq) ? this.#stuck!.ends + 1 : 1 }
  }
  /** The peer has taken one. */
  clear(): void {
    this.#stuck = undefined
  }
  get isOneByOne(): boolean {
    return this.#stuck !== undefined && this.#stuck.ends >= ONE_BY_ONE_ENDS
  }
  isTooMuch({ queue, seq }: Message): boolean {
    return this.#isStuck(queue, seq) && this.#stuck!.ends >= MAX_ENDS
  }
  #isStuck(queue: DurableQueue, seq: number): boolean {
    return this.#stuck?.queue === queue && this.#stuck.seq === seq
  }
}

export function logSetAside(
  log: Log,
  { topic, payload }: StoredMessage,
  fields: Readonly<Record<string, number>>,
): void {
  log.error(
    {
      evt: 'mqtt.bridge.set-aside',
      code: 'MESH_MQTT_UPSTREAM_REFUSED',
      topic,
      payloadBytes: payload.length,
      ...fields,
    },
    'a message is set aside: the upstream broker does not take it',
  )
}
