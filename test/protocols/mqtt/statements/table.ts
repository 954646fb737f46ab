/** All rows, and what no row can show. */
import { type Dialect, V31, V311, V5 } from './bytes.ts'
import type { Row, Unseen } from './row.ts'
import { ACKNOWLEDGEMENTS } from './rows/acknowledgements.ts'
import { AUTHENTICATIONS } from './rows/authentication.ts'
import { CONNACKS, CONNACKS_UNSEEN } from './rows/connack.ts'
import { CONNECTS } from './rows/connect.ts'
import { DATA } from './rows/data.ts'
import { ENDINGS } from './rows/ending.ts'
import { MQTT31 } from './rows/mqtt31.ts'
import { PROPERTIES } from './rows/properties.ts'
import { PUBLISHES } from './rows/publish.ts'
import { SESSIONS } from './rows/sessions.ts'
import { SUBSCRIBES } from './rows/subscribe.ts'
import { TOPICS, TOPICS_UNSEEN } from './rows/topics.ts'
import { WEBSOCKETS } from './rows/websocket.ts'
import { WILLS } from './rows/will.ts'

export const ROWS: readonly Row[] = [
  ...DATA,
  ...CONNECTS,
  ...WILLS,
  ...CONNACKS,
  ...PUBLISHES,
  ...PROPERTIES,
  ...ACKNOWLEDGEMENTS,
  ...SUBSCRIBES,
  ...ENDINGS,
  ...AUTHENTICATIONS,
  ...SESSIONS,
  ...TOPICS,
  ...WEBSOCKETS,
  ...MQTT31,
]
export const UNSEEN: readonly Unseen[] = [...CONNACKS_UNSEEN, ...TOPICS_UNSEEN]

/** Where a statement is met, but not always. */
export const EXCEPTIONS: readonly { readonly statements: string; readonly what: string }[] = [
  {
    statements: 'MQTT-3.3.1-3, MQTT-4.3.2-2, MQTT-4.3.3-2 (5.0); MQTT-3.3.1-3, MQTT-4.3.2-1, MQTT-4.3.3-1 (3.1.1)',
    what: 'after a kill or a power cut, what waits for a receiver that was connected at that moment carries DUP, also what its window had not let through: before a message goes the disk knows that the receiver is there, not which message was the last, for that would be a write per message, and a repetition without DUP would be worse (MQTT-3.3.1-1)',
  },
]

/** A row in one version. */
export type Case = {
  readonly standard: Standard
  readonly ids: readonly string[]
  readonly row: Row
  readonly v: Dialect
}
export type Standard = 'v5' | 'v3' | 'v31'
export const STANDARDS: readonly (readonly [Standard, string, Dialect])[] = [
  ['v5', '5.0', V5],
  ['v3', '3.1.1', V311],
  ['v31', '3.1', V31],
]
export const CASES: readonly Case[] = ROWS.flatMap((row) =>
  STANDARDS.flatMap(([standard, , v]) => {
    const ids = row.ids[standard]
    return ids === undefined ? [] : [{ standard, ids: ids.split(' '), row, v }]
  }),
)
/** As it is printed. */
export const nameOf = (standard: Standard, id: string): string => (standard === 'v31' ? `§${id}` : `MQTT-${id}`)
