/**
 * A subscriber with a session that is kept, on MQTT.js with stores that outlive its connections. It may come and go.
 */
import { connect, Store, type MqttClient } from 'mqtt'
import type { Random } from '../../../../core/os/clock.ts'
import { sleep } from '../../../conformance/programs.ts'
import type { Version } from '../wire.ts'
import type { Receipts } from './ledger.ts'
import type { Faults } from './publishers.ts'

const RECONNECT_MS = 30
const STAY_MS = { least: 200, most: 1_200 }
const AWAY_MS = { least: 100, most: 900 }
const between = (span: { least: number; most: number }, random: Random): number =>
  span.least + random.float() * (span.most - span.least)

type Setting = {
  readonly name: string
  readonly version: Version
  readonly port: number
  readonly random: Random
  readonly faults: Faults
  readonly receipts: Receipts
}

export class Subscriber {
  readonly #p: Setting
  // QoS 2 is exactly once only for a receiver that does not forget the ids it has.
  readonly #stores = { incomingStore: new Store({ clean: false }), outgoingStore: new Store({ clean: false }) }
  #client: MqttClient | undefined
  #isSubscribed = false
  #roaming: Promise<void> | undefined
  #stays = false

  constructor(p: Setting) {
    this.#p = p
  }

  /** Resolves with the SUBACK. */
  async subscribe(): Promise<void> {
    await this.#come().subscribeAsync('kill/#', { qos: 2 })
    this.#isSubscribed = true
  }
  /** From now on away about as often as it is there. */
  roam(): void {
    this.#roaming = this.#roam()
  }
  /** Is there and stays. */
  async stay(): Promise<void> {
    this.#stays = true
    await this.#roaming
  }
  async end(): Promise<void> {
    await this.stay()
    await this.#client?.endAsync(true)
  }

  #come(): MqttClient {
    const { name, version, port, faults, receipts } = this.#p
    const client = (this.#client = connect({
      host: '127.0.0.1',
      port,
      clientId: name,
      protocolVersion: version,
      clean: false,
      reconnectPeriod: RECONNECT_MS,
      ...this.#stores,
      ...(version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}),
    }))
    client.on('error', () => {
      /* connections are lost on purpose */
    })
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'connack' && this.#isSubscribed && !packet.sessionPresent) faults.sessionsLost++
    })
    client.on('message', (topic, payload, { qos }) => {
      receipts.got(topic, payload, qos)
    })
    return client
  }
  async #roam(): Promise<void> {
    const { random } = this.#p
    while (!this.#stays) {
      await sleep(between(STAY_MS, random))
      // Half of the time it says goodbye.
      await this.#client!.endAsync(random.float() < 0.5)
      await sleep(between(AWAY_MS, random))
      this.#come()
    }
  }
}
