/** Whatever is denied: the reason code that the standard has for it, and one line in the log. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createLog } from '../../../core/log.ts'
import { NO_PROPERTIES } from '../../../protocols/mqtt/codec/properties.ts'
import type { Connect, Version } from '../../../protocols/mqtt/codec/packet.ts'
import { type policyOf, TestBroker } from '../../helpers/mqtt/broker.ts'
import type { MqttPeer } from '../../helpers/mqtt/peer.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { FilesDisk, line, PASSWORDS, usersOn } from '../../helpers/mqtt/users.ts'

type Policy = NonNullable<Parameters<typeof policyOf>[0]>
type Line = { readonly evt: string; readonly level: string }

function brokerWithLog(withUsers: boolean): { readonly t: TestBroker; readonly lines: Line[] } {
  const lines: Line[] = []
  const log = createLog('info', { write: (text) => lines.push(JSON.parse(text) as Line) })
  const files = new FilesDisk()
  files.write(PASSWORDS, line('ana', 'secret'))
  return { t: new TestBroker(withUsers ? { log, users: usersOn(files) } : { log }), lines }
}
async function settled(): Promise<void> {
  for (let i = 0; i < 6; i++) await settle()
}
/** What has come, and what the log says but for who connects and who goes by himself. */
async function taken(peer: MqttPeer, lines: readonly Line[]): Promise<string> {
  await settled()
  const said = lines.map(({ evt }) => evt).filter((evt) => evt !== 'mqtt.connected')
  const words = await peer.seen()
  return `${words.join(' ') || 'nothing'}${peer.closed ? ' end' : ''} | ${said.join(' ')}`
}

const DENIED: Policy = {
  rules: [
    { action: 'publish', topics: ['other'], effect: 'allow' },
    { action: 'subscribe', topics: ['other'], effect: 'allow' },
  ],
}

type ConnectRow = {
  readonly name: string
  readonly policy?: Policy
  readonly withUsers?: boolean
  readonly before?: Partial<Connect>
  readonly connect?: Partial<Connect>
  /** CONNACK's reason code with MQTT 5, return code with 3.1.1. */
  readonly want: readonly [v5: number, v4: number]
}
const PASSWORD = (text: string): Pick<Connect, 'username' | 'password'> => ({
  username: 'ana',
  password: Buffer.from(text),
})
const CONNECTS: readonly ConnectRow[] = [
  {
    name: 'a rule that denies',
    policy: { rules: [{ action: 'connect', topics: [], effect: 'deny' }] },
    want: [0x87, 5],
  },
  { name: 'nobody is proved, and somebody has to be', withUsers: true, want: [0x87, 5] },
  { name: 'a wrong password', withUsers: true, connect: PASSWORD('wrong'), want: [0x86, 4] },
  {
    name: 'a user that there is not',
    withUsers: true,
    connect: { ...PASSWORD('secret'), username: 'bob' },
    want: [0x86, 4],
  },
  {
    name: 'as many of one user as there may be',
    policy: { quotas: [{ maxConnections: 1 }] },
    before: { clientId: 'other' },
    want: [0x97, 3],
  },
  {
    name: 'as many sessions of one user as there may be',
    policy: { quotas: [{ maxSessions: 1 }] },
    before: { clientId: 'other' },
    want: [0x97, 3],
  },
  {
    name: 'a will that may not be published',
    policy: DENIED,
    connect: {
      will: {
        topic: 'w',
        payload: Buffer.from('x'),
        qos: 0,
        retain: false,
        delaySec: 0,
        messageExpirySec: undefined,
        properties: new Uint8Array(0),
      },
    },
    want: [0x87, 5],
  },
]
for (const { name, policy = {}, withUsers = false, before, connect, want } of CONNECTS)
  for (const version of [5, 4] as const)
    test(`CONNECT, MQTT ${version}: ${name}`, async () => {
      const { t, lines } = brokerWithLog(withUsers)
      if (before) await t.open({ version, policy }).connect({ cleanStart: true, ...before })
      const peer = t.open({ version, policy })
      const { reason } = await peer.connect(connect)
      assert.equal(reason, want[version === 5 ? 0 : 1])
      assert.equal(await taken(peer, lines), 'nothing end | mqtt.refused')
    })

type Row = {
  readonly name: string
  readonly policy?: Policy
  readonly version?: Version
  readonly spool?: 'full'
  /** Before it counts. */
  readonly first?: (peer: MqttPeer) => void
  readonly act: (peer: ReturnType<TestBroker['open']>, t: TestBroker) => void
  readonly want: string
}
const ACKNOWLEDGED = { ...(DENIED as object), deniedPublishes: 'acknowledge' } as Policy
const PUBLISH_DENIED = 'mqtt.publish.denied'
const GONE = 'mqtt.disconnected'
const subscribe = (filter: string) => (peer: MqttPeer) =>
  peer.send({
    type: 'subscribe',
    packetId: 1,
    properties: NO_PROPERTIES,
    subscriptions: [{ filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
  })
const publish =
  (qos: 0 | 1 | 2, topic = 't', text = 'x', more: object = {}) =>
  (peer: MqttPeer) =>
    peer.publish(topic, text, { qos, ...(qos > 0 ? { packetId: 7 } : {}), ...more })

const ROWS: readonly Row[] = [
  { name: 'QoS 0, rules', policy: DENIED, act: publish(0), want: `nothing | ${PUBLISH_DENIED}` },
  { name: 'QoS 1, rules', policy: DENIED, act: publish(1), want: `puback #7 0x87 | ${PUBLISH_DENIED}` },
  { name: 'QoS 2, rules', policy: DENIED, act: publish(2), want: `pubrec #7 0x87 | ${PUBLISH_DENIED}` },
  {
    name: 'QoS 1, rules, 3.1.1',
    version: 4,
    policy: DENIED,
    act: publish(1),
    want: `nothing end | ${PUBLISH_DENIED} ${GONE}`,
  },
  {
    name: 'QoS 1, rules, 3.1.1, acknowledged',
    version: 4,
    policy: ACKNOWLEDGED,
    act: publish(1),
    want: `puback #7 | ${PUBLISH_DENIED}`,
  },
  { name: '$SYS', act: publish(1, '$SYS/x'), want: `puback #7 0x87 | ${PUBLISH_DENIED}` },
  {
    name: 'a topic with a wildcard',
    act: (peer) => peer.raw('30 05 00 02 61 2b 00'),
    want: `disconnect 0x90 end | ${GONE}`,
  },
  {
    name: 'a packet that is too large',
    policy: { limits: { maxPacketBytes: 1_024 } },
    act: publish(1, 't', 'x'.repeat(2_000)),
    want: `disconnect 0x95 end | ${GONE}`,
  },
  {
    name: 'a topic alias that may not be',
    act: (peer) => peer.raw('30 06 00 00 03 23 00 63'),
    want: `disconnect 0x94 end | ${GONE}`,
  },
  {
    name: 'a topic with too many levels',
    policy: { limits: { maxTopicLevels: 4 } },
    act: publish(1, 'a/b/c/d/e'),
    want: `disconnect 0x90 end | ${GONE}`,
  },
  {
    name: 'QoS 1 beyond ten seconds of the rate',
    policy: { quotas: [{ maxBytesPerSec: 10 }] },
    act: publish(1, 't', 'x'.repeat(500)),
    want: 'puback #7 0x97 | mqtt.publish.refused',
  },
  {
    name: 'QoS 0 beyond ten seconds of the rate',
    policy: { quotas: [{ maxBytesPerSec: 10 }] },
    act: publish(0, 't', 'x'.repeat(500)),
    want: `disconnect 0x96 end | mqtt.publish.refused ${GONE}`,
  },
  {
    name: 'a spool that is full, QoS 0 for a route',
    spool: 'full',
    act: publish(0),
    want: 'nothing | mqtt.publish.refused',
  },
  { name: 'a spool that is full', spool: 'full', act: publish(2), want: 'pubrec #7 0x97 | mqtt.publish.refused' },
  {
    name: 'more retained messages than there may be',
    policy: { limits: { maxRetainedMessages: 1 } },
    first: publish(0, 'first', 'x', { retain: true }),
    act: publish(1, 't', 'x', { retain: true }),
    want: 'puback #7 0x97 | mqtt.retained.full',
  },
  { name: 'SUBSCRIBE, rules', policy: DENIED, act: subscribe('t'), want: 'suback 135 | mqtt.subscribe.denied' },
  {
    name: 'SUBSCRIBE, rules, 3.1.1',
    version: 4,
    policy: DENIED,
    act: subscribe('t'),
    want: 'suback 128 | mqtt.subscribe.denied',
  },
  {
    name: 'SUBSCRIBE, too many',
    policy: { limits: { maxSubscriptionsPerSession: 1 } },
    first: subscribe('first'),
    act: subscribe('t'),
    want: 'suback 151 | mqtt.subscribe.denied',
  },
  {
    name: 'SUBSCRIBE, too many levels',
    policy: { limits: { maxTopicLevels: 4 } },
    act: subscribe('a/b/c/d/e'),
    want: 'suback 143 | mqtt.subscribe.denied',
  },
  { name: 'SUBSCRIBE, no filter', act: subscribe('a+'), want: `disconnect 0x81 end | ${GONE}` },
  {
    name: 'a second CONNECT',
    act: (peer) => peer.raw('10 0d 00 04 4d 51 54 54 05 02 00 00 00 00 00'),
    want: `disconnect 0x82 end | ${GONE}`,
  },
  {
    name: 'a client that is kicked',
    act: (_, t) => void t.broker.operations.kick('c'),
    want: `disconnect 0x98 end | mqtt.kick ${GONE}`,
  },
  {
    name: 'rules that let it connect no more',
    act: (peer, t) => t.usePolicy({ rules: [{ action: 'connect', topics: [], effect: 'deny' }] }, [peer]),
    want: `disconnect 0x87 end | ${GONE}`,
  },
]
for (const { name, policy = {}, version = 5, spool, first, act, want } of ROWS)
  test(`connected, MQTT ${version}: ${name}`, async () => {
    const { t, lines } = brokerWithLog(false)
    if (spool) {
      const away = t.open({ policy })
      await away.connect({ clientId: 'away', cleanStart: false, properties: { sessionExpirySec: 3600 } })
      await away.subscribe('#', { qos: 2 })
      away.disconnect()
      const queue = await t.durability.createQueue('up/q')
      t.broker.attach({ filter: '#', queue, origin: 'bridge', make: (message) => message })
    }
    const peer = t.open({ version, policy })
    await peer.connect({ clientId: 'c' })
    first?.(peer)
    await settled()
    if (spool) t.durability.refuse('MESH_MQTT_QUOTA')
    await peer.seen()
    lines.length = 0
    act(peer, t)
    assert.equal(await taken(peer, lines), want)
  })
