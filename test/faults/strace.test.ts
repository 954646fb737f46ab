/**
 * The order of system calls of the shipped agent, as strace sees them: no PUBACK and no PUBREC leaves before the message
 * was written to the log and the log was synced.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { spawnSync } from 'node:child_process'
import { freePorts } from '../../tools/free-ports.ts'
import { ackPacket, connectPacket, packets, publishPacket, TYPE } from '../bench/mqtt/wire.ts'
import { Agent, directoryMode, writeResources } from '../conformance/package/shipped.ts'
import { sleep, temporaryFolder } from '../conformance/programs.ts'

/** One after the other, then in windows. */
const WINDOWS = [1, 1, 10, 50]
const PER_WINDOW = 80
const CALLS = 'pwrite64,write,writev,sendto,sendmsg,fsync,fdatasync'

function findReasonToSkip(): string | false {
  const tried = spawnSync('strace', ['-f', '-o', '/dev/null', 'true'])
  if (tried.error) return 'strace is not installed'
  return tried.status === 0 ? false : 'strace may not trace here'
}

test(
  'every acknowledgement leaves after the fsync of its message',
  { skip: findReasonToSkip(), timeout: 120_000 },
  async (t) => {
    const [port] = (await freePorts(1)) as [number]
    const trace = path.join(temporaryFolder(t), 'trace')
    const agent = await Agent.create(t, (home, adminPort) =>
      directoryMode(home, adminPort, `listeners: [{name: mqtt, kind: mqtt, port: ${port}}]\nlog: {level: warn}\n`),
    )
    writeResources(agent.folder, [])
    // With -D the agent is the child, and strace goes when it does.
    agent.launcher = ['strace', '-D', '-f', '-yy', '-xx', '-s', '200000', '-e', `trace=${CALLS}`, '-o', trace]
    await agent.start()
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
    t.after(() => socket.destroy())
    const acks: number[] = []
    let wake = (): void => {}
    packets(socket, (first, body) => {
      const type = first >> 4
      const packetId = body.length >= 2 ? body.readUInt16BE(0) : 0
      if (type === TYPE.puback || type === TYPE.pubrec) acks.push(packetId)
      if (type === TYPE.pubrec) socket.write(ackPacket(TYPE.pubrel, packetId))
      wake()
    })
    const until = async (isDone: () => boolean): Promise<void> => {
      while (!isDone()) await new Promise<void>((resolve) => (wake = resolve))
    }
    await once(socket, 'connect')
    let connected = false
    socket.once('data', () => (connected = true))
    // Its own kept session is the receiver that has to have the message.
    socket.write(connectPacket({ id: 'proof', version: 4, clean: false }))
    await until(() => connected)
    await subscribeAway(port)
    let next = 0
    for (const window of WINDOWS)
      for (let i = 0; i < PER_WINDOW; i += window) {
        const batch = Array.from({ length: window }, () => ++next)
        socket.write(
          Buffer.concat(
            batch.map((n) =>
              publishPacket({ topic: 'proof', qos: n % 2 === 0 ? 1 : 2, packetId: n, payload: Buffer.from(markOf(n)) }),
            ),
          ),
        )
        await until(() => acks.length >= next)
      }
    socket.destroy()
    await agent.process.stop('SIGTERM')
    const lines = await readWhole(trace)
    const { proven, wrong } = checkOrder(lines, port)
    t.diagnostic(`${proven} acknowledgements, ${wrong.length} before the fsync`)
    assert.deepEqual(wrong, [])
    assert.equal(proven, next)
  },
)

/** strace writes the end after its program has gone. */
async function readWhole(trace: string): Promise<readonly string[]> {
  for (let tries = 0; ; tries++) {
    const lines = fs.readFileSync(trace, 'latin1').trimEnd().split('\n')
    if (/\+\+\+ (?:exited|killed)/.test(lines.at(-1)!)) return lines
    assert.ok(tries < 200, `the trace does not end: ${lines.at(-1)!.slice(0, 200)}`)
    await sleep(50)
  }
}

const markOf = (n: number): string => `proof-${String(n).padStart(5, '0')}`

/** A session that is away, so that each message has to be on the disk. */
async function subscribeAway(port: number): Promise<void> {
  const socket = net.connect({ port, host: '127.0.0.1' })
  const { subscribePacket } = await import('../bench/mqtt/wire.ts')
  socket.write(Buffer.concat([connectPacket({ id: 'away', version: 4, clean: false }), subscribePacket('proof', 2)]))
  await new Promise<void>((resolve) => packets(socket, (first) => first >> 4 === TYPE.suback && resolve()))
  socket.destroy()
}

/**
 * A call that others interrupt stands in two lines; a sync counts from the second, what is written to the socket from
 * the first.
 */
function checkOrder(
  lines: readonly string[],
  port: number,
): { readonly proven: number; readonly wrong: readonly string[] } {
  const written = new Set<number>()
  const synced = new Set<number>()
  const unfinished = new Map<string, string>()
  const wrong: string[] = []
  let proven = 0
  for (const line of lines) {
    const pid = line.slice(0, line.indexOf(' '))
    const begins = line.includes('<unfinished ...>')
    if (begins) unfinished.set(pid, line)
    const resumed = line.includes(' resumed>')
    const call = resumed ? (unfinished.get(pid) ?? '') : line
    if (!resumed && /(?:write|writev|sendto|sendmsg)\(\d+<TCP/.test(line) && line.includes(`:${port}->`))
      for (const n of readAcks(bytesOf(line))) {
        proven++
        if (!synced.has(n)) wrong.push(`${n} was ${written.has(n) ? 'written, but not synced' : 'not written'}`)
      }
    if (begins) continue
    if (call.includes('pwrite64(') && isOnLog(call))
      for (const [, n] of bytesOf(call)
        .toString('latin1')
        .matchAll(/proof-(\d{5})/g))
        written.add(Number(n))
    if (/f(?:data)?sync\(/.test(call) && isOnLog(call)) for (const n of written) synced.add(n)
  }
  return { proven, wrong }
}
/** strace writes names as it writes strings. */
function isOnLog(call: string): boolean {
  const name = /\(\d+<([^>]*)>/.exec(call)?.[1] ?? ''
  return Buffer.from(name.replaceAll('\\x', ''), 'hex').toString().endsWith('/spool.db-wal')
}
/** What stands in the quoted strings of a call, in their order. */
function bytesOf(line: string): Buffer {
  const all = [...line.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hex]) => hex!.replaceAll('\\x', ''))
  return Buffer.from(all.join(''), 'hex')
}
/** Packet ids of PUBACK and PUBREC of MQTT 3.1.1. */
function readAcks(bytes: Buffer): number[] {
  const found: number[] = []
  for (let at = 0; at + 1 < bytes.length; at += 2 + bytes[at + 1]!)
    if ([TYPE.puback, TYPE.pubrec].includes((bytes[at]! >> 4) as 4 | 5)) found.push(bytes.readUInt16BE(at + 2))
  return found
}
