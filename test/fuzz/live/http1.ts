/** HTTP/1 by chance: what a client says, and what an endpoint answers. */
import { mark, METHODS, NAMES, PATHS, VALUES, type Dice } from './words.ts'

const LINE_ENDS = ['\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\n', '\r']

function fieldLines(dice: Dice, most: number): string {
  return dice
    .times(
      most,
      () => `${dice.one(NAMES)}:${dice.one([' ', ' ', ' ', '', '\t'])}${dice.one(VALUES)}${dice.one(LINE_ENDS)}`,
    )
    .join('')
}
function chunks(dice: Dice, text: string): string {
  const size = dice.hits(0.9) ? text.length.toString(16) : dice.one(['ffffffff', '-1', '', '0x2', '5;a=b'])
  return `${size}\r\n${text}\r\n0\r\n${dice.hits(0.5) ? fieldLines(dice, 3) : ''}\r\n`
}

/** One to four requests in one run of bytes, sound or not, each with the mark. */
export function requests(dice: Dice, id: number, routes: readonly string[]): Buffer {
  const all = Array.from({ length: 1 + dice.upTo(4) }, () => {
    const path = dice.hits(0.8) ? `${dice.one(routes)}/${mark(id)}` : `${dice.one(PATHS)}?${mark(id)}`
    const head = `${dice.hits(0.85) ? dice.one(['GET', 'POST', 'HEAD', 'PUT']) : dice.one(METHODS)} ${path} HTTP/${dice.one(['1.1', '1.1', '1.1', '1.0', '2.0', '1.2'])}\r\nhost: ${dice.one(['a', 'a', 'a:80', ''])}\r\nx-mark: ${mark(id)}\r\n${fieldLines(dice, 4)}`
    const body = mark(id)
    switch (dice.upTo(5)) {
      case 0:
        return `${head}content-length: ${body.length}\r\n\r\n${body}`
      case 1:
        return `${head}transfer-encoding: chunked\r\n\r\n${chunks(dice, body)}`
      case 2:
        return `${head}connection: upgrade\r\nupgrade: ${dice.one(['websocket', 'h2c', 'x'])}\r\n\r\n${dice.hits(0.3) ? body : ''}`
      case 3:
        return `${head}expect: 100-continue\r\ncontent-length: ${body.length}\r\n\r\n${dice.hits(0.7) ? body : ''}`
      default:
        return `${head}\r\n`
    }
  })
  return Buffer.from(all.join(''), 'latin1')
}

/**
 * What an endpoint says to a request with this mark: one answer, sound or not, sometimes with others before or behind
 * it.
 */
export function answer(dice: Dice, id: number): Buffer {
  const body = mark(id)
  const status = dice.hits(0.7) ? 200 : dice.one([100, 101, 103, 199, 204, 205, 304, 401, 404, 500, 503, 600, 999, 0])
  const interim = dice.hits(0.15)
    ? `HTTP/1.1 ${dice.one([100, 102, 103, 110])} Interim\r\n${fieldLines(dice, 2)}\r\n`
    : ''
  const head = `${interim}HTTP/1.1 ${status} ${dice.one(['OK', '', 'é'])}\r\nx-mark: ${mark(id)}\r\n${fieldLines(dice, 4)}`
  switch (dice.upTo(6)) {
    case 0:
      return Buffer.from(`${head}transfer-encoding: chunked\r\n\r\n${chunks(dice, body)}`, 'latin1')
    case 1:
      return Buffer.from(`${head}\r\n${body}`, 'latin1')
    case 2:
      return Buffer.from(`${head}content-length: ${body.length + dice.one([0, 0, 5, -1])}\r\n\r\n${body}`, 'latin1')
    case 3:
      return dice.bytes(100)
    // Two answers to one request: the second is nobody's.
    case 4:
      return Buffer.from(
        `${head}content-length: ${body.length}\r\n\r\n${body}HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        'latin1',
      )
    default:
      return Buffer.from(`${head}content-length: ${body.length}\r\n\r\n${body}`, 'latin1')
  }
}
