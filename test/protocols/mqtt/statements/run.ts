/** Plays a row: bytes against the broker, or against the bridge as a client, compared one packet after the other. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { readMessageMs } from '../../../../protocols/mqtt/expiry.ts'
import { formatHash, hashPassword } from '../../../../protocols/mqtt/users/password-hash.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { settleUntil } from '../../../helpers/mqtt/peer.ts'
import { FakeUpstream } from '../../../helpers/mqtt/upstream.ts'
import { FilesDisk, PASSWORDS, usersOn } from '../../../helpers/mqtt/users.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { SimNetwork } from '../../../helpers/sim-network.ts'
import { bridgePolicy, DOWN, Rig, UP } from '../bridge/rig.ts'
import type { Dialect } from './bytes.ts'
import type { Row, Step } from './row.ts'

/** One end of a connection, in bytes. */
export class Wire {
  readonly #stream: Duplex
  readonly #isRaw: boolean
  #bytes = Buffer.alloc(0)
  /** The AUTH packet that came last; where there are no packets, what was taken last. */
  lastAuth = ''
  ended = false

  constructor(stream: Duplex, { isRaw = false } = {}) {
    this.#stream = stream
    this.#isRaw = isRaw
    stream.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
    })
    for (const event of ['end', 'close', 'error'])
      stream.on(event, () => {
        this.ended = true
      })
  }
  send(hex: string): void {
    this.#stream.write(Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'))
  }
  break(): void {
    this.#stream.destroy()
  }
  /** What has come and nobody has taken. */
  get rest(): string {
    return this.#bytes.toString('hex')
  }
  /** Of the next packet; undefined while it is not whole. */
  #length(wanted: number): number | undefined {
    if (this.#isRaw) return this.#bytes.length >= wanted ? wanted : undefined
    let [length, at] = [0, 1]
    for (let shift = 1; ; shift *= 128, at++) {
      const byte = this.#bytes[at]
      if (byte === undefined) return undefined
      length += (byte & 0x7f) * shift
      if (byte < 0x80) break
    }
    const all = at + 1 + length
    return this.#bytes.length >= all ? all : undefined
  }
  /** @param wanted bytes, where there are no packets */
  async take(wanted: number): Promise<string> {
    await settleUntil(() => this.#length(wanted) !== undefined || this.ended)
    const length = this.#length(wanted)
    if (length === undefined) return this.ended ? 'the end' : 'nothing'
    const taken = this.#bytes.subarray(0, length).toString('hex')
    this.#bytes = this.#bytes.subarray(length)
    if (this.#isRaw || taken.startsWith('f0')) this.lastAuth = taken
    return taken
  }
}

const spaced = (hex: string): string => hex.replaceAll(/(..)(?=.)/g, '$1 ')
function compare(got: string, wanted: string, where: string): void {
  const bytes = wanted.replaceAll(/\s/g, '')
  let isSame = got.length === bytes.length
  for (let i = 0; isSame && i < bytes.length; i++) isSame = bytes[i] === '.' || bytes[i] === got[i]
  if (!isSame) assert.equal(spaced(got), spaced(bytes), where)
}

/** What both kinds of rows share. */
abstract class Stage {
  readonly wires = new Map<string, Wire>()
  protected abstract open(who: string): Wire
  abstract wait(ms: number): Promise<void>
  abstract restart(): Promise<void>
  abstract publish(step: Extract<Step, { does: 'publish' }>): Promise<void>
  abstract meet(who: string): Promise<void>

  wire(who: string): Wire {
    const known = this.wires.get(who)
    if (known) return known
    const wire = this.open(who)
    this.wires.set(who, wire)
    return wire
  }
  async play(step: Step, where: string): Promise<void> {
    switch (step.does) {
      case 'send': {
        const wire = this.wire(step.who)
        wire.send(typeof step.hex === 'string' ? step.hex : step.hex(wire.lastAuth))
        return
      }
      case 'get':
        for (const one of step.packets)
          compare(await this.wire(step.who).take(one.replaceAll(/\s/g, '').length / 2), one, where)
        return
      case 'get-nothing':
        for (let i = 0; i < 4; i++) await settle()
        assert.deepEqual([spaced(this.wire(step.who).rest), this.wire(step.who).ended], ['', false], where)
        return
      case 'see-end': {
        const wire = this.wire(step.who)
        await settleUntil(() => wire.ended || wire.rest !== '')
        assert.deepEqual([spaced(wire.rest), wire.ended], ['', true], where)
        return
      }
      case 'break':
        this.wire(step.who).break()
        for (let i = 0; i < 4; i++) await settle()
        return
      case 'wait':
        return await this.wait(step.ms)
      case 'restart':
        return await this.restart()
      case 'publish':
        return await this.publish(step)
      case 'meet':
        return await this.meet(step.who)
      default:
        step satisfies never
    }
  }
}

class ServerStage extends Stage {
  #broker: TestBroker
  readonly #row: Row
  constructor(row: Row, broker: TestBroker) {
    super()
    this.#row = row
    this.#broker = broker
  }
  static async make(row: Row): Promise<ServerStage> {
    if (!row.setup.users) return new ServerStage(row, new TestBroker())
    const files = new FilesDisk()
    const hash = await hashPassword('scram-sha-256', Buffer.from('secret'), randomBytes(16))
    files.write(PASSWORDS, `ana:${formatHash(hash)}\n`)
    return new ServerStage(row, new TestBroker({ users: usersOn(files) }))
  }
  /** `a2` is a second connection of client `a`; the name of the wire says nothing to the broker. */
  protected open(): Wire {
    const { policy, websocket } = this.#row.setup
    const { stream } = this.#broker.open({ ...(policy && { policy }), ...(websocket && { transport: 'websocket' }) })
    stream.removeAllListeners('data')
    return new Wire(stream, { isRaw: websocket === true })
  }
  wait(ms: number): Promise<void> {
    return this.#broker.clock.advance(ms)
  }
  async restart(): Promise<void> {
    for (let i = 0; i < 4; i++) await settle()
    this.#broker = this.#broker.restart()
    this.wires.clear()
  }
  publish(): Promise<void> {
    throw new Error('rows of the broker publish over the wire')
  }
  meet(): Promise<void> {
    throw new Error('clients come to the broker')
  }
}

const AT = { host: '10.0.0.1', port: 1883 }
class ClientStage extends Stage {
  readonly #network = new SimNetwork()
  readonly #met: Wire[] = []
  readonly #row: Row
  readonly #v: Dialect
  #rig: Rig
  constructor(row: Row, v: Dialect) {
    super()
    this.#row = row
    this.#v = v
    this.#rig = new Rig(new TestBroker(), new FakeUpstream(this.#network, AT))
  }
  async begin(): Promise<void> {
    await this.#network.listen(AT, ({ stream }) => {
      this.#met.push(new Wire(stream, { isRaw: this.#row.setup.websocket === true }))
    })
    await this.#apply()
  }
  async #apply(): Promise<void> {
    const { routes = ['up', 'down'], bridge = {} } = this.#row.setup
    const protocol = this.#v.is5 ? {} : { protocol: '3.1.1' as const }
    await this.#rig.bridge.apply(
      bridgePolicy(
        routes.map((way) => (way === 'up' ? UP : DOWN)),
        { ...protocol, ...bridge },
      ),
    )
  }
  async end(): Promise<void> {
    await this.#rig.bridge[Symbol.asyncDispose]()
  }
  protected open(who: string): Wire {
    throw new Error(`the bridge has not come to ${who}`)
  }
  wait(ms: number): Promise<void> {
    return this.#rig.clock.advance(ms)
  }
  async restart(): Promise<void> {
    const local = this.#rig.local.restart()
    await this.end()
    this.#rig = new Rig(local, new FakeUpstream(this.#network, AT))
    await this.#apply()
  }
  async publish({ topic, payload, qos, sec, retain = false }: Extract<Step, { does: 'publish' }>): Promise<void> {
    const expiry = sec === undefined ? {} : { expiresAtMs: readMessageMs(this.#rig.clock) + sec * 1000, expirySec: sec }
    await this.#rig.publish(topic, payload, { qos, retain, ...expiry })
  }
  async meet(who: string): Promise<void> {
    for (let i = 0; i < 2_000 && this.#met.length === 0; i++) await (i === 0 ? settle() : this.#rig.clock.advance(100))
    const wire = this.#met.shift()
    assert.ok(wire, 'the bridge comes')
    this.wires.set(who, wire)
  }
}

/** Everything that came was wanted, and nobody was cut off who was not told. */
function checkRest(wires: ReadonlyMap<string, Wire>, seen: ReadonlySet<string>): void {
  for (const [who, wire] of wires) {
    assert.equal(spaced(wire.rest), '', `${who} got more`)
    assert.equal(wire.ended, seen.has(who), `${who}: the connection ${wire.ended ? 'ended' : 'goes on'}`)
  }
}

export async function play(row: Row, v: Dialect): Promise<void> {
  const stage = row.role === 'server' ? await ServerStage.make(row) : new ClientStage(row, v)
  if (stage instanceof ClientStage) await stage.begin()
  const ended = new Set<string>()
  try {
    for (const [i, step] of row.talk(v).entries()) {
      const where = `step ${i + 1}: ${JSON.stringify(step)}`
      if (step.does === 'see-end' || step.does === 'break') ended.add(step.who)
      if (step.does === 'meet') ended.delete(step.who)
      if (step.does === 'restart') ended.clear()
      await stage.play(step, where)
    }
    for (let i = 0; i < 4; i++) await settle()
    checkRest(stage.wires, ended)
  } finally {
    if (stage instanceof ClientStage) await stage.end()
  }
}
