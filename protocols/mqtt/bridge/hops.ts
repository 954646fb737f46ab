/**
 * How many bridges brought a message down to here, in a User Property (MQTT 5.0 §3.3.2.3.7). No Local keeps a message
 * off its own way back; this ends circles through several brokers. It costs nothing on the way up.
 */
import { decodeForwarded, encodeProperties } from '../codec/properties.ts'

const HOPS = 'meshlet-hops'
const NAME = Buffer.from(HOPS)

/** @returns the message's properties with one hop more; undefined when that is one too many */
export function withHop(properties: Uint8Array, maxHops: number): Uint8Array | undefined {
  const had =
    properties.length > 0 && Buffer.from(properties.buffer, properties.byteOffset, properties.length).includes(NAME)
  if (!had) return Buffer.concat([properties, one(1)])
  const { userProperties = [], ...others } = decodeForwarded(properties)
  const hops = userProperties.reduce(
    (most, [name, value]) => (name === HOPS ? Math.max(most, countOf(value)) : most),
    0,
  )
  if (hops >= maxHops) return undefined
  const rest = userProperties.filter(([name]) => name !== HOPS)
  return Buffer.concat([encodeProperties({ ...others, userProperties: rest }), one(hops + 1)])
}

const one = (hops: number): Uint8Array =>
  hops === 1 ? ONE : encodeProperties({ userProperties: [[HOPS, String(hops)]] })
const ONE = encodeProperties({ userProperties: [[HOPS, '1']] })

/** A value that is not a count is ignored. */
function countOf(value: string): number {
  return /^\d{1,3}$/.test(value) ? Number(value) : 0
}
