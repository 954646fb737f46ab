/** SUBSCRIBE packets of which some filters were refused here: the broker gets the others, the client one answer. */
import { MeshError } from '../../../core/errors.ts'
import type { Suback, Subscribe, Version } from '../codec/packet.ts'
import { NO_PROPERTIES } from '../codec/properties.ts'
import { REASON, createViolation } from '../codec/reason.ts'

export type Asked = {
  /** Of each filter; 0 where the broker is asked. */
  readonly reasons: readonly number[]
} & ({ readonly pass: 'as it came' | Subscribe } | { readonly pass: undefined; readonly answer: Suback })

export class Subscribing {
  readonly #version: Version
  readonly #maxFilters: number
  /** By packet id. */
  readonly #waiting = new Map<number, readonly number[]>()
  #filters = 0

  /** @param maxFilters of packets that the broker has not answered */
  constructor(version: Version, maxFilters: number) {
    this.#version = version
    this.#maxFilters = maxFilters
  }

  get waitingFilters(): number {
    return this.#filters
  }

  /**
   * @param reasons 0 for each filter that is allowed
   * @throws MESH_MQTT_PROTOCOL
   */
  ask(packet: Subscribe, reasons: readonly number[]): Asked {
    const { packetId, subscriptions } = packet
    if (this.#waiting.has(packetId))
      throw createViolation(
        REASON.protocolError,
        `[MQTT-2.2.1-3] packet id ${packetId} is of a SUBSCRIBE without its SUBACK`,
      )
    const allowed = subscriptions.filter((_, i) => reasons[i] === REASON.success)
    if (allowed.length === subscriptions.length) return { pass: 'as it came', reasons }
    if (allowed.length === 0) return { pass: undefined, reasons, answer: this.#suback(packetId, reasons) }
    if (this.#filters + reasons.length > this.#maxFilters) {
      const all = reasons.map((reason) => (reason === REASON.success ? REASON.quotaExceeded : reason))
      return { pass: undefined, reasons: all, answer: this.#suback(packetId, all) }
    }
    this.#waiting.set(packetId, reasons)
    this.#filters += reasons.length
    return { pass: { ...packet, subscriptions: allowed }, reasons }
  }

  /**
   * @returns the same packet when all its filters were passed
   * @throws MESH_UPSTREAM_PROTOCOL
   */
  restoreAnswer(packet: Suback): Suback {
    const { packetId } = packet
    const reasons = this.#waiting.get(packetId)
    if (!reasons) return packet
    this.#waiting.delete(packetId)
    this.#filters -= reasons.length
    const passed = reasons.filter((reason) => reason === REASON.success).length
    if (packet.reasons.length !== passed)
      throw new MeshError(
        'MESH_UPSTREAM_PROTOCOL',
        `[MQTT-3.8.4-6] SUBACK has ${packet.reasons.length} reason codes for ${passed} filters`,
      )
    let next = 0
    const merged = reasons.map((reason) => (reason === REASON.success ? packet.reasons[next++]! : reason))
    return { ...this.#suback(packetId, merged), properties: packet.properties }
  }

  /** 3.1.1 knows one failure (§3.9.3). */
  #suback(packetId: number, reasons: readonly number[]): Suback {
    return {
      type: 'suback',
      packetId,
      reasons: this.#version === 5 ? reasons : reasons.map((reason) => (reason > 2 ? REASON.unspecified : reason)),
      properties: NO_PROPERTIES,
    }
  }
}
