/**
 * The same random conversation with mosquitto and with our broker: every client hears the same after every act, over
 * takeovers, windows, kills and restarts of ours. The shortest conversation that differs is printed.
 * `MQTT_BESIDE_SEED` and `MQTT_BESIDE_RUNS` for others and more.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { findDebianProgram } from '../../../../tools/debian.ts'
import { freePorts } from '../../../../tools/free-ports.ts'
import { publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { connectPacket, MqttPeer, settleUntil } from '../../../helpers/mqtt/peer.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { start, temporaryFolder } from '../../programs.ts'
import { type Act, CLIENTS, makeConversation, TOPICS } from './acts.ts'
import { Side } from './side.ts'

const SEED = Number(process.env['MQTT_BESIDE_SEED'] ?? 1)
const RUNS = Number(process.env['MQTT_BESIDE_RUNS'] ?? 60)
/** Each waits some seconds. */
const RUNS_IN_TIME = Math.ceil(RUNS / 6)
const LENGTH = 40

async function mosquitto(t: TestContext): Promise<(version: 4 | 5) => MqttPeer> {
  const [port] = (await freePorts(1)) as [number]
  const conf = path.join(temporaryFolder(t), 'm.conf')
  const limits = 'max_inflight_messages 0\nmax_queued_messages 0\nallow_duplicate_messages false\n'
  fs.writeFileSync(conf, `user root\nlistener ${port} 127.0.0.1\nallow_anonymous true\n${limits}`)
  await start(t, findDebianProgram('mosquitto'), ['-c', conf]).listening(port)
  return (version) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.setNoDelay(true)
    return new MqttPeer(socket, version)
  }
}
/** Of what a conversation leaves there. */
async function clean(open: (version: 4 | 5) => MqttPeer): Promise<void> {
  for (const clientId of CLIENTS) {
    const peer = open(4)
    peer.send(connectPacket({ version: 4, clientId, cleanStart: true }))
    for (const topic of TOPICS) peer.send(publishPacket({ topic, payload: Buffer.alloc(0), retain: true }))
    peer.send({ type: 'pingreq' })
    await settleUntil(() => peer.received.some(({ type }) => type === 'pingresp'))
    peer.disconnect()
    await settleUntil(() => peer.closed)
  }
}

/** @returns the first difference, in words */
async function differ(acts: readonly Act[], open: (version: 4 | 5) => MqttPeer): Promise<string | undefined> {
  let broker = new TestBroker()
  const ours = new Side({
    open: (version) => broker.open({ version }),
    wait: (ms) => broker.clock.advance(ms),
    async restart(how) {
      broker = how === 'kill' ? broker.restart() : await broker.stop()
    },
  })
  const theirs = new Side({ open, restart: () => Promise.resolve(), wait: (ms) => setTimeout(ms) })
  try {
    for (const [i, act] of acts.entries()) {
      const [mine, other] = [await ours.take(act), await theirs.take(act)]
      for (const [n, id] of CLIENTS.entries())
        if (mine[n] !== other[n])
          return `act ${i} ${JSON.stringify(act)}\n${id} heard of us: ${mine[n]}\nof mosquitto:  ${other[n]}`
    }
    return undefined
  } finally {
    ours.end()
    theirs.end()
    await broker.broker[Symbol.asyncDispose]()
    await clean(open)
  }
}

for (const [time, runs] of [
  ['stands', RUNS],
  ['passes', RUNS_IN_TIME],
] as const)
  test(`every client hears what it hears of mosquitto while time ${time}`, { timeout: 900_000 }, async (t) => {
    const open = await mosquitto(t)
    for (let run = 0; run < runs; run++) {
      let acts = makeConversation(seededRandom(SEED + run), LENGTH, time)
      let found = await differ(acts, open)
      if (found === undefined) continue
      for (let size = acts.length >> 1; size >= 1; size >>= 1)
        for (let i = 0; i + size <= acts.length;) {
          const fewer = acts.toSpliced(i, size)
          const still = await differ(fewer, open)
          if (still === undefined) i += size
          else [acts, found] = [fewer, still]
        }
      assert.fail(`seed ${SEED + run}\n${acts.map((act) => JSON.stringify(act)).join('\n')}\n${found}`)
    }
  })
