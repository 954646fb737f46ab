/** What a table is made of: which statements a row shows, and the conversation that shows it. */
import type { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { type Dialect, P } from './bytes.ts'

type PolicyInput = NonNullable<NonNullable<Parameters<TestBroker['open']>[0]>['policy']>

/**
 * Numbers as in `MQTT-3.1.0-1`, without the prefix; several with spaces between them. Of 3.1, which has none, the
 * section.
 */
export type Ids = { readonly v5?: string; readonly v3?: string; readonly v31?: string }
export type Role = 'server' | 'client'

export type Step =
  /** A client of ours, or in rows of a client the upstream broker `up`. */
  | { readonly does: 'send'; readonly who: string; readonly hex: string | ((lastAuth: string) => string) }
  /** Exactly these packets come next. */
  | { readonly does: 'get'; readonly who: string; readonly packets: readonly string[] }
  /** Nothing comes. */
  | { readonly does: 'get-nothing'; readonly who: string }
  /** Then the connection ends, from our side. */
  | { readonly does: 'see-end'; readonly who: string }
  /** The network connection breaks without a word. */
  | { readonly does: 'break'; readonly who: string }
  | { readonly does: 'wait'; readonly ms: number }
  /** The process is killed and started again on what is on the disk. */
  | { readonly does: 'restart' }
  /** Rows of a client: a message of the local broker, which the bridge is to take up. */
  | {
      readonly does: 'publish'
      readonly topic: string
      readonly payload: string
      readonly qos: 0 | 1 | 2
      readonly sec?: number
      readonly retain?: boolean
    }
  /** Rows of a client: the next connection that the bridge opens is `who`. */
  | { readonly does: 'meet'; readonly who: string }

export type Row = {
  readonly ids: Ids
  readonly role: Role
  readonly title: string
  readonly setup: Setup
  readonly talk: (v: Dialect) => readonly Step[]
}
export type Setup = {
  readonly policy?: PolicyInput
  /** Over WebSocket: bytes are compared, not packets. */
  readonly websocket?: true
  /** With a user `ana` whose password is `secret`. */
  readonly users?: true
  /** Of a client: settings of its bridge, and its routes. */
  readonly bridge?: Readonly<Record<string, unknown>>
  readonly routes?: readonly ('up' | 'down')[]
}
/** A statement that no row can show, with the reason. */
export type Unseen = { readonly ids: Ids; readonly why: Why; readonly reason: string }
/**
 * `peer`: a duty of our peer that is ours to no extent. `option`: about who lacks something that we have. `inner`: no
 * byte on the wire says whether it is met. `not met`: it is not.
 */
export type Why = 'peer' | 'option' | 'inner' | 'not met'

export const send = (who: string, ...hex: readonly (string | ((lastAuth: string) => string))[]): Step => {
  const [first] = hex
  return { does: 'send', who, hex: typeof first === 'function' ? first : hex.join('') }
}
export const get = (who: string, ...packets: readonly string[]): Step => ({ does: 'get', who, packets })
export const getNothing = (who: string): Step => ({ does: 'get-nothing', who })
export const seeEnd = (who: string): Step => ({ does: 'see-end', who })
export const breakOff = (who: string): Step => ({ does: 'break', who })
export const wait = (ms: number): Step => ({ does: 'wait', ms })
/** The broker is killed and started again on what is on its disk; of a client, its bridge ends in order. */
export const restart: Step = { does: 'restart' }
export const meet = (who: string): Step => ({ does: 'meet', who })
export const publish = (
  topic: string,
  payload: string,
  p: { readonly qos?: 0 | 1 | 2; readonly sec?: number; readonly retain?: boolean } = {},
): Step => ({ does: 'publish', topic, payload, ...p, qos: p.qos ?? 1 })

/** A row about the broker. */
export function server(ids: Ids, title: string, talk: Row['talk'], setup: Setup = {}): Row {
  return { ids, role: 'server', title, setup, talk }
}
/** A row about our client: the bridge. */
export function client(ids: Ids, title: string, talk: Row['talk'], setup: Setup = {}): Row {
  return { ids, role: 'client', title, setup, talk }
}
export function unseen(ids: Ids, why: Why, reason: string): Unseen {
  return { ids, why, reason }
}

/** A client of the broker is connected. */
export const opened = (v: Dialect, who: string, p: Parameters<Dialect['connect']>[1] = {}): readonly Step[] => [
  send(who, v.connect(who, p)),
  get(who, v.connack()),
]
/** And has subscribed, with packet id 1. */
export const subscribed = (v: Dialect, who: string, filters: Readonly<Record<string, number>>): readonly Step[] => [
  ...opened(v, who),
  send(who, v.subscribe(1, filters)),
  get(who, v.suback(1, ...Object.values(filters).map((options) => options & 3))),
]
/** Of a session that is kept: for an hour in 5.0, without Clean Session in 3.1.1. */
export const kept = (v: Dialect, p: Parameters<Dialect['connect']>[1] = {}): Parameters<Dialect['connect']>[1] => ({
  clean: false,
  ...p,
  props: v.is5 ? [P.sessionExpiry(3600), ...(p.props ?? [])] : [],
})
