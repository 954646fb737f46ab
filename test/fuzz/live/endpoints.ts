/** Endpoints that answer by chance, at once or piece by piece, and leave by chance. They find the mark of the request that they answer. */
import net from 'node:net'
import { frame } from '../../attack/http2-frames.ts'
import { answer } from './http1.ts'
import { endpoint } from './http2.ts'
import { marksIn, type Dice } from './words.ts'

export type Endpoints = Disposable & { /** Heads that no endpoint may see. */ readonly forbidden: readonly string[]; /** Requests of several conversations in one message. */ readonly mixed: readonly string[] }

export function startEndpoints(port: number, port2: number, dice: Dice): Endpoints {
  const open = new Set<net.Socket>()
  const forbidden: string[] = []
  const mixed: string[] = []
  const serve = (at: number, onBytes: (socket: net.Socket, bytes: Buffer) => void): net.Server => net.createServer({ noDelay: true }, (socket) => {
    open.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => open.delete(socket))
    socket.on('data', (bytes: Buffer) => onBytes(socket, bytes))
  }).listen(at, '127.0.0.1')

  const http1 = serve(port, (socket, bytes) => {
    const text = bytes.toString('latin1')
    if (/^[A-Z]+ \/private/m.test(text)) forbidden.push(text.slice(0, 300))
    // One try, one message: heads of several requests in one piece mean that one was hidden in another.
    const heads = [...text.matchAll(/^[A-Z-]+ \S+ HTTP\/1\.1\r$/gm)].map((m) => m[0])
    if (new Set(heads.flatMap((head) => [...marksIn(head)])).size > 1) mixed.push(text.slice(0, 500))
    const [id] = marksIn(text)
    if (id !== undefined) leave(dice, socket, answer(dice, id))
  })
  const http2 = serve(port2, (socket, bytes) => {
    if (bytes.includes('PRI * HTTP/2.0')) socket.write(frame('settings', 0, 0))
    const streams = streamsIn(bytes)
    if (streams.length > 0) leave(dice, socket, endpoint(dice, streams))
  })
  return { forbidden, mixed, [Symbol.dispose]: () => { http1.close(); http2.close(); for (const socket of open) socket.destroy() } }
}

function leave(dice: Dice, socket: net.Socket, bytes: Buffer): void {
  const cut = dice.hits(0.3) ? dice.upTo(bytes.length) : bytes.length
  socket.write(bytes.subarray(0, cut))
  switch (dice.upTo(8)) {
    case 0: socket.resetAndDestroy(); return
    case 1: socket.end(); return
    default: setTimeout(() => { if (!socket.destroyed) socket.write(bytes.subarray(cut)) }, dice.upTo(5))
  }
}

/** Streams whose heads begin in these bytes, with their marks: Huffman-coded text is not read, such a stream is answered with mark 0, nobody's. */
function streamsIn(bytes: Buffer): { stream: number; id: number }[] {
  const found: { stream: number; id: number }[] = []
  for (let at = bytes.includes('PRI * HTTP/2.0') ? 24 : 0; at + 9 <= bytes.length;) {
    const length = bytes.readUIntBE(at, 3)
    if (bytes[at + 3] === 1) found.push({ stream: bytes.readUInt32BE(at + 5) & 0x7fffffff, id: [...marksIn(bytes.toString('latin1', at + 9, at + 9 + length))][0] ?? 0 })
    at += 9 + length
  }
  return found
}
