/** Frames of HTTP/2 by chance, for a client and for an endpoint. */
import { fields, frame, HELLO } from '../../attack/http2-frames.ts'
import { mark, METHODS, NAMES, PATHS, VALUES, type Dice } from './words.ts'

const [END_STREAM, END_HEADERS] = [1, 4]
const short = (pairs: readonly (readonly [string, string])[]): Buffer =>
  fields(...pairs.map(([n, v]) => [n.slice(0, 120), v.slice(0, 120)] as const))
const odd = (dice: Dice, most: number): (readonly [string, string])[] =>
  dice.times(most, () => [dice.hits(0.9) ? dice.one(NAMES).toLowerCase() : dice.one(NAMES), dice.one(VALUES)] as const)

/**
 * A connection's bytes: hello, and some streams with their heads, bodies, trailers, resets, and frames that belong
 * nowhere.
 */
export function client(dice: Dice, id: number, routes: readonly string[]): Buffer {
  const frames = dice.times(5, (i) => {
    const stream = 2 * i + 1
    const path = dice.hits(0.8) ? `${dice.one(routes)}/${mark(id)}` : `${dice.one(PATHS)}?${mark(id)}`
    const pseudo = (
      [
        [':method', dice.hits(0.85) ? dice.one(['GET', 'POST']) : dice.one(METHODS)],
        [':scheme', 'http'],
        [':authority', 'a'],
        [':path', path],
      ] as const
    ).filter(() => dice.hits(0.97))
    const ends = dice.hits(0.5) ? END_STREAM : 0
    const parts = [
      frame('headers', END_HEADERS | ends, stream, short([...pseudo, ['x-mark', mark(id)], ...odd(dice, 3)])),
    ]
    if (!ends && dice.hits(0.8))
      parts.push(frame('data', dice.hits(0.5) ? END_STREAM : 0, stream, Buffer.from(mark(id))))
    if (!ends && dice.hits(0.4)) parts.push(frame('headers', END_HEADERS | END_STREAM, stream, short(odd(dice, 3))))
    if (dice.hits(0.3)) parts.push(frame('rst', 0, stream, Buffer.from([0, 0, 0, dice.upTo(14)])))
    return Buffer.concat(parts)
  })
  return Buffer.concat([dice.hits(0.97) ? HELLO : dice.bytes(40), ...frames, ...anywhere(dice)])
}

/** What an endpoint says on a connection on which streams with these marks are open. */
export function endpoint(dice: Dice, streams: readonly { readonly stream: number; readonly id: number }[]): Buffer {
  return Buffer.concat([
    ...streams.flatMap(({ stream, id }) => {
      const status = dice.hits(0.7)
        ? '200'
        : dice.one(['100', '101', '103', '204', '304', '401', '500', '600', '999', '0', 'x', ''])
      const parts: Buffer[] = []
      if (dice.hits(0.15))
        parts.push(
          frame('headers', END_HEADERS, stream, short([[':status', dice.one(['100', '103', '101'])], ...odd(dice, 2)])),
        )
      const ends = dice.hits(0.3) ? END_STREAM : 0
      parts.push(
        frame(
          'headers',
          END_HEADERS | ends,
          stream,
          short([[':status', status], ['x-mark', mark(id)], ...odd(dice, 3)]),
        ),
      )
      if (!ends) parts.push(frame('data', dice.hits(0.6) ? END_STREAM : 0, stream, Buffer.from(mark(id))))
      if (!ends && dice.hits(0.4)) parts.push(frame('headers', END_HEADERS | END_STREAM, stream, short(odd(dice, 3))))
      if (dice.hits(0.1)) parts.push(frame('rst', 0, stream, Buffer.from([0, 0, 0, dice.upTo(14)])))
      return parts
    }),
    ...anywhere(dice),
  ])
}

function anywhere(dice: Dice): Buffer[] {
  return dice.times(2, () => {
    switch (dice.upTo(6)) {
      case 0:
        return frame('ping', dice.upTo(2), 0, Buffer.alloc(8))
      case 1:
        return frame('settings', 0, 0)
      case 2:
        return frame('windowUpdate', 0, dice.upTo(9), Buffer.from([0, 0, dice.upTo(256), dice.upTo(256)]))
      case 3:
        return frame('continuation', END_HEADERS, 1 + dice.upTo(9), dice.bytes(20))
      case 4:
        return frame('data', 0, dice.upTo(20), dice.bytes(20))
      default:
        return dice.bytes(30)
    }
  })
}
