/**
 * What a full queue of a bridge gave up is told to the upstream broker in the place where it is missing: one record in
 * front of the first message after it. It is told again until the broker has taken it, with what was given up since.
 */
import type { Clock } from '../../../../core/os/clock.ts'
import type { Log } from '../../../../core/log.ts'
import type { Outbox } from '../../codec/outbox.ts'
import { NO_BYTES, publishFlags, type Qos } from '../../codec/packet.ts'
import type { Gap } from '../../durability.ts'
import { describeGap } from '../../gap.ts'
import type { SparkplugForwarding } from '../../sparkplug/forwarding.ts'
import { type Lane, computePacketId } from '../lanes.ts'
import { MAX_ENDS } from './trouble.ts'

const NO_IDS: readonly number[] = []
type Parts = {
  readonly outbox: Outbox
  /** What its CONNACK allows. */
  readonly peer: { readonly maxQos: Qos; readonly maxPacketBytes: number }
  /** Connections in a row that the peer has closed over a record. */
  readonly trouble: { gapEnds: number }
  readonly gapTopic: string
  readonly gapNames: Readonly<Record<string, string>>
  readonly sparkplug: Pick<SparkplugForwarding, 'gapTold'> | undefined
  readonly clock: Clock
  readonly log: Log
}

export class GapRecord {
  readonly #p: Parts
  readonly #lane: Lane
  #sent: { readonly gap: Gap; readonly packetId: number; readonly sentMs: number } | undefined

  constructor(p: Parts, lane: Lane) {
    this.#p = p
    this.#lane = lane
  }

  /** Whether messages may go: not while one that was given up was not told. */
  get isTold(): boolean {
    const { gap } = this.#lane.queue
    return gap === undefined || this.#sent?.gap.messages === gap.messages
  }
  /**
   * Where there is something to be told.
   * @param isUsed whether a packet id waits for its answer
   */
  tell(isUsed: (packetId: number) => boolean): 'sent' | 'not sent' {
    const { peer, trouble } = this.#p
    const { queue, ids } = this.#lane
    const { gap } = queue
    if (!gap || this.#sent) return 'not sent'
    if (trouble.gapEnds >= MAX_ENDS) {
      this.#giveUp(gap, 'the upstream broker closes its connection over it')
      return 'not sent'
    }
    // The number before the first that is left is one of those that are gone, so nobody else has its packet id.
    const packetId = computePacketId(this.#lane, queue.firstSeq - 1 + ids.count)
    if (isUsed(packetId)) return 'not sent'
    const payload = Buffer.from(JSON.stringify(describeGap(this.#p.gapNames, gap)))
    const message = { topic: this.#p.gapTopic, payload, properties: NO_BYTES }
    const qos = peer.maxQos === 0 ? 0 : 1
    if (this.#p.outbox.publishBytes(message, qos, undefined, NO_IDS) > peer.maxPacketBytes) {
      this.#giveUp(gap, 'it is larger than the upstream broker takes')
      return 'not sent'
    }
    this.#p.outbox.publish(message, publishFlags(qos, 0), qos === 0 ? 0 : packetId, undefined, NO_IDS)
    this.#p.log.warn({ evt: 'mqtt.bridge.gap', ...gap }, 'the queue was full: the upstream broker is told of the gap')
    const { sparkplug } = this.#lane
    if (sparkplug) this.#p.sparkplug?.gapTold(sparkplug)
    if (qos === 0) queue.clearGap(gap)
    else this.#sent = { gap, packetId, sentMs: this.#p.clock.monotonicMs() }
    return qos === 0 ? 'not sent' : 'sent'
  }

  /** It may not be used for a message. */
  isUsing(packetId: number): boolean {
    return this.#sent?.packetId === packetId
  }
  /** What waits for its answer. */
  get sent(): { readonly sentMs: number } | undefined {
    return this.#sent
  }
  /** The record is answered. */
  takeAnswer(reason: number): void {
    const { gap } = this.#sent!
    this.#sent = undefined
    this.#p.trouble.gapEnds = 0
    if (reason >= 0x80) this.#giveUp(gap, `the upstream broker refuses it with reason code ${reason}`)
    else this.#lane.queue.clearGap(gap)
  }

  #giveUp(gap: Gap, why: string): void {
    this.#p.log.error(
      { evt: 'mqtt.bridge.gap-untold', code: 'MESH_MQTT_UPSTREAM_REFUSED', topic: this.#p.gapTopic, why, ...gap },
      'the upstream broker does not take the record of a gap',
    )
    this.#lane.queue.clearGap(gap)
    this.#p.trouble.gapEnds = 0
  }
}
