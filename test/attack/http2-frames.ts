/** Frames of HTTP/2 by hand (RFC 9113 §4.1), for what no library sends. */

const TYPES = { data: 0, headers: 1, rst: 3, settings: 4, ping: 6, windowUpdate: 8, continuation: 9 } as const
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export function frame(
  type: keyof typeof TYPES,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = TYPES[type]
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** Literal fields without indexing, without Huffman (RFC 7541 §6.2.2). Names and values below 127 bytes. */
export function fields(...pairs: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(
    pairs.flatMap(([name, value]) => [
      Buffer.from([0, name.length]),
      Buffer.from(name, 'latin1'),
      Buffer.from([value.length]),
      Buffer.from(value, 'latin1'),
    ]),
  )
}
export const request = (path: string, ...more: readonly (readonly [string, string])[]): Buffer =>
  fields([':method', 'GET'], [':scheme', 'http'], [':authority', 'a'], [':path', path], ...more)
export const HELLO = Buffer.concat([PREFACE, frame('settings', 0, 0)])
