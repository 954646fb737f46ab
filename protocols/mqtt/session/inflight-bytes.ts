/**
 * Bytes of what was sent to one client and is not acknowledged, where `mqtt.limits.maxInflightBytes` bounds them. As in
 * mosquitto they are those of payloads, and the message that reaches the bound still goes.
 */
export class InflightBytes {
  readonly #maxBytes: number
  readonly #sizes = new Map<number, number>()
  #bytes = 0

  /** Undefined where nothing bounds them. */
  static create({ maxInflightBytes }: { readonly maxInflightBytes?: number | undefined }): InflightBytes | undefined {
    return maxInflightBytes === undefined ? undefined : new InflightBytes(maxInflightBytes)
  }
  private constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }
  get isFull(): boolean {
    return this.#bytes >= this.#maxBytes
  }
  add(packetId: number, { payload }: { readonly payload: Uint8Array }): void {
    this.#sizes.set(packetId, payload.length)
    this.#bytes += payload.length
  }
  remove(packetId: number): void {
    this.#bytes -= this.#sizes.get(packetId) ?? 0
    this.#sizes.delete(packetId)
  }
}
