/** What changes, as the hub says it: one stream of server-sent events for the whole page. */
import { useEffect, useState } from 'preact/hooks'
import type { DeviceRow } from '../hub/console/schemas.ts'
import { ask, tellLoggedOut } from './api.ts'

export type Change =
  | { readonly kind: 'devices'; readonly changed: readonly DeviceRow[]; readonly removed: readonly string[] }
  | { readonly kind: 'reported'; readonly devices: readonly string[] }
  | { readonly kind: 'changed'; readonly topics: readonly string[] }
  | { readonly kind: 'reset' }
export type LinkState = 'live' | 'connecting' | 'paused'

const AGAIN_MS = 5_000

class Live {
  readonly #heard = new Set<(change: Change) => void>()
  readonly #states = new Set<(state: LinkState) => void>()
  #source: EventSource | undefined
  #again: ReturnType<typeof setTimeout> | undefined
  state: LinkState = 'connecting'

  /** A page that nobody sees does not hold one of the browser's few connections. */
  readonly #onVisibility = (): void => {
    if (document.hidden) this.#close('paused')
    else this.#open()
  }

  start(): () => void {
    document.addEventListener('visibilitychange', this.#onVisibility)
    this.#onVisibility()
    return () => {
      document.removeEventListener('visibilitychange', this.#onVisibility)
      this.#close('connecting')
    }
  }
  hear(heard: (change: Change) => void): () => void {
    this.#heard.add(heard)
    return () => this.#heard.delete(heard)
  }
  hearState(heard: (state: LinkState) => void): () => void {
    this.#states.add(heard)
    return () => this.#states.delete(heard)
  }

  #open(): void {
    clearTimeout(this.#again)
    if (this.#source) return
    const source = new EventSource('/api/v1/events')
    this.#source = source
    this.#set('connecting')
    source.addEventListener('error', () => {
      this.#set('connecting')
      if (source.readyState === EventSource.CLOSED) this.#tryAgain()
    })
    source.addEventListener('ready', () => this.#set('live'))
    source.addEventListener('over', () => {
      this.#close('connecting')
      tellLoggedOut()
    })
    for (const kind of ['devices', 'reported', 'changed', 'reset'] as const)
      source.addEventListener(kind, ({ data }) => this.#tell({ kind, ...JSON.parse(data as string) } as Change))
  }

  /** Refused: the session may be over, or there are too many pages. */
  #tryAgain(): void {
    this.#close('connecting')
    ask('/session').catch(() => {})
    this.#again = setTimeout(() => {
      if (!document.hidden) this.#open()
    }, AGAIN_MS)
  }
  #close(state: LinkState): void {
    clearTimeout(this.#again)
    this.#source?.close()
    this.#source = undefined
    this.#set(state)
  }
  #set(state: LinkState): void {
    this.state = state
    for (const heard of this.#states) heard(state)
  }
  #tell(change: Change): void {
    for (const heard of this.#heard) heard(change)
  }
}

export const live = new Live()

export function useLinkState(): LinkState {
  const [state, setState] = useState(live.state)
  useEffect(() => live.hearState(setState), [])
  return state
}
