/** The Connection field (RFC 9110 §7.6.1). */
import type { Fault } from './h1-head.ts'

/** Of one message; each costs a pass over its fields. */
const MAX_OPTIONS = 32

export type ConnectionOptions = {
  readonly close: boolean
  readonly keepAlive: boolean
  readonly upgrade: boolean
  /** Fields that are for this connection alone, lower case. */
  readonly fields: readonly string[]
}

/** @param list values of all Connection fields, joined by commas */
export function parseConnection(list: string, fail: (fault: Fault, what: string) => never): ConnectionOptions {
  const options = list.split(',', MAX_OPTIONS + 1).map((raw) => raw.trim().toLowerCase())
  if (options.length > MAX_OPTIONS) fail('too-large', `more than ${MAX_OPTIONS} options in Connection`)
  return {
    close: options.includes('close'),
    keepAlive: options.includes('keep-alive'),
    upgrade: options.includes('upgrade'),
    fields: options.filter((option) => !['', 'close', 'keep-alive', 'upgrade'].includes(option)),
  }
}
