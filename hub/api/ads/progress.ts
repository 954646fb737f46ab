/** How far one node is with its configuration, from what it was sent and what it said of it. Pure. */
import type { Outcome } from './session.ts'

export class Progress {
  /** Type → nonce of the response that was sent last and is not answered. */
  readonly #open = new Map<string, string>()
  /** Type → what the node says of the resources that it refused. */
  readonly #refused = new Map<string, string>()
  #sent: string | undefined
  #inForce: string | undefined

  /** Version of the node's resources that it took as a whole; undefined: of none yet. */
  get inForce(): string | undefined {
    return this.#inForce
  }
  get refused(): string | undefined {
    return this.#refused.size === 0 ? undefined : [...this.#refused.values()].join('; ')
  }

  /** Responses went out, or none were needed. @param version of the resources that they are from */
  sent(version: string, responses: readonly { readonly typeUrl: string; readonly nonce: string }[]): void {
    this.#sent = version
    for (const { typeUrl, nonce } of responses) this.#open.set(typeUrl, nonce)
    this.#settle()
  }

  answered(
    outcome: Outcome,
    message: {
      readonly typeUrl: string
      readonly responseNonce: string
      readonly errorDetail?: { readonly message: string } | undefined
    },
  ): void {
    if (outcome !== 'ack' && outcome !== 'nack') return
    if (outcome === 'nack') this.#refused.set(message.typeUrl, message.errorDetail?.message ?? '')
    else if (this.#open.get(message.typeUrl) === message.responseNonce) this.#refused.delete(message.typeUrl)
    if (this.#open.get(message.typeUrl) === message.responseNonce) this.#open.delete(message.typeUrl)
    this.#settle()
  }

  #settle(): void {
    if (this.#open.size === 0 && this.#refused.size === 0) this.#inForce = this.#sent
  }
}
