/** How rows of a client begin: the bridge has connected, and has subscribed where it has a route down. */
import { type Dialect, P, u16, u8, packet, str, props } from '../bytes.ts'
import { get, meet, send, type Setup, type Step } from '../row.ts'

const RECEIVE_MAXIMUM = 100
export const CONNECT_PROPS = [
  P.sessionExpiry(0xffffffff),
  P.receiveMaximum(RECEIVE_MAXIMUM),
  P.maximumPacketSize(1024 * 1024),
]
/** Its CONNECT. @param level with the bit of a bridge towards 3.1.1, where it has routes both ways */
export const CONNECTED = (v: Dialect, level: number = v.level, clientId = 'edge-1/cloud'): string =>
  packet(0x10, str('MQTT'), u8(level), '00', u16(30), v.is5 ? props(...CONNECT_PROPS) : '', str(clientId))
/** Away from the ids of messages where there are some. */
const subscribeId = (routes: readonly string[]): number => (routes.includes('up') ? 0x7d01 : 0xfff1)
/** QoS 2, No Local and Retain As Published; towards 3.1.1 the QoS alone. */
const OPTIONS = 0x0e

export function bridged(
  v: Dialect,
  {
    routes = ['up', 'down'],
    connack = [],
    who = 'up',
    present = false,
  }: Setup & { readonly connack?: readonly string[]; readonly who?: string; readonly present?: boolean } = {},
): readonly Step[] {
  const isDown = routes.includes('down')
  const level = v.is5 ? 5 : isDown && routes.includes('up') ? 0x84 : 4
  const id = subscribeId(routes)
  return [
    meet(who),
    get(who, CONNECTED(v, level)),
    send(who, v.connack({ present, props: connack })),
    ...(isDown && !present
      ? [get(who, v.subscribe(id, { 'commands/#': v.either(OPTIONS, 2) })), send(who, v.suback(id, 2))]
      : []),
  ]
}
