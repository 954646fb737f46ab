/**
 * Told once, to whoever listens. Every connection has two, and most of them end without: a Notice takes 56 bytes where
 * an AbortSignal that somebody listens to takes 400.
 */
import type { MeshError } from '../errors.ts'

/** What a Notice and an AbortSignal have in common. */
export interface Abortable {
  readonly aborted: boolean
  readonly reason: unknown
  addEventListener(type: 'abort', listener: Listener, options?: { readonly once?: boolean }): void
  removeEventListener(type: 'abort', listener: Listener): void
}
/** It is guarded, as all listeners are (core/defects/guard.ts). */
type Listener = (() => void) | { handleEvent(): void }

export class Notice implements Abortable {
  #aborted = false
  #reason: MeshError | Error | undefined
  /** Most have one at a time. */
  #listeners: Listener | Listener[] | undefined
  #controller: AbortController | undefined

  get aborted(): boolean {
    return this.#aborted
  }
  get reason(): unknown {
    return this.#reason
  }
  /** For those that take nothing else. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#aborted) this.#controller.abort(this.#reason)
    return this.#controller.signal
  }

  /** The first time counts. */
  abort(reason?: Error): void {
    if (this.#aborted) return
    this.#aborted = true
    this.#reason = reason
    this.#controller?.abort(reason)
    const listeners = this.#listeners ?? []
    for (const listener of Array.isArray(listeners) ? listeners : [listeners]) {
      // One that was told may have taken another away.
      if (!this.#has(listener)) continue
      if (typeof listener === 'function') listener()
      else listener.handleEvent()
    }
    this.#listeners = undefined
  }

  /** All are told once at most, whatever they ask for. */
  addEventListener(_type: 'abort', listener: Listener): void {
    if (this.#aborted || this.#has(listener)) return
    if (this.#listeners === undefined) this.#listeners = listener
    else if (Array.isArray(this.#listeners)) this.#listeners.push(listener)
    else this.#listeners = [this.#listeners, listener]
  }
  #has(listener: Listener): boolean {
    return Array.isArray(this.#listeners) ? this.#listeners.includes(listener) : this.#listeners === listener
  }
  removeEventListener(_type: 'abort', listener: Listener): void {
    if (this.#listeners === listener) this.#listeners = undefined
    else if (Array.isArray(this.#listeners)) this.#listeners = this.#listeners.filter((one) => one !== listener)
  }
}

export function toSignal(abortable: Abortable): AbortSignal {
  return abortable instanceof Notice ? abortable.signal : (abortable as AbortSignal)
}
