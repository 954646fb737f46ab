import { test } from 'node:test'
import assert from 'node:assert/strict'
import { findExposureProblems } from '../../../agent/config/exposure.ts'
import { createListeners } from '../../../agent/config/listeners.ts'
import { createAgentConfigSchema, type AgentConfig } from '../../../agent/config/schema.ts'
import { systemDisk } from '../../../core/os/disk.ts'

type Input = Parameters<ReturnType<typeof createAgentConfigSchema>['parse']>[0]
const config = (listener: object, over: object = {}): AgentConfig =>
  createAgentConfigSchema().parse({
    directory: '/etc/x',
    identity: { folder: '/etc/id' },
    listeners: [{ name: 'one', port: 1, ...listener }],
    ...over,
  } as Input)
const codes = (c: AgentConfig): string[] =>
  findExposureProblems(
    createListeners(c, { disk: systemDisk, findPskKey: () => undefined }),
    new Map(c.listeners.map((l) => [l.name, l])),
    c.mqtt.users,
  ).map((p) => p.code)
const USERS = { passwordFile: '/etc/meshlet/passwords' }
const RULE = { action: 'subscribe', topics: ['a'], effect: 'allow' }

for (const { name, listener, over, want } of [
  {
    name: 'HTTP on all addresses',
    listener: { kind: 'http', routes: 'r', address: '0.0.0.0' },
    want: ['MESH_LISTENER_OPEN'],
  },
  {
    name: 'an explicit proxy on all addresses',
    listener: { kind: 'http_proxy', address: '::' },
    want: ['MESH_LISTENER_OPEN'],
  },
  {
    name: 'TCP on an address of the network',
    listener: { kind: 'tcp', cluster: 'c', address: '192.168.1.5' },
    want: ['MESH_LISTENER_OPEN'],
  },
  { name: 'MQTT without rules', listener: { kind: 'mqtt', address: '0.0.0.0' }, want: ['MESH_LISTENER_OPEN'] },
  {
    name: 'MQTT over WebSocket without rules',
    listener: { kind: 'mqtt', transport: 'websocket', address: '0.0.0.0' },
    want: ['MESH_LISTENER_OPEN'],
  },
  {
    name: 'MQTT with rules',
    listener: { kind: 'mqtt', address: '0.0.0.0' },
    over: { mqtt: { rules: [RULE] } },
    want: [],
  },
  {
    name: 'MQTT with an acl file',
    listener: { kind: 'mqtt', address: '0.0.0.0' },
    over: { mqtt: { aclFile: '/etc/acl' } },
    want: [],
  },
  { name: 'MQTT with TLS', listener: { kind: 'mqtt', address: '0.0.0.0', tls: { mode: 'mutual' } }, want: [] },
  { name: 'loopback', listener: { kind: 'mqtt' }, want: [] },
  { name: 'another loopback address', listener: { kind: 'mqtt', address: '127.0.0.2' }, want: [] },
  { name: 'loopback of IPv6', listener: { kind: 'mqtt', address: '::1' }, want: [] },
  { name: 'meant so', listener: { kind: 'mqtt', address: '0.0.0.0', acceptAnyone: true }, want: [] },
  {
    name: 'rules that name the user',
    listener: { kind: 'mqtt' },
    over: { mqtt: { rules: [{ ...RULE, topics: ['u/%u/#'] }] } },
    want: ['MESH_MQTT_USER_UNPROVED'],
  },
  {
    name: 'rules that name the user, who has a password',
    listener: { kind: 'mqtt' },
    over: { mqtt: { users: USERS, rules: [{ ...RULE, topics: ['u/%u/#'] }] } },
    want: [],
  },
  {
    name: 'MQTT without rules, for users',
    listener: { kind: 'mqtt', address: '0.0.0.0' },
    over: { mqtt: { users: USERS } },
    want: [],
  },
  {
    name: 'MQTT without rules, for users and for anybody else',
    listener: { kind: 'mqtt', address: '0.0.0.0', mqtt: { anonymous: true } },
    over: { mqtt: { users: USERS } },
    want: ['MESH_LISTENER_OPEN'],
  },
])
  test(`open to anybody: ${name}: ${want.join() || 'no problem'}`, () =>
    assert.deepEqual(codes(config(listener, over)), want))

test("of pushed listeners only MQTT counts: what else comes without proof is the control plane's to say", () => {
  const of = (kind: object): string[] =>
    findExposureProblems(
      createListeners(config(kind), { disk: systemDisk, findPskKey: () => undefined }),
      new Map(),
      undefined,
    ).map((p) => p.code)
  assert.deepEqual(
    [
      of({ kind: 'mqtt', address: '0.0.0.0' }),
      of({ kind: 'http', routes: 'r', address: '0.0.0.0' }),
      of({ kind: 'tcp', cluster: 'c', address: '0.0.0.0' }),
    ],
    [['MESH_LISTENER_OPEN'], [], []],
  )
})

test('an additional address that is no loopback is one too many', () => {
  const c = config({ kind: 'mqtt' })
  const [listener] = createListeners(c, { disk: systemDisk, findPskKey: () => undefined })
  const problems = findExposureProblems(
    [{ ...listener!, additional: [{ address: 'fd00::1', port: 1 }] }],
    new Map(),
    c.mqtt.users,
  )
  assert.match(problems.map(String).join(), /listener one on fd00::1:1 takes MQTT/)
})
