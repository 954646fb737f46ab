import { test } from 'node:test'
import assert from 'node:assert/strict'
import { freePorts } from '../../../../tools/free-ports.ts'
import { goesOn, meshlet, says } from '../../../scenarios/cli.ts'
import { MqttCommands } from './commands.ts'

test('nobody there is said once, with the place', async () => {
  const [port] = (await freePorts(1)) as [number]
  for (const where of [
    ['-h', '127.0.0.1', '-p', String(port)],
    ['-L', `mqtt://127.0.0.1:${port}/a`],
    ['--unix', '/nowhere/socket'],
  ]) {
    const said = await meshlet(['mqtt', 'pub', ...where, '-t', 'a', '-m', 'x'], '', { stopRequested: goesOn })
    says(said, {
      exit: 1,
      code: 'MESH_CONNECT_FAILED',
      what: /no MQTT broker answers on (127|\/nowhere)/,
      remedy: /refused/,
    })
    assert.equal(said.err.match(/MESH_/g)?.length, 1)
  }
})

test('refused by the broker: the code of CONNACK, 1 where that would be wrong usage', async (t) => {
  const mqtt = await MqttCommands.start(t, 'mqtt: {rules: [{action: connect, clientIds: [friend], effect: allow}]}\n')
  for (const [version, code] of [
    ['5', 135],
    ['311', 5],
    ['31', 5],
  ] as const) {
    const said = await mqtt.run('pub', ['-V', version, '-t', 'a', '-m', 'x', '-i', 'stranger'])
    assert.equal(said.code, code, said.err)
    assert.match(said.err, /^meshlet: MESH_MQTT_UPSTREAM_REFUSED: the broker refused the connection: /)
  }
  assert.equal((await mqtt.run('pub', ['-t', 'a', '-m', 'x', '-i', 'friend'])).code, 0)
})

test('what is sent and received is told with -d, and no secret with it', async (t) => {
  const mqtt = await MqttCommands.start(t)
  const said = await mqtt.run('pub', ['-d', '-t', 'a', '-m', 'x', '-q', '1', '-u', 'me', '--password-file', '-'], {
    input: 'hunter2\n',
  })
  assert.equal(said.code, 0)
  assert.match(said.err, /^received CONNACK\nsending PUBLISH m\d+, a, q1\nreceived PUBACK m\d+\nsending DISCONNECT\n$/)
  assert.doesNotMatch(said.err, /hunter2/)
})

test('a command that is asked to stop disconnects and ends with 0', async (t) => {
  const mqtt = await MqttCommands.start(t)
  const port = String(mqtt.agent.port('mqtt'))
  const stop = Promise.withResolvers<string>()
  const ends = meshlet(['mqtt', 'sub', '-h', '127.0.0.1', '-p', port, '-t', 'a', '-i', 'ends'], '', {
    stopRequested: () => stop.promise,
  })
  await mqtt.heard(['-t', 'a', '-E'], async () => undefined)
  stop.resolve('SIGTERM')
  assert.deepEqual(await ends, { code: 0, out: '', err: '' })
})
